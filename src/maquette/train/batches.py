"""Batches for NiRNE: a fixed function of the seed and the step, from stored G-buffers to what the network sees."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor
from torch.utils.data import Dataset

from maquette.nets.nirne import enlarged
from maquette.shading.exposure import normalise_exposure
from maquette.synth.photo import Surfaces, photograph
from maquette.synth.shards import ShapeData
from maquette.train.config import Phase

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
        images = {name: getattr(self, name).to(device) for name in ("photo", "mask", "normal", "solid")}
        return replace(self, coarse=coarse, **images)


def make_batch(
    data: ShapeData,
    phase: Phase,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
) -> Batch:
    """Batch `step`, a function of (seed, step, rank) and the data alone.

    All processes of a step take the same kind: tiles with a guide, whole photos with one or without, small ones.
    """
    kind = np.random.default_rng(mix(seed, step, 3)).random()
    tiles, small = kind < phase.tiles, kind >= 1 - phase.small
    size_px = phase.size_px * 2 if tiles else phase.size_px // 2 if small else phase.size_px
    # Selection and shading draw from generators of their own: shading runs on the device.
    picks = np.random.default_rng(mix(seed, step, rank, 0))
    indices = picks.integers(len(data), size=phase.batch // world).tolist()
    surfaces = move(data.windows(indices, size_px, picks), device)
    rng = torch.Generator(device).manual_seed(mix(seed, step, rank, 1))
    batch = prepare(surfaces, photograph(surfaces, rng), rng)
    if tiles:
        top, left = picks.integers(0, phase.size_px + 1, 2).tolist()
        return tiled(batch, top, left)
    return replace(batch, coarse=halved(batch)) if kind < phase.tiles + phase.guided else batch


class Batches(Dataset[Batch]):
    """The batches of a phase by step, for `torch.utils.data.DataLoader`: each worker opens the data for itself."""

    def __init__(self, folder: Path, phase: Phase, seed: int, rank: int = 0, world: int = 1) -> None:
        self.folder, self.phase, self.seed, self.rank, self.world = folder, phase, seed, rank, world
        self.data: ShapeData | None = None

    def __getitem__(self, step: int) -> Batch:
        self.data = self.data or ShapeData(self.folder, self.phase.shapes)
        return make_batch(self.data, self.phase, self.seed, step, self.rank, self.world)


def halved(batch: Batch) -> Coarse:
    """Photos and masks at half the resolution: linear light is averaged, over the object alone."""
    cover = F.avg_pool2d(batch.mask, 2)
    linear = F.avg_pool2d(batch.photo**2.2 * batch.mask, 2) / cover.clamp_min(1e-3)
    mask = (cover >= 0.5).float()
    return Coarse(linear.clamp(1e-6, 1) ** (1 / 2.2) * mask, mask)


def tiled(batch: Batch, top: int, left: int) -> Batch:
    """The square of half the side at a corner, and the whole at half the resolution."""
    half = batch.mask.shape[-1] // 2
    rows, columns = slice(top, top + half), slice(left, left + half)
    parts = {name: getattr(batch, name)[..., rows, columns] for name in ("photo", "mask", "normal", "solid")}
    return Batch(**parts, coarse=replace(halved(batch), top=top, left=left))


def guide_of(batch: Batch, normal: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 h w"]:
    """The guide that a coarse answer is to the batch's photos."""
    assert batch.coarse is not None
    height, width = batch.mask.shape[-2:]
    doubled = enlarged(normal, batch.coarse.mask)
    rows = slice(batch.coarse.top, batch.coarse.top + height)
    return doubled[..., rows, batch.coarse.left : batch.coarse.left + width]


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


def mix(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def move(surfaces: Surfaces, device: torch.device | str) -> Surfaces:
    """The same G-buffers on another device."""
    return replace(surfaces, **{name: value.to(device) for name, value in vars(surfaces).items()})
