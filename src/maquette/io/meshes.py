"""Meshes from files and into files: glTF, Wavefront OBJ, PLY and STL, by trimesh.

All keep the frame of memory: x right, y up, z towards the viewer, which is also glTF's; OBJ and PLY don't say theirs.
Written are

    .glb   vertices, normals, texture coordinates, the texture as an embedded PNG; a mesh with a size in metres
    .obj   the same in text, with NAME.mtl and NAME.texture.png beside it
    .ply   binary: vertices, normals, and the texture's colours at the vertices, or the vertices' own
    .stl   binary: triangles alone

A mesh with a size is in millimetres in .obj, .ply and .stl.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply
from trimesh.exchange.stl import export_stl
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from maquette.catalogue import MESH_SUFFIXES, MESH_WRITE_SUFFIXES
from maquette.errors import InputError
from maquette.io.decode import quiet, require_file
from maquette.io.files import write_bytes
from maquette.io.images import srgb_to_linear, to_srgb8
from maquette.types import Mesh

MAX_BYTES = 1 << 30
MAX_FACES = 2_000_000
MAX_TEXTURE_PX = 4096
NEUTRAL = 0.5  # linear reflectance of faces without colours
_LINE = 4096  # bytes; no name is longer


def read_mesh(path: Path | str, max_faces: int | None = MAX_FACES) -> Mesh:
    """Read a mesh; all objects of a scene become one, placed as the scene has them.

    Colours are, in this order, a picture with texture coordinates, vertex or face colours, the material's colour,
    `NEUTRAL`. Transparency, and all else that a material may say, is not looked at. Normals are the file's; None if
    one of its objects has none.

    Raises:
        InputError: the file is missing, empty, damaged or of another kind, larger than `MAX_BYTES`, has more than
            `max_faces`, or holds no triangles, no extent, or numbers that aren't finite.
    """
    path = Path(path)
    require_file(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise InputError(f"{path}: a mesh to read ends in one of {', '.join(MESH_SUFFIXES)}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; reduce the mesh")
    with readable(path):
        parts = [_part(geometry, transform) for geometry, transform in placed(load_scene(path))]
    count = sum(len(part.faces) for part in parts)
    if count == 0:
        raise InputError(f"{path}: holds no triangles")
    if max_faces is not None and count > max_faces:
        raise InputError(f"{path}: has {count} triangles; at most {max_faces} are read")
    return _require_finite(path, _joined(path, parts))


def load_scene(path: Path, process: bool = False) -> Any:
    """What trimesh makes of a file, as its scene; `process` joins equal vertices and drops what isn't finite.

    Raises:
        InputError: the file is missing, empty, damaged, or of a kind that trimesh doesn't read.
    """
    require_file(path)
    with readable(path):
        return trimesh.load_scene(path, process=process)


def placed(scene: Any) -> Iterator[tuple[trimesh.Trimesh, np.ndarray]]:
    """The meshes of a scene with their places (4, 4), by name; point clouds and lines aren't any."""
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces) > 0:
            yield geometry, transform


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


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what trimesh raises, which is anything, into one line, and keep its own account of the file from view."""
    logger = logging.getLogger("trimesh")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet():
            yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a whole mesh that can be read ({reason})") from error
    finally:
        logger.setLevel(before)


def _part(geometry: trimesh.Trimesh, transform: np.ndarray) -> Mesh:
    """One object of a scene, in the scene's frame."""
    visual: Any = geometry.visual
    vertices = trimesh.transform_points(np.asarray(geometry.vertices, float), transform)
    faces = np.asarray(geometry.faces, np.int64)
    normals = uv = colors = picture = None
    if "vertex_normals" in geometry._cache:  # else trimesh would compute them
        normals = np.asarray(geometry.vertex_normals, float)
        if not np.array_equal(transform[:3, :3], np.eye(3)):
            normals = normals @ np.linalg.inv(transform[:3, :3])
            normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    if visual.kind == "texture":
        uv = None if visual.uv is None else np.asarray(visual.uv, float)
        picture = None if uv is None or not np.isfinite(uv).all() else _picture(visual.material)
        colors = _material_color(visual.material, picture is not None)
        colors = None if colors is None else np.broadcast_to(colors, vertices.shape)
    elif visual.kind == "vertex":
        colors = _linear(np.asarray(visual.vertex_colors)[:, :3])
    elif visual.kind == "face":  # a vertex has one colour: each face gets its own
        colors = _linear(np.asarray(visual.face_colors)[:, :3]).repeat(3, 0)
        vertices, normals = vertices[faces].reshape(-1, 3), None if normals is None else normals[faces].reshape(-1, 3)
        faces = np.arange(faces.size).reshape(-1, 3)
    vertices, faces, normals, uv, colors = (
        None if array is None else torch.from_numpy(np.array(array)) for array in (vertices, faces, normals, uv, colors)
    )
    assert vertices is not None and faces is not None
    textures = () if picture is None else (torch.from_numpy(picture),)
    return Mesh(vertices, faces, normals, uv, colors, textures)


