"""Two guesses that need no learning, and that every method must beat: a flat wall, an inflated silhouette."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from maquette.errors import InputError
from maquette.types import NormalMap, Photo

_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def flat(photo: Photo) -> NormalMap:
    """Every normal faces the camera: (0, 0, 1) inside the mask (everywhere, if there is no mask)."""
    mask = torch.ones(photo.rgb.shape[:2], dtype=torch.bool) if photo.mask is None else photo.mask
    normals = torch.zeros(*mask.shape, 3)
    normals[mask] = torch.tensor([0.0, 0.0, 1.0])
    return NormalMap(normals, mask)


def inflate(photo: Photo) -> NormalMap:
    """Normals of the silhouette blown up like a balloon; a disc becomes exactly a hemisphere.

    Solve laplace(u) = -4 inside the mask with u = 0 on its border; the height is sqrt(u). For a disc of
    radius r the solution is u = r^2 - x^2 - y^2. Then n ~ (-u_x / 2, -u_y / 2, sqrt(u)), which needs no
    division at the silhouette, where the slope is infinite.

    Raises:
        InputError: the photo has no mask, or an empty one.
    """
    if photo.mask is None or not photo.mask.any():
        raise InputError(f"{photo.name}: inflating needs a mask with the object in it; give one")
    inside = photo.mask.cpu().numpy()
    # The outer frame of zeros makes the border of the picture a border of the object.
    u = _inflation(np.pad(inside, 1))
    down, right = _gradient(u, np.pad(inside, 1))
    vectors = np.stack([-right / 2, down / 2, np.sqrt(np.maximum(u, 0))], axis=-1)[1:-1, 1:-1]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    vectors[inside & (np.abs(vectors).sum(-1) == 0)] = (0, 0, 1)
    normals = torch.from_numpy(np.where(inside[..., None], vectors, 0).astype(np.float32))
    return NormalMap(normals, photo.mask)


def _inflation(inside: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Five-point solution of laplace(u) = -4 on the true pixels, u = 0 on the others; pixel units."""
    index = np.full(inside.shape, -1, np.int64)
    rows, columns = np.nonzero(inside)
    index[rows, columns] = np.arange(len(rows))
    own = index[rows, columns]
    entries, towards = [np.full(len(rows), 4.0)], [own]
    sources = [own]
    for row_step, column_step in _STEPS:
        neighbour = index[rows + row_step, columns + column_step]
        linked = neighbour >= 0
        sources.append(own[linked])
        towards.append(neighbour[linked])
        entries.append(np.full(int(linked.sum()), -1.0))
    places = (np.concatenate(sources), np.concatenate(towards))
    matrix = csc_matrix((np.concatenate(entries), places), shape=(len(rows), len(rows)))
    u = np.zeros(inside.shape)
    # The matrix is symmetric and positive definite: a symmetric ordering halves the fill of the default.
    u[rows, columns] = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
        np.full(len(rows), 4.0)
    )
    return u


def _gradient(
    u: Float[np.ndarray, "height width"], inside: Bool[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Central differences down and right; 0 outside."""
    down = ndimage.correlate1d(u, [-0.5, 0, 0.5], axis=0, mode="constant")
    right = ndimage.correlate1d(u, [-0.5, 0, 0.5], axis=1, mode="constant")
    return down * inside, right * inside
