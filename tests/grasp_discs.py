"""Splats of flat discs whose every measure is known."""

from dataclasses import replace

import numpy as np
import torch

from maquette.geometry.rotation import facing_rotation, multiply, quaternion_to_matrix
from maquette.types import Gaussians


def discs(points: np.ndarray, normals: np.ndarray, across: float, seed: int = 0) -> Gaussians:
    """Thin discs on a surface; which side a normal is on is thrown by a coin, as in any splat."""
    n = len(points)
    coin = np.where(np.random.default_rng(seed).random(n) < 0.5, -1.0, 1.0)[:, None]
    return Gaussians(
        mean=torch.from_numpy(points).float(),
        scale=torch.tensor([across, across, 1e-4]).expand(n, 3).contiguous(),
        rotation=facing_rotation(torch.from_numpy(normals * coin).float()),
        opacity=torch.full((n,), 0.95),
        sh=torch.zeros(n, 1, 3),
    )


def box(sides: tuple[float, float, float], step: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Points on a grid on the faces of a box around the origin, and outward normals."""
    points, normals = [], []
    for axis in range(3):
        u, v = [k for k in range(3) if k != axis]
        counts = [max(round(sides[k] / step), 2) for k in (u, v)]
        grid = np.stack(np.meshgrid(*[(np.arange(c) + 0.5) / c - 0.5 for c in counts], indexing="ij"), -1).reshape(
            -1, 2
        )
        for side in (-1, 1):
            face = np.zeros((len(grid), 3))
            face[:, u], face[:, v], face[:, axis] = grid[:, 0] * sides[u], grid[:, 1] * sides[v], side * sides[axis] / 2
            points.append(face)
            normals.append(np.tile(side * np.eye(3)[axis], (len(grid), 1)))
    return np.concatenate(points), np.concatenate(normals)


def tube(radius: float, height: float, step: float = 0.04, inward: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The mantle of a cylinder about y, seen from outside or from within."""
    around, along = round(2 * np.pi * radius / step), round(height / step)
    angle, y = np.meshgrid(2 * np.pi * np.arange(around) / around, ((np.arange(along) + 0.5) / along - 0.5) * height)
    out = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1).reshape(-1, 3)
    points = radius * out + np.array([0, 1.0, 0]) * y.reshape(-1, 1)
    return points, -out if inward else out


def lid(radius: float, y: float, up: float, step: float = 0.04, hole: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A disc or a ring across y."""
    axis = np.arange(-radius, radius + step / 2, step)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    distance = np.linalg.norm(grid, axis=1)
    grid = grid[(distance < radius) & (distance >= hole)]
    points = np.stack([grid[:, 0], np.full(len(grid), y), grid[:, 1]], 1)
    return points, np.tile([0.0, up, 0.0], (len(points), 1))


def joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several surfaces as one."""
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def cylinder(radius: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    return joined(tube(radius, height), lid(radius, height / 2, 1.0), lid(radius, -height / 2, -1.0))


def cup(radius: float, height: float, wall: float) -> tuple[np.ndarray, np.ndarray]:
    """Open at the top."""
    low, high = -height / 2, height / 2
    points, normals = tube(radius - wall, height - wall, inward=True)
    return joined(
        tube(radius, height),
        (points + [0, wall / 2, 0], normals),
        lid(radius, low, -1.0),
        lid(radius - wall, low + wall, 1.0),
        lid(radius, high, 1.0, step=wall / 2, hole=radius - wall),
    )


def ball(radius: float, count: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - 5**0.5)
    normals = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], 1)
    return radius * normals, normals


def turned(gaussians: Gaussians, rotation: torch.Tensor) -> Gaussians:
    """The same splat turned by a unit quaternion (w, x, y, z)."""
    return replace(
        gaussians,
        mean=gaussians.mean @ quaternion_to_matrix(rotation).T,
        rotation=multiply(rotation.expand_as(gaussians.rotation), gaussians.rotation),
    )


def egg() -> tuple[np.ndarray, np.ndarray]:
    """No two of its places are alike; seen from outside everywhere."""
    _, ball_points = ball(1.0, 1200)
    x, y, z = ball_points.T
    slopes = np.stack([0.25 + 0.1 * x, 0.3 + 0.12 * y, 0.4 + 0.1 * z], 1)
    normals = ball_points / slopes
    points = np.stack([0.25 * x + 0.05 * x**2, 0.3 * y + 0.06 * y**2, 0.4 * z + 0.05 * z**2], 1)
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)
