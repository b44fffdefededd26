"""Training RoSE: a VAE on shadings, then, over the frozen VAE, a video model of an object under a ring of lights.

Resumable, repeatable from its seed: batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats
an undisturbed one.
"""

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Generator, Tensor

from maquette.losses import angle, masked_mean
from maquette.nets.rose import Rose
from maquette.shading.exposure import normalise_exposure
from maquette.synth.photo import photograph
from maquette.synth.shards import ShapeData
from maquette.train.batches import Batch, mix, move
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase
from maquette.train.rose_config import RoseTraining, require_fitting
from maquette.train.rose_data import open_source, require_data
from maquette.train.rose_vae import normalise_latents, start_from_components, truth, vae_loss, validate_vae, views_of
from maquette.train.steps import update


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
) -> Rose:
    """Train, or go on from `run`'s last checkpoint; returns the averaged weights.

    Args:
        config: what to do; a run folder that holds another config is refused.
        folders: by the phases' `data` names: datasets of shapes, or MultiShade.
        run: folder of checkpoints and `log.jsonl`.
        device: torch device.
        validation: dataset of shapes for the errors that are logged at the end of every phase.
        save_every_s: seconds between checkpoints: the most that a kill can lose.
        validate_every: steps between further such errors; 0 for none.
        report: called with every log line.
        init: weights to start from instead of random ones; a checkpoint in `run` wins.

    Raises:
        InputError: missing data, sizes that don't fit the network, more processes than one, or what
            `maquette.train.checkpoints.require_ready` refuses.
    """
    require_fitting(config)
    require_data(config, folders)
    require_ready(config, run, init)
    place = torch.device(device)
    state = start(config, run, place, init)
    for group in state.optimiser.param_groups:
        group["betas"] = config.betas
    saved = time.monotonic()
    stage = 0
    for phase, first, last in config.spans():
        begins, stage = phase.stage != stage, phase.stage
        if state.step >= last:
            continue
        make_batch = open_source(config, folders, phase, place)
        _freeze(state.model, stage)
        while state.step < last:
            started = time.monotonic()
            batch = make_batch(state.step)
            if begins and state.step == first:
                begin(state, stage, batch, given=init is not None)
            made = time.monotonic()
            line = _step(state, config, phase, state.step - first, batch)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            due = state.step == last or (validate_every > 0 and state.step % validate_every == 0)
            if due and validation is not None:
                score = validate_vae if stage == 1 else validate_rose
                line |= score(state.average, validation, phase.size_px, place)
            state.log.append(line)
            report(line)
            if state.step == last or time.monotonic() - saved > save_every_s:
                save(state, config, run)
                saved = time.monotonic()
    return state.average


def video_loss(net: Rose, batch: Batch, config: RoseTraining, rng: Generator) -> dict[str, Tensor]:
    """||z0 - z0(z0 + sigma e, sigma, photo)||^2, the paper's loss; sigma is log-normal."""
    with torch.no_grad():
        clean = net.encode(truth(net, batch)).float()
    n, device = len(clean), clean.device
    mean, spread = config.log_sigma
    sigma = torch.exp(mean + spread * torch.randn(n, generator=rng, device=device))
    noise = torch.randn(clean.shape, generator=rng, device=device)
    seen = (torch.rand(n, generator=rng, device=device) >= config.unseen).to(clean)
    told = net.condition(batch.photo, batch.mask).withheld(seen)
    found = net.clean(clean + sigma.reshape(-1, 1, 1, 1, 1) * noise, sigma, told)
    return {"loss": (found - clean).square().mean()}


@torch.no_grad()
def validate_rose(net: Rose, folder: Path, size_px: int, device: torch.device | str) -> dict[str, float]:
    """Mean angular error, in degrees, of what one and four steps imagine of photos of held-out shapes."""
    from maquette.methods.rose import imagine, to_normals

    data = ShapeData(folder)
    errors: dict[int, list[Tensor]] = {1: [], 4: []}
    order = views_of(data)
    for first in range(0, len(order), 12):
        surfaces = move(data.batch(order[first : first + 12], data.spec.size_px // size_px), device)
        rng = torch.Generator(device).manual_seed(first)
        seen = normalise_exposure(photograph(surfaces, rng) ** 2.2, surfaces.mask)
        for steps, found in errors.items():
            normal = to_normals(net, imagine(net, seen, surfaces.mask, steps))
            found.append(masked_mean(angle(normal, surfaces.normal), surfaces.mask) * len(seen))
    return {f"val_{s}_deg": math.degrees(float(torch.stack(e).sum()) / len(order)) for s, e in errors.items()}


@torch.no_grad()
def begin(state: State[Rose], stage: int, batch: Batch, given: bool = False) -> None:
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


def _step(state: State[Rose], config: RoseTraining, phase: Phase, done: int, batch: Batch) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    device = batch.photo.device
    rng = torch.Generator(device).manual_seed(mix(config.seed, state.step, 20))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        parts = vae_loss(state.model, batch, rng) if phase.stage == 1 else video_loss(state.model, batch, config, rng)
    lr, norm = update(state, parts["loss"], phase, done, config.clip)
    return {name: float(value.detach()) for name, value in parts.items()} | {"norm": norm, "lr": lr}


def _freeze(net: Rose, stage: int) -> None:
    learns = re.compile(r"vae\." if stage == 1 else net.habits.learns)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(learns.match(name) is not None)
