"""What GSN minimises: its splats seen from several sides, and how unlike turning the image is to turning the splat."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.gaussians.chamfer import Cloud, extended_chamfer
from maquette.losses import ssim
from maquette.nets.gsn import GSNNet, Splats
from maquette.render.splat.rasterize import rasterize
from maquette.train.gsn.config import GSNLoss, GSNTraining
from maquette.train.gsn.data import ViewBatch, turned_images
from maquette.types import Camera

_Z = (0.0, 0.0, 1.0)


def gsn_loss(net: GSNNet, batch: ViewBatch, config: GSNTraining, rng: Generator) -> dict[str, Tensor]:
    """The parts of the loss, and their weighted sum as `loss`.

    Args:
        net: the network; both passes are one batch of its.
        batch: of views.
        config: what counts, and how much.
        rng: draws the turns.
    """
    images, weights = batch.rgb[:, 0], config.loss
    if config.blind:
        images = torch.ones_like(images)
    n = len(images)
    count = math.ceil(n * weights.turned_share) if weights.ecd > 0 else 0
    angles = torch.rand(count, generator=rng, device=images.device) * 2 * math.pi
    shown = torch.cat([images, turned_images(images[:count], angles)]) if count else images
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.bf16):
        splats = net(shown)
    parts = render_loss(splats[:n], batch, weights)
    loss = parts["render"]
    if count:
        still, moved = splats[:count], splats[n:]
        parts["ecd"] = equivariance(still, moved, angles, weights)
        loss = loss + weights.ecd * parts["ecd"]
    return parts | {"loss": loss}


def render_loss(splats: Splats, batch: ViewBatch, weights: GSNLoss) -> dict[str, Tensor]:
    """|C - C*| + ssim (1 - SSIM) + mask |A - M*| + normal (1 - n.n*), means over pixels and views, as `render`."""
    seen = [rendered(splats, index, cameras) for index, cameras in enumerate(batch.cameras)]
    color, alpha, normals = (torch.stack([views[k] for views in seen]) for k in range(3))
    parts = {
        "l1": (color - batch.rgb).abs().mean(),
        "dissimilarity": 1 - ssim(color.flatten(0, 1), batch.rgb.flatten(0, 1)).mean(),
    }
    loss = parts["l1"] + weights.ssim * parts["dissimilarity"]
    if batch.mask is not None and weights.mask > 0:
        parts["mask"] = (alpha - batch.mask).abs().mean()
        loss = loss + weights.mask * parts["mask"]
    if batch.normals is not None and weights.normal > 0:
        there = (batch.normals.square().sum(2) > 0.5) & (alpha[:, :, 0] > 0.5)
        off = 1 - (normals * batch.normals).sum(2)
        parts["normal"] = (off * there).sum() / there.sum().clamp_min(1)
        loss = loss + weights.normal * parts["normal"]
    return parts | {"render": loss, "mse": (color.detach() - batch.rgb).square().mean()}


def rendered(splats: Splats, index: int, cameras: list[Camera]) -> tuple[Tensor, Tensor, Tensor]:
    """Colours on white, alpha and normals of one splat: (views, 3 | 1 | 3, height, width)."""
    gaussians = splats.gaussians(index)
    white = gaussians.mean.new_ones(3)
    outputs = [rasterize(gaussians, camera, background=white) for camera in cameras]
    return (
        torch.stack([output.color for output in outputs]).permute(0, 3, 1, 2),
        torch.stack([output.alpha for output in outputs])[:, None],
        torch.stack([output.normals for output in outputs]).permute(0, 3, 1, 2),
    )


def equivariance(still: Splats, moved: Splats, angles: Float[Tensor, " batch"], weights: GSNLoss) -> Float[Tensor, ""]:
    """The mean ECD between splats of turned images and the turned splats of the images.

    Args:
        still: of the images.
        moved: of the images turned counter-clockwise by `angles`, radians, about the camera's axis, which is z.
        weights: what differences count for, and which side the gradient doesn't reach.
    """
    total = still.mean.new_zeros(())
    for index, angle in enumerate(angles):
        half = angle / 2
        turn = torch.stack([half.cos(), *(half.sin() * part for part in _Z)])
        expected, found = cloud(still, index).turned(turn), cloud(moved, index)
        if weights.stop == "still":
            expected = Cloud(*(value.detach() for value in expected))
        elif weights.stop == "turned":
            found = Cloud(*(value.detach() for value in found))
        total = total + extended_chamfer(expected, found, weights.chamfer)
    return total / len(angles)


def cloud(splats: Splats, index: int) -> Cloud:
    """One splat of the batch, as the Extended Chamfer Distance sees it."""
    return Cloud(
        splats.mean[index], splats.log_scale[index], splats.rotation[index], splats.color[index], splats.opacity[index]
    )
