"""The soft rim of what is cut out: what a pixel holds that the object covers by less than half."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

RIM_PX = 8  # further away than this from the mask, nothing is the object's


def with_rim(
    values: Float[Tensor, "height width channels"],
    mask: Bool[Tensor, "height width"],
    alpha: Float[Tensor, "height width"],
    largest: int,
) -> tuple[Float[Tensor, "height width channels"], Float[Tensor, "height width"]]:
    """Values carried over the mask's border, and alpha as the whole numbers 0 to `largest` of a file.

    A picture with alpha shows at its rim what is stored there, so each pixel outside the mask takes the values of the
    mask's nearest one. In the file alpha is above a half on the mask and nowhere else, so that whoever reads it finds
    the same mask.

    Args:
        values: known where the mask is true.
        mask: what there are values of.
        alpha: the share of every pixel that the object covers, 0 to 1.
        largest: the odd number that is an alpha of 1 in the file, 255 or 65535.

    Returns:
        The values, those at more than `RIM_PX` from the mask as they were; the codes, 0 there.
    """
    codes = (alpha.to(mask.device).double().clamp(0, 1) * largest).round()
    codes = torch.where(mask, codes.clamp_min((largest + 1) // 2), codes.clamp_max(largest // 2))
    outside = ~mask & (codes > 0)
    if not bool(mask.any()):
        return values, torch.zeros_like(codes)
    if not bool(outside.any()):
        return values, codes
    found: Any = distance_transform_edt((~mask).cpu().numpy(), return_indices=True)
    distance, nearest = found
    rows, columns = (torch.from_numpy(index).long().to(values.device) for index in nearest)
    near = torch.from_numpy(distance <= RIM_PX).to(mask.device)
    spread = torch.where((outside & near)[..., None], values[rows, columns], values)
    return spread, torch.where(mask | near, codes, torch.zeros_like(codes))
