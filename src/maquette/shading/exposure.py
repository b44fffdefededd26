"""How bright a network sees a photo: the same object under a dim and a bright lamp becomes the same picture.

Networks see colours by a power of 2.2, whose slope is nowhere zero; files are sRGB (`maquette.io.images`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

GAMMA = 2.2


def encode(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear values, none below zero, as a network sees them."""
    return linear ** (1 / GAMMA)


def decode(encoded: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The inverse of `encode`: linear values."""
    return encoded**GAMMA


def normalise_exposure(
    linear: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """Linear photos to what the network sees: 95th percentile of luminance at 0.8, encoded, masked, in 0..1."""
    luminance = torch.where(mask > 0, linear.mean(1, keepdim=True), torch.nan).flatten(1)
    step = -(-luminance.shape[1] // 16384)  # a percentile needs no more samples than this
    bright = torch.nanquantile(luminance[:, ::step], 0.95, 1).nan_to_num(1.0).clamp_min(1e-6)
    return encode((linear * (0.8 / bright).reshape(-1, 1, 1, 1)).clamp(1e-6, 1)) * mask
