"""Triangle meshes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Mesh:
    """Triangles with a normal, and a place in a picture, at every vertex.

    Attributes:
        vertices: x right, y up, z towards the viewer.
        faces: three vertices each, counter-clockwise seen from outside.
        normals: unit, outward.
        uv: place in the picture: 0 is its left and bottom border, 1 its right and top.
        unit_mm: how many millimetres a unit is; None if the mesh has no size.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    normals: Float[np.ndarray, "vertices 3"]
    uv: Float[np.ndarray, "vertices 2"]
    unit_mm: float | None = None
