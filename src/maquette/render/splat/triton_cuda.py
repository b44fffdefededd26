"""The rasterizer on CUDA: Triton kernels for projection and blending, torch for what lies between.

Triton comes with CUDA builds of torch, so that nothing is compiled ahead and no toolkit is needed. Without a GPU the
kernels run where `TRITON_INTERPRET=1` was set before triton was imported: on CPU tensors, for tests. Sums are taken in
a fixed order, so the same input gives the same bits, backward too.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from maquette.errors import InputError
from maquette.render.splat.projected import LEAST_ALPHA, Blended, Projected

_CHANNELS_AT_ONCE = 32  # more don't fit the registers
_SLACK_PX = 0.01  # a box of pixels grows by what rounding could have cost it
_OLDEST = (8, 0)  # compute capability that has tf32
_FUSED = {"enable_fp_fusion": True}  # products and sums in one step; Triton 3.10 no longer does so by itself


def why_not() -> str:
    """One line on what is missing here, empty if nothing is."""
    if find_spec("triton") is None:
        return "triton isn't installed; CUDA builds of torch bring it along"
    if _interpreted():
        return ""
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU"
    capability = torch.cuda.get_device_capability()
    if capability < _OLDEST:
        return f"the GPU's compute capability is {capability[0]}.{capability[1]}; 8.0 or higher is needed"
    return ""


def available() -> bool:
    """Whether this backend runs here."""
    return not why_not()


def project(
    mean: Float[Tensor, "n 3"],
    scale: Float[Tensor, "n 3"],
    rotation: Float[Tensor, "n 4"],
    opacity: Float[Tensor, " n"],
    camera_to_world: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3"],
    *,
    width: int,
    height: int,
    orthographic: bool,
    antialiased: bool,
    near: float,
) -> Projected:
    """As `maquette.render.splat.torch_tiles.project`.

    Raises:
        InputError: there is no Triton or no GPU here, or the tensors aren't float32 on the GPU.
    """
    require_ready("triton", why_not(), mean)
    frame = (width, height, near, orthographic, antialiased)
    return Projected(*_Project.apply(mean, scale, rotation, opacity, camera_to_world, intrinsics, frame))


def blend(projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int) -> Blended:
    """As `maquette.render.splat.torch_tiles.blend`; a tile ends where less than `OPAQUE` comes through everywhere."""
    require_ready("triton", why_not(), channels)
    bins = sort_into_tiles(projected, width, height)
    parts = [
        _Blend.apply(projected.mean_px, projected.conic, projected.opacity, part, bins)
        for part in channels.split(_CHANNELS_AT_ONCE, dim=1)
    ]
    _, alpha, median = parts[0]
    return Blended(torch.cat([total for total, _, _ in parts], -1), alpha, median)


def require_ready(name: str, missing: str, like: Tensor) -> None:
    """Raise an InputError for a backend that isn't there, or that can't take such tensors."""
    if missing:
        raise InputError(f"rasterize: the backend {name} isn't available: {missing}; use auto, or torch")
    if like.dtype != torch.float32 or not (like.is_cuda or _interpreted()):
        raise InputError(f"rasterize: {name} takes float32 on a GPU, not {like.dtype} on {like.device}; use auto")


@dataclass(frozen=True)
class Bins:
    """The Gaussians of each tile.

    Attributes:
        width, height: of the image, in pixels.
        tiles_x, tiles_y: how many tiles there are.
        number: Gaussians of tile after tile, each tile's by depth.
        slot: where each of these pairs stands if they are listed Gaussian by Gaussian.
        start: where each tile's pairs begin, and the end of the last one's.
        order: Gaussians by depth, which is how `slot` lists them.
        end: where the pairs of each of those end.
    """

    width: int
    height: int
    tiles_x: int
    tiles_y: int
    number: Int[Tensor, " pairs"]
    slot: Int[Tensor, " pairs"]
    start: Int[Tensor, " tiles_and_one"]
    order: Int[Tensor, " n"]
    end: Int[Tensor, " n"]


@torch.no_grad()
def half_boxes(projected: Projected) -> Float[Tensor, "n 2"]:
    """Half the width and height in pixels, float64, of the boxes around where each Gaussian's alpha counts.

    Infinite where the conic is no ellipse. In float64, for a needle's determinant a c - b^2 is far below what float32
    rounds off its products.
    """
    a, b, c = projected.conic.double().unbind(-1)
    reach = 2 * (projected.opacity.double() / LEAST_ALPHA).log()
    determinant = a * c - b * b
    half = (reach[:, None] * torch.stack([c, a], -1) / determinant[:, None]).sqrt() + _SLACK_PX
    return torch.where((determinant > 0)[:, None], half, float("inf"))


@torch.no_grad()
def sort_into_tiles(projected: Projected, width: int, height: int) -> Bins:
    """Which tiles the Gaussians' boxes meet, and each tile's Gaussians in order of depth."""
    kernels = _kernels("triton_blend")
    device = projected.depth.device
    sides = torch.tensor([kernels.TILE_X, kernels.TILE_Y], dtype=torch.float64, device=device)
    tiles_x, tiles_y = -(-width // kernels.TILE_X), -(-height // kernels.TILE_Y)
    order = torch.argsort(projected.depth, stable=True)
    center, half = projected.mean_px[order].double(), half_boxes(projected)[order]
    most = torch.tensor([tiles_x, tiles_y], dtype=torch.float64, device=device)
    # The first and last pixel whose centres lie in the box; the slack in it covers the ends.
    low = torch.minimum(((center - half + 0.5) / sides).floor().clamp_min(0), most)
    high = torch.minimum(((center + half - 0.5) / sides).floor() + 1, most)
    visible = projected.visible[order][:, None]
    corner = torch.where(visible, low, 0.0).int()
    extent = torch.where(visible, (high - low).clamp_min(0), 0.0).int()
    counts = extent[:, 0].long() * extent[:, 1]
    end = counts.cumsum(0)
    pairs = int(end[-1]) if len(end) else 0
    rank = torch.repeat_interleave(counts, output_size=pairs)
    within = (torch.arange(pairs, device=device) - (end - counts)[rank]).int()
    across = extent[rank, 0]
    tile = (corner[rank, 1] + within // across) * tiles_x + corner[rank, 0] + within % across
    # Pairs come by depth, and the sort keeps that order within a tile.
    tile, slot = torch.sort(tile, stable=True)
    start = torch.searchsorted(tile, torch.arange(tiles_x * tiles_y + 1, dtype=tile.dtype, device=device))
    return Bins(width, height, tiles_x, tiles_y, order[rank[slot]].int(), slot, start, order, end)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        mean: Tensor,
        scale: Tensor,
        rotation: Tensor,
        opacity: Tensor,
        pose: Tensor,
        intrinsics: Tensor,
        frame: tuple[int, int, float, bool, bool],
    ) -> tuple[Tensor, ...]:
        given = tuple(each.contiguous() for each in (mean, scale, rotation, opacity, pose, intrinsics))
        n = len(mean)
        made = tuple(mean.new_empty(size) for size in ((n, 2), (n, 3), (n,), (n,), (n, 3)))
        visible = torch.empty(n, dtype=torch.uint8, device=mean.device)
        _launch_over_gaussians(_kernels("triton_projection").project_kernel, (*given, *made, visible), frame)
        ctx.save_for_backward(*given)
        ctx.frame = frame
        visible = visible.bool()
        ctx.mark_non_differentiable(visible)
        return *made, visible

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        mean = given[0]
        kernels = _kernels("triton_projection")
        into = [torch.empty_like(each) for each in given[:4]]
        blocks = -(-len(mean) // kernels.BLOCK)
        camera = mean.new_zeros(blocks, kernels.CAMERA_GRADIENTS)
        tensors = (*given, *(each.contiguous() for each in gradients[:5]), *into, camera)
        _launch_over_gaussians(kernels.project_backward_kernel, tensors, ctx.frame)
        camera = camera.sum(0)
        pose = torch.zeros_like(given[4])
        pose[:3] = camera[:12].reshape(3, 4)
        return *into, pose, camera[12:15], None


def _launch_over_gaussians(kernel: Any, tensors: tuple[Tensor, ...], frame: tuple[int, int, float, bool, bool]) -> None:
    *numbers, orthographic, antialiased = frame
    n, block = len(tensors[0]), _kernels("triton_projection").BLOCK
    if n:
        with torch.cuda.device_of(tensors[0]):  # kernels start on the current GPU, which need not be the tensors'
            kernel[(-(-n // block),)](
                *tensors, n, *numbers, ORTHOGRAPHIC=orthographic, ANTIALIASED=antialiased, BLOCK=block, **_FUSED
            )


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mean_px: Tensor, conic: Tensor, opacity: Tensor, channels: Tensor, bins: Bins
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = tuple(each.contiguous() for each in (mean_px, conic, opacity, channels))
        total = channels.new_empty(bins.height, bins.width, channels.shape[1])
        alpha = channels.new_empty(bins.height, bins.width)
        median = torch.empty_like(alpha, dtype=torch.int64)
        kernels = _kernels("triton_blend")
        tensors = (*given, bins.number, bins.start, total, alpha, median)
        _launch_over_tiles(kernels.blend_kernel, channels, bins, tensors)
        ctx.save_for_backward(*given, total, alpha)
        ctx.bins = bins
        ctx.mark_non_differentiable(median)
        return total, alpha, median

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, d_alpha: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        *given, total, alpha = ctx.saved_tensors
        bins, channels = ctx.bins, given[3]
        kernels = _kernels("triton_blend")
        rows = channels.new_zeros(len(bins.number), kernels.GEOMETRY + channels.shape[1])
        tensors = (*given, bins.number, bins.slot, bins.start, total, alpha)
        tensors += (d_total.contiguous(), d_alpha.contiguous(), rows)
        _launch_over_tiles(kernels.blend_backward_kernel, channels, bins, tensors)
        ends = torch.cat([bins.end.new_zeros(1), bins.end])
        sums = torch.empty(len(channels), rows.shape[1], dtype=rows.dtype, device=rows.device)
        # `unsafe` leaves out a check of the offsets, for which the CPU would wait.
        sums[bins.order] = torch.segment_reduce(rows, "sum", offsets=ends, initial=0.0, unsafe=True)
        return sums[:, :2], sums[:, 2:5], sums[:, 5], sums[:, 6:], None


def _launch_over_tiles(kernel: Any, channels: Tensor, bins: Bins, tensors: tuple[Tensor, ...]) -> None:
    kernels = _kernels("triton_blend")
    with torch.cuda.device_of(channels):
        kernel[(bins.tiles_x * bins.tiles_y,)](
            *tensors,
            bins.width,
            bins.height,
            bins.tiles_x,
            channels.shape[1],
            CHUNK=kernels.CHUNK,
            CHANNELS=max(16, 1 << (channels.shape[1] - 1).bit_length()),  # the least that a matrix product takes
            num_warps=kernels.WARPS,
            **_FUSED,
        )


def _kernels(name: str) -> ModuleType:
    """A module of kernels; importing it imports triton."""
    return import_module(f"maquette.render.splat.{name}")


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
