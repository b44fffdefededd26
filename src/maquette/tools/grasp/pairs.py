"""Antipodal pairs: two places of a surface that two fingers can press towards each other without slipping.

By Nguyen (1988), two contacts with friction hold an object in all directions where the line through them lies in both
friction cones: with closing axis v, outward normals n_1 and n_2 and friction mu,

    theta_1 = angle(v, -n_1),  theta_2 = angle(v, n_2),  max(theta_1, theta_2) <= atan(mu).

Drawn are exposed points of the surface; from each a line goes inward along its normal, every second one tilted by a
random angle within the cone. It leaves the object where it passes through exposed surface that faces along it; every
such place is an opposite contact: across a cup's wall, and across the whole cup. A place's depth and normal are means
over what the line passes there, weighted by opacity and by how near the middle of its reach it passes, o (1 - u^2), so
that a single noisy normal does little harm. (The weights are our choice.)
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from maquette.tools.grasp.surface import GraspSurface

_LEAST_FACING = 0.2  # |n . v| below which the line slides along the surface instead of passing through
_CHUNK = 256  # lines at a time


@dataclass(frozen=True)
class Pairs:
    """Pairs of contacts, in scene units; the first of a pair is where its line began.

    Attributes:
        contacts: both places.
        normals: outward unit normals there.
        angles_rad: theta_1 and theta_2.
        tangents: a direction of the surface at the first contact, which turns with the object.
        rejected: lines and opposite contacts that came to nothing, by the reason.
    """

    contacts: Float[np.ndarray, "pairs 2 3"]
    normals: Float[np.ndarray, "pairs 2 3"]
    angles_rad: Float[np.ndarray, "pairs 2"]
    tangents: Float[np.ndarray, "pairs 3"]
    rejected: dict[str, int]

    @property
    def widths(self) -> Float[np.ndarray, " pairs"]:
        """Between the contacts."""
        return np.linalg.norm(self.contacts[:, 1] - self.contacts[:, 0], axis=1)

    @property
    def closing(self) -> Float[np.ndarray, "pairs 3"]:
        """Unit, from the first contact to the second."""
        return (self.contacts[:, 1] - self.contacts[:, 0]) / self.widths[:, None]


def antipodal_pairs(
    surface: GraspSurface, friction: float, narrowest: float, widest: float, draws: int, seed: int = 0
) -> Pairs:
    """Pairs within both friction cones; see the module's page.

    Args:
        surface: what is held.
        friction: mu, the coefficient of friction of fingers on the object.
        narrowest, widest: distances of the contacts, scene units.
        draws: lines.
        seed: of the points and tilts; the draws belong to points by their number, so that they turn with the object.
    """
    random = np.random.default_rng(seed)
    cone = math.atan(friction)
    order = random.permutation(len(surface.points))
    order = order[surface.exposed[order]]
    tilts, turns = cone * np.sqrt(random.random(draws)), 2 * math.pi * random.random(draws)
    tilts[::2] = 0
    rejected: dict[str, int] = dict.fromkeys(
        ("no opposite side", "too wide", "too thin", "outside the friction cone"), 0
    )
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    if len(order) == 0:
        return _packed(found, rejected)
    starts = np.resize(order, draws)
    sideways = np.cos(turns)[:, None] * surface.axes[starts, 0] + np.sin(turns)[:, None] * surface.axes[starts, 1]
    lines = -np.cos(tilts)[:, None] * surface.normals[starts] + np.sin(tilts)[:, None] * sideways
    spacing = surface.spacing
    for begin in range(0, draws, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        depth, facing, weight = _crossings(surface, surface.points[starts[part]], lines[part])
        for row, (start, line) in enumerate(zip(starts[part], lines[part], strict=True)):
            hit = np.flatnonzero(weight[row])
            passed = (depth[row, hit], facing[row, hit], weight[row, hit], surface.normals[hit])
            ends = _contacts(*passed, spacing)
            if not ends:
                rejected["no opposite side"] += 1
                continue
            (t_1, n_1), *others = ends
            for t_2, n_2 in others:
                angles = np.arccos(np.clip([-n_1 @ line, n_2 @ line], -1, 1))
                reason = _fault(t_2 - t_1, angles, cone, narrowest, widest)
                if reason:
                    rejected[reason] += 1
                    continue
                places = surface.points[start] + np.array([[t_1], [t_2]]) * line
                found.append((places, np.stack([n_1, n_2]), angles, surface.axes[start, 0]))
    return _packed(found, rejected)


def _crossings(
    surface: GraspSurface, origins: np.ndarray, lines: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where lines pass through the surface's pieces: depths, n . v, and weights, zero where they don't; (lines, n)."""
    normals, points = surface.normals, surface.points
    facing = lines @ normals.T
    steep = np.where(np.abs(facing) < _LEAST_FACING, np.inf, facing)
    depth = ((points * normals).sum(1) - origins @ normals.T) / steep
    square = np.zeros_like(depth)
    for k in range(2):
        axis = surface.axes[:, k] / surface.reach[:, k : k + 1]
        square += (origins @ axis.T + depth * (lines @ axis.T) - (points * axis).sum(1)) ** 2
    weight = surface.opacity * surface.exposed * np.maximum(1 - square, 0)
    weight[~np.isfinite(steep)] = 0
    return depth, facing, weight


def _contacts(
    depth: np.ndarray, facing: np.ndarray, weight: np.ndarray, normals: np.ndarray, spacing: float
) -> list[tuple[float, np.ndarray]]:
    """The place where a line begins, and the places behind it where it leaves the object: depth and mean normal."""
    near = (facing < 0) & (np.abs(depth) < spacing)
    leaving = np.flatnonzero((facing > 0) & (depth > 0))
    if not near.any() or len(leaving) == 0:
        return []
    leaving = leaving[np.argsort(depth[leaving], kind="stable")]
    groups = np.split(leaving, np.flatnonzero(np.diff(depth[leaving]) > spacing / 2) + 1)
    places = []
    for members in (np.flatnonzero(near), *groups):
        share = weight[members] / weight[members].sum()
        normal = share @ normals[members]
        places.append((float(share @ depth[members]), normal / np.linalg.norm(normal)))
    return places


def _fault(width: float, angles: np.ndarray, cone: float, narrowest: float, widest: float) -> str:
    if width > widest:
        return "too wide"
    if width < narrowest:
        return "too thin"
    return "outside the friction cone" if angles.max() > cone else ""


def _packed(found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], rejected: dict[str, int]) -> Pairs:
    shapes = ((2, 3), (2, 3), (2,), (3,))
    columns = [np.array([pair[k] for pair in found], dtype=float).reshape(-1, *shape) for k, shape in enumerate(shapes)]
    return Pairs(columns[0], columns[1], columns[2], columns[3], rejected)
