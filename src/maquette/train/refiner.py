"""Training CLONE's refiner and gate without a normal in any loss: resumable, repeatable from its seed.

The network refines a normal map of a photo; what it returns must explain images of the same object under several
lights (`maquette.train.reprojection`). Batch t is drawn from (seed, t) alone, so a run that was killed and resumed
repeats an undisturbed one.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from maquette.losses import masked_mean
from maquette.methods.nirne import Network, NiRNE
from maquette.nets.refiner import Refiner
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase
from maquette.train.refiner_batches import RefinerBatch, make_refiner_batch
from maquette.train.refiner_config import LossWeights, RefinerTraining
from maquette.train.refiner_scores import score_refiner
from maquette.train.reprojection import contour, curl, fit_lights, reprojection, unlikeness, weight_of
from maquette.train.steps import open_data, update

VALIDATION_VIEWS = 192


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
) -> Refiner:
    """Train, or go on from `run`'s last checkpoint; returns the averaged weights.

    Args:
        config: what to do; a run folder that holds another config is refused.
        folders: dataset folders by the phases' `data` names.
        run: folder of checkpoints and `log.jsonl`.
        device: torch device.
        validation: dataset folder for the errors that are logged at the end of every phase.
        save_every_s: seconds between checkpoints: the most that a kill can lose.
        validate_every: steps between further such errors; 0 for none.
        report: called with every log line.
        init: weights to start from instead of random ones; a checkpoint in `run` wins.

    Raises:
        InputError: missing data, or what `maquette.train.checkpoints.require_ready` refuses.
    """
    require_ready(config, run, init)
    place = torch.device(device)
    state = start(config, run, place, init)
    predictor = NiRNE.from_pretrained(config.inputs, device).net if config.inputs else None
    saved = time.monotonic()
    for phase, first, last in config.spans():
        if state.step >= last:
            continue
        data = open_data(folders, phase)
        while state.step < last:
            started = time.monotonic()
            batch = make_refiner_batch(data, phase, config.seed, state.step, predictor, place)
            made = time.monotonic()
            line = _step(state, config, phase, state.step - first, batch)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            due = state.step == last or (validate_every > 0 and state.step % validate_every == 0)
            if due and validation is not None:
                line |= validate_refiner(state.average, predictor, validation, phase.size_px, place)
            state.log.append(line)
            report(line)
            if state.step == last or time.monotonic() - saved > save_every_s:
                save(state, config, run)
                saved = time.monotonic()
    return state.average


def refiner_loss(
    refiner: nn.Module, batch: RefinerBatch, weights: LossWeights, bf16: bool = False
) -> dict[str, Tensor]:
    """The loss ("loss") and its parts."""
    with torch.autocast(batch.photo.device.type, torch.bfloat16, enabled=bf16):
        out = refiner(batch.photo, batch.normals, batch.mask)
    solid, views = batch.solid, batch.views
    lights = views.lights
    if weights.light_trust is not None:
        lights = fit_lights(out.fused, solid, views, weights.light_trust)
    counted = solid * weight_of(views.images, weights.shaded)
    fused, made = reprojection(out.fused, counted, views.images, lights)
    refined, _ = reprojection(out.refined, counted, views.images, lights)
    fused, refined = fused.mean(), refined.mean()
    unlike = unlikeness(made, views.images, counted)
    rim = contour(out.refined, solid) + contour(out.fused, solid)
    bent = curl(out.refined, solid) + curl(out.fused, solid)
    total = fused + weights.ssim * unlike + weights.refined * refined + weights.contour * rim + weights.curl * bent
    return {
        "loss": total,
        "fused": fused,
        "refined": refined,
        "unlike": unlike,
        "contour": rim,
        "curl": bent,
        "gate": masked_mean(out.gate, solid),
    }


def validate_refiner(
    model: Refiner, predictor: Network | None, folder: Path, size_px: int, device: torch.device | str
) -> dict[str, float]:
    """Means of `score_refiner`: "val_INPUT_MAP_deg" and "val_INPUT_MAP_missed"."""
    means = {}
    for (label, what), scores in score_refiner(model, predictor, folder, size_px, device, VALIDATION_VIEWS).items():
        means[f"val_{label}_{what}_deg"] = float(scores.degrees.mean())
        means[f"val_{label}_{what}_missed"] = float(scores.missed.mean())
    return means


def _step(
    state: State[Refiner], config: RefinerTraining, phase: Phase, done: int, batch: RefinerBatch
) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    parts = refiner_loss(state.model, batch, config.loss, config.bf16)
    lr, norm = update(state, parts["loss"], phase, done, config.clip)
    return {name: float(value.detach()) for name, value in parts.items()} | {"norm": norm, "lr": lr}
