"""One object's samples: photos under random light, and the shading frames of the same surface under the ring.

The photo is the data engine's own (`synth.looks.photo`): a parallel light, a near point light, an area light, two
of them, or an environment, alone or with one of them; all from the viewer's side; cast shadows, occlusion and a bounce
included. The target knows normals alone, so that no shadow but the attached one is in it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.geometry.mesh import weld
from maquette.geometry.vectors import unit
from maquette.io.images import encode_png
from maquette.io.mesh_colors import colors_at, shrink_textures
from maquette.io.normal_maps import normal_codes
from maquette.render.gbuffer import POINT, GBuffer, ObjectCamera, Solid, trace
from maquette.render.mesh_gbuffer import Triangles, trace_mesh, triangulate
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.synth.datasets.multishade.spec import MATERIALS, MultiShadeSpec, sample_key, view_name
from maquette.synth.datasets.shards import coarsen
from maquette.synth.looks.materials import Material, sample_material
from maquette.synth.looks.photo import Surfaces, expose, shade
from maquette.synth.solids.shapes import CLASSIC, sample_solid
from maquette.synth.views import frame, lights_to_camera, random_view, sample_lights, surface_points
from maquette.types import Mesh, NormalMap

MESH_EXTENT = 0.9  # half of the longest side of a mesh's box; a solid lies within 1
MESH_SAMPLES = 2  # along each side of a pixel: a mesh's detail knows no pixels, a solid's normals do
_VIEW, _PHOTO, _MATERIAL = 2, 3, 4  # streams of random numbers; 0 and 1 are the shapes' and `maquette dataset shapes`'

# The camera's right, up and backward of the named views.
_SIDES = {
    "front": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "left": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "right": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    "top": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "bottom": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
}


class ColoredMesh(NamedTuple):
    """A mesh in the object frame, ready to be traced, and its colours."""

    triangles: Triangles
    points: np.ndarray
    mesh: Mesh


class Shape(NamedTuple):
    """A procedural solid."""

    solid: Solid
    points: np.ndarray
    family: str


class ObjectView(NamedTuple):
    """What a camera sees: one G-buffer as a batch, and the mesh's own colour (1, 3, H, W), if it is a mesh."""

    surfaces: Surfaces
    colour: Tensor | None


