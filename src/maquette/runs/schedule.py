"""What a run does when: its phases, and the learning rate within one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

WARM_UP = 50  # steps


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size.

    Attributes:
        size_px: side of the images.
        steps, batch: optimiser steps, and images per step (over all processes).
        lr, lr_end: learning rate at the start (after a short warm-up) and, by a cosine, at the end.
        shapes: the first so many shapes of the dataset.
        stage: which part of the network learns, where that changes from phase to phase.
        data: which dataset, by a name that the recipe knows.
    """

    size_px: int
    steps: int
    batch: int
    lr: float
    lr_end: float
    shapes: int = 10**9
    stage: int = 1
    data: str = "shapes"

    @property
    def widest_px(self) -> int:
        """The largest images that it needs."""
        return self.size_px


class Schedule:
    """Phases, one after the other, and what the optimiser does in all of them."""

    phases: tuple[Phase, ...]

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's decay of the gradient's mean and of its square's."""
        return 0.9, 0.98

    def spans(self) -> Iterator[tuple[Phase, int, int]]:
        """Every phase with its first step and the one after its last."""
        first = 0
        for phase in self.phases:
            yield phase, first, first + phase.steps
            first += phase.steps


def learning_rate(phase: Phase, done: int) -> float:
    """After `done` steps of the phase: a linear warm-up, times a cosine from `lr` to `lr_end`."""
    lr = phase.lr_end + 0.5 * (phase.lr - phase.lr_end) * (1 + math.cos(math.pi * done / phase.steps))
    return lr * min(1.0, (done + 1) / WARM_UP)
