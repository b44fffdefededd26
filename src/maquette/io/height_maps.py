"""Height maps in files: 16-bit grey PNG, or the heights themselves in EXR (channel Y) and NPY.

A PNG spends all of its 65536 codes on the range that the map has: 0 is the lowest height, and what lies outside
the mask; 65535 is the highest. A ramp of a thousand pixels then climbs 65 codes a pixel, where 8 bits climb one
in four pixels and show as bands.
"""

from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import Format
from maquette.io.images import write_exr, write_npy, write_png16

_LARGEST_CODE = 65535


def write_height_map(
    path: Path, heights: Float[Tensor, "height width"], mask: Bool[Tensor, "height width"], format: Format = "png16"
) -> tuple[float, float]:
    """Write heights towards the viewer.

    Args:
        path: the file, with its suffix.
        heights: any unit.
        mask: true where there is a height.
        format: of a normal map; both PNG formats stand for 16 bits.

    Returns:
        The lowest and the highest height inside the mask, which a PNG stores as 0 and 65535.

    Raises:
        InputError: the file can't be written.
    """
    low, high = float(heights[mask].min()), float(heights[mask].max())
    if format == "npy":
        write_npy(path, torch.where(mask, heights, 0.0))
    elif format == "exr":
        write_exr(path, torch.where(mask, heights, 0.0))
    else:
        share = (heights.double() - low) / max(high - low, 1e-300)
        codes = torch.where(mask, share, 0.0).clamp(0, 1) * _LARGEST_CODE
        write_png16(path, codes.round().to(torch.uint16))
    return low, high
