"""What the refiner minimises: how badly its normals explain the object under several lights."""

import torch
from torch import Tensor, nn

from maquette.losses import masked_mean
from maquette.train.refiner.config import LossWeights
from maquette.train.refiner.data import RefinerBatch
from maquette.train.refiner.reprojection import contour, curl, fit_lights, reprojection, unlikeness, weight_of


def refiner_loss(
    refiner: nn.Module, batch: RefinerBatch, weights: LossWeights, bf16: bool = False
) -> dict[str, Tensor]:
    """The loss ("loss") and its parts."""
    with torch.autocast(batch.photo.device.type, torch.bfloat16, enabled=bf16):
        out = refiner(batch.photo, batch.normals, batch.mask)
    solid, views = batch.solid, batch.views
    lights = views.lights
    if weights.light_trust is not None:
        lights = fit_lights(out.fused, solid, views, weights.light_trust)
    counted = solid * weight_of(views.images, weights.shaded)
    fused, made = reprojection(out.fused, counted, views.images, lights)
    refined, _ = reprojection(out.refined, counted, views.images, lights)
    fused, refined = fused.mean(), refined.mean()
    unlike = unlikeness(made, views.images, counted)
    rim = contour(out.refined, solid) + contour(out.fused, solid)
    bent = curl(out.refined, solid) + curl(out.fused, solid)
    total = fused + weights.ssim * unlike + weights.refined * refined + weights.contour * rim + weights.curl * bent
    return {
        "loss": total,
        "fused": fused,
        "refined": refined,
        "unlike": unlike,
        "contour": rim,
        "curl": bent,
        "gate": masked_mean(out.gate, solid),
    }
