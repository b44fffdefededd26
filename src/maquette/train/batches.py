"""Photos of shapes as networks see them: what trainings on shapes share."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.photo import Surfaces, photograph

UNMASKED = 0.3  # share of the photos whose mask isn't told


@dataclass(frozen=True)
class Coarse:
    """The photos as a coarser pass sees them, and what of its answer becomes the guide.

    Attributes:
        photo, mask: at the coarser size.
        top, left: first pixel of the fine photo in the coarse one enlarged to twice its side.
    """

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    top: int = 0
    left: int = 0


@dataclass(frozen=True)
class Batch:
    """Network input and truth; `coarse` is there if the network is to have a guide."""

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    normal: Float[Tensor, "batch 3 height width"]
    solid: Float[Tensor, "batch 1 height width"]
    coarse: Coarse | None = field(default=None, kw_only=True)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        coarse = self.coarse
        if coarse is not None:
            coarse = replace(coarse, photo=coarse.photo.to(device), mask=coarse.mask.to(device))
        images = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, coarse=coarse, **images)


def photo_batch(data: ShapeData, size_px: int, count: int, picks: np.random.Generator, rng: Generator) -> Batch:
    """Photos of random shapes.

    Args:
        data: the shapes.
        size_px: side of the photos.
        count: how many.
        picks: draws the shapes and their windows.
        rng: draws materials, lights and masks, on the device that the photos are made on.
    """
    indices = picks.integers(len(data), size=count).tolist()
    surfaces = move(data.windows(indices, size_px, picks), rng.device)
    return prepare(surfaces, photograph(surfaces, rng), rng)


def generators(
    seed: int, step: int, rank: int = 0, device: torch.device | str = "cpu"
) -> tuple[np.random.Generator, Generator]:
    """What a batch is drawn from: for selection, and for shading, which runs on the device."""
    return np.random.default_rng(mix(seed, step, rank, 0)), torch.Generator(device).manual_seed(
        mix(seed, step, rank, 1)
    )


def prepare(surfaces: Surfaces, photo: Float[Tensor, "batch 3 height width"], rng: Generator) -> Batch:
    """What the network is given: imprecise masks, now and then none, mirrored and turned images."""
    n, device = len(photo), photo.device
    draw = torch.rand(n, 3, generator=rng, device=device)
    solid = surfaces.mask
    grown, shrunk = F.max_pool2d(solid, 3, 1, 1), -F.max_pool2d(-solid, 3, 1, 1)
    kind = draw[:, 0].reshape(n, 1, 1, 1)
    mask = torch.where(kind < UNMASKED, torch.ones_like(solid), solid)
    mask = torch.where((kind >= 0.7) & (kind < 0.85), grown, mask)
    mask = torch.where(kind >= 0.85, shrunk, mask)
    seen = normalise_exposure(photo.clamp_min(0) ** 2.2, mask)
    normal = surfaces.normal
    sign = torch.ones(3, device=device).reshape(1, 3, 1, 1)
    mirror = (draw[:, 1] < 0.5).reshape(n, 1, 1, 1)
    seen, mask, solid = (torch.where(mirror, t.flip(3), t) for t in (seen, mask, solid))
    normal = torch.where(mirror, normal.flip(3) * sign.index_fill(1, torch.tensor(0, device=device), -1), normal)
    # A quarter turn counter-clockwise takes x to y and y to -x.
    turn = (draw[:, 2] < 0.15).reshape(n, 1, 1, 1)
    seen, mask, solid = (torch.where(turn, t.rot90(1, (2, 3)), t) for t in (seen, mask, solid))
    turned = normal.rot90(1, (2, 3))
    turned = torch.stack([-turned[:, 1], turned[:, 0], turned[:, 2]], 1)
    return Batch(seen.contiguous(), mask.contiguous(), torch.where(turn, turned, normal), solid)


def imprecise(solid: Float[Tensor, "batch 1 height width"], rng: Generator) -> Float[Tensor, "batch 1 height width"]:
    """Masks as users have them: three in ten a pixel too wide or too narrow, one in twenty none at all."""
    kind = torch.rand(len(solid), 1, 1, 1, generator=rng, device=solid.device)
    mask = torch.where(kind < 0.05, torch.ones_like(solid), solid)
    mask = torch.where((kind >= 0.05) & (kind < 0.2), F.max_pool2d(solid, 3, 1, 1), mask)
    return torch.where((kind >= 0.2) & (kind < 0.35), -F.max_pool2d(-solid, 3, 1, 1), mask)


def mix(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def move(surfaces: Surfaces, device: torch.device | str) -> Surfaces:
    """The same G-buffers on another device."""
    return replace(surfaces, **{name: value.to(device) for name, value in vars(surfaces).items()})
