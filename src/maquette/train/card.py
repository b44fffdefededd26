"""The facts of a training run, as a card that travels with its weights."""

import json
import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from maquette.errors import InputError
from maquette.io.checkpoints import weights_folder
from maquette.nets.rose import SvdConfig
from maquette.synth import manifests
from maquette.synth.dataset import read_manifest
from maquette.synth.multiview import spec as multiview
from maquette.synth.multiview.reading import Views
from maquette.train.config import TrainConfig
from maquette.train.gsn_config import GSNTraining
from maquette.train.refiner_config import RefinerTraining
from maquette.train.rose_config import RoseTraining
from maquette.train.rose_data import describe_data


def describe_run(
    name: str, config: TrainConfig, run: Path, folders: dict[str, Path], place: str, init: str | None = None
) -> dict[str, Any]:
    """What was trained on what, for how long, and the held-out error after every phase; read from the run's log.

    Weights that went on from others (`init`, a name or a folder) carry those' card as "before".
    """
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    used = {phase.data for phase in config.phases}
    return {
        "name": name,
        "method": "NiRNE",
        "licence": "Apache-2.0",
        "frame": "x right, y up, z towards the viewer",
        "seed": config.seed,
        "steps": len(lines),
        "photos": sum(phase.steps * phase.batch for phase in config.phases),
        "precision": "bfloat16 convolutions" if config.bf16 else "float32",
        "phases": [asdict(phase) for phase in config.phases],
        "data": {key: asdict(read_manifest(folders[key])) for key in sorted(used)},
        "hours": round(sum(line["data_s"] + line["step_s"] for line in lines) / 3600, 2),
        "waiting_for_data": round(
            sum(line["data_s"] for line in lines) / sum(line["data_s"] + line["step_s"] for line in lines), 3
        ),
        "held_out": [
            {
                "step": line["step"],
                "mean_deg": round(line["val_deg"], 2),
                "flat_guess_deg": round(line["val_flat_deg"], 2),
            }
            | ({"finer_pass_deg": round(line["val_fine_deg"], 2)} if "val_fine_deg" in line else {})
            for line in lines
            if "val_deg" in line
        ],
        "hardware": _hardware(place),
        "torch": torch.__version__,
        "before": read_card(init) if init is not None else None,
    }


def describe_refiner_run(
    name: str, config: RefinerTraining, run: Path, folders: dict[str, Path], place: str, init: str | None = None
) -> dict[str, Any]:
    """What a refiner was trained on, for how long, and its held-out errors; read from the run's log.

    Weights that went on from others (`init`, a name or a folder) carry those' card as "before".
    """
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    used = {phase.data for phase in config.phases}
    seconds = sum(line["data_s"] + line["step_s"] for line in lines)
    validated = [line for line in lines if any(key.startswith("val_") for key in line)]
    return {
        "name": name,
        "method": "CLONE: refiner and gate",
        "licence": "Apache-2.0",
        "frame": "x right, y up, z towards the viewer",
        "supervision": "reprojection under known lights; no normal in any loss",
        "inputs": config.inputs,
        "seed": config.seed,
        "steps": len(lines),
        "photos": sum(
            phase.batch * (min(last, len(lines)) - min(first, len(lines))) for phase, first, last in config.spans()
        ),
        "precision": "bfloat16 convolutions" if config.bf16 else "float32",
        "phases": [asdict(phase) for phase in config.phases],
        "loss": asdict(config.loss),
        "data": {key: asdict(read_manifest(folders[key])) for key in sorted(used)},
        "hours": round(seconds / 3600, 2),
        "waiting_for_data": round(sum(line["data_s"] for line in lines) / seconds, 3),
        "held_out": [
            {"step": line["step"]} | {k[4:]: round(v, 4) for k, v in line.items() if k.startswith("val_")}
            for line in validated
        ],
        "hardware": _hardware(place),
        "torch": torch.__version__,
        "before": read_card(init) if init is not None else None,
    }


