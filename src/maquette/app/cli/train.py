"""`maquette train`: train a network; start it again to go on where it was stopped."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.app.cli.typed import run as run_typed
from maquette.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor

    from maquette.train.gsn_config import GSNTraining
    from maquette.train.rose_config import RoseTraining


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
    from dataclasses import replace

    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.app.predictors import resolve_device
    from maquette.io.files import require_writable
    from maquette.methods.nirne import NiRNE
    from maquette.nets.encoder import published_weights
    from maquette.train.card import describe_run, read_card
    from maquette.train.checkpoints import require_ready
    from maquette.train.config import TRAINING
    from maquette.train.data import prepare_datasets
    from maquette.train.nirne import fresh_weights, train

    show_warnings_in_one_line()
    _check_options(scale, seed)
    config = TRAINING[preset]
    phases = tuple(replace(phase, steps=max(1, round(phase.steps * scale))) for phase in config.phases)
    config = replace(config, phases=phases, seed=seed, bf16=config.bf16 and not float32)
    place = resolve_device(device)
    run = run or Path(f"runs/nirne-{preset}")
    target = export or run / "weights"
    require_ready(config, run)
    require_writable(target, "--export")
    if init is not None:
        initial = NiRNE.from_pretrained(init).net.state_dict()
        read_card(init)  # a card that can't be read is told now, not when the training is done
    else:
        file = published_weights(config.net.encoder) if encoder == "auto" else Path(encoder)
        initial = fresh_weights(config, None if encoder == "random" else file)
    require_ready(config, run, initial)
    with _progress() as progress:
        making = progress.add_task("data", total=None, note="")
        folders = {"shapes": data, "sharp": sharp}
        prepare_datasets(config, folders, held_out, lambda note: progress.update(making, note=note))
        progress.update(making, visible=False)
        task = progress.add_task("train", total=config.steps, note="")

        def report(line: dict[str, float]) -> None:
            note = f"{line['train_deg']:5.1f} deg" + (f", held out {line['val_deg']:.2f}" if "val_deg" in line else "")
            progress.update(task, completed=line["step"], note=note)

        net = train(
            config, folders, run, place, held_out, report=report, init=initial, workers=workers if place == "cpu" else 0
        )
    if os.environ.get("RANK", "0") != "0":  # one process of a distributed run writes
        return
    NiRNE(net).save_pretrained(target)
    card = describe_run(target.name, config, run, folders, place, init)
    _finish(target, card, config.steps, run)


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
    from dataclasses import replace

    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.app.predictors import resolve_device
    from maquette.io.checkpoints import load_network, save_checkpoint
    from maquette.io.files import require_writable
    from maquette.nets.refiner import Refiner, RefinerConfig
    from maquette.train.card import describe_refiner_run, read_card
    from maquette.train.checkpoints import require_ready
    from maquette.train.data import prepare_datasets
    from maquette.train.refiner import train_refiner
    from maquette.train.refiner_config import TRAINING

    show_warnings_in_one_line()
    _check_options(scale, seed)
    config = TRAINING[preset]
    phases = tuple(replace(phase, steps=max(1, round(phase.steps * scale))) for phase in config.phases)
    config = replace(config, phases=phases, seed=seed)
    if preset == "refine" and init is None:
        raise InputError("--preset refine goes on from trained weights; name them, such as --init clone-small")
    initial = None
    if init is not None:
        initial = load_network(init, RefinerConfig, Refiner).state_dict()
        read_card(init)  # a card that can't be read is told now, not when the training is done
    place = resolve_device(device)
    run = run or Path(f"runs/refiner-{preset}")
    target = export or run / "weights"
    require_ready(config, run, initial)
    require_writable(target, "--export")
    with _progress() as progress:
        making = progress.add_task("data", total=None, note="")
        prepare_datasets(config, {"shapes": data}, held_out, lambda note: progress.update(making, note=note))
        progress.update(making, visible=False)
        task = progress.add_task("train", total=config.steps, note="")

        def report(line: dict[str, float]) -> None:
            progress.update(task, completed=line["step"], note=f"reprojection {line['fused']:.3f}")

        net = train_refiner(config, {"shapes": data}, run, place, held_out, report=report, init=initial)
    save_checkpoint(target, net.config, net.state_dict())
    card = describe_refiner_run(target.name, config, run, {"shapes": data}, place, init)
    _finish(target, card, config.steps, run)


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
    import torch

    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.app.predictors import resolve_device
    from maquette.io.checkpoints import save_checkpoint
    from maquette.io.files import require_writable
    from maquette.nets.rose import RoseConfig
    from maquette.nets.rose_svd import save_svd
    from maquette.train.card import describe_rose_run
    from maquette.train.checkpoints import require_ready
    from maquette.train.data import prepare_datasets
    from maquette.train.rose import train_rose
    from maquette.train.rose_config import require_fitting
    from maquette.train.rose_data import is_multishade, require_data

    show_warnings_in_one_line()
    _check_options(scale, seed)
    config, initial = _rose_config(preset, init, scale, seed)
    place = resolve_device(device)
    run = run or Path(f"runs/rose-{preset}")
    target = export or run / "weights"
    folders = {"shapes": data}
    require_fitting(config)
    require_data(config, folders)
    require_ready(config, run, initial)
    require_writable(target, "--export")
    with _progress() as progress:
        making = progress.add_task("data", total=None, note="")
        missing = {} if is_multishade(data) else folders
        prepare_datasets(config, missing, held_out, lambda note: progress.update(making, note=note))
        progress.update(making, visible=False)
        task = progress.add_task("train", total=config.steps, note="")

        def report(line: dict[str, float]) -> None:
            note = f", held out {line['val_1_deg']:.2f} deg" if "val_1_deg" in line else ""
            progress.update(task, completed=line["step"], note=f"loss {line['loss']:.4f}{note}")

        net = train_rose(config, folders, run, place, held_out, report=report, init=initial)
    if isinstance(net.config, RoseConfig):
        save_checkpoint(target, net.config, net.state_dict())
    else:
        save_svd(net, target, torch.float16)
    card = describe_rose_run(target.name, config, run, folders, place, init)
    _finish(target, card, config.steps, run)


def _rose_config(
    preset: str, init: str | None, scale: float, seed: int
) -> tuple["RoseTraining", "dict[str, Tensor] | None"]:
    """What is trained, and the small network's weights that it starts from."""
    from dataclasses import replace

    from maquette.io.checkpoints import load_network
    from maquette.nets.rose import Rose, RoseConfig
    from maquette.train.card import read_card
    from maquette.train.rose_config import TRAINING, svd_training

    if preset == "svd" and init is None:
        raise InputError("--preset svd starts from a folder in the layout of Stable Video Diffusion; give it by --init")
    config = svd_training(Path(init or "")) if preset == "svd" else TRAINING[preset]
    phases = tuple(replace(phase, steps=max(1, round(phase.steps * scale))) for phase in config.phases)
    config = replace(config, phases=phases, seed=seed)
    if init is None or preset == "svd":
        return config, None
    read_card(init)  # a card that can't be read is told now, not when the training is done
    return config, load_network(init, RoseConfig, Rose).state_dict()


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
    from maquette.app.cli.parser import show_warnings_in_one_line
    from maquette.app.predictors import resolve_device
    from maquette.io.checkpoints import load_network, save_checkpoint
    from maquette.io.files import require_writable
    from maquette.nets.gsn import GSN, GSNConfig
    from maquette.train.card import describe_gsn_run, read_card
    from maquette.train.checkpoints import require_ready
    from maquette.train.gsn import train_gsn
    from maquette.train.gsn_config import require_same_meaning
    from maquette.train.views import prepare_views, require_fitting

    show_warnings_in_one_line()
    _check_options(scale, seed)
    config = _gsn_config(preset, data, scale, seed, distance, ecd)
    initial = None
    if init is not None:
        before = load_network(init, GSNConfig, GSN)
        require_same_meaning(config.net, before.config, init)
        initial = before.state_dict()
        read_card(init)  # a card that can't be read is told now, not when the training is done
    place = resolve_device(device)
    run = run or Path(f"runs/gsn-{preset}")
    target = export or run / "weights"
    require_fitting(config, data, held_out)
    require_ready(config, run, initial)
    require_writable(target, "--export")
    with _progress() as progress:
        making = progress.add_task("data", total=None, note="")
        prepare_views(data, held_out, config.net.distance, lambda note: progress.update(making, note=note))
        progress.update(making, visible=False)
        task = progress.add_task("train", total=config.steps, note="")

        def report(line: dict[str, float]) -> None:
            note = f", held out {line['val_psnr_db']:.2f} dB" if "val_psnr_db" in line else ""
            progress.update(task, completed=line["step"], note=f"loss {line['loss']:.4f}{note}")

        net = train_gsn(config, data, run, place, held_out, report=report, init=initial)
    save_checkpoint(target, net.config, net.state_dict())
    card = describe_gsn_run(target.name, config, run, data, held_out, place, init)
    _finish(target, card, config.steps, run)


def _gsn_config(preset: str, data: Path, scale: float, seed: int, distance: str, ecd: float | None) -> "GSNTraining":
    """What is trained, for cameras as far away as the data's."""
    from dataclasses import replace

    from maquette.train.gsn_config import TRAINING
    from maquette.train.views import distance_in

    try:
        far = None if distance == "auto" else float(distance)
    except ValueError:
        raise InputError(f"--distance is {distance!r}; it must be a number, or auto") from None
    if ecd is not None and not 0 <= ecd < float("inf"):
        raise InputError(f"--ecd is {ecd}; it must be 0 or more")
    if data.exists() and not data.is_dir():
        raise InputError(f"{data}: is a file; give a data set's folder, or one to make it in")
    config = TRAINING[preset]
    phases = tuple(replace(phase, steps=max(1, round(phase.steps * scale))) for phase in config.phases)
    loss = config.loss if ecd is None else replace(config.loss, ecd=ecd)
    net = replace(config.net, distance=distance_in(data) if far is None else far)
    return replace(config, net=net, phases=phases, loss=loss, seed=seed)


def _progress() -> "Progress":
    """What was done, as far as it is known; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty())


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
