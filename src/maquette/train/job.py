"""What starts a training from a command line: the same for every network, but for what a `Job` says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from maquette.runs.loop import Recipe

Config = TypeVar("Config")


@dataclass(frozen=True)
class Options:
    """What every training is asked.

    Attributes:
        preset: name of the configuration.
        data, held_out: folders to train on, and to take held-out scores on.
        scale: multiplies the number of steps.
        seed: of initial weights, batches and noise.
        init: weights to start from, a name or a folder; None for fresh ones.
    """

    preset: str
    data: Path
    held_out: Path
    scale: float = 1.0
    seed: int = 0
    init: str | None = None

    def apply(self, config: Config) -> Config:
        """The configuration with so many steps, and the seed."""
        phases: Any = config
        phases = tuple(replace(phase, steps=max(1, round(phase.steps * self.scale))) for phase in phases.phases)
        return replace(config, phases=phases, seed=self.seed)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Job:
    """A training, and what is to be done before and after it.

    Attributes:
        recipe: of the training.
        prepare: makes data that are missing; tells what it has made.
        save: writes the trained network to a folder.
        note: a few words on a line of the log.
        check: refuses data that are there but don't fit, before any work.
        initial: weights to start from, as `Options.init` says; None for fresh ones.
        workers: processes that make batches ahead, on a CPU.
    """

    recipe: Recipe[Any]
    prepare: Callable[[Callable[[str], None]], None]
    save: Callable[[Any, Path], None]
    note: Callable[[dict[str, float]], str]
    check: Callable[[], None] = lambda: None
    initial: Callable[[], dict[str, Tensor] | None] = lambda: None
    workers: int = 0
