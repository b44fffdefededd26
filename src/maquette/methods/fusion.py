"""Two methods as one: their normals, weighted by how far each can be trusted where it stands.

Each method says of every pixel which angle it expects to be off by. What that is worth was measured on photos with
known normals: the root mean square s of each method's true angle, and the correlation rho of their errors, vectors in
the plane tangent to the true normal; all of them by what both methods expect. The combination

    n = normalise(w1 n1 + w2 n2),   w1 : w2 = (1/s1^2 - rho/(s1 s2)) : (1/s2^2 - rho/(s1 s2)),

has the least variance, w1^2 s1^2 + w2^2 s2^2 + 2 w1 w2 rho s1 s2, of all whose weights add up to one (Bates and
Granger 1969). Ours are three choices:

    s and rho by both expectations. Where one method finds a photo hard, so does the other, though it mayn't know it;
    and where both do, they err alike. By its own expectation alone the blind one would get its say just there, as it
    would with one correlation for all; either way, the combination was worse than the better method.
    Weights are not negative. One would be where rho > s1/s2: the worse method's error is then so like the better one's,
    only larger, that the best guess lies beyond the better one. To go there would multiply any mistake in rho; staying
    costs little, and the map never leaves the arc between the two.
    A curve, measured too, takes the deviation of the combination to its mean angle, which its concentration states.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression, minimize
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.geometry.vectors import unit
from maquette.types import NormalMap, Photo

Method = Callable[[Photo], NormalMap]

KNOTS = 12  # of a curve
_LEAST_ANGLE_RAD = 1e-3  # of what is told apart; as `concentration_from_angle` has it
_MOST_CORRELATION = 0.99
_STEEPEST = 3.0  # exponent of an expectation
_RARE = 0.01  # share of the pixels at either end of what was expected, beyond which nothing is extrapolated


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
class ErrorLaw:
    """Root mean square error of a method: exp(offset) first^a second^b, all angles in radians.

    Attributes:
        offset: of the logarithm.
        first, second: exponents of what the first and the second method expect, 0 to 3: no expectation is taken for
            its opposite.
    """

    offset: float
    first: float
    second: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset) or not all(0 <= e <= _STEEPEST for e in (self.first, self.second)):
            raise InputError(f"{self}: the offset must be finite, the exponents lie in 0..{_STEEPEST:g}")


@dataclass(frozen=True)
class CorrelationLaw:
    """Correlation of two methods' errors: tanh(offset + first log e1 + second log e2), e what they expect, in radians.

    A correlation above 0.99 counts as that.
    """

    offset: float
    first: float
    second: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.offset, self.first, self.second)):
            raise InputError(f"{self}: all of it must be finite")


@dataclass(frozen=True)
class Calibration:
    """What two methods' confidences are worth, together.

    Attributes:
        first, second: root mean square error of each.
        first_deg, second_deg: least and largest angle that each was found to expect, but for rare ones; others count
            as these.
        correlation: of their errors.
        fused: mean error of the combination, by its deviation.
    """

    first: ErrorLaw
    second: ErrorLaw
    first_deg: tuple[float, float]
    second_deg: tuple[float, float]
    correlation: CorrelationLaw
    fused: ErrorCurve

    def __post_init__(self) -> None:
        for low, high in (self.first_deg, self.second_deg):
            if not 0 < low <= high <= 180:
                raise InputError(f"angles from {low} to {high}; they must lie in 0..180 degrees, without 0")

    def errors(self, first_rad: Float[Tensor, " pixels"], second_rad: Float[Tensor, " pixels"]) -> "Errors":
        """What errors both methods make where they expect these angles."""
        ranges = [(math.radians(low), math.radians(high)) for low, high in (self.first_deg, self.second_deg)]
        logs = [angle.clamp(*ends).log() for angle, ends in zip((first_rad, second_rad), ranges, strict=True)]
        laws = (self.first, self.second, self.correlation)
        one, two, rho = (law.offset + law.first * logs[0] + law.second * logs[1] for law in laws)
        return Errors(one.exp(), two.exp(), rho.tanh().clamp_max(_MOST_CORRELATION))


@dataclass(frozen=True)
class Errors:
    """Root mean square errors of two methods in radians, and their correlation."""

    first_rad: Float[Tensor, " pixels"]
    second_rad: Float[Tensor, " pixels"]
    correlation: Float[Tensor, " pixels"]


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
    maps = first, second
    masks = [found.mask.cpu() for found in maps]
    normals = [found.normals.cpu() * mask[..., None] for found, mask in zip(maps, masks, strict=True)]
    kappa = [found.concentration.cpu() * mask for found, mask in zip(maps, masks, strict=True)]  # pyright: ignore[reportOptionalMemberAccess]
    both = masks[0] & masks[1]
    expected = [expected_angle(k[both].double()) for k in kappa]
    seen = [n[both].double() for n in normals]
    found, deviation = combine(seen[0], seen[1], calibration.errors(*expected))
    all_normals, concentration = normals[0] + normals[1], kappa[0] + kappa[1]  # where one alone is, it stands
    all_normals[both] = found.float()
    concentration[both] = concentration_from_angle(calibration.fused(deviation)).float().clamp_min(1e-3)
    return NormalMap(all_normals, masks[0] | masks[1], concentration)


def combine(
    first: Float[Tensor, "pixels 3"], second: Float[Tensor, "pixels 3"], errors: Errors
) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
    """Unit normals of least variance from two maps' unit normals, and their deviation in radians."""
    one, two = weights(errors)
    covariance = errors.correlation * errors.first_rad * errors.second_rad
    variance = (one * errors.first_rad).square() + (two * errors.second_rad).square() + 2 * one * two * covariance
    facing = first.new_tensor([0.0, 0.0, 1e-6])  # the middle of opposite normals is nowhere
    return unit(one[:, None] * first + two[:, None] * second + facing), variance.clamp_min(0).sqrt()


