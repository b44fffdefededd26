"""Batches for NiRNE: a fixed function of the seed and the step, from stored G-buffers to what the network sees."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.nets.nirne import normalise_exposure
from maquette.synth.photo import Surfaces, photograph
from maquette.synth.shards import ShapeData
from maquette.train.config import Phase


@dataclass(frozen=True)
class Batch:
    """Network input and truth."""

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    normal: Float[Tensor, "batch 3 height width"]
    solid: Float[Tensor, "batch 1 height width"]


def make_batch(
    data: ShapeData,
    phase: Phase,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
) -> Batch:
    """Batch `step`, a function of (seed, step, rank) and the data alone."""
    # Selection and shading draw from generators of their own: shading runs on the device.
    picks = torch.Generator().manual_seed(mix(seed, step, rank, 0))
    indices = torch.randint(len(data), (phase.batch // world,), generator=picks).tolist()
    surfaces = move(data.batch(indices, data.spec.size_px // phase.size_px), device)
    rng = torch.Generator(device).manual_seed(mix(seed, step, rank, 1))
    return prepare(surfaces, photograph(surfaces, rng), rng)


def prepare(surfaces: Surfaces, photo: Float[Tensor, "batch 3 height width"], rng: Generator) -> Batch:
    """What the network is given: imprecise masks, now and then none, mirrored and turned images."""
    n, device = len(photo), photo.device
    draw = torch.rand(n, 3, generator=rng, device=device)
    solid = surfaces.mask
    grown, shrunk = F.max_pool2d(solid, 3, 1, 1), -F.max_pool2d(-solid, 3, 1, 1)
    kind = draw[:, 0].reshape(n, 1, 1, 1)
    mask = torch.where(kind < 0.1, torch.ones_like(solid), solid)
    mask = torch.where((kind >= 0.1) & (kind < 0.25), grown, mask)
    mask = torch.where((kind >= 0.25) & (kind < 0.4), shrunk, mask)
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


def mix(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def move(surfaces: Surfaces, device: torch.device | str) -> Surfaces:
    """The same G-buffers on another device."""
    return replace(surfaces, **{name: value.to(device) for name, value in vars(surfaces).items()})
