"""`maquette train`: train a network; start it again to go on where it was stopped."""

import json
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.app.cli.typed import run as run_typed
from maquette.errors import InputError

if TYPE_CHECKING:
    from rich.progress import TaskID


def nirne(
    preset: Literal["small", "base"] = "small",
    run: Path | None = None,
    data: Path = Path("runs/shapes"),
    sharp: Path = Path("runs/sharp"),
    held_out: Path = Path("runs/held-out"),
    export: Path | None = None,
    device: str = "auto",
    scale: float = 1.0,
    seed: int = 0,
    init: str | None = None,
    encoder: str = "auto",
    float32: bool = False,
    workers: int = 1,
) -> None:
    """Train NiRNE. Datasets that are missing are generated first, with the preset's sizes.

    Args:
        preset: "small" trains on a laptop's CPU, "base" wants a GPU.
        run: folder of the checkpoint and the log; `runs/nirne-PRESET` by default.
        data: dataset of shapes.
        sharp: dataset of the most detailed shapes, for presets with a second stage.
        held_out: dataset whose error is logged after every phase; no gradient sees it.
        export: where the trained weights go; `RUN/weights` by default.
        device: cpu, cuda, or auto: cuda if there is one.
        scale: multiplies the number of steps, shapes excepted; 0.01 is a rehearsal.
        seed: of initial weights, batches and noise.
        init: weights to start from, a name or a folder, instead of fresh ones.
        encoder: what a fresh encoder starts from: auto, its ImageNet weights from a package of maquette[train];
            random; or the file of such weights.
        float32: convolve in float32: bfloat16 is faster on CPUs that have it, and much slower on others.
        workers: processes that make photos ahead of the training on a CPU; 0 leaves it to the trainer.
    """
    options = _Common(preset, run, data, held_out, export, device, scale, seed, init)
    _train("nirne", options, sharp=sharp, encoder=encoder, float32=float32, workers=workers)


def refiner(
    preset: Literal["small", "refine"] = "small",
    run: Path | None = None,
    data: Path = Path("runs/shapes"),
    held_out: Path = Path("runs/held-out"),
    export: Path | None = None,
    device: str = "auto",
    scale: float = 1.0,
    seed: int = 0,
    init: str | None = None,
) -> None:
    """Train CLONE's refiner and gate, by reprojection: no normal enters the loss.

    Datasets that are missing are generated first, with the preset's sizes.

    Args:
        preset: "small" trains on a laptop's CPU, "refine" goes on from small weights (--init).
        run: folder of the checkpoint and the log; `runs/refiner-PRESET` by default.
        data: dataset of shapes.
        held_out: dataset whose errors are logged after every phase; no gradient sees it.
        export: where the trained weights go; `RUN/weights` by default.
        device: cpu, cuda, or auto: cuda if there is one.
        scale: multiplies the number of steps, shapes excepted; 0.01 is a rehearsal.
        seed: of initial weights and batches.
        init: weights to start from, a name or a folder; random ones if not given.
    """
    options = _Common(preset, run, data, held_out, export, device, scale, seed, init)
    _train("refiner", options)


def rose(
    preset: Literal["small", "svd"] = "small",
    run: Path | None = None,
    data: Path = Path("runs/shapes"),
    held_out: Path = Path("runs/held-out"),
    export: Path | None = None,
    device: str = "auto",
    scale: float = 1.0,
    seed: int = 0,
    init: str | None = None,
) -> None:
    """Train RoSE, which imagines an object under a ring of lights: its VAE, then the video model.

    Datasets of shapes that are missing are generated first, with the preset's sizes.

    Args:
        preset: "small" trains on a laptop's CPU; "svd" is the paper's training and wants GPUs' memory and --init.
        run: folder of the checkpoint and the log; `runs/rose-PRESET` by default.
        data: dataset of shapes, photographed anew at every step; or MultiShade.
        held_out: dataset of shapes whose errors are logged after every phase; no gradient sees it.
        export: where the trained weights go; `RUN/weights` by default.
        device: cpu, cuda, or auto: cuda if there is one.
        scale: multiplies the number of steps, shapes excepted; 0.01 is a rehearsal.
        seed: of initial weights, batches and noise.
        init: "small": weights to start from, a name or a folder, instead of random ones; "svd": a folder in the layout
            of Stable Video Diffusion.
    """
    options = _Common(preset, run, data, held_out, export, device, scale, seed, init)
    _train("rose", options)