def weights(errors: Errors) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    """The weights of `combine`: not negative, one together; see the module's text."""
    shared = errors.correlation * errors.first_rad * errors.second_rad
    one = (errors.second_rad.square() - shared).clamp_min(0)  # both times s1^2 s2^2, which changes no ratio
    two = (errors.first_rad.square() - shared).clamp_min(0)
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
    true, expected = truth.double(), (first_rad.double(), second_rad.double())
    errors = [error_vectors(normals.double(), true) for normals in (first, second)]
    ends = [_ends(angle) for angle in expected]
    logs = [angle.clamp(*end).log() for angle, end in zip(expected, ends, strict=True)]
    laws = [fit_law(logs[0], logs[1], error.square().sum(-1)) for error in errors]
    degrees = [(math.degrees(low), math.degrees(high)) for low, high in ends]
    unrelated, anything = CorrelationLaw(0.0, 0.0, 0.0), ErrorCurve((1.0,), (1.0,))  # until they are measured, too
    found = Calibration(laws[0], laws[1], degrees[0], degrees[1], unrelated, anything)
    spread = found.errors(*expected)
    products = (errors[0] * errors[1]).sum(-1) / (spread.first_rad * spread.second_rad)
    found = replace(found, correlation=fit_correlation(logs[0], logs[1], products))
    normals, deviation = combine(first.double(), second.double(), found.errors(*expected))
    left = torch.linalg.vector_norm(error_vectors(normals, true), dim=-1)
    return replace(found, fused=fit_curve(deviation, left))


def error_vectors(normals: Float[Tensor, "pixels 3"], truth: Float[Tensor, "pixels 3"]) -> Float[Tensor, "pixels 3"]:
    """Errors as vectors tangent to the sphere at the true normals, as long as the angle in radians (logarithm map)."""
    cosine = (normals * truth).sum(-1, keepdim=True)
    across = normals - cosine * truth
    sine = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    return across / sine.clamp_min(1e-12) * torch.atan2(sine, cosine)


