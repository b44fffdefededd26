"""Gaussians splatted one after the other, pixel by pixel, in float64: what every backend of the rasterizer must equal.

Written for torch, so that autograd gives the gradients, but nothing is vectorised and no formula is shared with the
package: axes are turned by the sandwich product of quaternions, the projection is linearised by automatic
differentiation, covariances are sums over axes and are inverted by torch. For float64, few Gaussians and few pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Splat(NamedTuple):
    """One Gaussian in the image: centre, inverse covariance, opacity, depth, normal; as a backend's `Projected`."""

    center: Tensor
    inverse: Tensor
    opacity: Tensor
    depth: Tensor
    normal: Tensor


class Picture(NamedTuple):
    """Sums of channels, alpha and median of every pixel, and how near any decision was to the other side.

    `doubt` is the least distance of an alpha to 1/255 or 0.999, or of a transmittance to 1/2, relative to these: where
    it isn't well above the rounding of a backend, the two may rightly differ.
    """

    total: Tensor
    alpha: Tensor
    median: Tensor
    doubt: float


def project(
    mean, scale, rotation, opacity, camera_to_world, intrinsics, *, width, height, orthographic, antialiased, near
) -> list[Splat | None]:
    """Every Gaussian in the image; None for one that isn't visible."""
    return [
        _project_one(
            *each, camera_to_world, intrinsics, (width, height), orthographic=orthographic, antialiased=antialiased,
            near=near,
        )
        for each in zip(mean, scale, rotation, opacity, strict=True)
    ]  # fmt: skip


def blend(splats: list[Splat | None], channels: Tensor, width: int, height: int) -> Picture:
    """Front to back at every pixel centre; never stops early."""
    numbers = [i for i, splat in enumerate(splats) if splat is not None]
    numbers.sort(key=lambda i: splats[i].depth.item())
    totals, alphas, medians, doubt = [], [], [], float("inf")
    for row in range(height):
        for column in range(width):
            through = channels.new_ones(())
            total, median = channels.new_zeros(channels.shape[1]), -1
            for i in numbers:
                splat = splats[i]
                away = torch.tensor([column + 0.5, row + 0.5], dtype=channels.dtype) - splat.center
                alpha = splat.opacity * torch.exp(-(away @ splat.inverse @ away) / 2)
                doubt = min(doubt, abs(255 * alpha.item() - 1), abs(alpha.item() / 0.999 - 1))
                if alpha < 1 / 255:
                    continue
                if alpha > 0.999:
                    alpha = alpha.new_tensor(0.999)
                total = total + alpha * through * channels[i]
                through = through * (1 - alpha)
                doubt = min(doubt, abs(2 * through.item() - 1))
                if median < 0 and through <= 0.5:
                    median = i
            totals.append(total)
            alphas.append(1 - through)
            medians.append(median)
    return Picture(
        torch.stack(totals).reshape(height, width, -1),
        torch.stack(alphas).reshape(height, width),
        torch.tensor(medians).reshape(height, width),
        doubt,
    )


def _project_one(
    mean, scale, rotation, opacity, camera_to_world, intrinsics, size, *, orthographic, antialiased, near
) -> Splat | None:
    to_world = camera_to_world[:3, :3]
    place = to_world.T @ (mean - camera_to_world[:3, 3])
    depth = -place[2]
    if not orthographic and depth < near:
        return None
    center = _pixel(place, intrinsics, orthographic)
    held = _held(place, intrinsics, size, orthographic)
    jacobian = torch.autograd.functional.jacobian(
        lambda at: _pixel(at, intrinsics, orthographic), held, create_graph=True
    )
    axes = [to_world.T @ _turn(rotation, axis) for axis in torch.eye(3, dtype=mean.dtype)]
    flat = sum(scale[k] ** 2 * torch.outer(jacobian @ axes[k], jacobian @ axes[k]) for k in range(3))
    wide = flat + 0.3 * torch.eye(2, dtype=mean.dtype)
    if antialiased:
        opacity = opacity * (torch.linalg.det(flat) / torch.linalg.det(wide)).sqrt()
    if opacity < 1 / 255:
        return None
    half = (2 * torch.log(255 * opacity) * wide.diagonal()).sqrt()
    if (center + half <= 0).any() or (center - half >= torch.tensor(size)).any():
        return None
    normal = axes[min(range(3), key=lambda k: scale[k].item())]
    away = -normal[2] if orthographic else normal @ place
    return Splat(center, torch.linalg.inv(wide), opacity, depth, -normal if away > 0 else normal)


def _pixel(place: Tensor, intrinsics: Tensor, orthographic: bool) -> Tensor:
    """Pixel coordinates of a place in camera axes."""
    slope = place[:2] if orthographic else place[:2] / -place[2]
    return torch.stack([intrinsics[1] + intrinsics[0] * slope[0], intrinsics[2] - intrinsics[0] * slope[1]])


def _held(place: Tensor, intrinsics: Tensor, size: tuple[int, int], orthographic: bool) -> Tensor:
    """The place itself or, if it is far out of the picture, one at its depth that isn't: where to linearise."""
    if orthographic:
        return place
    fixed = intrinsics.tolist()
    held = [*place]
    for axis in range(2):
        limit = 1.3 * max(fixed[1 + axis], size[axis] - fixed[1 + axis]) / fixed[0]
        if abs(place[axis].item() / place[2].item()) > limit:
            held[axis] = place[axis].sign() * limit * -place[2]
    return torch.stack(held)


def _turn(quaternion: Tensor, vector: Tensor) -> Tensor:
    """q (0, v) q* / |q|^2; the vector itself where q is zero."""
    square = quaternion @ quaternion
    if square == 0:
        return vector
    conjugate = quaternion * quaternion.new_tensor([1, -1, -1, -1])
    middle = _product(quaternion, torch.cat([vector.new_zeros(1), vector]))
    return _product(middle, conjugate)[1:] / square


def _product(a: Tensor, b: Tensor) -> Tensor:
    scalar = a[0] * b[0] - a[1:] @ b[1:]
    return torch.cat([scalar[None], a[0] * b[1:] + b[0] * a[1:] + torch.linalg.cross(a[1:], b[1:])])
