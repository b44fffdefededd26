"""How far a prediction is from the truth: one definition of each measure, used by every bench and card.

Angles are in degrees. Means are taken over the true pixels of a mask; an empty mask has no mean, and says so.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.directional import expected_angle

_SIGMA, _REACH = 1.5, 5  # of the window of SSIM, pixels

THRESHOLDS_DEG = (11.25, 22.5, 30.0)
EROSION_SIDE = 10  # LUCES protocol: pixels of the square that erodes the mask
CANNY_LOW, CANNY_HIGH, SHARP_DILATION = 50, 100, 3


@dataclass(frozen=True)
class AngularSummary:
    """Angular errors of many pixels in six numbers.

    Attributes:
        mean, median: degrees.
        below_11_25, below_22_5, below_30: percent of the pixels with an error below so many degrees.
        pixels: how many pixels were counted.
    """

    mean: float
    median: float
    below_11_25: float
    below_22_5: float
    below_30: float
    pixels: int


@dataclass(frozen=True)
class Reliability:
    """Predicted against measured error, in bins of equal count, from certain to uncertain.

    Attributes:
        predicted_deg, measured_deg: mean of each bin.
        share: part of all pixels in each bin; sums to 1.
        expected_calibration_error_deg: mean over pixels of the bins' |predicted - measured|.
    """

    predicted_deg: tuple[float, ...]
    measured_deg: tuple[float, ...]
    share: tuple[float, ...]
    expected_calibration_error_deg: float


@dataclass(frozen=True)
class Sparsification:
    """Mean error of what remains after the most uncertain pixels are dropped.

    Attributes:
        dropped: fractions from 0 up to, not including, 1.
        predicted_deg: mean remaining error when the predicted uncertainty chooses what goes.
        oracle_deg: the same when the true error chooses; no ordering lies below it.
        random_deg: the same when chance chooses: the plain mean, a flat line.
        ause_deg: area between `predicted_deg` and `oracle_deg` (0 is perfect).
        random_ause_deg: area between `random_deg` and `oracle_deg`: what an uncertainty must beat.
    """

    dropped: tuple[float, ...]
    predicted_deg: tuple[float, ...]
    oracle_deg: tuple[float, ...]
    random_deg: tuple[float, ...]
    ause_deg: float
    random_ause_deg: float


def angle_between_deg(a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Angle between vectors of any length, in degrees, in float64.

    atan2(|a x b|, a . b): exact near 0 and 180 degrees, where the usual arc cosine of the dot product loses
    half of the digits. A zero vector has an angle of 0 with everything.
    """
    a, b = a.double(), b.double()
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(-1)))


