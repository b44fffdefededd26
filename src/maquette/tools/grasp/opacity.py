"""The field of a splat's opacity, and where it ends.

Every Gaussian has its opacity o_i at its mean and less around it; jointly they have

    alpha(x) = 1 - prod_i (1 - w_i(x)),   w_i = o_i exp(-q_i / 2),   q_i(x) = |diag(1 / s_i) R_i^T (x - mean_i)|^2

A splat may show the same body by a few opaque Gaussians or by many faint ones; alpha is large in both. The body is
taken to be where alpha is above a level: a ray through x is at least as opaque as alpha(x), since every Gaussian adds
to it the largest of its w_i on the ray. The outward normal is that of the fall of the optical depth
-ln(1 - alpha), which is sum_i w_i / (1 - w_i) R_i diag(s_i^-2) R_i^T (x - mean_i). (Ours.)
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

_REACH = 3.0  # standard deviations; beyond, a Gaussian adds less than 1.2 % of its opacity
_STEPS = 24  # along a line
_CHUNK = 500_000  # pairs at a time, at most
_MOST_OPAQUE = 0.999  # of one Gaussian, so that its optical depth stays finite


class OpacityField(NamedTuple):
    """Gaussians as the field needs them; `whiten` maps an offset from a mean to standard deviations."""

    mean: Float[np.ndarray, "n 3"]
    whiten: Float[np.ndarray, "n 3 3"]
    opacity: Float[np.ndarray, " n"]
    widest: Float[np.ndarray, " n"]


class Ends(NamedTuple):
    """Where lines leave the body.

    Attributes:
        depth: along the line, from where it began; 0 if it doesn't leave it.
        fall: of the optical depth there; not unit.
        leaves: whether a line begins in the body and leaves it on its way.
    """

    depth: Float[np.ndarray, " m"]
    fall: Float[np.ndarray, "m 3"]
    leaves: Bool[np.ndarray, " m"]


def field_of(
    mean: Float[np.ndarray, "n 3"],
    turn: Float[np.ndarray, "n 3 3"],
    scale: Float[np.ndarray, "n 3"],
    opacity: Float[np.ndarray, " n"],
) -> OpacityField:
    """The field of Gaussians whose axes are the columns of `turn`."""
    return OpacityField(mean, turn.transpose(0, 2, 1) / np.maximum(scale, 1e-12)[..., None], opacity, scale.max(1))


def joint_opacity(field: OpacityField, places: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, " m"]:
    """alpha, 0 to 1."""
    optical = np.zeros(len(places))
    for who, where in _near(field, places, 0.0):
        offset = _whitened(field, who, places[where] - field.mean[who])
        optical -= np.bincount(where, np.log1p(-_opacity(field, who, (offset**2).sum(1))), len(places))
    return -np.expm1(-optical)


def ends_of(
    field: OpacityField,
    starts: Float[np.ndarray, "m 3"],
    directions: Float[np.ndarray, "m 3"],
    longest: Float[np.ndarray, " m"],
    level: float,
) -> Ends:
    """The first places along lines where alpha falls to the level.

    Args:
        field: of the splat.
        starts, directions: of the lines; unit.
        longest: how far along each is looked.
        level: of alpha.
    """
    steps = np.linspace(0, 1, _STEPS)
    optical = np.zeros((_STEPS, len(starts)))
    pairs = []
    for who, where in _near(field, starts, float(longest.max(initial=0))):
        begin = _whitened(field, who, starts[where] - field.mean[who])
        along = _whitened(field, who, directions[where] * longest[where, None])
        a, b, c = (along**2).sum(1), (along * begin).sum(1), (begin**2).sum(1)
        nearest = np.clip(-b / np.maximum(a, 1e-300), 0, 1)
        met = a * nearest**2 + 2 * b * nearest + c < _REACH**2
        who, where, a, b, c = (part[met] for part in (who, where, a, b, c))
        pairs.append((who, where))
        for k, t in enumerate(steps):
            opacity = _opacity(field, who, a * t * t + 2 * b * t + c)
            optical[k] -= np.bincount(where, np.log1p(-opacity), len(starts))
    least = -np.log1p(-level)
    outside = optical < least
    leaves = ~outside[0] & outside.any(0)
    after = np.where(leaves, outside.argmax(0), 1)
    column = np.arange(len(starts))
    high, low = (np.log(np.maximum(optical[k, column], 1e-300)) for k in (after - 1, after))
    share = (high - np.log(least)) / np.where(leaves, high - low, 1)
    depth = np.where(leaves, (after - 1 + share) / (_STEPS - 1) * longest, 0)
    ends = starts + depth[:, None] * directions
    fall = np.zeros((len(starts), 3))
    for who, where in pairs:
        offset = _whitened(field, who, ends[where] - field.mean[who])
        parts = np.einsum("kij,ki->kj", field.whiten[who], offset)
        opacity = _opacity(field, who, (offset**2).sum(1))
        parts *= (opacity / (1 - opacity))[:, None]
        fall += np.stack([np.bincount(where, parts[:, j], len(starts)) for j in range(3)], 1)
    return Ends(depth, fall, leaves)


def _whitened(field: OpacityField, who: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.einsum("kij,kj->ki", field.whiten[who], offsets)


def _opacity(field: OpacityField, who: np.ndarray, square: np.ndarray) -> np.ndarray:
    return np.minimum(field.opacity[who] * np.exp(-square / 2), _MOST_OPAQUE)


def _near(field: OpacityField, places: np.ndarray, slack: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a Gaussian and a place that it may reach, also if the place moves by `slack`, a chunk at a time."""
    tree = KDTree(places)
    block = max(1, _CHUNK // max(len(places), 1))
    for begin in range(0, len(field.mean), block):
        part = slice(begin, begin + block)
        found = tree.query_ball_point(field.mean[part], _REACH * field.widest[part] + slack)
        counts = [len(group) for group in found]
        where = np.fromiter(chain.from_iterable(found), np.int32, sum(counts))
        yield np.repeat(np.arange(begin, begin + len(counts), dtype=np.int32), counts), where
