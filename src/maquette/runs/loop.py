"""The one loop of every training: resumable, repeatable from its seed, on one device or in several processes.

    batch t -> loss -> AdamW -> averaged weights; now and then held-out scores, a checkpoint, a picture of the curves

Batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats an undisturbed one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from maquette.io.files import write_bytes
from maquette.runs.interrupt import deferred_interrupt, ignore_interrupts
from maquette.runs.processes import Processes, join_processes
from maquette.runs.progress import draw_curves
from maquette.runs.schedule import Phase, learning_rate
from maquette.runs.state import State, Training, require_ready, save, start

EMA_HALF_LIFE = 0.02  # of the averaged weights, as a share of the phase's steps
CURVES = "curves.png"
DRAW_EVERY_S = 120.0

Net = TypeVar("Net", bound=nn.Module)
Source = Callable[[int], Any]


@dataclass(frozen=True)
class Step(Generic[Net]):
    """What a loss is taken at.

    Attributes:
        network: what to call, so that several processes share their gradients.
        model: the network itself, with the same weights.
        phase: one of the configuration's.
        number: steps that lie behind.
        rank: number of this process.
    """

    network: nn.Module
    model: Net
    phase: Any
    number: int
    rank: int


@dataclass(frozen=True)
class Recipe(Generic[Net]):
    """What a training is; the loop is `fit`.

    Attributes:
        config: the network, its phases, the optimiser.
        batches: gives the batches of a phase by step, on the processes' device, each a function of (seed, step, rank)
            and the data alone; refuses data that don't fit. What it gives must pickle where `workers` make batches.
        loss: of a step and its batch: "loss", whose gradient is followed, and whatever else is to be logged.
        facts: what a card says beside the facts of every run, by the lines of the log.
        check: refuses what doesn't fit, before any work.
        groups: the optimiser's groups of parameters, all in one if not given; their `lr_scale` multiplies the rate.
        freeze: says which parameters learn in a phase.
        begin: called before a phase's first step, with its first batch; nothing but the state, the seed and the data
            may tell what it does.
        validate: held-out scores of the averaged weights, named "val_..."; taken at the end of every phase.
        validate_every: steps between further scores; 0 for none.
    """

    config: Training[Net]
    batches: Callable[[Any, Processes], Source]
    loss: Callable[[Step[Net], Any], dict[str, Tensor]]
    facts: Callable[[list[dict[str, float]]], dict[str, Any]]
    check: Callable[[], None] = lambda: None
    groups: Callable[[Net], list[dict[str, Any]]] | None = None
    freeze: Callable[[Net, Any], None] = lambda *_: None
    begin: Callable[[State[Net], Any, Any], None] = lambda *_: None
    validate: Callable[[Net, Any], dict[str, float]] | None = None
    validate_every: int = 0


def fit(
    recipe: Recipe[Net],
    run: Path,
    device: str = "cpu",
    save_every_s: float = 60.0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
    workers: int = 0,
) -> Net:
    """Train, or go on from `run`'s last checkpoint; returns the averaged weights.

    Args:
        recipe: what to do; a run folder that holds another configuration is refused.
        run: folder of the checkpoint, `log.jsonl`, and `curves.png`.
        device: torch device; under a launcher each process takes its own GPU.
        save_every_s: seconds between checkpoints: the most that a kill can lose. Ctrl-C loses nothing.
        report: called with every log line.
        init: weights to start from instead of fresh ones; a checkpoint in `run` wins.
        workers: processes that make batches ahead of the training, on the CPU; the same batches as without them.

    Raises:
        InputError: what `recipe.check`, `recipe.batches` or `maquette.runs.state.require_ready` refuses.
        KeyboardInterrupt: Ctrl-C, once the state is saved.
    """
    recipe.check()
    require_ready(recipe.config, run, init)
    processes = join_processes(device)
    state = start(recipe.config, run, processes.device, init, recipe.groups)
    network = processes.wrap(state.model)
    makers = replace(processes, device=torch.device("cpu")) if workers else processes
    spans = [(phase, first, last) for phase, first, last in recipe.config.spans() if state.step < last]
    for phase, _, _ in spans:  # what a later phase lacks is told before hours go into the first
        recipe.batches(phase, makers)
    keep = _Keeper(recipe.config, run, save_every_s)
    with deferred_interrupt() as interrupted:
        for phase, first, last in spans:
            batches = _ahead(recipe.batches(phase, makers), state.step, last, workers)
            recipe.freeze(state.model, phase)
            while state.step < last:
                line = _advance(recipe, state, network, phase, first, batches, processes)
                due = state.step == last or (recipe.validate_every and state.step % recipe.validate_every == 0)
                if due and recipe.validate is not None and processes.rank == 0:
                    line |= recipe.validate(state.average, phase)
                state.log.append(line)
                report(line)
                leaving = processes.any(interrupted())
                if processes.rank == 0:
                    keep(state, state.step == last or leaving)
                if leaving:
                    raise KeyboardInterrupt
    processes.leave()
    return state.average


def _ahead(source: Source, first: int, last: int, workers: int) -> Iterator[Any]:
    """The batches of steps first to last - 1; with workers, made by other processes while one is trained on."""
    if workers == 0:
        return map(source, range(first, last))
    steps: Any = range(first, last)
    # Processes that are forked would inherit locks of threads that they don't have.
    return iter(
        DataLoader(
            _BySteps(source),
            None,
            sampler=steps,
            num_workers=workers,
            multiprocessing_context="spawn",
            worker_init_fn=ignore_interrupts,
        )
    )


class _BySteps(Dataset[Any]):
    """Batches by step, as worker processes ask for them."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, step: int) -> Any:
        return self.source(step)