def describe_rose_run(
    name: str, config: RoseTraining, run: Path, folders: dict[str, Path], place: str, init: str | None = None
) -> dict[str, Any]:
    """What a RoSE was trained on, stage by stage, for how long, and its held-out errors; read from the run's log.

    Weights that went on from others (`init`, a name or a folder) carry those' card as "before". What is made of another
    model's folder stands under that model's licence, which isn't ours to name.
    """
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    used = {phase.data for phase in config.phases}
    seconds = sum(line["data_s"] + line["step_s"] for line in lines)
    done = [(phase, min(last, len(lines)) - min(first, len(lines))) for phase, first, last in config.spans()]
    stages = {1: "VAE", 2: "video model"}
    is_svd = isinstance(config.net, SvdConfig)
    return {
        "name": name,
        "method": "RoSE: shading frames under a ring of lights, then a photometric solve",
        "backbone": "svd" if is_svd else "small",
        "licence": "that of the weights in the folder that it started from" if is_svd else "Apache-2.0",
        "frame": "x right, y up, z towards the viewer",
        "ring": f"{config.net.frames} lights at an elevation of 45 degrees, frame 0 lit from +y, then towards +x",
        "predicts": config.net.predicts,
        "encoder": config.encoder or None,
        "seed": config.seed,
        "steps": {stages[s]: sum(steps for phase, steps in done if phase.stage == s) for s in stages},
        "photos": {stages[s]: sum(steps * phase.batch for phase, steps in done if phase.stage == s) for s in stages},
        "precision": "bfloat16 convolutions" if config.bf16 else "float32",
        "phases": [asdict(phase) for phase in config.phases],
        "unseen": config.unseen,
        "log_sigma": config.log_sigma,
        "data": {key: describe_data(folders[key]) for key in sorted(used)},
        "hours": round(seconds / 3600, 2),
        "waiting_for_data": round(sum(line["data_s"] for line in lines) / seconds, 3),
        "solver": "robust",  # of the held-out errors, in degrees after so many steps of the sampler
        "held_out": [
            {"step": line["step"]} | {k[4:]: round(v, 2) for k, v in line.items() if k.startswith("val_")}
            for line in lines
            if any(key.startswith("val_") for key in line)
        ],
        "hardware": _hardware(place),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "before": None if init is None or is_svd else read_card(init),
    }


def describe_gsn_run(
    name: str,
    config: GSNTraining,
    run: Path,
    data: Path,
    held_out: Path | None = None,
    place: str = "cpu",
    init: str | None = None,
) -> dict[str, Any]:
    """What a GSN was trained on, for how long, and its held-out scores; read from the run's log.

    Weights that went on from others (`init`, a name or a folder) carry those' card as "before". What data without a
    manifest may be used for isn't known here, so neither is a licence of weights that come of it.
    """
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    seconds = sum(line["data_s"] + line["step_s"] for line in lines)
    seen = describe_views(data)
    return {
        "name": name,
        "method": "GSN: an image to Gaussians in one pass, as deviations from a cube",
        "licence": "Apache-2.0" if seen.get("meshes") == () else "depends on the terms of the data",
        "frame": "the photo's camera: x right, y up, z towards the viewer; origin in the object's middle",
        "unit": "the diagonal of the object's box; the camera stands at `distance`",
        "distance": config.net.distance,
        "gaussians": config.net.count,
        "cube": config.net.cube,
        "blind": config.blind,
        "seed": config.seed,
        "steps": len(lines),
        "images": sum(
            phase.batch * (min(last, len(lines)) - min(first, len(lines))) for phase, first, last in config.spans()
        ),
        "views_of_an_image": config.views,
        "precision": "bfloat16 convolutions" if config.bf16 else "float32",
        "phases": [asdict(phase) for phase in config.phases],
        "loss": asdict(config.loss),
        "data": {"train": seen} | ({} if held_out is None else {"held_out": describe_views(held_out)}),
        "hours": round(seconds / 3600, 2),
        "waiting_for_data": round(sum(line["data_s"] for line in lines) / seconds, 3),
        "held_out": [
            {"step": line["step"]} | {k[4:]: round(v, 4) for k, v in line.items() if k.startswith("val_")}
            for line in lines
            if any(key.startswith("val_") for key in line)
        ],
        "hardware": _hardware(place),
        "torch": torch.__version__,
        "before": read_card(init) if init is not None else None,
    }


def describe_views(folder: Path) -> dict[str, Any]:
    """The manifest of a data set of views; of one without, as ShapeNet-SRN is published, what its folders say."""
    if (folder / manifests.NAME).exists():
        return {"kind": multiview.KIND} | asdict(multiview.read_manifest(folder))
    data = Views(folder)
    kinds = Counter(f"{c}_{s}" if c else "of no category" for c, s in zip(data.categories, data.splits, strict=True))
    return {
        "kind": "a folder without a manifest, in the layout of ShapeNet-SRN",
        "objects": dict(sorted(kinds.items())),
    }


def read_card(weights: str) -> dict[str, Any] | None:
    """The card beside weights, if they have one.

    Raises:
        InputError: no such weights, or a card that is no JSON.
    """
    path = weights_folder(weights) / "card.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: no card in JSON ({error}); mend or delete it") from None


def _hardware(place: str) -> str:
    if place.startswith("cuda"):
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}, {platform.machine()}"
