"""One object's folder: its views, drawn, and the numbers beside them.

Light, as ShapeNet-SRN's is told by its renderer's source: three suns without shadows and without highlights, fixed to
the object, and a white sky without occlusion. A point of the surface therefore has one colour, whoever looks at it.
"""

import json
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch

from maquette.errors import InputError
from maquette.geometry.mesh import weld
from maquette.io.images import encode_png, linear_to_srgb
from maquette.io.mesh_colors import colors_at, shrink_textures
from maquette.io.meshes import read_mesh
from maquette.io.normal_maps import normal_codes
from maquette.render.gbuffer import OCCLUSION_RAYS, GBuffer, ObjectCamera, Solid, solidify, trace
from maquette.render.mesh_gbuffer import Triangles, trace_mesh, triangulate
from maquette.synth.datasets.multiview.cameras import (
    FOCAL_OF_WIDTH,
    intrinsics_text,
    look_at_origin,
    pose_text,
    sphere_places,
    spiral_places,
)
from maquette.synth.datasets.multiview.spec import SPLITS, Task, ViewsSpec
from maquette.synth.solids.categories import sample_thing
from maquette.synth.solids.parts import Thing, nearest_part
from maquette.synth.solids.shapes import grid_mesh
from maquette.types import Mesh, NormalMap

GRID_SIDE = 128
SAMPLES = 2  # along each side of a pixel
AMBIENT, SUNS = 0.4, (0.45, 0.45, 0.15)  # from where the suns stand, at most 0.96 of it: nothing is cut off
_SUNS_TO = np.array([[0.45, -0.55, 0.7], [-0.55, 0.35, -0.1], [-0.2, 0.9, 0.35]])  # world, z up
_SUNS_TO /= np.linalg.norm(_SUNS_TO, axis=1, keepdims=True)
# From the object frame (y up, front +z) to the world of the files (z up, front -y).
TO_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_NO_LIGHTS = np.zeros((0, 4))
_OBJECT, _CAMERAS = 0, 1  # streams of random numbers


class Placed(NamedTuple):
    """An object that can be drawn, and where it stands: world = scale * TO_WORLD @ (object - middle)."""

    shape: Thing | Mesh
    tracer: Solid | Triangles
    middle: np.ndarray
    scale: float
    extent: np.ndarray


class ObjectResult(NamedTuple):
    """An object's files by their names below its folder; none, and the reason, of a mesh that can't be used."""

    task: Task
    files: dict[str, bytes]
    skipped: str


def make_object(spec: ViewsSpec, meshes: Path | None, task: Task) -> ObjectResult:
    """All files of one object. They follow from the spec, the task and the mesh's content alone.

    Args:
        spec: of the data set.
        meshes: the folder that `spec.meshes` are below.
        task: which object.

    Raises:
        InputError: it is a mesh, and nobody said where it is.
    """
    where = [spec.seed, crc32(task.category.encode()), SPLITS.index(task.split), task.number]
    if task.mesh >= 0:
        if meshes is None:
            raise InputError(f"the data set holds {len(spec.meshes)} meshes; say by --meshes in which folder they are")
        try:
            placed = place_mesh(read_mesh(meshes / spec.meshes[task.mesh].name), spec.size_px)
        except InputError as error:
            return ObjectResult(task, {}, str(error))
    else:
        placed = place_thing(sample_thing(task.category, np.random.default_rng([*where, _OBJECT])))
    rng = np.random.default_rng([*where, _CAMERAS])
    count = spec.view_count(task)
    train = task.split == "train"
    poses = look_at_origin(sphere_places(rng, count, spec.radius) if train else spiral_places(count, spec.radius))
    facts = {"category": task.category, "split": task.split, "seed": where} | _facts(spec, task, placed)
    files = {
        "intrinsics.txt": intrinsics_text(spec.size_px).encode(),
        "object.json": (json.dumps(facts) + "\n").encode(),
    }
    for number, pose in enumerate(poses):
        rgb, normal_map, coverage = draw(placed, pose, spec.size_px)
        files[f"pose/{number:06d}.txt"] = pose_text(pose).encode()
        files[f"rgb/{number:06d}.png"] = encode_png(rgb)
        files[f"normals/{number:06d}.png"] = encode_png(normal_codes(normal_map).numpy().astype(np.uint16))
        files[f"mask/{number:06d}.png"] = encode_png(coverage)
    return ObjectResult(task, files, "")


