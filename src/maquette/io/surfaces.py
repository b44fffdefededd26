"""Meshes with texture coordinates, as what a normal texture lies on."""

from pathlib import Path

import numpy as np
import trimesh
from trimesh.visual import TextureVisuals

from maquette.errors import InputError
from maquette.geometry.tangent import TexturedSurface
from maquette.io.decode import require_file


def read_textured_surface(path: Path | str) -> TexturedSurface:
    """Read a mesh whose vertices have texture coordinates, from glb, gltf, obj, ply or what else trimesh reads.

    Of a scene all meshes are joined. Normals are the file's, or the means of the faces around a vertex.

    Raises:
        InputError: no such file, no mesh, a mesh without texture coordinates, or numbers that aren't finite.
    """
    path = Path(path)
    require_file(path)
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # each of trimesh's readers raises what it likes
        raise InputError(f"{path}: not a whole mesh of a kind that is read (glb, gltf, obj, ply)") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise InputError(f"{path}: holds no triangles")
    uv = mesh.visual.uv if isinstance(mesh.visual, TextureVisuals) else None
    if uv is None or len(uv) != len(mesh.vertices):
        raise InputError(f"{path}: has no texture coordinates; tangent space needs them")
    uv, vertices, normals = (np.asarray(a, dtype=np.float64) for a in (uv, mesh.vertices, mesh.vertex_normals))
    if not all(np.isfinite(array).all() for array in (uv, vertices, normals)):
        raise InputError(f"{path}: holds NaN or infinite numbers")
    return TexturedSurface(vertices, normals, uv, np.asarray(mesh.faces, dtype=np.int64))
