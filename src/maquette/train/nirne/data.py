"""Batches for NiRNE: a fixed function of the seed and the step, from stored G-buffers to what the network sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.nets.nirne import enlarged
from maquette.runs.processes import Processes
from maquette.synth.datasets.shards import ShapeData
from maquette.train.batches import Batch, Coarse, generators, mix, photo_batch
from maquette.train.nirne.config import NirnePhase


def make_batch(
    data: ShapeData,
    phase: NirnePhase,
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
    picks, rng = generators(seed, step, rank, device)
    batch = photo_batch(data, size_px, phase.batch // world, picks, rng)
    if tiles:
        top, left = picks.integers(0, phase.size_px + 1, 2).tolist()
        return tiled(batch, top, left)
    return replace(batch, coarse=halved(batch)) if kind < phase.tiles + phase.guided else batch


class Batches:
    """The batches of a phase by step; whichever process asks for one first opens the data for itself."""

    def __init__(self, folder: Path, phase: NirnePhase, seed: int, processes: Processes) -> None:
        self.folder, self.phase, self.seed, self.processes = folder, phase, seed, processes
        self.data: ShapeData | None = None

    def __call__(self, step: int) -> Batch:
        """Batch `step`, on the processes' device."""
        self.data = self.data or ShapeData(self.folder, self.phase.shapes)
        rank, world, device = self.processes.rank, self.processes.world, self.processes.device
        return make_batch(self.data, self.phase, self.seed, step, rank, world, device)


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