def place_thing(thing: Thing, side: int = GRID_SIDE) -> Placed:
    """A procedural object, its box centred and of diagonal 1."""
    solid = solidify(thing.field, side)
    points, _ = grid_mesh(solid.grid)
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    scale = 1 / float(np.linalg.norm(high - low))
    return Placed(thing, solid, (low + high) / 2, scale, (high - low) * scale)


def place_mesh(mesh: Mesh, size_px: int) -> Placed:
    """A mesh, its box centred and of diagonal 1; its pictures reduced to about a texel a pixel."""
    vertices, faces = weld(mesh)
    used = vertices[np.unique(faces)].astype(float)
    low, high = used.min(0), used.max(0)
    scale = 1 / float(np.linalg.norm(high - low))
    tracer = triangulate((vertices - (low + high) / 2) * scale, faces)
    return Placed(shrink_textures(mesh, 2 * size_px), tracer, np.zeros(3), 1.0, (high - low) * scale)


def draw(placed: Placed, pose: np.ndarray, size_px: int) -> tuple[np.ndarray, NormalMap, np.ndarray]:
    """One view, at SAMPLES^2 rays a pixel.

    Args:
        placed: the object.
        pose: (4, 4) camera_to_world, camera axes x right, y up, z back.
        size_px: side of the image.

    Returns:
        (H, W, 3) uint8 colours on white, averaged as display values, as scaled-down pictures are; normals where at
        least half of a pixel is covered; (H, W) uint8 coverage.
    """
    to_object = np.concatenate(
        [TO_WORLD.T @ pose[:3, :3], (TO_WORLD.T @ pose[:3, 3] / placed.scale + placed.middle)[:, None]], 1
    )
    side = size_px * SAMPLES
    view = ObjectCamera(to_object, side, side, FOCAL_OF_WIDTH * side, (side / 2, side / 2))
    buffer, albedo = _seen(placed, view)
    normals = buffer.normal[buffer.mask].astype(float)
    light = AMBIENT + np.maximum(normals @ pose[:3, :3].T @ _SUNS_TO.T, 0) @ np.array(SUNS)
    rgb = np.ones((side, side, 3), np.float32)
    rgb[buffer.mask] = linear_to_srgb(torch.from_numpy(albedo * light[:, None])).numpy()
    covered = _mean(buffer.mask[..., None].astype(np.float32))
    mean_normal = _mean(buffer.normal)
    length = np.linalg.norm(mean_normal, axis=-1, keepdims=True)
    mask = (covered[..., 0] >= 0.5) & (length[..., 0] > 1e-6)
    mean_normal = np.where(mask[..., None], mean_normal / np.maximum(length, 1e-6), 0).astype(np.float32)
    normal_map = NormalMap(torch.from_numpy(mean_normal), torch.from_numpy(mask))
    return _codes(_mean(rgb)), normal_map, _codes(covered[..., 0])


def _seen(placed: Placed, view: ObjectCamera) -> tuple[GBuffer, np.ndarray]:
    """The G-buffer, and the linear albedo (n, 3) of the pixels in its mask."""
    if isinstance(placed.shape, Thing):
        assert isinstance(placed.tracer, Solid)
        buffer = trace(placed.tracer, view, _NO_LIGHTS, OCCLUSION_RAYS[:1])
        points = buffer.position[buffer.mask] @ view.camera_to_object[:, :3].T + view.camera_to_object[:, 3]
        albedos = np.stack([part.albedo for part in placed.shape.parts])
        return buffer, albedos[nearest_part(placed.shape, points)]
    assert isinstance(placed.tracer, Triangles)
    buffer, hits = trace_mesh(placed.tracer, view, _NO_LIGHTS, OCCLUSION_RAYS[:1])
    return buffer, colors_at(placed.shape, hits.face[buffer.mask], hits.weight[buffer.mask].astype(float))


def _facts(spec: ViewsSpec, task: Task, placed: Placed) -> dict[str, object]:
    """What is known of an object: its parts or its file, and the sides of its box in the world."""
    extent = [round(float(x), 5) for x in np.abs(TO_WORLD @ placed.extent)]
    if isinstance(placed.shape, Thing):
        parts = [{"name": p.name, "albedo": [round(float(x), 4) for x in p.albedo]} for p in placed.shape.parts]
        return {"parts": parts, "extent": extent}
    return {"mesh": spec.meshes[task.mesh].name, "extent": extent}


def _mean(image: np.ndarray) -> np.ndarray:
    """Over squares of SAMPLES pixels of an (H, W, C) image."""
    height, width, channels = image.shape
    return image.reshape(height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES, channels).mean((1, 3))


def _codes(shares: np.ndarray) -> np.ndarray:
    return np.round(shares.clip(0, 1) * 255).astype(np.uint8)
