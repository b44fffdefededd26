"""Path-traced photos of surfaces with real textures, by Mitsuba 3: meshes with their own pictures, and reliefs.

As in `pathtrace`, Mitsuba's world is our frame. Colour, roughness and metalness come from the files;
their normal maps are not looked at: the truth is the mesh's own shading normal. What is see-through is rendered solid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import UInt8

from maquette.bench.normals.pathtrace import Render, Shot, framing, load_mitsuba, photograph, rotation
from maquette.bench.normals.reliefs import normals_of, relief
from maquette.geometry.vectors import unit
from maquette.io.meshes import load_scene, placed
from maquette.types import Mesh, NormalMap

FORMAT = 1  # raise it when the same files and seed would give other bytes
SIDE_PX = 384
SAMPLES = 24
RELIEF_SIDE = 512  # cells of a relief's grid
RELIEF_FIELD = 0.5  # of a plane from -1 to 1, what a frame that faces it shows


@dataclass(frozen=True)
class TexturedPart:
    """A mesh with shading normals and one texture, and what its surface is like.

    Attributes:
        mesh: with normals, texture coordinates and its colour as the only texture.
        roughness, metalness: 0 to 1, as a number or as a picture of bytes.
    """

    mesh: Mesh
    roughness: UInt8[np.ndarray, "rough_height rough_width"] | float = 0.5
    metalness: UInt8[np.ndarray, "metal_height metal_width"] | float = 0.0


def read_parts(path: Path) -> list[TexturedPart]:
    """The textured parts of a glTF or OBJ file, placed as its scene places them.

    Raises:
        ValueError: there are none.
    """
    parts = []
    for mesh, transform in placed(load_scene(path)):
        look: Any = mesh.visual
        if getattr(look, "uv", None) is None:
            continue
        vertices = np.asarray(mesh.vertices, float)
        # glTF carries the normals that its author meant; an OBJ may not.
        own = np.asarray(mesh.vertex_normals) if path.suffix != ".obj" else _smooth_normals(vertices, mesh.faces)
        normals = own @ np.linalg.inv(transform[:3, :3])
        vertices = trimesh.transform_points(vertices, transform)
        uv, faces = np.array(look.uv, float), np.array(mesh.faces, np.int64)
        parts.append(_with_look(_tensors(vertices, normals, uv, faces), look.material))
    if not parts:
        raise ValueError("no textured triangles")
    return parts


def render_textured(parts: Sequence[TexturedPart], environments: Sequence[Path], seed: int) -> Render:
    """Photograph textured parts together from a random side, as `pathtrace.render_scene` does a mesh.

    Where only a back is seen, there is no truth, though the photo's object is there.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    mi = load_mitsuba()
    random = np.random.default_rng(seed)
    pitch = rotation(0, np.deg2rad(random.uniform(-15, 35)))
    turn = pitch @ rotation(1, random.uniform(0, 2 * np.pi))
    points = np.concatenate([part.mesh.vertices.numpy() for part in parts])
    middle = (points.min(0) + points.max(0)) / 2
    scale = 1 / np.linalg.norm(points - middle, axis=1).max()
    turned = [replace(part, mesh=_turned(part.mesh, turn, middle, scale)) for part in parts]
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 45)) / 2)
    field_rad = framing(np.concatenate([part.mesh.vertices.numpy() for part in turned]), distance)
    shapes = {f"part{place}": _upload(mi, part) for place, part in enumerate(turned)}
    shot = Shot(distance, field_rad, SIDE_PX, SAMPLES, seed, calm=True)
    return _front_alone(photograph(mi, shapes, environments, pitch, shot, random))


