"""What a NiRNE training run is: the network and its phases; the presets."""

from collections.abc import Iterator
from dataclasses import dataclass

from maquette.nets.nirne import PRESETS, NiRNE, NiRNEConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size.

    Attributes:
        size_px: side of the photos; the dataset's size must be a multiple of it.
        steps, batch: optimiser steps and photos per step (over all processes).
        lr, lr_end: learning rate at the start (after a short warm-up) and, by a cosine, at the end.
        shapes: the first so many shapes of the dataset.
        stage: 1 trains everything, 2 the noisy stream alone.
        data: which dataset: "shapes", or "sharp", the most detailed one.
        guided: share of NiRNE's batches whose guide is what the network says of them at half the resolution.
        tiles: share of its batches that are parts of photos twice as large; their guide is of the whole photo.
        small: share of its batches at half the size, without a guide: what the first pass sees isn't forgotten.
    """

    size_px: int
    steps: int
    batch: int
    lr: float
    lr_end: float
    shapes: int = 10**9
    stage: int = 1
    data: str = "shapes"
    guided: float = 0.0
    tiles: float = 0.0
    small: float = 0.0

    @property
    def widest_px(self) -> int:
        """The largest photos that it makes."""
        return self.size_px * (2 if self.tiles else 1)


class Schedule:
    """Phases, one after the other."""

    phases: tuple[Phase, ...]

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    def spans(self) -> Iterator[tuple[Phase, int, int]]:
        """Every phase with its first step and the one after its last."""
        first = 0
        for phase in self.phases:
            yield phase, first, first + phase.steps
            first += phase.steps


@dataclass(frozen=True)
class TrainConfig(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes.
        phases: what is done, in order.
        seed: of initial weights, batches and noise.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
        encoder_lr: learning rate of the pretrained encoder, as a share of the rest's.
        edges: weight of the differences between neighbouring normals in the loss.
        validate_every: steps between held-out errors; they are always taken at the end of a phase.
    """

    net: NiRNEConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False
    encoder_lr: float = 0.4
    edges: float = 1.0
    validate_every: int = 2000

    def build(self) -> NiRNE:
        """The network with fresh weights."""
        return NiRNE(self.net)


TRAINING: dict[str, TrainConfig] = {
    "small": TrainConfig(
        PRESETS["small"],
        (
            Phase(128, 2900, 16, 1e-3, 1e-3, shapes=464, guided=0.3),
            Phase(128, 2000, 16, 1e-3, 1e-3, shapes=464, guided=0.3, tiles=0.15),
            Phase(256, 1000, 6, 8e-4, 8e-4, shapes=464, guided=0.4, small=0.4),
            Phase(256, 1720, 6, 8e-4, 1e-5, shapes=464, guided=0.45, small=0.4),
        ),
        bf16=True,
    ),
    "base": TrainConfig(
        PRESETS["base"],
        (
            Phase(128, 60_000, 128, 1e-3, 1e-3, guided=0.3, tiles=0.2),
            Phase(256, 40_000, 64, 8e-4, 1e-5, guided=0.5, tiles=0.2),
        ),
        bf16=True,
    ),
}
