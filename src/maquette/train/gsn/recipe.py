"""Training GSN on objects seen from many sides.

views of a few objects -> their images, some of them turned -> Splats -> rendered views and ECD -> AdamW
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.nets.gsn import GSNNet
from maquette.runs.loop import Recipe, Step, fit
from maquette.runs.processes import Processes, device_of, require_one_process
from maquette.runs.schedule import Phase
from maquette.synth.datasets.multiview.reading import of_split
from maquette.train.batches import mix
from maquette.train.card import image_count
from maquette.train.gsn.config import GSNTraining
from maquette.train.gsn.data import ViewBatch, ViewCache, distance_of, draw_batch, require_distance
from maquette.train.gsn.loss import gsn_loss
from maquette.train.gsn.prepare import describe_views
from maquette.train.gsn.scores import validate_gsn


def train_gsn(
    config: GSNTraining,
    data: Path,
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    validate_every: int = 0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
) -> GSNNet:
    """`maquette.runs.loop.fit` by `gsn_recipe`; returns the averaged weights."""
    return fit(gsn_recipe(config, data, validation, validate_every), run, device, save_every_s, report, init).eval()


def gsn_recipe(
    config: GSNTraining, data: Path, validation: Path | None = None, validate_every: int = 0
) -> Recipe[GSNNet]:
    """How GSN is trained.

    Args:
        config: the network and its phases.
        data: folder of objects, in the layout of ShapeNet-SRN; those of other splits than `train` are left out.
        validation: folder of objects for the held-out scores; its split `val`.
        validate_every: steps between them, beside those at the end of every phase; 0 for none.
    """

    @cache
    def views(folder: Path, split: str) -> ViewCache:
        return open_views(config, folder, split)

    def check() -> None:
        require_one_process("GSNNet")
        views(data, "train")
        if validation is not None:
            views(validation, "val")

    def batches(phase: Phase, _: Processes) -> Callable[[int], ViewBatch]:
        objects = views(data, "train")
        return lambda step: draw_batch(objects, config.seed, step, phase.batch, config.views, phase.size_px)

    def loss(step: Step[GSNNet], batch: ViewBatch) -> dict[str, Tensor]:
        rng = torch.Generator(batch.rgb.device).manual_seed(mix(config.seed, step.number, 1))
        return gsn_loss(step.model.train(), batch, config, rng)

    def validate(model: GSNNet, phase: Phase) -> dict[str, float]:
        assert validation is not None
        return validate_gsn(model, views(validation, "val"), config, phase.size_px, device_of(model))

    return Recipe(
        config,
        batches,
        loss,
        lambda log: gsn_facts(config, data, validation, log),
        check,
        validate=validate if validation is not None else None,
        validate_every=validate_every,
    )


def open_views(config: GSNTraining, folder: Path, split: str) -> ViewCache:
    """The objects of a split, or all of a folder that names none.

    Raises:
        InputError: there are none, or their cameras stand elsewhere than the network's.
    """
    data = of_split(folder, split)
    require_distance(folder, distance_of(data), config.net.distance)
    return ViewCache(data)


def gsn_facts(config: GSNTraining, data: Path, held_out: Path | None, log: list[dict[str, float]]) -> dict[str, Any]:
    """What GSN's card says of its data and its loss.

    What data without a manifest may be used for isn't known here, so neither is a licence of weights that come of it.
    """
    objects = describe_views(data)
    return {
        "method": "GSN: an image to Gaussians in one pass, as deviations from a cube",
        "licence": "Apache-2.0" if objects.get("meshes") == () else "depends on the terms of the data",
        "frame": "the photo's camera: x right, y up, z towards the viewer; origin in the object's middle",
        "unit": "the diagonal of the object's box; the camera stands at `distance`",
        "distance": config.net.distance,
        "gaussians": config.net.count,
        "cube": config.net.cube,
        "blind": config.blind,
        "images": image_count(config, log),
        "views_of_an_image": config.views,
        "loss": asdict(config.loss),
        "data": {"train": objects} | ({} if held_out is None else {"held_out": describe_views(held_out)}),
    }
