"""Training RoSE: a VAE on shadings, then, over the frozen VAE, a video model of an object under a ring of lights."""

import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.nets.rose import RoSENet, SvdConfig
from maquette.runs.loop import Recipe, Step, fit
from maquette.runs.processes import Processes, device_of
from maquette.runs.schedule import Phase
from maquette.runs.state import State
from maquette.train.batches import Batch, mix
from maquette.train.card import held_out_scores
from maquette.train.rose.config import RoseTraining, require_fitting
from maquette.train.rose.data import describe_data, open_source, require_data
from maquette.train.rose.loss import video_loss
from maquette.train.rose.scores import validate_rose
from maquette.train.rose.vae import normalise_latents, start_from_components, vae_loss, validate_vae

STAGES = {1: "VAE", 2: "video model"}


def train_rose(
    config: RoseTraining,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    validate_every: int = 0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
) -> RoSENet:
    """`maquette.runs.loop.fit` by `rose_recipe`; returns the averaged weights."""
    recipe = rose_recipe(config, folders, validation, validate_every, trained=init is not None)
    return fit(recipe, run, device, save_every_s, report, init)


def rose_recipe(
    config: RoseTraining,
    folders: dict[str, Path],
    validation: Path | None = None,
    validate_every: int = 0,
    trained: bool = False,
) -> Recipe[RoSENet]:
    """How RoSE is trained.

    Args:
        config: the network and its phases.
        folders: by the phases' `data` names: datasets of shapes, or MultiShade.
        validation: dataset of shapes for the held-out errors.
        validate_every: steps between them, beside those at the end of every phase; 0 for none.
        trained: the run starts from trained weights, whose VAE is gone on from.
    """

    def check() -> None:
        require_fitting(config)
        require_data(config, folders)

    def batches(phase: Phase, processes: Processes) -> Callable[[int], Batch]:
        return open_source(config, folders, phase, processes.device)

    def first_of_stage(state: State[RoSENet], phase: Phase, batch: Batch) -> None:
        before = [each.stage for each, _, last in config.spans() if last <= state.step]
        if before[-1:] != [phase.stage]:
            begin(state, phase.stage, batch, trained)

    def validate(model: RoSENet, phase: Phase) -> dict[str, float]:
        assert validation is not None
        score = validate_vae if phase.stage == 1 else validate_rose
        return score(model, validation, phase.size_px, device_of(model))

    return Recipe(
        config,
        batches,
        lambda step, batch: step_loss(step, batch, config),
        lambda log: rose_facts(config, folders, log),
        check,
        freeze=_freeze,
        begin=first_of_stage,
        validate=validate if validation is not None else None,
        validate_every=validate_every,
    )


def step_loss(step: Step[RoSENet], batch: Batch, config: RoseTraining) -> dict[str, Tensor]:
    """The loss of the phase's stage."""
    device = batch.photo.device
    rng = torch.Generator(device).manual_seed(mix(config.seed, step.number, 20))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        if step.phase.stage == 1:
            return vae_loss(step.model, batch, rng)
        return video_loss(step.model, batch, config, rng)


@torch.no_grad()
def begin(state: State[RoSENet], stage: int, batch: Batch, given: bool = False) -> None:
    """What a stage starts from: the VAE, from principal components; the video model, from the averaged VAE.

    Args:
        state: changed in place; nothing but the run's seed and its steps may tell what becomes of it.
        stage: 1 or 2; a further phase of the same stage goes on with weights and latents as they are.
        batch: the stage's first.
        given: the run started from trained weights.
    """
    if stage == 1 and not given:
        start_from_components(state.model, batch)
        state.average.load_state_dict(state.model.state_dict())
    elif stage == 2 and state.step > 0:  # with no stage before this one, the VAE was given, scale and all
        state.model.load_state_dict(state.average.state_dict())
        for net in (state.model, state.average):
            normalise_latents(net, batch)


def rose_facts(config: RoseTraining, folders: dict[str, Path], log: list[dict[str, float]]) -> dict[str, Any]:
    """What RoSE's card says, stage by stage.

    What is made of another model's folder stands under that model's licence, which isn't ours to name.
    """
    done = [(phase, min(last, len(log)) - min(first, len(log))) for phase, first, last in config.spans()]
    is_svd = isinstance(config.net, SvdConfig)
    return {
        "method": "RoSE: shading frames under a ring of lights, then a photometric solve",
        "backbone": "svd" if is_svd else "small",
        "licence": "that of the weights in the folder that it started from" if is_svd else "Apache-2.0",
        "ring": f"{config.net.frames} lights at an elevation of 45 degrees, frame 0 lit from +y, then towards +x",
        "predicts": config.net.predicts,
        "encoder": config.encoder or None,
        "steps": {STAGES[s]: sum(steps for phase, steps in done if phase.stage == s) for s in STAGES},
        "photos": {STAGES[s]: sum(steps * phase.batch for phase, steps in done if phase.stage == s) for s in STAGES},
        "unseen": config.unseen,
        "log_sigma": config.log_sigma,
        "data": {key: describe_data(folders[key]) for key in sorted({phase.data for phase in config.phases})},
        "solver": "robust",  # of the held-out errors, in degrees after so many steps of the sampler
        "held_out": held_out_scores(log, digits=2),
        "diffusers": version("diffusers"),
    } | ({"before": None} if is_svd else {})


def _freeze(net: RoSENet, phase: Phase) -> None:
    learns = re.compile(r"vae\." if phase.stage == 1 else net.habits.learns)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(learns.match(name) is not None)
