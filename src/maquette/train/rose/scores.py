"""How good a RoSE is on held-out photos, while it is trained."""

import math
from pathlib import Path

import torch
from torch import Tensor

from maquette.losses import angle, masked_mean
from maquette.nets.rose import RoSENet
from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.photo import photograph
from maquette.train.batches import move
from maquette.train.rose.vae import views_of


@torch.no_grad()
def validate_rose(net: RoSENet, folder: Path, size_px: int, device: torch.device | str) -> dict[str, float]:
    """Mean angular error, in degrees, of what one and four steps imagine of photos of held-out shapes."""
    from maquette.methods.rose import imagine, to_normals

    data = ShapeData(folder)
    errors: dict[int, list[Tensor]] = {1: [], 4: []}
    order = views_of(data)
    for first in range(0, len(order), 12):
        surfaces = move(data.batch(order[first : first + 12], data.spec.size_px // size_px), device)
        rng = torch.Generator(device).manual_seed(first)
        seen = normalise_exposure(photograph(surfaces, rng) ** 2.2, surfaces.mask)
        for steps, found in errors.items():
            normal = to_normals(net, imagine(net, seen, surfaces.mask, steps))
            found.append(masked_mean(angle(normal, surfaces.normal), surfaces.mask) * len(seen))
    return {f"val_{s}_deg": math.degrees(float(torch.stack(e).sum()) / len(order)) for s, e in errors.items()}
