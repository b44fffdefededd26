"""Two methods as one: their normals, weighted by how far each can be trusted where it stands.

Each method says of every pixel which angle it expects to be off by. What that is worth was measured on photos with
known normals: a monotone curve from the expected angle to the root mean square of the true one, s, and the
correlation rho of both methods' errors, vectors in the plane tangent to the true normal. The combination

    n = normalise(w1 n1 + w2 n2),   w1 : w2 = (1/s1^2 - rho/(s1 s2)) : (1/s2^2 - rho/(s1 s2)),

has the least variance, w1^2 s1^2 + w2^2 s2^2 + 2 w1 w2 rho s1 s2, of all whose weights add up to one (Bates and
Granger 1969). Ours: a weight below zero is set to zero. It arises where rho > s1/s2: the worse method's error is then
so like the better one's, only larger, that the best guess lies beyond the better one. To go there would multiply any
mistake in rho; staying costs little, and the map never leaves the arc between the two.

A last curve, measured too, takes the deviation of the combination to its mean angle, which its concentration states.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.geometry.vectors import unit
from maquette.types import NormalMap, Photo

Method = Callable[[Photo], NormalMap]

KNOTS = 12  # of a curve
_LEAST_ANGLE_RAD = 1e-3  # of what is told apart; as `concentration_from_angle` has it
_MOST_CORRELATION = 0.99
_NOWHERE_RAD = 1e6  # the error of a method that has no normal: its say is nothing


@dataclass(frozen=True)
class ErrorCurve:
    """What was measured where a given angle was expected: straight lines between knots, both axes logarithmic.

    Attributes:
        expected_deg: of the knots, increasing.
        measured_deg: likewise, never falling: constant before the first and after the last.
    """

    expected_deg: tuple[float, ...]
    measured_deg: tuple[float, ...]

    def __post_init__(self) -> None:
        both = (*self.expected_deg, *self.measured_deg)
        if len(self.expected_deg) != len(self.measured_deg) or not self.expected_deg:
            raise InputError(
                f"{len(self.expected_deg)} expected, {len(self.measured_deg)} measured angles; as many are needed"
            )
        if not all(0 < angle <= 180 for angle in both):  # NaN is wrong, too
            raise InputError(f"the angles of a curve are {both}; all must lie in 0..180 degrees, without 0")
        if (np.diff(self.expected_deg) <= 0).any() or (np.diff(self.measured_deg) < 0).any():
            raise InputError("the angles of a curve must increase, those that were measured never fall")

    def __call__(self, angle_rad: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The measured angle, in radians, on the device of the expected one."""
        knots = np.log(np.deg2rad(self.expected_deg)), np.log(np.deg2rad(self.measured_deg))
        asked = np.log(angle_rad.detach().cpu().double().clamp_min(_LEAST_ANGLE_RAD).numpy())
        return torch.from_numpy(np.exp(np.interp(asked, *knots))).to(angle_rad)


@dataclass(frozen=True)
class Calibration:
    """What two methods' confidences are worth, together.

    Attributes:
        first, second: root mean square error of each, by the angle that it expects.
        correlation: of their errors, each divided by its root mean square.
        fused: mean error of the combination, by its deviation.
    """

    first: ErrorCurve
    second: ErrorCurve
    correlation: float
    fused: ErrorCurve

    def __post_init__(self) -> None:
        if not -1 <= self.correlation <= _MOST_CORRELATION:
            raise InputError(f"a correlation of {self.correlation}; it must lie in -1..{_MOST_CORRELATION}")


class Fused:
    """Two methods as one: call it with a `Photo`, get a `NormalMap` with a concentration."""

    def __init__(self, first: Method, second: Method, calibration: Calibration) -> None:
        self.first, self.second, self.calibration = first, second, calibration

    def __call__(self, photo: Photo) -> NormalMap:
        """Normals and concentration, on the masks of both methods together.

        Raises:
            InputError: a method doesn't know its confidence, or what the methods themselves refuse.
        """
        return fuse(self.first(photo), self.second(photo), self.calibration, photo.name)


def fuse(first: NormalMap, second: NormalMap, calibration: Calibration, name: str = "photo") -> NormalMap:
    """The combination of two maps of one photo; where only one of them has a normal, that one.

    Raises:
        InputError: a map carries no concentration, or their sizes differ.
    """
    if first.concentration is None or second.concentration is None:
        raise InputError(f"{name}: fusing needs the confidence of both methods, and one doesn't know its own")
    if first.mask.shape != second.mask.shape:
        raise InputError(
            f"{name}: the maps to fuse are {_size(first)} and {_size(second)}; they must have the same size"
        )
    either = (first.mask | second.mask).cpu()
    spread, normals = [], []
    for found, curve in ((first, calibration.first), (second, calibration.second)):
        kappa = found.concentration.cpu()[either].double()  # pyright: ignore[reportOptionalMemberAccess]
        known = found.mask.cpu()[either]
        spread.append(torch.where(known, curve(expected_angle(kappa)), _NOWHERE_RAD))
        normals.append(found.normals.cpu()[either].double() * known[:, None])
    one, two = normals
    found, deviation = combine(one, two, spread[0], spread[1], calibration.correlation)
    all_normals, concentration = torch.zeros(*either.shape, 3), torch.zeros(either.shape)
    all_normals[either] = found.float()
    concentration[either] = concentration_from_angle(calibration.fused(deviation)).float().clamp_min(1e-3)
    return NormalMap(all_normals, either, concentration)


