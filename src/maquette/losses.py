"""Training losses, one definition each."""

from math import pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def angle(
    predicted: Float[Tensor, "*batch 3 height width"], true: Float[Tensor, "*batch 3 height width"]
) -> Float[Tensor, "*batch 1 height width"]:
    """Angle in radians between unit vectors, with gradients that stay finite at 0 and pi."""
    cosine = (predicted * true).sum(-3, keepdim=True)
    return torch.acos(cosine.clamp(-1 + 1e-5, 1 - 1e-6))


def angular_von_mises_fisher(theta: Float[Tensor, "..."], kappa: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Negative log-likelihood of an angle under the angular von Mises-Fisher density.

    Bae et al. 2021 (arXiv 2109.09881), eq. 5: p(n) = (kappa^2 + 1) exp(-kappa theta) / (2 pi (1 + exp(-kappa pi))).
    """
    return kappa * theta - torch.log1p(kappa**2) + torch.log1p(torch.exp(-kappa * pi))


def masked_mean(
    values: Float[Tensor, "batch 1 height width"], weight: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, ""]:
    """Weighted mean over each image, then over the images, so that large objects don't count for more."""
    return ((values * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1e-6)).mean()


def ssim(
    first: Float[Tensor, "batch channels height width"], second: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """Structural similarity of images in 0..1 at every pixel, the mean over channels: 1 is the same.

    What training maximises: differentiable. The measure of whole images is `maquette.metrics.ssim`.
    Wang et al. 2004, with C1 = 0.01^2 and C2 = 0.03^2, over squares of 7 pixels that end where the image does.
    """

    def mean(values: Tensor) -> Tensor:
        rows = F.avg_pool2d(values, (7, 1), 1, (3, 0), count_include_pad=False)
        return F.avg_pool2d(rows, (1, 7), 1, (0, 3), count_include_pad=False)

    a, b = mean(first), mean(second)
    # Rounding can leave a variance a little below zero.
    variance = (mean(first * first) - a * a).clamp_min(0) + (mean(second * second) - b * b).clamp_min(0)
    covariance = mean(first * second) - a * b
    alike = (2 * a * b + 1e-4) * (2 * covariance + 9e-4) / ((a * a + b * b + 1e-4) * (variance + 9e-4))
    return alike.mean(1, keepdim=True)
