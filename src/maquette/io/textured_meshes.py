"""Meshes from files with their own colours: glTF binary, Wavefront OBJ and PLY, by trimesh.

A mesh is taken as it stands in its file, y up and z towards the viewer as in glTF; OBJ and PLY don't say.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from PIL import Image

from maquette.errors import InputError
from maquette.io.decode import quiet, require_file
from maquette.io.images import srgb_to_linear

SUFFIXES = (".glb", ".obj", ".ply")
MAX_BYTES = 1 << 30
MAX_FACES = 2_000_000
MAX_TEXTURE_PX = 4096
_LINE = 4096  # bytes; no name is longer
NEUTRAL = 0.5  # linear reflectance of a mesh without colours


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with the colours that their file gives them.

    Attributes:
        vertices: in the units of the file; equal places are one vertex.
        faces: three vertices each.
        colour: linear, at the corners of each face; it multiplies the texture.
        uv: of the corners: 0 is the left and the bottom border of the texture, 1 the right and the top.
        texture: number of each face's picture; -1 for none.
        textures: sRGB pictures.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    colour: Float[np.ndarray, "faces 3 3"]
    uv: Float[np.ndarray, "faces 3 2"]
    texture: Int[np.ndarray, " faces"]
    textures: tuple[UInt8[np.ndarray, "height width 3"], ...]


def read_textured_mesh(path: Path) -> TexturedMesh:
    """Read a mesh; all objects of a scene become one.

    Colours are, in this order, a picture with texture coordinates, vertex or face colours, the material's colour,
    grey. Transparency, and all else that a material may say, is not looked at.

    Raises:
        InputError: the file is missing, empty, damaged or of another kind, larger than `MAX_BYTES` or `MAX_FACES`,
            or holds no triangles, no extent, or numbers that aren't finite.
    """
    require_file(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a mesh to read ends in one of {', '.join(SUFFIXES)}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; reduce the mesh")
    try:
        with _silent():
            parts = list(_parts(path, trimesh.load_scene(path, process=False)))
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything in a parser
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a whole mesh that can be read ({reason})") from error
    if not parts:
        raise InputError(f"{path}: holds no triangles")
    return _joined(path, parts)


def companions(path: Path) -> list[Path]:
    """The files beside a mesh's own that its colours come from: an OBJ's materials and their pictures, a PLY's picture.

    Those that aren't there are left out, as the reader does without them. A glTF binary holds its own.

    Raises:
        OSError: one can't be read.
    """
    named: list[str] = []
    if path.suffix.lower() == ".obj":
        for materials in _named(path, "mtllib")[:1]:  # trimesh reads the first one alone
            library = path.parent / materials
            named += [materials, *(_named(library, "map_kd") if library.is_file() else [])]
    elif path.suffix.lower() == ".ply":
        named = _named(path, "comment texturefile", until=b"end_header")[-1:]
    return [path.parent / name for name in dict.fromkeys(named) if (path.parent / name).is_file()]


def _named(path: Path, keyword: str, until: bytes = b"\0") -> list[str]:
    """What follows a keyword at the beginning of a file's lines."""
    found = []
    with path.open("rb") as file:
        while (line := file.readline(_LINE)) and not line.startswith(until):
            if line.strip()[: len(keyword)].lower() == keyword.encode():
                found.append(line.strip()[len(keyword) :].strip().decode(errors="replace"))
    return found