def combine(
    first: Float[Tensor, "pixels 3"],
    second: Float[Tensor, "pixels 3"],
    first_rad: Float[Tensor, " pixels"],
    second_rad: Float[Tensor, " pixels"],
    correlation: float,
) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
    """Unit normals of least variance, and their deviation in radians.

    Args:
        first, second: unit normals.
        first_rad, second_rad: root mean square errors.
        correlation: of the errors.
    """
    one, two = weights(first_rad, second_rad, correlation)
    covariance = correlation * first_rad * second_rad
    variance = (one * first_rad).square() + (two * second_rad).square() + 2 * one * two * covariance
    facing = first.new_tensor([0.0, 0.0, 1e-6])  # the middle of opposite normals is nowhere
    return unit(one[:, None] * first + two[:, None] * second + facing), variance.clamp_min(0).sqrt()


def weights(
    first_rad: Float[Tensor, " pixels"], second_rad: Float[Tensor, " pixels"], correlation: float
) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    """The weights of `combine`: not negative, one together; see the module's text."""
    shared = correlation * first_rad * second_rad
    one = (second_rad.square() - shared).clamp_min(0)  # both times s1^2 s2^2, which changes no ratio
    two = (first_rad.square() - shared).clamp_min(0)
    return one / (one + two), two / (one + two)


def calibrate(
    first: Float[Tensor, "pixels 3"],
    second: Float[Tensor, "pixels 3"],
    first_rad: Float[Tensor, " pixels"],
    second_rad: Float[Tensor, " pixels"],
    truth: Float[Tensor, "pixels 3"],
) -> Calibration:
    """Measure what two methods' expected angles are worth.

    Args:
        first, second: unit normals of pixels that both methods saw.
        first_rad, second_rad: the angles that they expect to be off by.
        truth: unit normals.

    Raises:
        InputError: fewer pixels than a curve has knots.
    """
    errors = [error_vectors(normals.double(), truth.double()) for normals in (first, second)]
    expected = [first_rad.double(), second_rad.double()]
    curves = [fit_curve(a, e.square().sum(-1), root=True) for a, e in zip(expected, errors, strict=True)]
    spread = [curve(angle) for curve, angle in zip(curves, expected, strict=True)]
    scaled = [e / s[:, None] for e, s in zip(errors, spread, strict=True)]
    powers = [float(e.square().sum(-1).mean()) for e in scaled]
    correlation = float((scaled[0] * scaled[1]).sum(-1).mean()) / math.sqrt(powers[0] * powers[1])
    correlation = min(correlation, _MOST_CORRELATION)
    found, deviation = combine(first.double(), second.double(), spread[0], spread[1], correlation)
    left = torch.linalg.vector_norm(error_vectors(found, truth.double()), dim=-1)
    return Calibration(curves[0], curves[1], correlation, fit_curve(deviation, left, root=False))


def error_vectors(normals: Float[Tensor, "pixels 3"], truth: Float[Tensor, "pixels 3"]) -> Float[Tensor, "pixels 3"]:
    """Errors as vectors tangent to the sphere at the true normals, as long as the angle in radians (logarithm map)."""
    cosine = (normals * truth).sum(-1, keepdim=True)
    across = normals - cosine * truth
    sine = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    return across / sine.clamp_min(1e-12) * torch.atan2(sine, cosine)


def fit_curve(expected_rad: Float[Tensor, " pixels"], measured: Float[Tensor, " pixels"], root: bool) -> ErrorCurve:
    """Means over `KNOTS` parts of equal count, from certain to uncertain, made monotone by isotonic regression.

    Args:
        expected_rad: angles.
        measured: what is averaged: angles, or, with `root`, their squares.
        root: take the root of the means.

    Raises:
        InputError: fewer pixels than knots.
    """
    if len(expected_rad) < KNOTS:
        raise InputError(f"{len(expected_rad)} pixels to calibrate on; at least {KNOTS} are needed")
    order = torch.argsort(expected_rad, stable=True)
    parts = expected_rad[order].clamp_min(_LEAST_ANGLE_RAD).log().tensor_split(KNOTS)
    expected = np.exp([float(part.mean()) for part in parts])
    means = np.array([float(part.mean()) for part in measured[order].tensor_split(KNOTS)])
    rising = isotonic_regression(means, weights=[len(part) for part in parts]).x
    angles = np.rad2deg(np.maximum(np.sqrt(rising) if root else rising, _LEAST_ANGLE_RAD))
    kept = np.concatenate([[True], np.diff(expected) > 1e-9])  # many pixels may expect the very same
    return ErrorCurve(tuple(np.rad2deg(expected)[kept].tolist()), tuple(np.minimum(angles, 180.0)[kept].tolist()))


def _size(found: NormalMap) -> str:
    return f"{found.mask.shape[1]}x{found.mask.shape[0]}"