def gsn(
    preset: Literal["small", "paper"] = "small",
    run: Path | None = None,
    data: Path = Path("runs/views"),
    held_out: Path = Path("runs/views-held-out"),
    export: Path | None = None,
    device: str = "auto",
    scale: float = 1.0,
    seed: int = 0,
    init: str | None = None,
    distance: str = "auto",
    ecd: float | None = None,
) -> None:
    """Train GSN, which makes a splat of one image. Datasets of views that are missing are generated first.

    Args:
        preset: "small" trains on a laptop's CPU, "paper" wants a GPU.
        run: folder of the checkpoint and the log; `runs/gsn-PRESET` by default.
        data: dataset of views, or ShapeNet-SRN's published cars or chairs.
        held_out: dataset of views whose errors are logged after every phase; no gradient sees it.
        export: where the trained weights go; `RUN/weights` by default.
        device: cpu, cuda, or auto: cuda if there is one.
        scale: multiplies the number of steps; 0.01 is a rehearsal.
        seed: of initial weights, batches and turns.
        init: weights to start from, a name or a folder; random ones if not given.
        distance: of the cameras from the objects' middle; auto finds it in the data.
        ecd: weight of the Extended Chamfer Distance; 0 leaves the second pass out, the preset's if not given.
    """
    options = _Common(preset, run, data, held_out, export, device, scale, seed, init)
    _train("gsn", options, distance=distance, ecd=ecd)


@dataclass(frozen=True)
class _Common:
    """The options that every network has."""

    preset: str
    run: Path | None
    data: Path
    held_out: Path
    export: Path | None
    device: str
    scale: float
    seed: int
    init: str | None


def _train(network: str, common: _Common, **own: Any) -> None:
    """Check all, make data that are missing, train, write weights and card.

    Args:
        network: whose `maquette.train.NETWORK.job` says how.
        common: the options that every network has.
        own: those that it alone has.
    """
    _check_options(common.scale, common.seed)
    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.app.predictors import resolve_device
    from maquette.io.files import require_writable
    from maquette.runs.loop import fit
    from maquette.runs.state import require_ready
    from maquette.train.card import describe
    from maquette.train.job import Options

    show_warnings_in_one_line()
    asked = Options(common.preset, common.data, common.held_out, common.scale, common.seed, common.init)
    job = import_module(f"maquette.train.{network}.job").job(asked, **own)
    config, place = job.recipe.config, resolve_device(common.device)
    run = common.run or Path(f"runs/{network}-{common.preset}")
    target = common.export or run / "weights"
    job.check()
    require_ready(config, run)
    require_writable(target, "--export")
    initial = job.initial()
    if initial is not None:
        require_ready(config, run, initial)
    with _Progress(config, job.note) as progress:
        job.prepare(progress.prepared)
        workers = job.workers if place == "cpu" else 0
        net = fit(job.recipe, run, place, report=progress.trained, init=initial, workers=workers)
    if os.environ.get("RANK", "0") != "0":  # one process of a distributed run writes
        return
    job.save(net, target)
    _finish(target, describe(target.name, job.recipe, run, place, common.init), config.steps, run)


class _Progress:
    """What was done, how fast, and for how long it will go on; only on a terminal."""

    def __init__(self, config: Any, note: Callable[[dict[str, float]], str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
        self.bars = Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty())
        self.config, self.note = config, note
        self.data = self.bars.add_task("data", total=None, note="")
        self.training: TaskID | None = None
        self.recent: deque[dict[str, float]] = deque(maxlen=100)

    def __enter__(self) -> "_Progress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def prepared(self, note: str) -> None:
        """Part of the data is there."""
        self.bars.update(self.data, note=note)

    def trained(self, line: dict[str, float]) -> None:
        """A step is done."""
        from maquette.runs.progress import pace

        if self.training is None:
            self.bars.update(self.data, visible=False)
            self.training = self.bars.add_task("train", total=self.config.steps)
        self.recent.append(line)
        note = f"{self.note(line)}, {pace(self.config, list(self.recent))}"
        self.bars.update(self.training, completed=line["step"], note=note)


def _finish(target: Path, card: dict[str, Any], steps: int, run: Path) -> None:
    """Write the card beside the weights, and say where all is."""
    from maquette.io.files import write_bytes

    write_bytes(target / "card.json", (json.dumps(card, indent=2) + "\n").encode())
    print(f"{target}: {steps} steps; log in {run / 'log.jsonl'}")


def _check_options(scale: float, seed: int) -> None:
    if not 0 < scale <= 100:
        raise InputError(f"--scale is {scale}; it must lie in 0..100")
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed is {seed}; it must lie in 0..{2**32 - 1}")


def main(argv: list[str]) -> int:
    """Entry point of the verb."""
    run_typed({"nirne": nirne, "refiner": refiner, "rose": rose, "gsn": gsn}, "maquette train", __doc__ or "", argv)
    return 0