def fit_law(
    first_log: Float[Tensor, " pixels"], second_log: Float[Tensor, " pixels"], squared: Float[Tensor, " pixels"]
) -> ErrorLaw:
    """The law whose squares are the means of the squared errors, by likelihood: squares vary as their mean does.

    Minimises mean(e^2 / s^2 + log s^2), the likelihood of an exponential distribution, which is what squares of normal
    errors in a plane have; the means come out right whatever the distribution.

    Args:
        first_log, second_log: logarithms of the expected angles in radians.
        squared: squared angles.
    """
    design = torch.stack([torch.ones_like(first_log), first_log, second_log], -1)
    center = design.mean(0) * torch.tensor([0.0, 1.0, 1.0], dtype=design.dtype)

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        log_mean = 2 * ((design - center) @ torch.from_numpy(values))
        share = squared * torch.exp(-log_mean)
        slope = 2 * ((1 - share)[:, None] * (design - center)).mean(0)
        return float((share + log_mean).mean()), slope.numpy()

    start = np.array([0.5 * math.log(max(float(squared.mean()), _LEAST_ANGLE_RAD**2)), 0.5, 0.5])
    bounds = [(None, None), (0.0, _STEEPEST), (0.0, _STEEPEST)]
    offset, one, two = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return ErrorLaw(offset - one * float(center[1]) - two * float(center[2]), one, two)


def fit_correlation(
    first_log: Float[Tensor, " pixels"], second_log: Float[Tensor, " pixels"], products: Float[Tensor, " pixels"]
) -> CorrelationLaw:
    """The law nearest to the products of both errors, each divided by its root mean square, in least squares.

    Args:
        first_log, second_log: logarithms of the expected angles in radians.
        products: of the error vectors.
    """
    design = torch.stack([torch.ones_like(first_log), first_log, second_log], -1)
    center = design.mean(0) * torch.tensor([0.0, 1.0, 1.0], dtype=design.dtype)

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        rho = ((design - center) @ torch.from_numpy(values)).tanh()
        off = rho - products
        slope = 2 * ((off * (1 - rho.square()))[:, None] * (design - center)).mean(0)
        return float(off.square().mean()), slope.numpy()

    start = np.array([math.atanh(min(max(float(products.mean()), -0.9), 0.9)), 0.0, 0.0])
    offset, one, two = minimize(cost, start, jac=True, method="L-BFGS-B").x.tolist()
    return CorrelationLaw(offset - one * float(center[1]) - two * float(center[2]), one, two)


def fit_curve(expected_rad: Float[Tensor, " pixels"], measured_rad: Float[Tensor, " pixels"]) -> ErrorCurve:
    """Means over `KNOTS` parts of equal count, from certain to uncertain, made monotone by isotonic regression.

    Raises:
        InputError: fewer pixels than knots.
    """
    if len(expected_rad) < KNOTS:
        raise InputError(f"{len(expected_rad)} pixels to calibrate on; at least {KNOTS} are needed")
    order = torch.argsort(expected_rad, stable=True)
    parts = expected_rad[order].clamp_min(_LEAST_ANGLE_RAD).log().tensor_split(KNOTS)
    expected = np.exp([float(part.mean()) for part in parts])
    means = np.array([float(part.mean()) for part in measured_rad[order].tensor_split(KNOTS)])
    rising = isotonic_regression(means, weights=[len(part) for part in parts]).x
    angles = np.rad2deg(rising.clip(_LEAST_ANGLE_RAD, math.pi))
    kept = np.concatenate([[True], np.diff(expected) > 1e-9])  # many pixels may expect the very same
    return ErrorCurve(tuple(np.rad2deg(expected)[kept].tolist()), tuple(angles[kept].tolist()))


def _ends(expected_rad: Float[Tensor, " pixels"]) -> tuple[float, float]:
    low, high = np.quantile(expected_rad.numpy(), (_RARE, 1 - _RARE)).tolist()
    return max(low, _LEAST_ANGLE_RAD), max(high, _LEAST_ANGLE_RAD)


def _size(found: NormalMap) -> str:
    return f"{found.mask.shape[1]}x{found.mask.shape[0]}"