def _advance(
    recipe: Recipe[Net],
    state: State[Net],
    network: nn.Module,
    phase: Any,
    first: int,
    batches: Iterator[Any],
    processes: Processes,
) -> dict[str, float]:
    """One step, and its line of the log."""
    started = time.monotonic()
    batch = next(batches).to(processes.device)
    if state.step == first:
        recipe.begin(state, phase, batch)
    made = time.monotonic()
    parts = recipe.loss(Step(network, state.model, phase, state.step, processes.rank), batch)
    lr, norm = descend(state, parts["loss"], phase, state.step - first, recipe.config.clip)
    line = {name: float(value.detach()) for name, value in parts.items()} | {"norm": norm, "lr": lr}
    state.step += 1
    return line | {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}


def descend(state: State[Any], loss: Tensor, phase: Phase, done: int, clip: float) -> tuple[float, float]:
    """One step down the gradient of `loss`, and the averaged weights after it.

    Args:
        state: model, average and optimiser, changed in place.
        loss: of this step.
        phase: whose learning rate falls by a cosine after a short warm-up.
        done: steps of the phase that lie behind.
        clip: largest norm of the gradient.

    Returns:
        The learning rate, and the norm of the gradient before it was clipped.
    """
    lr = learning_rate(phase, done)
    for group in state.optimiser.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    state.optimiser.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_([p for p in state.model.parameters() if p.grad is not None], clip)
    if torch.isfinite(norm):  # a batch that overflowed teaches nothing
        state.optimiser.step()
    keep = min(0.5 ** (1 / max(EMA_HALF_LIFE * phase.steps, 1)), (done + 1) / (done + 10))
    with torch.no_grad():
        for mean, now in zip(state.average.parameters(), state.model.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
    return lr, float(norm)


class _Keeper:
    """Writes the state as often as asked, and every few minutes a picture of the curves."""

    def __init__(self, config: Training[Any], run: Path, every_s: float) -> None:
        self.config, self.run, self.every_s = config, run, every_s
        self.saved = self.drawn = time.monotonic()

    def __call__(self, state: State[Any], at_once: bool) -> None:
        if at_once or time.monotonic() - self.saved > self.every_s:
            save(state, self.config, self.run)
            self.saved = time.monotonic()
        if at_once or time.monotonic() - self.drawn > DRAW_EVERY_S:
            write_bytes(self.run / CURVES, draw_curves(self.config, state.log))
            self.drawn = time.monotonic()
