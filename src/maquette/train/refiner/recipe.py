"""Training CLONE's refiner and gate without a normal in any loss.

The network refines a normal map of a photo; what it returns must explain images of the same object under several
lights (`maquette.train.refiner.reprojection`).
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from maquette.methods.nirne import Network, NiRNE
from maquette.nets.refiner import RefinerNet
from maquette.runs.loop import Recipe, Step, fit
from maquette.runs.processes import Processes, device_of
from maquette.runs.schedule import Phase
from maquette.synth.datasets.dataset import read_manifest
from maquette.train.card import image_count
from maquette.train.refiner.config import RefinerTraining
from maquette.train.refiner.data import RefinerBatch, make_refiner_batch
from maquette.train.refiner.loss import refiner_loss
from maquette.train.refiner.scores import validate_refiner
from maquette.train.shapes import open_data


def train_refiner(
    config: RefinerTraining,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    validate_every: int = 0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
) -> RefinerNet:
    """`maquette.runs.loop.fit` by `refiner_recipe`; returns the averaged weights."""
    return fit(refiner_recipe(config, folders, validation, validate_every), run, device, save_every_s, report, init)


def refiner_recipe(
    config: RefinerTraining, folders: dict[str, Path], validation: Path | None = None, validate_every: int = 0
) -> Recipe[RefinerNet]:
    """How the refiner is trained.

    Args:
        config: the network and its phases.
        folders: dataset folders by the phases' `data` names.
        validation: dataset folder for the held-out errors.
        validate_every: steps between them, beside those at the end of every phase; 0 for none.
    """

    @cache
    def predictor(device: str) -> Network | None:
        return NiRNE.from_pretrained(config.inputs, device).net if config.inputs else None

    def batches(phase: Phase, processes: Processes) -> Callable[[int], RefinerBatch]:
        data, device = open_data(folders, phase), processes.device
        return lambda step: make_refiner_batch(data, phase, config.seed, step, predictor(str(device)), device)

    def loss(step: Step[RefinerNet], batch: RefinerBatch) -> dict[str, Tensor]:
        return refiner_loss(step.network, batch, config.loss, config.bf16)

    def validate(model: RefinerNet, phase: Phase) -> dict[str, float]:
        assert validation is not None
        return validate_refiner(model, predictor(str(device_of(model))), validation, phase.size_px, device_of(model))

    return Recipe(
        config,
        batches,
        loss,
        lambda log: refiner_facts(config, folders, log),
        validate=validate if validation is not None else None,
        validate_every=validate_every,
    )


def refiner_facts(config: RefinerTraining, folders: dict[str, Path], log: list[dict[str, float]]) -> dict[str, Any]:
    """What the refiner's card says of its data and its loss."""
    return {
        "method": "CLONE: refiner and gate",
        "licence": "Apache-2.0",
        "supervision": "reprojection under known lights; no normal in any loss",
        "inputs": config.inputs,
        "photos": image_count(config, log),
        "loss": asdict(config.loss),
        "data": {key: asdict(read_manifest(folders[key])) for key in sorted({phase.data for phase in config.phases})},
    }
