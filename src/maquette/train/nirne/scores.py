"""How good a NiRNE is on held-out photos, while it is trained."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.losses import angle, masked_mean
from maquette.nets.nirne import NiRNENet, enlarged
from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.datasets.windows import resample
from maquette.synth.looks.photo import photograph
from maquette.train.batches import Batch, Coarse, move
from maquette.train.nirne.data import halved
from maquette.train.nirne.loss import differences

VALIDATION_VIEWS = 192


@torch.no_grad()
def validate_nirne(model: NiRNENet, folder: Path, device: torch.device | str) -> dict[str, float]:
    """Mean angular errors in degrees over fixed photos of held-out shapes, with their masks.

    Returns:
        `val_deg`: the network's, at its own size; `val_fine_deg`: with that as the guide of a pass at twice the size,
        if the data are as large; `val_flat_deg`: the flat guess's; `val_sharp`: `differences` of the finest pass.
    """
    data = ShapeData(folder)
    size_px = model.config.size_px
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]
    totals: dict[str, float] = {}
    for first in range(0, len(order), 8):
        rng = torch.Generator(device).manual_seed(first)
        some = order[first : first + 8]
        fine = data.spec.size_px >= 2 * size_px
        surfaces = move(resample(data.batch(some), 2 * size_px if fine else size_px), device)
        mask = surfaces.mask
        whole = Batch(normalise_exposure(photograph(surfaces, rng) ** 2.2, mask), mask, surfaces.normal, mask)
        errors = _errors(model, whole, fine)
        for name, value in errors.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(some) / len(order)
    return {name: math.degrees(value) if name.endswith("deg") else value for name, value in totals.items()}


def _errors(model: NiRNENet, whole: Batch, fine: bool) -> dict[str, Tensor]:
    """Of photos at the network's size or, if `fine`, at twice that."""
    flat = torch.zeros_like(whole.normal)
    flat[:, 2] = 1
    errors = {"val_flat_deg": masked_mean(angle(flat, whole.normal), whole.solid)}
    coarse = halved(whole) if fine else Coarse(whole.photo, whole.mask)
    normal, _ = model(coarse.photo, coarse.mask)
    if fine:
        true = unit(F.avg_pool2d(whole.normal, 2), 1)
        errors["val_deg"] = masked_mean(angle(normal, true), coarse.mask)
        normal, _ = model(whole.photo, whole.mask, guide=enlarged(normal, coarse.mask))
    errors["val_fine_deg" if fine else "val_deg"] = masked_mean(angle(normal, whole.normal), whole.solid)
    errors["val_sharp"] = differences(normal, whole.normal, whole.solid)
    return errors
