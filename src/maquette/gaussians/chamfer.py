"""The Extended Chamfer Distance between two sets of Gaussians: how unlike each one is its nearest of the other set.

GSN (arXiv 2409.07245) asks by it that the splat of a turned image be the turned splat. It is a distance of sets: that
both come from slots of one order isn't used, since a turned cube's slots hold other parts of the object.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.gaussians.covariance import covariance
from maquette.geometry.rotation import multiply, quaternion_to_matrix

_MOST_PAIRS = 2**22  # whose distances are held at a time: 16 MiB


@dataclass(frozen=True)
class ChamferWeights:
    """What a difference counts for, beside the squared distance of the means (scene units).

    Attributes:
        scale: of the squared difference of the logarithms of the standard deviations, sorted: which axis is called the
            first doesn't matter.
        color, opacity: of the squared differences.
        rotation: of the squared Frobenius norm of the difference of the covariances, each over its trace: neither the
            sign of a quaternion nor the order of axes matters, and a ball has no rotation.
    """

    scale: float = 0.1
    color: float = 0.1
    opacity: float = 0.1
    rotation: float = 0.1


class Cloud(NamedTuple):
    """Gaussians as the distance sees them: display or linear colours, whichever both sets have."""

    mean: Float[Tensor, "n 3"]
    log_scale: Float[Tensor, "n 3"]
    rotation: Float[Tensor, "n 4"]
    color: Float[Tensor, "n 3"]
    opacity: Float[Tensor, " n"]

    def turned(self, quaternion: Float[Tensor, "4"]) -> "Cloud":
        """Turned about the origin: R mu and q_R q; the rest stays."""
        turn = quaternion.to(self.mean)
        return self._replace(
            mean=self.mean @ quaternion_to_matrix(turn).T,
            rotation=multiply(turn.expand_as(self.rotation), self.rotation),
        )


def extended_chamfer(a: Cloud, b: Cloud, weights: ChamferWeights | None = None) -> Float[Tensor, ""]:
    """mean_i d(i, nearest of b) + mean_j d(j, nearest of a), neighbours by position.

        d_ij = |mu_i - mu_j|^2 + w_s |log s_i - log s_j|^2 + w_c |c_i - c_j|^2 + w_a (alpha_i - alpha_j)^2
               + w_r |Sigma_i / tr Sigma_i - Sigma_j / tr Sigma_j|^2

    The paper names what is compared, not the formula; this one is ours (docs/methods/gsn.md). Which neighbour it is has
    no gradient. Memory grows with n, not with its square: distances are held for 4 million pairs at a time.

    Args:
        a, b: on one device; neither empty.
        weights: 0.1 each by default.
    """
    weights = weights or ChamferWeights()
    shape_a, shape_b = _shape(a), _shape(b)
    there = _difference(a, shape_a, b, shape_b, nearest(a.mean, b.mean), weights)
    back = _difference(b, shape_b, a, shape_a, nearest(b.mean, a.mean), weights)
    return there.mean() + back.mean()


@torch.no_grad()
def nearest(points: Float[Tensor, "n 3"], others: Float[Tensor, "m 3"]) -> Int[Tensor, " n"]:
    """The number of each point's nearest other."""
    rows = max(_MOST_PAIRS // max(len(others), 1), 1)
    return torch.cat([torch.cdist(part, others).argmin(1) for part in points.split(rows)])


def _difference(
    a: Cloud, shape_a: Tensor, b: Cloud, shape_b: Tensor, of_b: Tensor, weights: ChamferWeights
) -> Float[Tensor, " n"]:
    def squared(first: Tensor, second: Tensor) -> Tensor:
        return (first - second[of_b]).square().flatten(1).sum(1)

    return (
        squared(a.mean, b.mean)
        + weights.scale * squared(a.log_scale.sort(-1).values, b.log_scale.sort(-1).values)
        + weights.color * squared(a.color, b.color)
        + weights.opacity * squared(a.opacity[:, None], b.opacity[:, None])
        + weights.rotation * squared(shape_a, shape_b)
    )


def _shape(cloud: Cloud) -> Float[Tensor, "n 3 3"]:
    sigma = covariance(cloud.log_scale.exp(), cloud.rotation)
    return sigma / sigma.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
