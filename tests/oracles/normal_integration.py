"""Bilateral normal integration, pixel by pixel, with a sparse direct solver: float64, no grid tricks.

Residuals are listed one by one, as the paper writes them, instead of being gathered into links.
"""

import numpy as np
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve


def integrate(problem, sharpness: float, rounds: int, inertia: float = 1e-9) -> np.ndarray:
    """q of a `maquette.geometry.bilateral.Problem` after so many rounds of weighing and solving."""
    inside = problem.inside
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    facing = np.maximum(problem.facing, 0.1)
    q = np.zeros(inside.sum())
    for _ in range(rounds):
        demands = []
        for i, j in np.argwhere(inside):
            for di, dj, g in ((0, 1, problem.right[i, j]), (1, 0, problem.down[i, j])):
                m, here = facing[i, j], index[i, j]
                after, before = _at(index, i + di, j + dj), _at(index, i - di, j - dj)
                step_after = m * (q[after] - q[here]) if after >= 0 else 0.0
                step_before = m * (q[here] - q[before]) if before >= 0 else 0.0
                believed = 1 / (1 + np.exp(-sharpness * (step_before**2 - step_after**2)))
                if after >= 0:
                    demands.append((here, after, m, g, problem.confidence[i, j] * believed))
                if before >= 0:
                    demands.append((before, here, m, g, problem.confidence[i, j] * (1 - believed)))
        first, second, m, wanted, weights = (np.array(column) for column in zip(*demands, strict=True))
        row = np.arange(len(demands))
        places = (np.concatenate([row, row]), np.concatenate([first, second]).astype(int))
        matrix = csr_matrix((np.concatenate([-m, m]), places), shape=(len(demands), len(q)))
        weighted = matrix.T.multiply(weights)
        hold = inertia * identity(len(q)) + csr_matrix(np.diag(problem.anchor_weight[inside]))
        right_side = weighted @ wanted + inertia * q + problem.anchor_weight[inside] * problem.anchor[inside]
        q = np.asarray(spsolve((weighted @ matrix + hold).tocsc(), right_side))
    full = np.zeros(inside.shape)
    full[inside] = q
    return full


def _at(index: np.ndarray, i: int, j: int) -> int:
    return int(index[i, j]) if 0 <= i < index.shape[0] and 0 <= j < index.shape[1] else -1