def angular_error_deg(
    predicted: Float[Tensor, "rows columns 3"],
    true: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> Float[Tensor, " pixels"]:
    """Angular error of every true pixel of the mask, in row-major order, in degrees.

    A pixel of the mask that has no prediction (a zero or non-finite normal) counts as 90 degrees, so that
    nothing is gained by leaving the hard pixels out.

    Raises:
        InputError: the prediction has another size than the truth, or the mask is empty.
    """
    if predicted.shape != true.shape:
        raise InputError(
            f"angular error: the prediction is {predicted.shape[1]}x{predicted.shape[0]}, the truth "
            f"{true.shape[1]}x{true.shape[0]}; they must have the same size"
        )
    if not mask.any():
        raise InputError("angular error: the mask is empty; it must hold at least one pixel")
    chosen = predicted[mask].double()
    error = angle_between_deg(chosen, true[mask])
    missing = ~torch.isfinite(chosen).all(-1) | (torch.linalg.vector_norm(chosen, dim=-1) < 1e-6)
    return torch.where(missing, torch.full_like(error, 90.0), error)


def summarise(error_deg: Float[Tensor, " pixels"]) -> AngularSummary:
    """Mean, median and percentages below the usual thresholds of a list of errors in degrees."""
    shares = [100.0 * float((error_deg < limit).double().mean()) for limit in THRESHOLDS_DEG]
    # torch.median takes the lower of two middle values; the usual median is their mean.
    median = float(np.median(error_deg.double().cpu().numpy()))
    return AngularSummary(float(error_deg.double().mean()), median, *shares, pixels=error_deg.numel())


def eroded(mask: Bool[Tensor, "height width"], side: int = EROSION_SIDE) -> Bool[Tensor, "height width"]:
    """The mask eroded by a square of `side` pixels (OpenCV's anchor); beyond the image counts as outside."""
    kernel = np.ones((side, side), np.uint8)
    image = mask.cpu().numpy().astype(np.uint8)
    return torch.from_numpy(cv2.erode(image, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=[0]) > 0)


def sharp_region(truth_grey: UInt8[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    """Where the true normals bend sharply: Canny(50, 100) of their 8-bit grey picture, dilated 3x3."""
    edges = cv2.Canny(truth_grey.cpu().numpy(), CANNY_LOW, CANNY_HIGH)
    return torch.from_numpy(cv2.dilate(edges, np.ones((SHARP_DILATION, SHARP_DILATION), np.uint8)) > 0)


def grey_picture(normals: Float[Tensor, "height width 3"]) -> UInt8[Tensor, "height width"]:
    """Grey 8-bit picture of a normal map: round(255 (n + 1) / 2), then `grey_of_codes`."""
    return grey_of_codes(((normals.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))


def grey_of_codes(codes: UInt8[Tensor, "height width 3"]) -> UInt8[Tensor, "height width"]:
    """OpenCV's grey (luma) of an 8-bit RGB picture, codes as they are."""
    return torch.from_numpy(np.asarray(cv2.cvtColor(codes.cpu().numpy(), cv2.COLOR_RGB2GRAY), np.uint8))


def ne_sne_deg(
    predicted: Float[Tensor, "rows columns 3"],
    true: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
    truth_grey: UInt8[Tensor, "height width"] | None = None,
) -> tuple[float, float]:
    """Normal error and sharp normal error, the LUCES protocol of Hi3DGen (Ye et al. 2025): degrees, both.

    NE is the mean angular error in the mask eroded by 10x10; SNE the mean in that part of it where the truth
    is sharp (`sharp_region`). Pixels whose true normal is zero have no truth and are left out after the
    erosion.

    Args:
        truth_grey: the grey 8-bit picture of the truth; by default made from `true`. Give the data set's own
            file where its frame differs, because the luma weights of x and y differ.

    Returns:
        (NE, SNE); SNE is nan where nothing in the mask is sharp.

    Raises:
        InputError: sizes differ, or erosion leaves no pixel.
    """
    inner = eroded(mask) & (torch.linalg.vector_norm(true, dim=-1) > 0)
    error = angular_error_deg(predicted, true, inner)
    sharp = sharp_region(grey_picture(true) if truth_grey is None else truth_grey)[inner]
    return float(error.mean()), float(error[sharp].mean())


def psnr_db(image: Float[Tensor, "*shape"], reference: Float[Tensor, "*shape"], peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibels; infinite for equal images."""
    squared = float((image.double() - reference.double()).square().mean())
    return float("inf") if squared == 0 else float(10 * np.log10(peak**2 / squared))


def ssim(
    images: Float[Tensor, "images channels height width"], references: Float[Tensor, "images channels height width"]
) -> Float[Tensor, " images"]:
    """Structural similarity of each image in 0..1 with its reference, without gradients in mind; 1 for equal images.

    Wang et al. 2004: C1 = 0.01^2, C2 = 0.03^2, a Gaussian window of sigma 1.5 and 11 pixels; only windows that lie
    within the image count. Windowed means are products with a band matrix from both sides, as exact as the images'
    type. What training maximises is `maquette.losses.ssim`.

    Raises:
        InputError: images smaller than the window.
    """
    rows, columns = (_windows(side).to(images) for side in images.shape[-2:])

    def mean(values: Tensor) -> Tensor:
        return rows @ values @ columns.T

    mean_a, mean_b = mean(images), mean(references)
    variance = mean(images.square()) - mean_a.square() + mean(references.square()) - mean_b.square()
    covariance = mean(images * references) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    return (alike / ((mean_a.square() + mean_b.square() + 1e-4) * (variance + 9e-4))).mean((1, 2, 3))


def reliability(
    predicted_deg: Float[Tensor, " predictions"], measured_deg: Float[Tensor, " pixels"], bins: int = 15
) -> Reliability:
    """Sort pixels by predicted error into `bins` of (nearly) equal count; compare the means of each.

    Raises:
        InputError: fewer pixels than bins, or unequal counts.
    """
    _check_calibration(predicted_deg, measured_deg, at_least=bins)
    order = torch.argsort(predicted_deg, stable=True)
    predicted = [float(part.double().mean()) for part in predicted_deg[order].tensor_split(bins)]
    parts = measured_deg[order].tensor_split(bins)
    measured = [float(part.double().mean()) for part in parts]
    share = [part.numel() / measured_deg.numel() for part in parts]
    gap = sum(w * abs(p - m) for w, p, m in zip(share, predicted, measured, strict=True))
    return Reliability(tuple(predicted), tuple(measured), tuple(share), gap)


def sparsification(
    predicted_deg: Float[Tensor, " predictions"], measured_deg: Float[Tensor, " pixels"], steps: int = 50
) -> Sparsification:
    """Drop the most uncertain 0, 1/steps, ... of the pixels and watch the mean of the rest.

    Raises:
        InputError: fewer pixels than steps, or unequal counts.
    """
    _check_calibration(predicted_deg, measured_deg, at_least=steps)
    by_prediction = measured_deg[torch.argsort(predicted_deg, stable=True)].double()
    by_error = measured_deg.double().sort().values
    dropped = np.arange(steps) / steps
    kept = torch.from_numpy(np.ceil((1 - dropped) * measured_deg.numel()).astype(np.int64))
    predicted_curve = _running_mean(by_prediction)[kept - 1].numpy()
    oracle_curve = _running_mean(by_error)[kept - 1].numpy()
    random_curve = np.full(steps, float(by_error.mean()))
    return Sparsification(
        tuple(dropped.tolist()),
        tuple(predicted_curve.tolist()),
        tuple(oracle_curve.tolist()),
        tuple(random_curve.tolist()),
        float(np.trapezoid(predicted_curve - oracle_curve, dropped)),
        float(np.trapezoid(random_curve - oracle_curve, dropped)),
    )


def calibration(
    concentration: Float[Tensor, " pixels"],
    measured_deg: Float[Tensor, " pixels"],
    bins: int = 15,
    steps: int = 50,
) -> tuple[Reliability, Sparsification]:
    """Reliability and sparsification of the concentrations kappa against the measured errors in degrees.

    The predicted error is the mean angle of the angular von Mises-Fisher density of that concentration.
    """
    predicted = torch.rad2deg(expected_angle(concentration.double()))
    return reliability(predicted, measured_deg, bins), sparsification(predicted, measured_deg, steps)


def _windows(side: int) -> Float[Tensor, "windows side"]:
    """A row for every window within the image: its Gaussian weights."""
    if side <= 2 * _REACH:
        raise InputError(f"SSIM: an image {side} px wide or high; it must be wider than the window's {2 * _REACH + 1}")
    offset = torch.arange(side) - (torch.arange(side - 2 * _REACH) + _REACH)[:, None]
    weight = torch.exp(-offset.double().square() / (2 * _SIGMA**2)) * (offset.abs() <= _REACH)
    return weight / weight.sum(1, keepdim=True)


def _running_mean(values: Float[Tensor, " pixels"]) -> Float[Tensor, " pixels"]:
    return values.cumsum(0) / torch.arange(1, values.numel() + 1, dtype=values.dtype)


def _check_calibration(predicted: Tensor, measured: Tensor, at_least: int) -> None:
    if predicted.shape != measured.shape or measured.numel() < at_least:
        raise InputError(
            f"calibration: {predicted.numel()} predicted and {measured.numel()} measured errors; "
            f"there must be as many of both, and at least {at_least}"
        )
