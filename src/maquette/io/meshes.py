"""Meshes to files: glTF binary, Wavefront OBJ, PLY and STL, by trimesh.

All keep the frame of memory: x right, y up, z towards the viewer, which is also glTF's.

    .glb   vertices, normals, texture coordinates, the picture as an embedded PNG; a mesh with a size in metres
    .obj   the same in text, with NAME.mtl and NAME.texture.png beside it
    .ply   binary: vertices, normals, and the picture's colours at the vertices
    .stl   binary: triangles alone

A mesh with a size is in millimetres in .obj, .ply and .stl.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply
from trimesh.exchange.stl import export_stl
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from maquette.catalogue import MESH_WRITE_SUFFIXES
from maquette.errors import InputError
from maquette.geometry.mesh import Mesh
from maquette.io.files import write_bytes
from maquette.io.images import to_srgb8


def write_mesh(path: Path, mesh: Mesh, picture: Float[Tensor, "height width 3"] | None = None) -> list[Path]:
    """Write a mesh; see the module's page for what each kind of file holds.

    Args:
        path: its suffix says which kind.
        mesh: what to write.
        picture: linear colour, of any size; it spans the texture coordinates 0 to 1.

    Returns:
        The files written, `path` first.

    Raises:
        InputError: an unknown suffix, or a file can't be written; a single file is then whole or absent, of an
            OBJ the picture or the material may be there without it.
    """
    suffix = path.suffix.lower()
    if suffix not in MESH_WRITE_SUFFIXES:
        raise InputError(f"{path}: a mesh ends in one of {', '.join(MESH_WRITE_SUFFIXES)}")
    image = None if picture is None else to_srgb8(picture).cpu().numpy()
    if suffix == ".obj":
        return _write_obj(path, mesh, image)
    if suffix == ".glb":
        content = export_glb(trimesh.Scene(_built(mesh, _material(image), _metres(mesh))), include_normals=True)
    elif suffix == ".ply":
        built = _built(mesh, None, mesh.unit_mm or 1.0)
        if image is not None:
            built.visual = ColorVisuals(built, vertex_colors=_colours(mesh.uv, image))
        content = export_ply(built, vertex_normal=True)
    else:
        content = export_stl(_built(mesh, None, mesh.unit_mm or 1.0))
    write_bytes(path, content)
    return [path]


def _metres(mesh: Mesh) -> float:
    return 1.0 if mesh.unit_mm is None else mesh.unit_mm / 1000


def _built(mesh: Mesh, material: Any, scale: float) -> trimesh.Trimesh:
    visual = None if material is None else TextureVisuals(uv=mesh.uv, material=material)
    return trimesh.Trimesh(
        mesh.vertices * scale, mesh.faces, vertex_normals=mesh.normals, visual=visual, process=False, validate=False
    )


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


def _colours(uv: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    column = (uv[:, 0] * width).astype(int).clip(0, width - 1)
    row = ((1 - uv[:, 1]) * height).astype(int).clip(0, height - 1)
    return image[row, column]
