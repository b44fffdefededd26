"""Covariances and thinnest axes, one Gaussian after the other in float64: what `maquette.gaussians` must equal.

Turns vectors with the sandwich product of quaternions and finds eigenvectors by inverse iteration; shares no formula
with the package.
"""

import numpy as np


def turn(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """q (0, v) q* / |q|^2, for a quaternion (w, x, y, z)."""
    conjugate = quaternion * np.array([1.0, -1, -1, -1])
    middle = _product(quaternion, np.array([0.0, *vector]))
    return _product(middle, conjugate)[1:] / float(quaternion @ quaternion)


def covariance(scale: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """The sum of scale_k^2 a_k a_k^T over the turned axes a_k."""
    total = np.zeros((3, 3))
    for k in range(3):
        axis = turn(quaternion, np.eye(3)[k])
        total += scale[k] ** 2 * np.outer(axis, axis)
    return total


def thinnest_axis(sigma: np.ndarray) -> np.ndarray:
    """The eigenvector of the smallest eigenvalue: inverse iteration from every axis, the best one, up to its sign."""
    shifted = sigma - 1e-9 * np.trace(sigma) * np.eye(3)
    best, least = np.zeros(3), np.inf
    for start in np.eye(3) + 0.1:
        vector = start
        for _ in range(500):
            vector = np.linalg.solve(shifted, vector)
            vector = vector / np.linalg.norm(vector)
        quotient = float(vector @ sigma @ vector)
        if quotient < least:
            best, least = vector, quotient
    return best


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    scalar = a[0] * b[0] - a[1:] @ b[1:]
    return np.array([scalar, *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])