def colours_at(
    mesh: TexturedMesh, face: Int[np.ndarray, " n"], weight: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Linear colours at places on the mesh: face numbers, and the weights of their corners. Textures repeat."""
    colour = (mesh.colour[face] * weight[..., None]).sum(1)
    uv = (mesh.uv[face] * weight[..., None]).sum(1)
    for number, picture in enumerate(mesh.textures):
        here = mesh.texture[face] == number
        height, width = picture.shape[:2]
        x = uv[here, 0] % 1 * width - 0.5
        y = (1 - uv[here, 1] % 1) * height - 0.5
        colour[here] *= _bilinear(_linear(picture), x, y)
    return colour


def shrink_textures(mesh: TexturedMesh, side_px: int) -> TexturedMesh:
    """The same mesh with pictures of at most `side_px`, each pixel the mean of those it stands for."""
    shrunk = []
    for picture in mesh.textures:
        scale = side_px / max(picture.shape[:2])
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        shrunk.append(picture if scale >= 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return TexturedMesh(mesh.vertices, mesh.faces, mesh.colour, mesh.uv, mesh.texture, tuple(shrunk))


@dataclass(frozen=True)
class _Part:
    vertices: np.ndarray
    faces: np.ndarray
    colour: np.ndarray
    uv: np.ndarray
    picture: np.ndarray | None


def _parts(path: Path, scene: Any) -> Iterator[_Part]:
    """The objects of a scene, placed; point clouds and lines aren't any."""
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or len(geometry.faces) == 0:
            continue
        vertices = trimesh.transform_points(np.asarray(geometry.vertices, float), transform)
        faces = np.asarray(geometry.faces, np.int64)
        if len(faces) > MAX_FACES:
            raise InputError(f"{path}: has {len(faces)} triangles; at most {MAX_FACES} are read")
        yield _Part(vertices, faces, *_look(geometry, faces))


def _look(geometry: trimesh.Trimesh, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Colours and texture coordinates at the corners, and the picture."""
    visual: Any = geometry.visual
    plain = np.full((len(faces), 3, 3), NEUTRAL)
    nowhere = np.zeros((len(faces), 3, 2))
    if visual.kind == "texture":
        picture = _picture(visual.material)
        own = _material_colour(visual.material)
        uv = None if visual.uv is None else np.asarray(visual.uv, float)
        if picture is None or uv is None or not np.isfinite(uv).all():
            return (plain if own is None else np.broadcast_to(own, plain.shape).copy()), nowhere, None
        # A picture in an OBJ stands for the diffuse colour; in glTF the factor multiplies it.
        factor = own if own is not None and hasattr(visual.material, "baseColorTexture") else np.ones(3)
        return np.broadcast_to(factor, plain.shape).copy(), uv[faces], picture
    if visual.kind == "vertex":
        return _linear(np.asarray(visual.vertex_colors)[:, :3])[faces], nowhere, None
    if visual.kind == "face":
        return np.repeat(_linear(np.asarray(visual.face_colors)[:, None, :3]), 3, 1), nowhere, None
    return plain, nowhere, None


def _picture(material: Any) -> np.ndarray | None:
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if not isinstance(image, Image.Image):
        return None
    if max(image.size) > MAX_TEXTURE_PX:
        image = image.resize([min(side, MAX_TEXTURE_PX) for side in image.size], Image.Resampling.BOX)
    return np.asarray(image.convert("RGB"))


def _material_colour(material: Any) -> np.ndarray | None:
    """Linear: glTF's factor, which is linear, or OBJ's diffuse colour, taken as sRGB; both as trimesh's 8 bits."""
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None:
        return np.asarray(factor, float)[:3] / 255
    diffuse = getattr(material, "diffuse", None)
    return None if diffuse is None else _linear(np.asarray(diffuse, np.uint8)[:3])


def _joined(path: Path, parts: list[_Part]) -> TexturedMesh:
    if sum(len(part.faces) for part in parts) > MAX_FACES:
        raise InputError(f"{path}: has more than {MAX_FACES} triangles; reduce the mesh")
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{path}: has triangles of vertices that it doesn't hold")
    used = vertices[np.unique(faces)]
    if not np.isfinite(used).all():
        raise InputError(f"{path}: has vertices that are NaN or infinite")
    if not np.ptp(used, axis=0).max() > 0:
        raise InputError(f"{path}: all of its vertices are one point")
    # Files split vertices where colours or textures meet; normals must be smooth across.
    merged, where = np.unique(vertices, axis=0, return_inverse=True)
    pictures = [part.picture for part in parts if part.picture is not None]
    numbers = np.cumsum([part.picture is not None for part in parts]) - 1
    texture = [
        np.full(len(part.faces), -1 if part.picture is None else number)
        for part, number in zip(parts, numbers, strict=True)
    ]
    return TexturedMesh(
        merged,
        where.reshape(-1)[faces],
        np.concatenate([part.colour for part in parts]),
        np.concatenate([part.uv for part in parts]),
        np.concatenate(texture),
        tuple(pictures),
    )


def _linear(codes: np.ndarray) -> np.ndarray:
    """8-bit sRGB to light."""
    return srgb_to_linear(torch.arange(256, dtype=torch.float64) / 255).numpy()[codes]


def _bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A repeating picture at pixel positions whose whole numbers are centres."""
    height, width = picture.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = (x - left)[:, None], (y - top)[:, None]
    rows, columns = (top % height, (top + 1) % height), (left % width, (left + 1) % width)
    upper = picture[rows[0], columns[0]] * (1 - u) + picture[rows[0], columns[1]] * u
    lower = picture[rows[1], columns[0]] * (1 - u) + picture[rows[1], columns[1]] * u
    return upper * (1 - v) + lower * v


@contextmanager
def _silent() -> Iterator[None]:
    """Keep trimesh's own account of a file from standing beside ours."""
    logger = logging.getLogger("trimesh")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(before)
