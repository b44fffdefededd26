"""What NiRNE minimises: the angle, the differences of neighbours, the likelihood of the angle."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.losses import angle, angular_von_mises_fisher, masked_mean
from maquette.train.batches import Batch

STEPS = (1, 2, 4)  # pixels between the neighbours whose differences count


def nirne_loss(normal: Tensor, kappa: Tensor, batch: Batch, edges: float) -> Tensor:
    """Mean angle, plus the differences of neighbours, plus the angle's likelihood under the predicted concentration.

    The likelihood teaches the concentration only (its angle is detached): with its own weights, hard pixels
    would count less than the metric counts them. This is the beta = 1 case of Seitzer et al. 2022.
    """
    theta = angle(normal, batch.normal)
    likelihood = masked_mean(angular_von_mises_fisher(theta.detach(), kappa), batch.solid)
    value = masked_mean(theta, batch.solid) + 0.1 * likelihood
    return value + edges * differences(normal, batch.normal, batch.solid) if edges else value


def differences(
    normal: Float[Tensor, "batch 3 height width"],
    true: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """Mean length of the error of neighbours' differences, over steps of 1, 2 and 4 pixels along rows and columns.

    A soft edge in the right place has small angles nearly everywhere; its differences are wrong.
    """
    terms = []
    error = normal - true
    for step in STEPS:
        for axis in (2, 3):
            inner = error.shape[axis] - step
            both = mask.narrow(axis, 0, inner) * mask.narrow(axis, step, inner)
            change = error.narrow(axis, step, inner) - error.narrow(axis, 0, inner)
            terms.append(masked_mean((change.square().sum(1, keepdim=True) + 1e-6).sqrt(), both))
    return torch.stack(terms).mean()
