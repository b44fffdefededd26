"""Vectors along an axis of a tensor."""

from jaxtyping import Float
from torch import Tensor


def unit(vectors: Float[Tensor, "..."], dim: int = -1, eps: float = 1e-12) -> Float[Tensor, "..."]:
    """Scale to length 1 along `dim`; zero vectors stay zero.

    Several times faster on a CPU than `torch.nn.functional.normalize` when `dim` is not the last.
    """
    return vectors * (vectors * vectors).sum(dim, keepdim=True).clamp_min(eps).rsqrt()
