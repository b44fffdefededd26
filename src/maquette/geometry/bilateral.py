"""The numerical core of normal integration: weights of one-sided differences, and the rounds that reweight them.

The unknown q is a height-like quantity in pixels (see `maquette.geometry.integrate`). At every pixel the normal
asks that q changes by g / m to the next pixel and from the one before it, along both axes. Bilateral weights
(Cao, Santo, Shi, Okura, Matsushita, "Bilateral normal integration", ECCV 2022, equations 16 to 19) believe the
side on which q changes less, since a surface is continuous on at least one side of almost every pixel:

    w_after = sigmoid(k * ((m * before)^2 - (m * after)^2)),   w_before = 1 - w_after

where before and after are the one-sided differences of the current q. With the weights fixed, the energy

    sum over pixels and axes of c * (w_after * (m * after - g)^2 + w_before * (m * before - g)^2)

is a weighted Laplacian of q on the pixel grid; rounds of weighing and solving lower it until it stays.
"""

from math import exp
from typing import NamedTuple

import numpy as np
from numba import njit

from maquette.geometry import multigrid

# What follows is ours. Steeper than 1 in 10, a slope can't be told from a step, and the smallest error of a
# normal is a large one of the slope: m is held above this. Chosen on generated shapes.
_SMALLEST_FACING = 0.1
# A pull towards the round before, per pixel: a piece that has come loose on all sides stays where it is.
_INERTIA = 1e-9
_FIRST_TOLERANCE = 1e-4  # of the linear solves; the first starts from nothing, and the others from it
_LATER_TOLERANCE = 1e-3
_MAX_STEPS = 50


class Problem(NamedTuple):
    """What is to be integrated; all arrays (height, width), zero where `inside` is false.

    Attributes:
        inside: true where there is a normal.
        facing: m, the cosine between the normal and the direction to the viewer.
        right, down: g of both axes.
        confidence: c, positive.
        anchor: wanted q.
        anchor_weight: how much it is wanted; 0 where there is no anchor.
    """

    inside: np.ndarray
    facing: np.ndarray
    right: np.ndarray
    down: np.ndarray
    confidence: np.ndarray
    anchor: np.ndarray
    anchor_weight: np.ndarray


class Solution(NamedTuple):
    """The unknown, and how it was come by.

    Attributes:
        q: (height, width), pixels; each piece without an anchor has its own arbitrary offset.
        rounds: of weighing and solving.
        steps: of conjugate gradients, over all rounds.
        energy: the last.
        settled: whether the energy stayed before the rounds ran out.
    """

    q: np.ndarray
    rounds: int
    steps: int
    energy: float
    settled: bool


def reweighted(problem: Problem, sharpness: float, tolerance: float, max_rounds: int) -> Solution:
    """Weigh and solve until the energy changes by less than `tolerance` of itself.

    Args:
        problem: what is to be integrated.
        sharpness: k of the sigmoid; 0 weighs both sides equally in every round, which is a Poisson solve.
        tolerance: relative.
        max_rounds: at least 1.
    """
    bordered = [np.pad(field.astype(np.float64), 1) for field in problem[1:]]
    inside = np.pad(problem.inside, 1)
    facing, right, down, confidence, anchor, anchor_weight = bordered
    np.maximum(facing, _SMALLEST_FACING, out=facing)
    q = np.zeros_like(facing)
    east, south, flow_east, flow_south = (np.zeros_like(q) for _ in range(4))
    shift = anchor_weight + _INERTIA * inside
    before, steps = np.inf, 0
    for done in range(max_rounds + 1):
        energy = _weigh(
            q, inside, facing, right, down, confidence, sharpness, east, south, flow_east, flow_south
        )  # fmt: skip
        energy += float((anchor_weight * (q - anchor) ** 2).sum())
        settled = done > 0 and abs(before - energy) <= tolerance * before
        if settled or done == max_rounds:
            return Solution(q[1:-1, 1:-1], done, steps, energy, settled)
        before = energy
        right_side = anchor_weight * anchor + _INERTIA * q
        right_side -= flow_east
        right_side[:, 1:] += flow_east[:, :-1]
        right_side -= flow_south
        right_side[1:] += flow_south[:-1]
        levels = multigrid.build(multigrid.five_point(east, south, shift))
        q, taken = multigrid.solve(
            levels, right_side, q, _LATER_TOLERANCE if done else _FIRST_TOLERANCE, _MAX_STEPS
        )  # fmt: skip
        steps += taken
    raise AssertionError("the last round returns")


@njit(cache=True)
def _weigh(q, inside, facing, right, down, confidence, sharpness, east, south, flow_east, flow_south):
    """Links and flows of the round's Laplacian, into the last four arrays; returns the energy of q.

    A link (a, b) weighs c_a w_a m_a^2 + c_b w_b m_b^2; its flow is the same sum with m g in place of m^2. A
    missing neighbour counts as no difference.
    """
    east[:], south[:], flow_east[:], flow_south[:] = 0.0, 0.0, 0.0, 0.0
    energy = 0.0
    for i in range(1, q.shape[0] - 1):
        for j in range(1, q.shape[1] - 1):
            if not inside[i, j]:
                continue
            m = facing[i, j]
            for axis in range(2):
                di, dj = axis, 1 - axis
                g = down[i, j] if axis else right[i, j]
                links, flows = (south, flow_south) if axis else (east, flow_east)
                has_after, has_before = inside[i + di, j + dj], inside[i - di, j - dj]
                after = m * (q[i + di, j + dj] - q[i, j]) if has_after else 0.0
                before = m * (q[i, j] - q[i - di, j - dj]) if has_before else 0.0
                w_after = 1.0 / (1.0 + exp(min(sharpness * (after * after - before * before), 700.0)))
                w_before = (1.0 - w_after) * confidence[i, j]
                w_after *= confidence[i, j]
                if has_after:
                    links[i, j] += w_after * m * m
                    flows[i, j] += w_after * m * g
                    energy += w_after * (after - g) ** 2
                if has_before:
                    links[i - di, j - dj] += w_before * m * m
                    flows[i - di, j - dj] += w_before * m * g
                    energy += w_before * (before - g) ** 2
    return energy
