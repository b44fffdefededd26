"""`rasterize`: what a camera sees of Gaussians, in one pass, with gradients to everything that goes in.

    Gaussians, Camera -> project -> Projected -> blend (colour, normal, depth, features) -> RenderOutput

`project` and `blend` are those of a backend: `numba` on the CPU, `triton` or `gsplat` on CUDA, `torch` anywhere. All of
them compute what `maquette.render.splat.torch_tiles` does; see docs/rasterizer.md.
"""

from importlib import import_module
from math import isfinite
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.sh import sh_color
from maquette.geometry.vectors import unit
from maquette.render.splat.projected import Backend, Blended, Projected
from maquette.types import Camera, Gaussians, RenderOutput

BACKENDS = {
    "numba": "maquette.render.splat.numba_cpu",
    "triton": "maquette.render.splat.triton_cuda",
    "gsplat": "maquette.render.splat.gsplat_cuda",
    "torch": "maquette.render.splat.torch_tiles",
}
_LEAST_WEIGHT = 1e-8  # of what is divided by a pixel's alpha


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    *,
    background: Float[Tensor, "3"] | Float[Tensor, "height width 3"] | None = None,
    intrinsics: Float[Tensor, "3"] | None = None,
    antialiased: bool = False,
    near: float = 0.01,
    backend: str = "auto",
) -> RenderOutput:
    """Colour, alpha, depth, normals, features and distortion of Gaussians seen by a camera.

    Args:
        gaussians: all their tensors on one device and of one type; their own sort of colour is what is blended.
        camera: pinhole or orthographic; gradients go to `camera_to_world`.
        background: what lies behind them, in their sort of colour; by default nothing, which is black.
        intrinsics: focal length in pixels and principal point x, y, in place of the camera's numbers and, unlike
            them, with gradients.
        antialiased: dim Gaussians smaller than a pixel by what the filter makes them grow (Mip-Splatting, Yu et al.
            2024).
        near: nearest depth that a pinhole camera draws, in scene units.
        backend: `numba`, `triton`, `gsplat`, `torch`, or `auto`: for float32 `triton` on CUDA and `numba` on the CPU,
            for other types `torch`.

    Raises:
        InputError: values that no Gaussian has (not finite, a negative scale, an opacity outside of 0..1) or no
            camera, an empty image, or a backend that isn't there.
    """
    _require_camera(camera, intrinsics, near)
    _require_sound(gaussians)
    mean = gaussians.mean
    module = _backend(backend, mean)
    pose = camera.camera_to_world.to(mean)
    numbers = (
        torch.tensor([camera.focal_px, *camera.center_px], dtype=mean.dtype, device=mean.device)
        if intrinsics is None
        else intrinsics.to(mean)
    )
    projected = module.project(
        mean,
        gaussians.scale,
        gaussians.rotation,
        gaussians.opacity,
        pose,
        numbers,
        width=camera.width,
        height=camera.height,
        orthographic=camera.orthographic,
        antialiased=antialiased,
        near=near,
    )
    # Depths about their middle: distortion is a difference of squares, which float32 would lose otherwise.
    middle = _middle_depth(projected)
    depth = (projected.depth - middle)[:, None]
    channels = [_color(gaussians, camera, pose), projected.normal, depth, depth * depth]
    if gaussians.features is not None:
        channels.append(gaussians.features)
    blended = module.blend(projected, torch.cat(channels, -1), camera.width, camera.height)
    return _assemble(blended, projected, middle, background, gaussians.features is not None)


def _assemble(
    blended: Blended, projected: Projected, middle: Tensor, background: Tensor | None, with_features: bool
) -> RenderOutput:
    # One split: the gradient of every slice of its own would be an image of all channels.
    color, normal, moments, features = blended.total.split([3, 3, 2, blended.total.shape[-1] - 8], -1)
    first, second = moments.unbind(-1)
    alpha = blended.alpha
    if background is not None:
        color = color + (1 - alpha)[..., None] * background.to(color)
    seen = alpha.detach() > 0
    median_depth = torch.zeros_like(alpha)
    if len(projected.depth):
        median_depth = torch.where(blended.median >= 0, projected.depth[blended.median.clamp_min(0)], 0.0)
    return RenderOutput(
        color=color,
        alpha=alpha,
        depth=torch.where(seen, middle + first / alpha.clamp_min(_LEAST_WEIGHT), 0.0),
        median_depth=median_depth,
        normals=unit(normal),
        features=features if with_features else None,
        distortion=alpha * second - first * first,
        mean_px=projected.mean_px,
        visible=projected.visible,
    )


def _color(gaussians: Gaussians, camera: Camera, pose: Tensor) -> Float[Tensor, "n 3"]:
    """Seen from the camera's place, or along its direction if it is orthographic."""
    if camera.orthographic:
        directions = (-pose[:3, 2]).expand_as(gaussians.mean)
    else:
        directions = unit(gaussians.mean - pose[:3, 3], eps=1e-24)
    return sh_color(gaussians.sh, directions)


def _middle_depth(projected: Projected) -> Tensor:
    depths = projected.depth.detach()[projected.visible]
    return depths.median() if len(depths) else projected.depth.new_zeros(())


def _backend(name: str, mean: Tensor) -> Backend:
    if name == "auto":
        name = ("triton" if mean.is_cuda else "numba") if mean.dtype == torch.float32 else "torch"
    if name not in BACKENDS:
        raise InputError(f"rasterize: no backend {name!r}; choose auto, {', '.join(BACKENDS)}")
    if name == "numba" and (mean.is_cuda or mean.dtype != torch.float32):
        raise InputError(f"rasterize: numba takes float32 on the CPU, not {mean.dtype} on {mean.device}; use auto")
    module = import_module(BACKENDS[name])
    if name == "gsplat" and (missing := module.why_not()):  # its projection is triton's, which would speak of itself
        raise InputError(f"rasterize: the backend gsplat isn't available: {missing}; use auto, or torch")
    return cast(Backend, module)


def _require_camera(camera: Camera, intrinsics: Tensor | None, near: float) -> None:
    numbers = (camera.focal_px, *camera.center_px) if intrinsics is None else tuple(intrinsics.detach().tolist())
    if camera.width < 1 or camera.height < 1 or not numbers[0] > 0:
        raise InputError(
            f"rasterize: a camera of {camera.width}x{camera.height} px and a focal length of {numbers[0]} px;"
            " all must be positive"
        )
    if not near > 0:
        raise InputError(f"rasterize: near is {near}; it must be above 0")
    if not all(map(isfinite, numbers)) or not bool(torch.isfinite(camera.camera_to_world.detach()).all()):
        raise InputError("rasterize: the camera's numbers or its camera_to_world aren't finite")


def _require_sound(gaussians: Gaussians) -> None:
    for name in ("mean", "scale", "rotation", "opacity", "sh", "features"):
        values = getattr(gaussians, name)
        if values is not None and not bool(torch.isfinite(values.detach().sum())):
            wrong = int((~torch.isfinite(values.detach())).sum())
            if wrong:
                raise InputError(f"rasterize: {name} holds {wrong} values that aren't finite; remove those Gaussians")
    if bool((gaussians.scale.detach() < 0).any()):
        raise InputError("rasterize: scale is negative; it must be a length, not its logarithm")
    opacity = gaussians.opacity.detach()
    if bool(((opacity < 0) | (opacity > 1)).any()):
        raise InputError("rasterize: opacity lies outside of 0..1; it must be a share, not its logit")
