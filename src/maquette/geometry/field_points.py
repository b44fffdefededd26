"""Signed fields (`maquette.geometry.field`) at many points."""

import numpy as np
from numba import njit

from maquette.geometry.field import SolidField, evaluate


@njit(cache=True)
def evaluate_at(field: SolidField, points: np.ndarray) -> np.ndarray:
    """(n,) values at points (n, 3), float64."""
    values = np.empty(len(points))
    for n in range(len(points)):
        values[n] = evaluate(field, points[n, 0], points[n, 1], points[n, 2])
    return values
