"""Training NiRNE: two stages over a shape dataset.

Stage one trains the whole network, small images first; some photos come with a guide, which is what the network itself
says of them at half the resolution. Stage two, for phases that ask for it, freezes the clean stream and the decoder and
trains the noisy stream as a residual.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.losses import angle, masked_mean
from maquette.nets.encoder import from_published
from maquette.nets.nirne import NiRNENet
from maquette.runs.loop import Recipe, Step, fit
from maquette.runs.processes import Processes, device_of
from maquette.runs.state import State
from maquette.synth.datasets.dataset import read_manifest
from maquette.train.batches import Batch, mix
from maquette.train.card import image_count
from maquette.train.nirne.config import NirnePhase, NirneTraining
from maquette.train.nirne.data import Batches, guide_of
from maquette.train.nirne.loss import nirne_loss
from maquette.train.nirne.scores import validate_nirne
from maquette.train.shapes import open_data


def train_nirne(
    config: NirneTraining,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
    workers: int = 0,
) -> NiRNENet:
    """`maquette.runs.loop.fit` by `nirne_recipe`; returns the averaged weights."""
    return fit(nirne_recipe(config, folders, validation), run, device, save_every_s, report, init, workers)


def nirne_recipe(config: NirneTraining, folders: dict[str, Path], validation: Path | None = None) -> Recipe[NiRNENet]:
    """How NiRNE is trained.

    Args:
        config: the network and its phases.
        folders: dataset folders by the phases' `data` names.
        validation: dataset folder for the held-out errors.
    """

    def batches(phase: NirnePhase, processes: Processes) -> Batches:
        open_data(folders, phase, phase.widest_px)
        return Batches(folders[phase.data], phase, config.seed, processes)

    def validate(model: NiRNENet, _: NirnePhase) -> dict[str, float]:
        assert validation is not None
        return validate_nirne(model, validation, device_of(model))

    return Recipe(
        config,
        batches,
        lambda step, batch: step_loss(step, batch, config),
        lambda log: nirne_facts(config, folders, log),
        groups=lambda model: parameter_groups(model, config.encoder_lr),
        freeze=_freeze,
        begin=_begin,
        validate=validate if validation is not None else None,
        validate_every=config.validate_every,
    )


def step_loss(step: Step[NiRNENet], batch: Batch, config: NirneTraining) -> dict[str, Tensor]:
    """The loss of a batch, and the mean angle in degrees; a guide is what the network itself says of coarser photos."""
    device = batch.photo.device
    rng = torch.Generator(device).manual_seed(mix(config.seed, step.number, step.rank, 2))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        guide = None
        if batch.coarse is not None:
            with torch.no_grad():
                guide = guide_of(batch, step.model(batch.coarse.photo, batch.coarse.mask)[0])
        normal, kappa = step.network(batch.photo, batch.mask, rng, guide)
    theta = masked_mean(angle(normal.detach(), batch.normal), batch.solid)
    return {
        "loss": nirne_loss(normal, kappa, batch, config.edges),
        "train_deg": torch.rad2deg(theta.double()),
    }


def nirne_facts(config: NirneTraining, folders: dict[str, Path], log: list[dict[str, float]]) -> dict[str, Any]:
    """What NiRNE's card says of its data and its held-out errors."""
    return {
        "method": "NiRNENet",
        "licence": "Apache-2.0",
        "photos": image_count(config, log),
        "data": {key: asdict(read_manifest(folders[key])) for key in sorted({phase.data for phase in config.phases})},
        "held_out": [
            {
                "step": line["step"],
                "mean_deg": round(line["val_deg"], 2),
                "flat_guess_deg": round(line["val_flat_deg"], 2),
            }
            | ({"finer_pass_deg": round(line["val_fine_deg"], 2)} if "val_fine_deg" in line else {})
            for line in log
            if "val_deg" in line
        ],
    }


def fresh_weights(config: NirneTraining, encoder: Path | None) -> dict[str, Tensor]:
    """Fresh weights, with the published ones of the encoder in their place if `encoder` is their file.

    Raises:
        InputError: not the weights of the configuration's encoder.
    """
    torch.manual_seed(config.seed)
    model = config.build()
    if encoder is not None:
        model.clean.load_state_dict(from_published(encoder, config.net.encoder)[0])
    return model.state_dict()


def parameter_groups(model: NiRNENet, encoder_lr: float) -> list[dict[str, Any]]:
    """The optimiser's: what is pretrained learns more slowly than what is new."""
    pretrained = list(model.clean.parameters())
    ids = {id(p) for p in pretrained}
    return [
        {"params": [p for p in model.parameters() if id(p) not in ids]},
        {"params": pretrained, "lr_scale": encoder_lr},
    ]


def _freeze(model: NiRNENet, phase: NirnePhase) -> None:
    model.requires_grad_(phase.stage == 1)
    if phase.stage == 2:
        for parameter in model.stage_two_parameters():
            parameter.requires_grad_(True)


def _begin(state: State[NiRNENet], phase: NirnePhase, _: Batch) -> None:
    if phase.stage == 2:
        state.model.load_state_dict(state.average.state_dict())  # refine the better weights
