"""A training of RoSE that is killed at random moments, twenty times, against one that is left alone.

    python benchmarks/rose_kill.py [--quick] [--json] [--kills N] [--seed N]

`maquette.train.rose.train_rose` trains a tiny network in a process of its own, on one thread: its VAE, then the video
model in two phases, once without a disturbance, and then being killed (SIGKILL, which no handler sees) and started
again. A kill comes at a random moment: one in four while the program starts, the others up to a fifth of the whole
training's time after its first step. A run that ends before its last kill is compared, and the next one begins anew.
Every other start writes its checkpoint after each step, so that kills meet the writing; the others twice a second, so
that kills lose steps.

In the end all of the checkpoint (weights, averages, the optimiser's moments, step) must be the undisturbed one's
to the last bit, and so must the log but for its clocks: the loss curve.

`--quick` kills four times. `--json` prints one flat object: `kills`, `while_working` (kills that met the training
before it had ended), `in_vae` (those of them before the video model began), `runs`, `equal_weights` and `equal_curves`
(runs that ended as the undisturbed one) and `seed`. Exit code 1 if any run differs.
"""

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

STEPS = 8, 10, 8  # VAE, video model at half the size, video model
LOG, CHECKPOINT = "log.jsonl", "checkpoint.safetensors"
CLOCKS = ("data_s", "step_s")


class Killed(NamedTuple):
    """What came of it."""

    kills: int
    while_working: int
    in_vae: int
    runs: int
    equal_weights: int
    equal_curves: int


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four kills")
    parser.add_argument("--json", action="store_true", help="one flat object")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, help="of the moments; drawn and printed if not given")
    options = parser.parse_args(argv)
    seed = random.randrange(2**31) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), 4 if options.quick else options.kills, random.Random(seed))
    if options.json:
        print(json.dumps(found._asdict() | {"seed": seed}))
    else:
        print(
            f"{found.kills} kills (seed {seed}), {found.while_working} while it trained, {found.in_vae} of these"
            f" its VAE; {found.runs} runs: {found.equal_weights} with the undisturbed weights, {found.equal_curves}"
            " with the undisturbed loss curve"
        )
    return 0 if found.equal_weights == found.equal_curves == found.runs else 1


def measure(folder: Path, kills: int, moments: random.Random) -> Killed:
    """Train below a folder without kills, then with them."""
    shapes = folder / "shapes"
    first_step = folder / "first-step"  # a file, since whoever is killed would leave a semaphore behind
    _finish(_begin(make_shapes, shapes))
    started = time.perf_counter()
    child = _begin(train, shapes, folder / "undisturbed", 0.5, first_step)
    _wait_for(first_step, child)
    begun = time.perf_counter()
    _finish(child)
    start_s, train_s = begun - started, time.perf_counter() - begun
    working = in_vae = runs = weights = curves = 0

    def compare(run: Path) -> None:
        nonlocal runs, weights, curves
        runs += 1
        weights += tensors(run) == tensors(folder / "undisturbed")
        curves += curve(run) == curve(folder / "undisturbed")

    for number in range(kills):
        run = folder / f"killed-{runs}"
        first_step.unlink(missing_ok=True)
        child = _begin(train, shapes, run, 0.0 if number % 2 else 0.5, first_step)
        if moments.random() < 0.25:
            child.join(moments.uniform(0, start_s))
        else:
            _wait_for(first_step, child)
            child.join(moments.uniform(0, 0.2 * train_s))
        ended = not child.is_alive()
        child.kill()
        child.join()
        there = len(curve(run))
        print(f"kill {number + 1} of {kills}: {there} of {sum(STEPS)} steps are there", file=sys.stderr)
        working += not ended
        in_vae += not ended and there < STEPS[0]
        if ended:
            compare(run)
    run = folder / f"killed-{runs}"
    _finish(_begin(train, shapes, run, 0.5, first_step))
    compare(run)
    return Killed(kills, working, in_vae, runs, weights, curves)


def tensors(run: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """What a checkpoint says, and its tensors by name; in a file, names are in no order."""
    with safe_open(run / CHECKPOINT, framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def curve(run: Path) -> list[dict[str, float]]:
    """The log without its clocks."""
    lines = (run / LOG).read_text().splitlines() if (run / LOG).exists() else []
    return [{key: value for key, value in json.loads(line).items() if key not in CLOCKS} for line in lines]


def make_shapes(folder: Path) -> None:
    """Eight shapes on a coarse grid, a view each, of 32 pixels."""
    from maquette.synth import dataset

    dataset.sample_solid = partial(dataset.sample_solid, side=32)  # pyright: ignore[reportAttributeAccessIssue]
    dataset.generate(folder, dataset.DatasetSpec(8, seed=3, views=1, size_px=32))


def train(shapes: Path, run: Path, save_every_s: float, first_step: Path) -> None:
    """The training that is killed: of the network and the data it is tiny, in all else it is `maquette train rose`."""
    import torch

    from maquette.nets.rose import PRESETS
    from maquette.train.config import Phase
    from maquette.train.rose import train_rose
    from maquette.train.rose_config import RoseTraining

    torch.set_num_threads(1)
    sizes, stages = (32, 16, 32), (1, 2, 2)
    phases = tuple(Phase(side, n, 2, 1e-3, 1e-4, stage=s) for side, n, s in zip(sizes, STEPS, stages, strict=True))
    config = RoseTraining(PRESETS["tiny"], phases, encoder="", seed=5)
    train_rose(
        config,
        {"shapes": shapes},
        run,
        validation=shapes,
        save_every_s=save_every_s,
        report=lambda _: first_step.touch(),
    )


def _begin(work, *arguments: object) -> BaseProcess:
    """A process that has its imports already, or the kills would meet little else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "maquette.train.rose",
            "diffusers.models.autoencoders.autoencoder_kl_temporal_decoder",
            "diffusers.models.unets.unet_spatio_temporal_condition",
            "diffusers.schedulers.scheduling_euler_discrete",
        ]
    )
    process = context.Process(target=work, args=arguments)
    process.start()
    return process


def _wait_for(file: Path, process: BaseProcess) -> None:
    while not file.exists() and process.is_alive():
        time.sleep(0.005)


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError("a run that was left alone failed")


if __name__ == "__main__":
    sys.exit(main())
