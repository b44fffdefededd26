"""Tangent space: normals of a texture relative to the surface that it lies on.

At every texel the basis has three orthonormal columns. N is the smooth surface's unit normal; T is the direction
in which the texture's u grows (to the right in its image), made perpendicular to N; B completes them to the side
on which v grows (up in the image): B = s N x T, with s = -1 where the texture is mirrored on the surface. That
is glTF 2.0's definition of TANGENT and its w; unlike MikkTSpace, T and N are made orthonormal at every texel, so
that the change of space is a rotation (or a reflection) and can be undone exactly.

A map in tangent space is (0, 0, 1) where the detail doesn't tilt the surface. What is done to a texel depends on
that texel alone: a texture that tiles still does.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.mesh import with_normals
from maquette.geometry.vectors import unit
from maquette.types import Mesh

_MOST_REPEATS = 64  # how often one face may repeat the texture: all of them are looked at
_ON_EDGE = 1e-9  # of barycentric coordinates: texel centres on an edge that two faces share belong to the first


def tangent_basis(
    normals: Float[Tensor, "*batch 3"], along_u: Float[Tensor, "*batch 3"], mirrored: Bool[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3 3"]:
    """The columns T, B, N of every texel, as the module's page defines them.

    Args:
        normals: of the smooth surface, not zero.
        along_u: where u grows, not parallel to the normal.
        mirrored: true where v grows towards -(N x T).
    """
    n = unit(normals)
    t = unit(along_u - n * (n * along_u).sum(-1, keepdim=True))
    b = torch.linalg.cross(n, t)
    b = torch.where(mirrored[..., None], -b, b)
    return torch.stack([t, b, n], dim=-1)


def object_to_tangent(
    normals: Float[Tensor, "*batch 3"], basis: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch 3"]:
    """Normals in object space to (along T, along B, along N)."""
    return torch.einsum("...ij,...i->...j", basis, normals)


def tangent_to_object(
    normals: Float[Tensor, "*batch 3"], basis: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch 3"]:
    """The inverse of `object_to_tangent`."""
    return torch.einsum("...ij,...j->...i", basis, normals)


def texture_basis(mesh: Mesh, width: int, height: int) -> Float[Tensor, "height width 3 3"]:
    """The basis at every texel's centre of a texture on a mesh.

    N and T are interpolated between the vertices; T at a vertex is the mean over its faces, weighted by area,
    the mirrored and the others apart. Texels that no face covers (the gutter between the charts) get the basis
    of the nearest that one does, over the border of the texture if that is nearer. Where faces overlap in the
    texture, the first counts.

    Args:
        mesh: with texture coordinates; in the space that the basis is asked in. Where it has no normals, they are the
            means of the faces' around a vertex.
        width, height: of the texture, in texels.

    Raises:
        InputError: the mesh has no texture coordinates or numbers that aren't finite, no face of it covers a texel, one
            repeats the texture more than 64 times, or a texel has no tangent.
    """
    vertices, vertex_normals, uv, faces = _arrays(mesh)
    along_u, mirrored = _vertex_tangents(vertices, uv, faces)
    normals = np.zeros((height, width, 3))
    tangents = np.zeros((height, width, 3))
    mirror = np.zeros((height, width), bool)
    free = np.ones((height, width), bool)
    scale = np.array([width, height])
    for face, flipped in zip(faces, mirrored, strict=True):
        # in texels from the top-left corner, x right and y down
        corners = np.stack([uv[face][:, 0], 1 - uv[face][:, 1]], -1) * scale
        if np.prod(np.ptp(corners, axis=0)) > _MOST_REPEATS * width * height:
            raise InputError(
                f"a face of the mesh repeats the texture more than {_MOST_REPEATS} times; use a smaller part"
            )
        rows, columns, weights = _texels(corners)
        rows, columns = rows % height, columns % width
        keep = free[rows, columns]
        rows, columns, weights = rows[keep], columns[keep], weights[keep]
        normals[rows, columns] = weights @ vertex_normals[face]
        tangents[rows, columns] = weights @ along_u[face, int(flipped)]
        mirror[rows, columns] = flipped
        free[rows, columns] = False
    if free.all():
        raise InputError("the mesh covers no texel of the texture; it needs texture coordinates that span an area")
    rows, columns = _nearest(free)
    bases = tangent_basis(*(torch.from_numpy(values[rows, columns]) for values in (normals, tangents, mirror)))
    if not bool(torch.isfinite(bases).all()) or bool((bases.square().sum(-2) < 0.5).any()):
        raise InputError("the mesh has a texel without a tangent: a vertex normal is zero, or lies along u")
    return bases


def _arrays(mesh: Mesh) -> tuple[np.ndarray, ...]:
    """Vertices, normals and texture coordinates as float64, and the faces."""
    if mesh.uv is None:
        raise InputError("the mesh has no texture coordinates; tangent space needs them")
    mesh = with_normals(mesh).cpu()
    assert mesh.normals is not None and mesh.uv is not None
    vertices, normals, uv = (values.double().numpy() for values in (mesh.vertices, mesh.normals, mesh.uv))
    if not all(np.isfinite(array).all() for array in (vertices, normals, uv)):
        raise InputError("the mesh holds NaN or infinite numbers")
    return vertices, normals, uv, mesh.faces.numpy()


def _vertex_tangents(vertices: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where u grows at every vertex, for its faces that aren't mirrored and for those that are; which faces are."""
    corners, uv = vertices[faces], uv[faces]
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (du_1, dv_1), (du_2, dv_2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    area = du_1 * dv_2 - du_2 * dv_1  # twice the face's area in the texture, negative if it is mirrored
    mirrored = area < 0
    # dP/du = (edge_1 dv_2 - edge_2 dv_1) / area; what matters is its direction, so only the sign of area is kept
    along = (edge_1 * dv_2[:, None] - edge_2 * dv_1[:, None]) * np.sign(area)[:, None]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    size = np.linalg.norm(np.cross(edge_1, edge_2), axis=-1, keepdims=True)
    along = along / np.maximum(length, 1e-30) * size
    sums = np.zeros((len(vertices), 2, 3))
    for corner in range(3):
        np.add.at(sums, (faces[:, corner], mirrored.astype(int)), along)
    return sums, mirrored


def _texels(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and barycentric weights of the texel centres inside a triangle, before wrapping."""
    low, high = np.floor(corners.min(0) - 0.5).astype(int), np.ceil(corners.max(0) - 0.5).astype(int)
    columns, rows = (
        axis.ravel() for axis in np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)))
    )
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if area == 0:
        return rows[:0], columns[:0], np.zeros((0, 3))
    x, y = columns + 0.5, rows + 0.5
    of_b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
    of_c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
    weights = np.stack([1 - of_b - of_c, of_b, of_c], -1)
    inside = (weights >= -_ON_EDGE).all(-1)
    return rows[inside], columns[inside], weights[inside]


def _nearest(free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every texel, row and column of the nearest that isn't free; the texture goes on beyond its borders."""
    height, width = free.shape
    # Half a texture on each side holds every nearest texel that a wrap could bring closer.
    top, left = height // 2, width // 2
    around = np.pad(free, ((top, top), (left, left)), mode="wrap")
    nearest = np.asarray(distance_transform_edt(around, return_distances=False, return_indices=True))
    rows, columns = nearest[:, top : top + height, left : left + width]
    return (rows - top) % height, (columns - left) % width
