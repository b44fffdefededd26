"""The facts of a training run, as a card that travels with its weights."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from maquette.errors import InputError
from maquette.io.checkpoints import weights_folder
from maquette.runs.loop import Recipe
from maquette.runs.state import Training, read_log


def describe(name: str, recipe: Recipe[Any], run: Path, place: str = "cpu", init: str | None = None) -> dict[str, Any]:
    """What was trained on what, for how long, and the held-out scores; read from the run's log.

    The recipe's own facts come before those of every run, and instead of them where both have one.

    Args:
        name: of the weights.
        recipe: whose run it was.
        run: its folder.
        place: the device that it ran on.
        init: weights that it went on from, a name or a folder: the card carries theirs as "before".

    Raises:
        InputError: as `read_card`; the data are no longer there.
    """
    config, log = recipe.config, read_log(run)
    facts = {"name": name} | recipe.facts(log)
    if "before" not in facts:
        facts["before"] = read_card(init) if init is not None else None
    waited_s = sum(line["data_s"] for line in log)
    seconds = waited_s + sum(line["step_s"] for line in log)
    common = {
        "frame": "x right, y up, z towards the viewer",
        "seed": config.seed,
        "steps": len(log),
        "precision": "bfloat16 convolutions" if config.bf16 else "float32",
        "phases": [asdict(phase) for phase in config.phases],
        "hours": round(seconds / 3600, 2),
        "waiting_for_data": round(waited_s / seconds, 3),
        "held_out": held_out_scores(log),
        "hardware": _hardware(place),
        "torch": torch.__version__,
    }
    return facts | {key: value for key, value in common.items() if key not in facts}


def image_count(config: Training[Any], log: list[dict[str, float]]) -> int:
    """How many images the steps of a log took."""
    done = len(log)
    return sum(phase.batch * (min(last, done) - min(first, done)) for phase, first, last in config.spans())


def held_out_scores(log: list[dict[str, float]], digits: int = 4) -> list[dict[str, Any]]:
    """The lines of a log that have held-out scores."""
    return [
        {"step": line["step"]} | {k[4:]: round(v, digits) for k, v in line.items() if k.startswith("val_")}
        for line in log
        if any(key.startswith("val_") for key in line)
    ]


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
