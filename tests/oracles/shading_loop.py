"""Normals from shadings, one pixel and one frame after the other, in float64: what `maquette.shading.solve` must equal.

Straight from the page of that module; shares no code with it.
"""

import math

import numpy as np


def solve_pixel(shading: np.ndarray, lights: np.ndarray, solver: str) -> np.ndarray:
    """x = albedo times normal, of one pixel."""
    frames = range(len(shading))
    if solver == "least-squares":
        return _fit(shading, lights, [1.0 for _ in frames], 1e-12)
    if solver == "paper":
        return _fit(shading, lights, [1.0 if shading[k] > 0 else 0.0 for k in frames], 1e-6)
    level = 0.3 * math.sqrt(sum(s * s for s in shading) / len(shading))
    weights = [1.0 if shading[k] > level else 0.0 for k in frames]
    if sum(weights) < 3:
        weights = [1.0 for _ in frames]
    x = _fit(shading, lights, weights, 1e-12)
    mu = 8.0
    for _ in range(20):
        predicted = [float(lights[k] @ x) for k in frames]
        lit = [p > 0 for p in predicted]
        kept = [k for k in frames if lit[k]]
        off = [abs(shading[k] - predicted[k]) for k in frames]
        mean = sum(weights[k] * off[k] for k in kept) / max(sum(weights[k] for k in kept), 1e-12)
        sigma = 1.2533 * mean * math.sqrt(len(kept) / max(len(kept) - 3, 1))
        c = max(0.05 * float(np.linalg.norm(x)), 2.5 * sigma)
        weights = [(mu * c * c / (off[k] ** 2 + mu * c * c)) ** 2 if lit[k] else 0.0 for k in frames]
        if len(kept) < 3:
            weights = [1.0 for _ in frames]
        before, x = x, _fit(shading, lights, weights, 1e-12)
        if mu == 1 and np.linalg.norm(x - before) <= 1e-4 * np.linalg.norm(x):
            break
        mu = max(1.0, mu / 1.6)
    return x


def _fit(shading: np.ndarray, lights: np.ndarray, weights: list[float], ridge: float) -> np.ndarray:
    gram, right = ridge * np.eye(3), np.zeros(3)
    for k, weight in enumerate(weights):
        gram += weight * np.outer(lights[k], lights[k])
        right += weight * shading[k] * lights[k]
    return np.linalg.solve(gram, right)
