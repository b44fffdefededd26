"""The Extended Chamfer Distance as two loops in float64: what `maquette.gaussians.chamfer` must equal."""

import numpy as np
from oracles.gaussian_normals import covariance

Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]  # mean, log scales, quaternion, colour, opacity


def extended_chamfer(a: list[Row], b: list[Row], scale: float, color: float, opacity: float, rotation: float) -> float:
    """The mean difference to the nearest of the other set, there and back."""

    def one_way(some: list[Row], others: list[Row]) -> float:
        total = 0.0
        for mean, log_scale, quaternion, own_color, own_opacity in some:
            near = min(others, key=lambda other: float(np.linalg.norm(mean - other[0])))
            total += sum((mean[k] - near[0][k]) ** 2 for k in range(3))
            total += scale * sum((p - q) ** 2 for p, q in zip(sorted(log_scale), sorted(near[1]), strict=True))
            total += color * sum((own_color[k] - near[3][k]) ** 2 for k in range(3))
            total += opacity * (own_opacity - near[4]) ** 2
            apart = _shape(log_scale, quaternion) - _shape(near[1], near[2])
            total += rotation * sum(apart[i, j] ** 2 for i in range(3) for j in range(3))
        return total / len(some)

    return one_way(a, b) + one_way(b, a)


def _shape(log_scale: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    return covariance(np.exp(log_scale), quaternion) / sum(np.exp(2 * s) for s in log_scale)