def _picture(material: Any) -> np.ndarray | None:
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if not isinstance(image, Image.Image):
        return None
    if max(image.size) > MAX_TEXTURE_PX:
        image = image.resize([min(side, MAX_TEXTURE_PX) for side in image.size], Image.Resampling.BOX)
    return np.array(image.convert("RGB"))


def _material_color(material: Any, has_picture: bool) -> np.ndarray | None:
    """Linear: glTF's factor, which is linear, or OBJ's diffuse colour, taken as sRGB; both as trimesh's 8 bits.

    A picture in an OBJ stands for the diffuse colour; in glTF the factor multiplies it.
    """
    if has_picture and not hasattr(material, "baseColorTexture"):
        return None
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None:
        return np.asarray(factor, float)[:3] / 255
    diffuse = getattr(material, "diffuse", None)
    return None if diffuse is None else _linear(np.asarray(diffuse, np.uint8)[:3])


def _joined(path: Path, parts: list[Mesh]) -> Mesh:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]]).tolist()
    for part in parts:
        if int(part.faces.min()) < 0 or int(part.faces.max()) >= len(part.vertices):
            raise InputError(f"{path}: has triangles of vertices that it doesn't hold")
    numbers = np.cumsum([0] + [len(part.textures) for part in parts[:-1]]).tolist()
    texture_index = [
        torch.full((len(part.faces),), number if part.textures else -1)
        for part, number in zip(parts, numbers, strict=True)
    ]
    everywhere = all(part.normals is not None for part in parts)
    return Mesh(
        torch.cat([part.vertices for part in parts]),
        torch.cat([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
        torch.cat([part.normals for part in parts if part.normals is not None]) if everywhere else None,
        _filled([part.uv for part in parts], [torch.zeros(len(part.vertices), 2) for part in parts]),
        _filled([part.colors for part in parts], [_plain(part) for part in parts]),
        tuple(picture for part in parts for picture in part.textures),
        torch.cat(texture_index),
    )


def _plain(part: Mesh) -> torch.Tensor:
    """The colours of a part without any: white under a texture."""
    return torch.full((len(part.vertices), 3), 1.0 if part.textures else NEUTRAL)


def _filled(values: list[torch.Tensor | None], defaults: list[torch.Tensor]) -> torch.Tensor | None:
    """All in one, with defaults for the parts that have none; None if none has any."""
    if all(value is None for value in values):
        return None
    return torch.cat([d.double() if v is None else v for v, d in zip(values, defaults, strict=True)])


def _require_finite(path: Path, mesh: Mesh) -> Mesh:
    used = mesh.vertices[mesh.faces.unique()]
    if not bool(torch.isfinite(used).all()):
        raise InputError(f"{path}: has vertices that are NaN or infinite")
    if not float((used.amax(0) - used.amin(0)).max()) > 0:
        raise InputError(f"{path}: all of its vertices are one point")
    return mesh


def _linear(codes: np.ndarray) -> np.ndarray:
    """8-bit sRGB to light."""
    return srgb_to_linear(torch.arange(256, dtype=torch.float64) / 255).numpy()[codes]


def write_mesh(path: Path | str, mesh: Mesh) -> list[Path]:
    """Write a mesh; see the module's page for what each kind of file holds.

    Args:
        path: its suffix says which kind.
        mesh: what to write, with one texture at most, which lies on all faces; without normals, those of the faces'
            means are written. Colours of vertices go into a .ply alone.

    Returns:
        The files written, `path` first.

    Raises:
        InputError: an unknown suffix, several textures, or a file can't be written; a single file is then whole or
            absent, of an OBJ the texture or the material may be there without it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_WRITE_SUFFIXES:
        raise InputError(f"{path}: a mesh ends in one of {', '.join(MESH_WRITE_SUFFIXES)}")
    if len(mesh.textures) > 1:
        raise InputError(f"{path}: the mesh has {len(mesh.textures)} textures; one at most is written")
    mesh = mesh.cpu()
    image = mesh.textures[0].numpy() if mesh.textures else None
    if suffix == ".obj":
        return _write_obj(path, mesh, image)
    if suffix == ".glb":
        content = export_glb(trimesh.Scene(_built(mesh, _material(image), _metres(mesh))), include_normals=True)
    elif suffix == ".ply":
        built = _built(mesh, None, mesh.unit_mm or 1.0)
        codes = _vertex_codes(mesh)
        if codes is not None:
            built.visual = ColorVisuals(built, vertex_colors=codes)
        content = export_ply(built, vertex_normal=True)
    else:
        content = export_stl(_built(mesh, None, mesh.unit_mm or 1.0))
    write_bytes(path, content)
    return [path]


def _metres(mesh: Mesh) -> float:
    return 1.0 if mesh.unit_mm is None else mesh.unit_mm / 1000


def _built(mesh: Mesh, material: Any, scale: float) -> trimesh.Trimesh:
    uv, normals = (None if array is None else array.numpy() for array in (mesh.uv, mesh.normals))
    visual = None if material is None else TextureVisuals(uv=uv, material=material)
    vertices, faces = mesh.vertices.numpy() * scale, mesh.faces.numpy()
    return trimesh.Trimesh(vertices, faces, vertex_normals=normals, visual=visual, process=False, validate=False)


def _material(image: np.ndarray | None) -> PBRMaterial:
    """Matte; seen from both sides, since a surface without a back is looked at from behind too."""
    picture = None if image is None else Image.fromarray(image)
    return PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True)


def texture_path(path: Path) -> Path:
    """Where an OBJ's picture is written: never the name of the photo that the mesh is named after."""
    return path.with_name(f"{_name_in_obj(path)}.texture.png")


def _name_in_obj(path: Path) -> str:
    return re.sub(r"[^\w.-]", "_", path.stem)  # readers split these names at blanks


def _write_obj(path: Path, mesh: Mesh, image: np.ndarray | None) -> list[Path]:
    name = _name_in_obj(path)
    material = None if image is None else _matte(Image.fromarray(image), texture_path(path).stem)
    built = _built(mesh, material, mesh.unit_mm or 1.0)
    text, others = export_obj(
        built, include_normals=True, include_color=False, return_texture=True, mtl_name=f"{name}.mtl", header="maquette"
    )
    written = []
    for other, content in sorted(others.items(), key=lambda item: item[0].endswith(".mtl")):
        write_bytes(path.parent / other, content)
        written.append(path.parent / other)
    write_bytes(path, text.encode())
    return [path, *written]


def _matte(picture: Image.Image, name: str) -> SimpleMaterial:
    """The picture as it is: readers multiply it by the diffuse colour."""
    white, black = (255, 255, 255, 255), (0, 0, 0, 255)
    return SimpleMaterial(image=picture, name=name, diffuse=white, ambient=white, specular=black)


def _vertex_codes(mesh: Mesh) -> np.ndarray | None:
    """8-bit sRGB at the vertices: the texture's, or their own."""
    if not mesh.textures or mesh.uv is None:
        return None if mesh.colors is None else to_srgb8(mesh.colors).numpy()
    image, uv = mesh.textures[0].numpy(), mesh.uv.numpy()
    height, width = image.shape[:2]
    column = (uv[:, 0] * width).astype(int).clip(0, width - 1)
    row = ((1 - uv[:, 1]) * height).astype(int).clip(0, height - 1)
    return image[row, column]
