"""How good a refiner is on held-out renders, by kind of input: for reports and to compare settings, never a loss."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.losses import angle
from maquette.methods.nirne import Network
from maquette.nets.refiner import RefinerNet
from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.materials import sample_material
from maquette.synth.looks.photo import expose, shade
from maquette.train.batches import move
from maquette.train.refiner.data import KINDS, guesses, perturbed
from maquette.train.refiner.reprojection import render_views, reprojection

_BATCH = 16
VALIDATION_VIEWS = 192


@dataclass(frozen=True)
class Scores:
    """Of one kind of map on every photo.

    Attributes:
        degrees: mean angular error.
        missed: reprojection error, as the loss has it.
    """

    degrees: Float[Tensor, " photos"]
    missed: Float[Tensor, " photos"]


@torch.no_grad()
def score_refiner(
    model: RefinerNet,
    predictor: Network | None,
    folder: Path,
    size_px: int,
    device: torch.device | str = "cpu",
    photos: int = 192,
) -> dict[tuple[str, str], Scores]:
    """Scores by (input, map): inputs are the `KINDS` and, with "_spoilt", perturbed ones; maps are "given", "refined"
    and "fused".

    Args:
        model: the network.
        predictor: makes the "predicted" inputs; without it there are none.
        folder: dataset of held-out shapes.
        size_px: side of the photos; the dataset's must be a multiple of it.
        device: where all of it is.
        photos: at most so many, always the same ones.
    """
    data = ShapeData(folder)
    factor = max(data.spec.size_px // size_px, 1)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:photos]
    found: dict[tuple[str, str], list[tuple[Tensor, Tensor]]] = {}
    for first in range(0, len(order), _BATCH):
        rng = torch.Generator(device).manual_seed(first)
        surfaces = move(data.batch(order[first : first + _BATCH], factor), device)
        material = sample_material(surfaces.local, rng)
        seen = normalise_exposure(expose(shade(surfaces, material, rng), surfaces.mask, rng) ** 2.2, surfaces.mask)
        views, mask = render_views(surfaces, material), surfaces.mask
        area = mask.sum((1, 2, 3)).clamp_min(1e-6)
        for kind, name in enumerate(KINDS):
            if name == "predicted" and predictor is None:
                continue
            normals = guesses(seen, mask, [kind] * len(seen), predictor)
            for label, given in ((name, normals), (f"{name}_spoilt", perturbed(normals, mask, rng))):
                out = model(seen, given, mask)
                for what, normal in (("given", given), ("refined", out.refined), ("fused", out.fused)):
                    error = (angle(normal, surfaces.normal) * mask).sum((1, 2, 3)) / area
                    missed, _ = reprojection(normal, mask, views.images, views.lights)
                    found.setdefault((label, what), []).append((error.rad2deg(), missed))
    return {key: Scores(*(torch.cat(parts).cpu() for parts in zip(*rows, strict=True))) for key, rows in found.items()}


def validate_refiner(
    model: RefinerNet, predictor: Network | None, folder: Path, size_px: int, device: torch.device | str
) -> dict[str, float]:
    """Means of `score_refiner`: "val_INPUT_MAP_deg" and "val_INPUT_MAP_missed"."""
    means = {}
    for (label, what), scores in score_refiner(model, predictor, folder, size_px, device, VALIDATION_VIEWS).items():
        means[f"val_{label}_{what}_deg"] = float(scores.degrees.mean())
        means[f"val_{label}_{what}_missed"] = float(scores.missed.mean())
    return means
