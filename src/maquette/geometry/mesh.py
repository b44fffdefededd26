"""Triangle meshes: places that stand twice joined, and normals of vertices."""

from dataclasses import replace

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int

from maquette.types import Mesh


def weld(mesh: Mesh) -> tuple[Float[np.ndarray, "places 3"], Int[np.ndarray, "faces 3"]]:
    """Vertices and faces in which equal places are one vertex.

    Files split vertices where colours or textures meet; what is to be smooth, or one piece, across needs them joined.
    """
    places, index = np.unique(mesh.vertices.cpu().numpy(), axis=0, return_inverse=True)
    return places, index.reshape(-1)[mesh.faces.cpu().numpy()]


def with_normals(mesh: Mesh) -> Mesh:
    """The same mesh; if it has no normals, those of the vertices are the means of their faces', weighted by angle."""
    if mesh.normals is not None:
        return mesh
    built = trimesh.Trimesh(mesh.vertices.cpu().numpy(), mesh.faces.cpu().numpy(), process=False, validate=False)
    normals = torch.from_numpy(np.array(built.vertex_normals)).to(mesh.vertices)
    return replace(mesh, normals=normals)
