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
    """

    size_px: int
    steps: int
    batch: int
    lr: float
    lr_end: float
    shapes: int = 10**9
    stage: int = 1
    data: str = "shapes"


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
    """

    net: NiRNEConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False

    def build(self) -> NiRNE:
        """The network with fresh weights."""
        return NiRNE(self.net)


TRAINING: dict[str, TrainConfig] = {
    "small": TrainConfig(
        PRESETS["small"],
        (
            Phase(64, 4800, 16, 3e-4, 1.5e-4, shapes=1600),
            Phase(128, 16_000, 8, 2.5e-4, 5e-6, shapes=2400),
            Phase(128, 300, 8, 5e-5, 5e-6, stage=2, data="sharp"),
        ),
    ),
    # For weights that are trained already (`--init`): what the shipped ones had last, and a stage two that they lack.
    "refine": TrainConfig(
        PRESETS["small"],
        (
            Phase(128, 1000, 8, 2.5e-4, 2.5e-4, shapes=256),
            Phase(128, 2000, 8, 2.5e-4, 2.2e-4, shapes=400),
            Phase(128, 3000, 8, 2.2e-4, 1.7e-4, shapes=600),
            Phase(128, 5500, 8, 1.7e-4, 3e-6, shapes=744),
            Phase(128, 300, 8, 5e-5, 5e-6, stage=2, data="sharp"),
        ),
    ),
    "base": TrainConfig(
        PRESETS["base"],
        (
            Phase(128, 60_000, 128, 6e-4, 3e-4),
            Phase(256, 40_000, 64, 3e-4, 1e-5),
            Phase(256, 10_000, 64, 1e-4, 1e-6, stage=2, data="sharp"),
        ),
        bf16=True,
    ),
}