def make_samples(spec: MultiShadeSpec, number: int, mesh: Mesh | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of one object, in their order: key, and contents by suffix.

    Args:
        spec: of the data set.
        number: of the object; from `spec.count` on, it is a mesh.
        mesh: what was read, for a mesh.
    """
    thing = shape(spec, number) if mesh is None else place(mesh, spec.size_px)
    named = {"family": thing.family} if isinstance(thing, Shape) else {"mesh": spec.meshes[number - spec.count].name}
    for view_number in range(spec.views):
        rng = np.random.default_rng([spec.seed, number, _VIEW, view_number])
        view = choose_view(rng, thing, view_name(view_number), spec.size_px)
        lights = sample_lights(rng, view)
        seen = look(thing, view, lights)
        truth = targets(seen.surfaces, spec.frames)
        for light in range(spec.lights):
            where = [spec.seed, number, view_number, light]
            photo, kind = photo_of(seen, where)
            facts = {"object": number} | named | {
                "view": view_name(view_number),
                "material": kind,
                "seed": where,
                "camera": camera_facts(view),
                "lights": light_facts(seen.surfaces.lights[0]),
            }  # fmt: skip
            files = {".json": (json.dumps(facts) + "\n").encode(), ".photo.png": encode_png(photo)}
            yield sample_key(number, view_number, light), {key: (files | truth)[key] for key in spec.suffixes}


def shape(spec: MultiShadeSpec, number: int) -> Shape:
    """The procedural shape of that number, of the classic families."""
    solid, family = sample_solid(spec.seed, number, spec.detail, families=CLASSIC)
    return Shape(solid, surface_points(solid.grid), family)


def place(mesh: Mesh, size_px: int) -> ColoredMesh:
    """Centre a mesh, scale it into the object frame, and reduce its pictures to about a texel a pixel."""
    welded, faces = weld(mesh)
    used = welded[np.unique(faces)]
    low, high = used.min(0), used.max(0)
    scale = 2 * MESH_EXTENT / (high - low).max()
    vertices = (welded - (low + high) / 2) * scale
    return ColoredMesh(
        triangulate(vertices, faces), (used - (low + high) / 2) * scale, shrink_textures(mesh, 2 * size_px)
    )


def choose_view(rng: np.random.Generator, thing: Shape | ColoredMesh, name: str, size_px: int) -> ObjectCamera:
    """A view of that name: upright and straight from its side, or from anywhere; framed at random."""
    if name == "random":
        return random_view(rng, thing.points, thing.family if isinstance(thing, Shape) else "mesh", size_px)
    return frame(rng, thing.points, np.array(_SIDES[name], float).T, size_px)


def look(thing: Shape | ColoredMesh, view: ObjectCamera, lights: np.ndarray) -> ObjectView:
    """Trace an object; what is smaller than a pixel is averaged over it.

    Args:
        thing: the object.
        view: the camera.
        lights: (L, 4), object frame.
    """
    if isinstance(thing, Shape):
        return ObjectView(to_surfaces(trace(thing.solid, view, lights), view, lights), None)
    n = MESH_SAMPLES
    center = (view.center_px[0] * n, view.center_px[1] * n)
    fine = replace(view, width=view.width * n, height=view.height * n, focal_px=view.focal_px * n, center_px=center)
    buffer, hits = trace_mesh(thing.triangles, fine, lights)
    colour = np.zeros((*buffer.mask.shape, 3), np.float32)
    colour[buffer.mask] = colors_at(thing.mesh, hits.face[buffer.mask], hits.weight[buffer.mask].astype(float))
    surfaces = to_surfaces(buffer, fine, lights)
    covered = F.avg_pool2d(surfaces.mask, n).clamp_min(1e-6)
    return ObjectView(coarsen(surfaces, n), F.avg_pool2d(_first(colour), n) / covered)


def to_surfaces(buffer: GBuffer, view: ObjectCamera, lights: np.ndarray) -> Surfaces:
    """A traced G-buffer as `maquette.synth.looks.photo` takes it, without the rounding of a stored one.

    Args:
        buffer: of one view.
        view: its camera.
        lights: (L, 4), object frame.
    """
    mask = torch.from_numpy(buffer.mask)[None, None].float()
    position = _first(buffer.position)
    distance = float(view.camera_to_object[:, 3] @ view.camera_to_object[:, 2])
    towards = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    return Surfaces(
        normal=_first(buffer.normal),
        position=position,
        local=(position + towards * distance) * mask,
        view=unit(towards.expand_as(position) if view.orthographic else -position, 1),
        mask=mask,
        lit=torch.from_numpy(buffer.lit)[None].float(),
        openness=torch.from_numpy(buffer.openness)[None, None],
        lights=torch.from_numpy(lights_to_camera(lights, view)).float()[None],
        opening=_first(buffer.opening),
        part=torch.from_numpy(buffer.part)[None, None].float(),
    )


def targets(surfaces: Surfaces, frames: int) -> dict[str, bytes]:
    """The files of the truth, by suffix: mask, normals, and a frame for each light of the ring."""
    normals = surfaces.normal[0].permute(1, 2, 0)
    mask = surfaces.mask[0, 0] > 0
    shading = shading_frames(normals.double(), ring_lights(frames))
    files = {
        ".mask.png": encode_png(mask.numpy().astype(np.uint8) * 255),
        ".normal.png": encode_png(normal_codes(NormalMap(normals, mask)).numpy().astype(np.uint16)),
    }
    for number, image in enumerate(shading):
        codes = (image.clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
        files[f".shading-{number:02d}.png"] = encode_png(codes)
    return files


def photo_of(seen: ObjectView, where: list[int]) -> tuple[np.ndarray, str]:
    """A photo as (H, W, 3) 8-bit codes, and the kind of its material; both follow from the sample's place."""
    kind = material_kind(where)
    state = np.random.SeedSequence([*where, _PHOTO]).generate_state(1, np.uint64)[0]
    rng = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    material = material_of(seen, kind, rng)
    radiance = shade(seen.surfaces, material, rng)
    photo = expose(radiance, seen.surfaces.mask, rng)[0]
    return (photo.permute(1, 2, 0) * 255).round().byte().numpy(), kind


def material_kind(where: list[int]) -> str:
    """One of `MATERIALS` by its share."""
    draw = np.random.default_rng([*where, _MATERIAL]).random()
    return list(MATERIALS)[int(np.searchsorted(np.cumsum(list(MATERIALS.values())), draw, side="right"))]


def material_of(seen: ObjectView, kind: str, rng: torch.Generator) -> Material:
    """A material of a kind: a mesh's original one has its own colours, on a random dielectric's gloss."""
    local = seen.surfaces.local
    if kind != "original":
        return sample_material(local, rng, metal=kind == "metal")
    if seen.colour is None:
        return sample_material(local, rng)
    return replace(sample_material(local, rng, metal=False), albedo=seen.colour.clamp(0.005, 0.98))


def camera_facts(view: ObjectCamera) -> dict[str, object]:
    """A camera in numbers, as in `maquette.render.gbuffer.ObjectCamera`."""
    return {
        "camera_to_object": [[round(float(x), 6) for x in row] for row in view.camera_to_object],
        "focal_px": round(view.focal_px, 6),
        "center_px": [round(x, 6) for x in view.center_px],
        "orthographic": view.orthographic,
    }


def light_facts(lights: Tensor) -> list[dict[str, object]]:
    """The lights that the photo's were drawn from, camera frame: directions to them, or places."""
    return [
        {"kind": "point" if kind == POINT else "parallel", "xyz": [round(x, 5) for x in xyz]}
        for *xyz, kind in lights.tolist()
    ]


def _first(image: np.ndarray) -> Tensor:
    """(H, W, C) to a batch of one, channels first."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]