def render_relief(
    kind: str, colour: UInt8[np.ndarray, "height width 3"], environments: Sequence[Path], seed: int
) -> Render:
    """Photograph a relief of one of `maquette.bench.normals.reliefs.KINDS` with a picture on it; it fills the frame.

    It is seen from up to 35 degrees off its normal.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    mi = load_mitsuba()
    random = np.random.default_rng(seed)
    heights = relief(kind, random, RELIEF_SIDE, np.tan(np.deg2rad(random.uniform(10, 24))))
    around, lean = random.uniform(0, 2 * np.pi), np.deg2rad(random.uniform(0, 35))
    turn = rotation(2, around) @ rotation(0, lean) @ rotation(2, -around) @ rotation(2, random.uniform(-0.2, 0.2))
    board = _board(heights, colour, float(random.uniform(0.3, 0.9)))
    board = replace(board, mesh=_turned(board.mesh, turn))
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 35)) / 2)
    field_rad = 2 * np.arctan(RELIEF_FIELD / distance)
    shot = Shot(distance, field_rad, SIDE_PX, SAMPLES, seed, calm=True)
    return _front_alone(photograph(mi, {"board": _upload(mi, board)}, environments, np.eye(3), shot, random))


def _board(heights: np.ndarray, colour: np.ndarray, roughness: float) -> TexturedPart:
    """A tile as a square from -1 to 1."""
    side = len(heights)
    axis = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(axis, axis[::-1])
    vertices = np.stack([2 * u - 1, 2 * v - 1, 2 * (heights - heights.mean())], -1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    lower, right = corner + side, corner + 1
    faces = np.concatenate([np.stack([corner, lower, right], -1), np.stack([right, lower, lower + 1], -1)])
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return TexturedPart(_tensors(vertices, normals_of(heights).reshape(-1, 3), uv, faces, colour), roughness)


def _tensors(
    vertices: np.ndarray, normals: np.ndarray, uv: np.ndarray, faces: np.ndarray, colour: np.ndarray | None = None
) -> Mesh:
    vertices_, normals_, uv_, faces_ = (torch.from_numpy(array) for array in (vertices, normals, uv, faces))
    return Mesh(vertices_, faces_, normals_, uv_, textures=() if colour is None else (torch.from_numpy(colour),))


def _turned(mesh: Mesh, turn: np.ndarray, middle: np.ndarray | float = 0.0, scale: float = 1.0) -> Mesh:
    assert mesh.normals is not None
    vertices = (mesh.vertices.numpy() - middle) @ turn.T * scale
    return replace(mesh, vertices=torch.from_numpy(vertices), normals=torch.from_numpy(mesh.normals.numpy() @ turn.T))


def _with_look(mesh: Mesh, material: Any) -> TexturedPart:
    """With the colour, roughness and metalness of trimesh's material; the latter two are green and blue in glTF."""
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if picture is None:
        raise ValueError("a part without a picture")
    part = TexturedPart(replace(mesh, textures=(torch.from_numpy(np.array(picture.convert("RGB"))),)))
    rough = getattr(material, "metallicRoughnessTexture", None)
    if rough is None:
        return part
    if rough.mode == "L":
        return replace(part, roughness=np.array(rough))
    channels = np.array(rough.convert("RGB"))
    factor = getattr(material, "metallicFactor", None)
    metalness = channels[..., 2].copy() if factor is None else float(factor) * channels[..., 2].mean() / 255
    return replace(part, roughness=channels[..., 1].copy(), metalness=metalness)


def _smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Means of the faces about each place, weighted by area; files split vertices where textures meet."""
    places, where = np.unique(vertices, axis=0, return_inverse=True)
    corners = where.reshape(-1)[faces]
    area = np.cross(places[corners[:, 1]] - places[corners[:, 0]], places[corners[:, 2]] - places[corners[:, 0]])
    total = np.zeros_like(places)
    for corner in corners.T:
        np.add.at(total, corner, area)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.maximum(length, 1e-12))[where.reshape(-1)]


def _upload(mi: Any, part: TexturedPart) -> Any:
    """As Mitsuba's mesh."""
    mesh = part.mesh
    assert mesh.normals is not None and mesh.uv is not None
    vertices, normals, uv, faces = (x.numpy() for x in (mesh.vertices, mesh.normals, mesh.uv, mesh.faces))
    bsdf = {
        "type": "principled",
        "base_color": {"type": "bitmap", "bitmap": mi.Bitmap(mesh.textures[0].numpy())},
        "roughness": _channel(mi, part.roughness),
        "metallic": _channel(mi, part.metalness),
    }
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict({"type": "twosided", "surface": bsdf})
    count = len(vertices)
    built = mi.Mesh("part", count, len(faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    values = mi.traverse(built)
    values["vertex_positions"] = vertices.astype(np.float32).ravel()
    values["vertex_normals"] = (normals / np.maximum(lengths, 1e-12)).astype(np.float32).ravel()
    # Mitsuba counts down from the top of a picture.
    values["vertex_texcoords"] = np.stack([uv[:, 0], 1 - uv[:, 1]], -1).astype(np.float32).ravel()
    values["faces"] = faces.astype(np.uint32).ravel()
    values.update()
    return built


def _channel(mi: Any, value: np.ndarray | float) -> Any:
    if isinstance(value, float):
        return value
    # Smoother than this, a surface mirrors lamps as points that few paths find.
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.maximum(value, 20)[..., None]), "raw": True}


def _front_alone(render: Render) -> Render:
    """The same with a truth only where the normal faces the camera: a sheet's back has that of its front."""
    camera, normals = render.camera, render.truth.normals
    column, row = torch.meshgrid(torch.arange(camera.width), torch.arange(camera.height), indexing="xy")
    x = (column + 0.5 - camera.center_px[0]) / camera.focal_px
    y = -(row + 0.5 - camera.center_px[1]) / camera.focal_px
    towards = unit(-torch.stack([x, y, -torch.ones_like(x)], -1), -1)
    seen = render.truth.mask & ((normals * towards).sum(-1) > -0.1)  # at a rim, shading normals look a bit away
    return replace(render, truth=NormalMap(normals * seen[..., None], seen))
