"""The rasterizer in plain torch: the specification of the others, and what runs where none of them does.

Elliptical weighted averages of 3D Gaussians (Zwicker et al. 2001; Kerbl et al. 2023), any floating type, any device,
gradients by autograd. It never stops at an opaque pixel, so it is exact, and slow.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.geometry.rotation import quaternion_to_matrix, smallest_axis
from maquette.render.splat.projected import (
    FILTER_PX2,
    JACOBIAN_MARGIN,
    LEAST_ALPHA,
    MOST_ALPHA,
    Blended,
    Projected,
)

TILE = 16  # pixels


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
    """Gaussians on the image plane.

    Args:
        mean, scale, rotation, opacity: as `maquette.types.Gaussians` has them.
        camera_to_world: rigid pose.
        intrinsics: focal length in pixels (pixels a scene unit, if orthographic) and principal point x, y.
        width, height: of the image.
        orthographic: parallel projection.
        antialiased: dim what the filter spreads (Yu et al. 2024), so that small Gaussians don't grow bolder.
        near: nearest depth of a perspective camera that is drawn.
    """
    focal, center = intrinsics[0], intrinsics[1:]
    to_camera = camera_to_world[:3, :3].mT
    local = (mean - camera_to_world[:3, 3]) @ to_camera.mT
    depth = -local[:, 2]
    in_front = torch.ones_like(depth, dtype=torch.bool) if orthographic else depth.detach() >= near
    distance = torch.ones_like(depth) if orthographic else torch.where(in_front, depth, 1.0)
    plane = local[:, :2] / distance[:, None]
    mean_px = center + focal * torch.stack([plane[:, 0], -plane[:, 1]], -1)

    jacobian = _jacobian(plane, distance, focal, center, width, height, orthographic)
    matrix = quaternion_to_matrix(rotation)
    factor = jacobian @ to_camera @ (matrix * scale[:, None, :])
    spread = factor @ factor.mT
    a, b, c = spread[:, 0, 0] + FILTER_PX2, spread[:, 0, 1], spread[:, 1, 1] + FILTER_PX2
    determinant = a * c - b * b
    conic = torch.stack([c, -b, a], -1) / determinant[:, None]
    if antialiased:
        # Of two equal matrices the determinant rounds to nothing or less; a root there has no finite gradient.
        share = (spread[:, 0, 0] * spread[:, 1, 1] - b * b) / determinant
        opacity = opacity * torch.where(share > 0, share, 1.0).sqrt() * (share > 0)

    normal = smallest_axis(scale, rotation) @ to_camera.mT
    towards = -normal[:, 2] if orthographic else (normal * local).sum(-1)
    normal = torch.where((towards.detach() > 0)[:, None], -normal, normal)
    visible = in_front & _touches(mean_px, a, c, opacity, determinant, width, height)
    return Projected(mean_px, conic, opacity, depth, normal, visible)


def blend(projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int) -> Blended:
    """Channels of Gaussians blended front to back at every pixel centre; equal depths in the order of their numbers."""
    order = torch.argsort(projected.depth.detach(), stable=True)
    order = order[projected.visible[order]]
    low, high = _extent(projected, order)
    boxes, members = [], []
    for top in range(0, height, TILE):
        in_row = (high[:, 1] > top) & (low[:, 1] < top + TILE)
        for left in range(0, width, TILE):
            boxes.append((left, top, min(left + TILE, width), min(top + TILE, height)))
            members.append(order[in_row & (high[:, 0] > left) & (low[:, 0] < left + TILE)])
    # One lookup for all tiles: the gradient of one a tile would each be an array over all Gaussians.
    packed = torch.cat([projected.mean_px, projected.conic, projected.opacity[:, None], channels], -1)
    values = packed.index_select(0, torch.cat(members)).split([len(numbers) for numbers in members])
    tiles = [_blend_tile(*given) for given in zip(values, members, boxes, strict=True)]
    across = -(-width // TILE)
    rows = [
        [torch.cat(parts, 1) for parts in zip(*tiles[i : i + across], strict=True)]
        for i in range(0, len(tiles), across)
    ]
    total, alpha, median = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return Blended(total, alpha, median)


def _jacobian(
    plane: Float[Tensor, "n 2"],
    distance: Float[Tensor, " n"],
    focal: Float[Tensor, ""],
    center: Float[Tensor, "2"],
    width: int,
    height: int,
    orthographic: bool,
) -> Float[Tensor, "n 2 3"]:
    """d (pixel x, y) / d (camera x, y, z) at the means."""
    along = (focal / distance).expand_as(distance)
    zero = torch.zeros_like(along)
    if orthographic:
        return torch.stack([along, zero, zero, zero, -along, zero], -1).unflatten(-1, (2, 3))
    size = torch.tensor([width, height], dtype=plane.dtype, device=plane.device)
    limit = JACOBIAN_MARGIN * (torch.maximum(center, size - center) / focal).detach()
    x, y = torch.maximum(torch.minimum(plane, limit), -limit).unbind(-1)
    return torch.stack([along, zero, along * x, zero, -along, -along * y], -1).unflatten(-1, (2, 3))


def _touches(
    mean_px: Float[Tensor, "n 2"],
    a: Float[Tensor, " n"],
    c: Float[Tensor, " n"],
    opacity: Float[Tensor, " n"],
    determinant: Float[Tensor, " n"],
    width: int,
    height: int,
) -> Bool[Tensor, " n"]:
    """Whether the box around where alpha >= LEAST_ALPHA meets the image."""
    reach = 2 * (opacity.detach() / LEAST_ALPHA).clamp_min(1.0).log()
    half = (reach[:, None] * torch.stack([a, c], -1).detach()).sqrt()
    size = torch.tensor([width, height], dtype=mean_px.dtype, device=mean_px.device)
    inside = ((mean_px + half > 0) & (mean_px - half < size)).all(-1)
    sound = torch.isfinite(mean_px).all(-1) & torch.isfinite(half).all(-1) & (determinant > 0)
    return inside & sound & (opacity >= LEAST_ALPHA)


def _extent(projected: Projected, order: Tensor) -> tuple[Float[Tensor, "m 2"], Float[Tensor, "m 2"]]:
    """Corners of the boxes around where the ordered Gaussians count."""
    a, b, c = projected.conic[order].detach().unbind(-1)
    reach = 2 * (projected.opacity[order].detach() / LEAST_ALPHA).log()
    # The box of an ellipse: half its width squared is the reach times an entry of the conic's inverse. A pixel more,
    # since rounding here must not cost what counts there.
    half = (reach[:, None] * torch.stack([c, a], -1) / (a * c - b * b)[:, None]).clamp_min(0).sqrt() + 1
    center = projected.mean_px[order].detach()
    return center - half, center + half


def _blend_tile(values: Tensor, numbers: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Total, alpha and median of the pixels in (left, top, right, bottom)."""
    left, top, right, bottom = box
    like = values
    x = torch.arange(left, right, dtype=like.dtype, device=like.device) + 0.5
    y = torch.arange(top, bottom, dtype=like.dtype, device=like.device) + 0.5
    pixels = torch.cartesian_prod(y, x).reshape(-1, 2).flip(-1)
    a, b, c, opacity = values[:, 2:6].unbind(-1)
    dx, dy = (pixels[:, None, :] - values[:, :2]).unbind(-1)
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacity * torch.exp(-power)).clamp_max(MOST_ALPHA)
    alpha = torch.where(alpha >= LEAST_ALPHA, alpha, 0.0)
    through = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], -1) if len(numbers) else through
    weights = alpha * before
    shape = (bottom - top, right - left)
    return (
        (weights @ values[:, 6:]).reshape(*shape, -1),
        weights.sum(-1).reshape(shape),
        _median(through.detach(), numbers).reshape(shape),
    )


def _median(through: Float[Tensor, "pixels m"], numbers: Tensor) -> Tensor:
    """The first Gaussian behind which at most half of the light is left, -1 where none is."""
    if not len(numbers):
        return torch.full((len(through),), -1, dtype=torch.int64, device=through.device)
    past = through <= 0.5
    return torch.where(past[:, -1], numbers[past.to(torch.uint8).argmax(-1)], -1)
