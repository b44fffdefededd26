"""The rasterizer on the CPU: compiled loops behind two differentiable functions.

The same interface and results as `maquette.render.splat.torch_tiles`, in float32, but for what lies behind an opaque
tile: once less than `OPAQUE` of the light comes through everywhere in it, a tile is finished.

What is compiled at the first call is kept beside the package, in the user's cache if that can't be written, or in
NUMBA_CACHE_DIR. How many threads there are doesn't change a bit of the result.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from maquette.errors import InputError
from maquette.render.splat.projected import Blended, Projected

try:
    from maquette.render.splat import numba_blend, numba_projection, numba_tiles
except RuntimeError as error:  # how Numba says that it can write nowhere
    raise InputError(f"rasterize: {error}; set NUMBA_CACHE_DIR to a folder that can be written") from error


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
    """See `maquette.render.splat.torch_tiles.project`; what isn't visible has zeros but for its mean and depth."""
    numbers = (width, height, orthographic, antialiased, float(near))
    return Projected(*_Project.apply(mean, scale, rotation, opacity, camera_to_world, intrinsics, numbers))


def blend(projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int) -> Blended:
    """See `maquette.render.splat.torch_tiles.blend`."""
    p = projected
    order = numba_tiles.front_to_back(*_arrays(p.depth, p.visible))
    return Blended(*_Blend.apply(p.mean_px, p.conic, p.opacity, channels, order, width, height))


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean, scale, rotation, opacity, camera_to_world, intrinsics, numbers) -> tuple[Tensor, ...]:
        ctx.save_for_backward(mean, scale, rotation, opacity, camera_to_world, intrinsics)
        ctx.numbers = numbers
        n = len(mean)
        fields = [torch.empty(n, 2), torch.empty(n, 3), torch.empty(n), torch.empty(n), torch.empty(n, 3)]
        visible = torch.empty(n, dtype=torch.bool)
        given = [*_arrays(mean, scale, rotation, opacity), *_doubles(camera_to_world, intrinsics), *numbers]
        numba_projection.project_forward(*given, *_arrays(*fields, visible))
        ctx.visible = visible
        ctx.mark_non_differentiable(visible)
        return *fields, visible

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        mean, scale, rotation, opacity, camera_to_world, intrinsics = ctx.saved_tensors
        found = [torch.zeros(given.shape) for given in (mean, scale, rotation, opacity)]
        given = [*_arrays(mean, scale, rotation, opacity), *_doubles(camera_to_world, intrinsics), *ctx.numbers[:-1]]
        blocks = numba_projection.project_backward(*given, *_arrays(ctx.visible, *grads[:-1], *found))
        camera = torch.from_numpy(blocks.sum(0))
        pose = torch.zeros(4, 4, dtype=camera.dtype)
        pose[:3, :3] = camera[:9].view(3, 3)
        pose[:3, 3] = camera[9:12]
        return *found, pose.to(camera_to_world), camera[12:].to(intrinsics), None


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean_px, conic, opacity, channels, order, width, height) -> tuple[Tensor, ...]:
        packed = numba_tiles.pack(order, *_arrays(mean_px, conic, opacity, channels))
        starts, members, rows, slots, firsts = numba_tiles.bin_tiles(packed, width, height)
        total, alpha = torch.zeros(height, width, channels.shape[1]), torch.zeros(height, width)
        median, stops = torch.full((height, width), -1), starts[1:].copy()
        given = [packed, order, starts, members, rows, width, height, *_flat(total, alpha, median), stops]
        numba_blend.blend_forward(*given)
        ctx.kept = (packed, starts, members, rows, slots, stops, width, height)
        ctx.places = (firsts, order)
        ctx.sizes = [given.shape for given in (mean_px, conic, opacity, channels)]
        ctx.save_for_backward(total, alpha)
        ctx.mark_non_differentiable(median)
        return total, alpha, median

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_total: Tensor, to_alpha: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        pairs = np.empty(int(ctx.places[0][-1]) * numba_blend.pair_numbers(to_total.shape[2]), np.float32)
        given = [*ctx.kept, *_flat(*ctx.saved_tensors, to_total, to_alpha), pairs]
        numba_blend.blend_backward(*given)
        found = [torch.zeros(size) for size in ctx.sizes]
        numba_blend.gather(pairs, *ctx.places, *_arrays(*found))
        return *found, None, None, None


def _flat(*tensors: Tensor) -> list[np.ndarray]:
    return [array.reshape(-1) for array in _arrays(*tensors)]


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _doubles(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().double().contiguous().numpy() for tensor in tensors]
