"""gsplat's blending (Ye et al. 2024, Apache-2.0) behind our projection: an optional peer on CUDA.

Written against gsplat 1.5.3. Two things differ from `torch_tiles.blend`. gsplat stops a pixel before the Gaussian
behind which less than `OPAQUE` of the light would be left and leaves that one out, so that up to a tenth of the light
is missing where it meets one of nearly full opacity; and its sums aren't taken in a fixed order, so that gradients
differ from run to run in their last digits. It doesn't compute the median: our kernel does, in a pass of its own.
"""

# pyright: reportMissingImports=false

from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.render.splat import triton_cuda
from maquette.render.splat.projected import Blended, Projected

_TILE = 16  # pixels
_MOST_CHANNELS = 513
_MOST_RADIUS_PX = 1_000_000.0  # gsplat's are 32-bit integers

project = triton_cuda.project


def why_not() -> str:
    """One line on what is missing here, empty if nothing is."""
    if find_spec("gsplat") is None:
        return "gsplat isn't installed; pip install gsplat"
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU"
    if find_spec("gsplat.csrc") is None:
        from torch.utils.cpp_extension import CUDA_HOME

        if CUDA_HOME is None:
            return (
                "gsplat has yet to be compiled, and there is no CUDA toolkit; install nvcc, or a built wheel of gsplat"
            )
    return triton_cuda.why_not()


def available() -> bool:
    """Whether this backend runs here."""
    return not why_not()


def blend(projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int) -> Blended:
    """As `maquette.render.splat.torch_tiles.blend`, but for what the module says.

    Raises:
        InputError: there is no gsplat or no GPU here, the tensors aren't float32 on the GPU, or there are more than
            513 channels.
    """
    total, alpha = blend_without_median(projected, channels, width, height)
    with torch.no_grad():
        median = triton_cuda.blend(projected, projected.depth[:, None], width, height).median
    return Blended(total, alpha, median)


def blend_without_median(
    projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int
) -> tuple[Float[Tensor, "height width channels"], Float[Tensor, "height width"]]:
    """Total and alpha: what gsplat itself computes, and what to time."""
    triton_cuda.require_ready("gsplat", why_not(), channels)
    if not 1 <= channels.shape[1] <= _MOST_CHANNELS:
        raise InputError(f"rasterize: gsplat blends 1 to {_MOST_CHANNELS} channels, not {channels.shape[1]}; use auto")
    from gsplat import isect_offset_encode, isect_tiles, rasterize_to_pixels

    tiles_x, tiles_y = -(-width // _TILE), -(-height // _TILE)
    with torch.no_grad():
        half = triton_cuda.half_boxes(projected).clamp_max(_MOST_RADIUS_PX)
        radii = torch.where(projected.visible[:, None], half, 0.0).ceil().int()
        # It sorts by the bits of a depth. Those of our order also sort negative depths, and equal ones as we do.
        rank = torch.empty(len(radii), dtype=torch.int32, device=radii.device)
        order = torch.argsort(projected.depth, stable=True)
        rank[order] = torch.arange(len(order), dtype=torch.int32, device=radii.device)
        depths = rank.view(torch.float32)
        _, keys, numbers = isect_tiles(projected.mean_px[None], radii[None], depths[None], _TILE, tiles_x, tiles_y)
        offsets = isect_offset_encode(keys, 1, tiles_x, tiles_y)
    total, alpha = rasterize_to_pixels(
        projected.mean_px[None],
        projected.conic[None],
        channels[None],
        projected.opacity[None],
        width,
        height,
        _TILE,
        offsets,
        numbers,
    )
    return total[0], alpha[0, ..., 0]
