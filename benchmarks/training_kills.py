"""What the benchmarks that kill a training share: kills at random moments, and what has come of them.

A training runs in a process of its own, on one thread, once without a disturbance, and then being killed (SIGKILL,
which no handler sees) and started again. A kill comes at a random moment: one in four while the program starts, the
others up to a fifth of the whole training's time after its first step. A run that ends before its last kill is
compared, and the next one begins anew. Every other start writes its checkpoint after each step, so that kills meet the
writing; the others twice a second, so that kills lose steps.

In the end all of the checkpoint (weights, averages, the optimiser's moments, step) must be the undisturbed one's
to the last bit, and so must the log but for its clocks: the loss curve.
"""

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import kills
from safetensors import safe_open

LOG, CHECKPOINT = "log.jsonl", "checkpoint.safetensors"
CLOCKS = ("data_s", "step_s")


class Work(NamedTuple):
    """What is killed.

    Attributes:
        make: writes the data into a folder.
        train: is given the data, the run's folder, the seconds between checkpoints, and a file to touch after each
            step: a semaphore would be left behind by whoever is killed.
        steps: of all phases, and of the first one.
        first: what the first phase is called.
        imports: modules that processes have from the start, or the kills would meet little else.
    """

    make: Callable[[Path], None]
    train: Callable[[Path, Path, float, Path], None]
    steps: tuple[int, int]
    first: str
    imports: list[str]


class Killed(NamedTuple):
    """What came of it."""

    kills: int
    while_working: int
    in_first: int
    runs: int
    equal_weights: int
    equal_curves: int


def main(work: Work, description: str, argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    return kills.main(
        description,
        argv,
        (4, "four kills"),
        lambda folder, count, moments: measure(work, folder, count, moments),
        lambda found: _facts(work, found),
        lambda found, seed: (
            f"{found.kills} kills (seed {seed}), {found.while_working} while it trained, {found.in_first} of these"
            f" its {work.first}; {found.runs} runs: {found.equal_weights} with the undisturbed weights,"
            f" {found.equal_curves} with the undisturbed loss curve"
        ),
        lambda found: found.equal_weights == found.equal_curves == found.runs,
    )


def _facts(work: Work, found: Killed) -> dict[str, int]:
    facts = found._asdict()
    facts["in_" + work.first.lower().replace(" ", "_")] = facts.pop("in_first")
    return facts


def measure(work: Work, folder: Path, count: int, moments: random.Random) -> Killed:
    """Train below a folder without kills, then with them."""
    data = folder / "data"
    first_step = folder / "first-step"
    _finish(_begin(work, work.make, data))
    started = time.perf_counter()
    child = _begin(work, work.train, data, folder / "undisturbed", 0.5, first_step)
    _wait_for(first_step, child)
    begun = time.perf_counter()
    _finish(child)
    start_s, train_s = begun - started, time.perf_counter() - begun
    working = in_first = runs = weights = curves = 0

    def compare(run: Path) -> None:
        nonlocal runs, weights, curves
        runs += 1
        weights += tensors(run) == tensors(folder / "undisturbed")
        curves += curve(run) == curve(folder / "undisturbed")

    for number in range(count):
        run = folder / f"killed-{runs}"
        first_step.unlink(missing_ok=True)
        child = _begin(work, work.train, data, run, 0.0 if number % 2 else 0.5, first_step)
        if moments.random() < 0.25:
            child.join(moments.uniform(0, start_s))
        else:
            _wait_for(first_step, child)
            child.join(moments.uniform(0, 0.2 * train_s))
        ended = not child.is_alive()
        child.kill()
        child.join()
        there = len(curve(run))
        print(f"kill {number + 1} of {count}: {there} of {work.steps[0]} steps are there", file=sys.stderr)
        working += not ended
        in_first += not ended and there < work.steps[1]
        if ended:
            compare(run)
    run = folder / f"killed-{runs}"
    _finish(_begin(work, work.train, data, run, 0.5, first_step))
    compare(run)
    return Killed(count, working, in_first, runs, weights, curves)


def tensors(run: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """What a checkpoint says, and its tensors by name; in a file, names are in no order."""
    with safe_open(run / CHECKPOINT, framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def curve(run: Path) -> list[dict[str, float]]:
    """The log without its clocks."""
    lines = (run / LOG).read_text().splitlines() if (run / LOG).exists() else []
    return [{key: value for key, value in json.loads(line).items() if key not in CLOCKS} for line in lines]


def _begin(work: Work, job: Callable[..., None], *arguments: object) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(work.imports)
    process = context.Process(target=job, args=arguments)
    process.start()
    return process


def _wait_for(file: Path, process: BaseProcess) -> None:
    while not file.exists() and process.is_alive():
        time.sleep(0.005)


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError("a run that was left alone failed")
