"""Training losses, one definition each."""

from math import pi

import torch
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
