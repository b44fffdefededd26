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
from jaxtyping import Float, Int, UInt8

from maquette.bench.normals.pathtrace import Render, Shot, framing, load_mitsuba, photograph, rotation
from maquette.bench.normals.reliefs import normals_of, relief
from maquette.geometry.vectors import unit
from maquette.types import NormalMap

FORMAT = 1  # raise it when the same files and seed would give other bytes
SIDE_PX = 384
SAMPLES = 24
RELIEF_SIDE = 512  # cells of a relief's grid
RELIEF_FIELD = 0.5  # of a plane from -1 to 1, what a frame that faces it shows


@dataclass(frozen=True)
class Surface:
    """Triangles with shading normals, texture coordinates, and what they look like.

    Attributes:
        vertices, normals, uv: of each vertex; y up; (0, 0) is the left bottom corner of the pictures.
        faces: outward, counter-clockwise.
        colour: sRGB.
        roughness, metalness: 0 to 1, as a number or as a picture of bytes.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    normals: Float[np.ndarray, "vertices 3"]
    uv: Float[np.ndarray, "vertices 2"]
    faces: Int[np.ndarray, "faces 3"]
    colour: UInt8[np.ndarray, "height width 3"]
    roughness: UInt8[np.ndarray, "rough_height rough_width"] | float = 0.5
    metalness: UInt8[np.ndarray, "metal_height metal_width"] | float = 0.0


def read_surfaces(path: Path) -> list[Surface]:
    """The textured parts of a glTF or OBJ file, placed as its scene places them.

    Raises:
        ValueError: there are none.
    """
    scene = trimesh.load_scene(path, process=False)
    found = []
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        look: Any = getattr(mesh, "visual", None)
        if not isinstance(mesh, trimesh.Trimesh) or getattr(look, "uv", None) is None:
            continue
        vertices = np.asarray(mesh.vertices, float)
        # glTF carries the normals that its author meant; an OBJ may not.
        own = np.asarray(mesh.vertex_normals) if path.suffix != ".obj" else _smooth_normals(vertices, mesh.faces)
        normals = own @ np.linalg.inv(transform[:3, :3])
        placed = trimesh.transform_points(vertices, transform)
        uv, faces = np.asarray(look.uv, float), np.asarray(mesh.faces, np.int64)
        found.append(_with_look(Surface(placed, normals, uv, faces, _GREY), look.material))
    if not found:
        raise ValueError("no textured triangles")
    return found


def render_textured(surfaces: Sequence[Surface], environments: Sequence[Path], seed: int) -> Render:
    """Photograph textured parts together from a random side, as `pathtrace.render_scene` does a mesh.

    Where only a back is seen, there is no truth, though the photo's object is there.

    Raises:
        InputError: Mitsuba isn't installed.
    """
    mi = load_mitsuba()
    random = np.random.default_rng(seed)
    pitch = rotation(0, np.deg2rad(random.uniform(-15, 35)))
    turn = pitch @ rotation(1, random.uniform(0, 2 * np.pi))
    points = np.concatenate([surface.vertices for surface in surfaces])
    middle = (points.min(0) + points.max(0)) / 2
    scale = 1 / np.linalg.norm(points - middle, axis=1).max()
    placed = [
        replace(surface, vertices=(surface.vertices - middle) @ turn.T * scale, normals=surface.normals @ turn.T)
        for surface in surfaces
    ]
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 45)) / 2)
    field_rad = framing(np.concatenate([surface.vertices for surface in placed]), distance)
    shapes = {f"part{place}": _upload(mi, surface) for place, surface in enumerate(placed)}
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
    board = replace(board, vertices=board.vertices @ turn.T, normals=board.normals @ turn.T)
    distance = 1 / np.sin(np.deg2rad(random.uniform(10, 35)) / 2)
    field_rad = 2 * np.arctan(RELIEF_FIELD / distance)
    shot = Shot(distance, field_rad, SIDE_PX, SAMPLES, seed, calm=True)
    return _front_alone(photograph(mi, {"board": _upload(mi, board)}, environments, np.eye(3), shot, random))


def _board(heights: np.ndarray, colour: np.ndarray, roughness: float) -> Surface:
    """A tile as a square from -1 to 1."""
    side = len(heights)
    axis = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(axis, axis[::-1])
    vertices = np.stack([2 * u - 1, 2 * v - 1, 2 * (heights - heights.mean())], -1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    lower, right = corner + side, corner + 1
    faces = np.concatenate([np.stack([corner, lower, right], -1), np.stack([right, lower, lower + 1], -1)])
    uv = np.stack([u, v], -1).reshape(-1, 2)
    return Surface(vertices, normals_of(heights).reshape(-1, 3), uv, faces, colour, roughness)


_GREY = np.full((1, 1, 3), 128, np.uint8)


def _with_look(surface: Surface, material: Any) -> Surface:
    """Colour, roughness and metalness of trimesh's material; the latter two are green and blue in glTF."""
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if picture is None:
        raise ValueError("a part without a picture")
    surface = replace(surface, colour=np.array(picture.convert("RGB")))
    rough = getattr(material, "metallicRoughnessTexture", None)
    if rough is None:
        return surface
    if rough.mode == "L":
        return replace(surface, roughness=np.array(rough))
    channels = np.array(rough.convert("RGB"))
    factor = getattr(material, "metallicFactor", None)
    metalness = channels[..., 2].copy() if factor is None else float(factor) * channels[..., 2].mean() / 255
    return replace(surface, roughness=channels[..., 1].copy(), metalness=metalness)


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


def _upload(mi: Any, surface: Surface) -> Any:
    """As Mitsuba's mesh."""
    bsdf = {
        "type": "principled",
        "base_color": {"type": "bitmap", "bitmap": mi.Bitmap(surface.colour)},
        "roughness": _channel(mi, surface.roughness),
        "metallic": _channel(mi, surface.metalness),
    }
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict({"type": "twosided", "surface": bsdf})
    count = len(surface.vertices)
    built = mi.Mesh(
        "part", count, len(surface.faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties
    )
    lengths = np.linalg.norm(surface.normals, axis=1, keepdims=True)
    values = mi.traverse(built)
    values["vertex_positions"] = surface.vertices.astype(np.float32).ravel()
    values["vertex_normals"] = (surface.normals / np.maximum(lengths, 1e-12)).astype(np.float32).ravel()
    # Mitsuba counts down from the top of a picture.
    values["vertex_texcoords"] = np.stack([surface.uv[:, 0], 1 - surface.uv[:, 1]], -1).astype(np.float32).ravel()
    values["faces"] = surface.faces.astype(np.uint32).ravel()
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
