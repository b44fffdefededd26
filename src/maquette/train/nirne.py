"""Training NiRNE: two stages over a shape dataset, resumable, repeatable from its seed.

Stage one trains the whole network, small images first. Stage two freezes the clean stream (and the decoder)
and trains the noisy stream as a residual on the sharpest data, with more weight where the true normals bend.

Batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats an undisturbed one; the
same code runs on one CPU and, through `accelerate launch` or `torchrun`, on several GPUs.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from maquette.losses import angle, angular_von_mises_fisher, masked_mean
from maquette.nets.nirne import NiRNE, normalise_exposure
from maquette.synth.photo import photograph
from maquette.synth.shards import ShapeData
from maquette.train.batches import Batch, make_batch, mix, move
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase, TrainConfig
from maquette.train.steps import open_data, update

VALIDATION_VIEWS = 192


def train(
    config: TrainConfig,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
) -> NiRNE:
    """Train, or go on from `run`'s last checkpoint; returns the averaged weights.

    Args:
        config: what to do; a run folder that holds another config is refused.
        folders: dataset folders by the phases' `data` names.
        run: folder of checkpoints and `log.jsonl`.
        device: torch device; under a launcher each process takes its own GPU.
        validation: dataset folder for the error that is logged at the end of every phase.
        save_every_s: seconds between checkpoints: the most that a kill can lose.
        report: called with every log line.
        init: weights to start from instead of random ones; a checkpoint in `run` wins.

    Raises:
        InputError: missing data, or what `maquette.train.checkpoints.require_ready` refuses.
    """
    require_ready(config, run, init)
    rank, world, place = _processes(device)
    state = start(config, run, place, init)
    network = (
        nn.parallel.DistributedDataParallel(state.model, find_unused_parameters=True) if world > 1 else state.model
    )
    saved = time.monotonic()
    for phase, first, last in config.spans():
        if state.step >= last:
            continue
        data = open_data(folders, phase)
        _freeze(state.model, phase.stage)
        while state.step < last:
            if phase.stage == 2 and state.step == first:
                state.model.load_state_dict(state.average.state_dict())  # refine the better weights
            started = time.monotonic()
            batch = make_batch(data, phase, config.seed, state.step, rank, world, place)
            made = time.monotonic()
            line = _step(network, state, config, phase, state.step - first, batch, place, rank)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            if state.step == last and validation is not None and rank == 0:
                line["val_deg"], line["val_flat_deg"] = validate(state.average, validation, phase.size_px, place)
            state.log.append(line)
            report(line)
            if rank == 0 and (state.step == last or time.monotonic() - saved > save_every_s):
                save(state, config, run)
                saved = time.monotonic()
    if world > 1:
        dist.destroy_process_group()
    return state.average


def loss(normal: Tensor, kappa: Tensor, batch: Batch, stage: int) -> Tensor:
    """Mean angle, plus the likelihood of that angle under the predicted concentration.

    The likelihood teaches the concentration only (its angle is detached): with its own weights, hard pixels
    would count less than the metric counts them. This is the beta = 1 case of Seitzer et al. 2022.
    """
    theta = angle(normal, batch.normal)
    weight = batch.solid
    if stage == 2:  # where the surface bends, the second stage looks twice
        weight = weight * (1 + 3 * bend(batch.normal, batch.solid))
    return masked_mean(theta, weight) + 0.1 * masked_mean(angular_von_mises_fisher(theta.detach(), kappa), batch.solid)


def bend(normal: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]) -> Tensor:
    """In 0..1: how much the normal changes over a pixel, saturating at about 60 degrees; 0 at the silhouette."""
    change = torch.zeros_like(mask)
    for axis in (2, 3):
        inner = normal.shape[axis] - 1
        both = mask.narrow(axis, 0, inner) * mask.narrow(axis, 1, inner)
        step = (normal.narrow(axis, 1, inner) - normal.narrow(axis, 0, inner)).square().sum(1, keepdim=True) * both
        for side in (0, 1):  # a change counts for both of its pixels
            here = change.narrow(axis, side, inner)
            here.copy_(torch.maximum(here, step))
    return change.sqrt().clamp(max=1)


@torch.no_grad()
def validate(model: NiRNE, folder: Path, size_px: int, device: torch.device | str) -> tuple[float, float]:
    """Mean angular error in degrees over fixed photos of held-out shapes: the network's, the flat guess's."""
    data = ShapeData(folder)
    factor = max(data.spec.size_px // size_px, 1)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]
    errors, flats = [], []
    for first in range(0, len(order), 16):
        rng = torch.Generator(device).manual_seed(first)
        surfaces = move(data.batch(order[first : first + 16], factor), device)
        seen = normalise_exposure(photograph(surfaces, rng) ** 2.2, surfaces.mask)
        normal, _ = model(seen, surfaces.mask)
        flat = torch.zeros_like(normal)
        flat[:, 2] = 1
        errors.append(masked_mean(angle(normal, surfaces.normal), surfaces.mask) * len(seen))
        flats.append(masked_mean(angle(flat, surfaces.normal), surfaces.mask) * len(seen))
    return (
        math.degrees(float(torch.stack(errors).sum()) / len(order)),
        math.degrees(float(torch.stack(flats).sum()) / len(order)),
    )


def _step(
    network: nn.Module,
    state: State[NiRNE],
    config: TrainConfig,
    phase: Phase,
    done: int,
    batch: Batch,
    device: torch.device,
    rank: int,
) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    rng = torch.Generator(device).manual_seed(mix(config.seed, state.step, rank, 2))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        normal, kappa = network(batch.photo, batch.mask, rng)
    value = loss(normal, kappa, batch, phase.stage)
    lr, _ = update(state, value, phase, done, config.clip)
    theta = masked_mean(angle(normal.detach(), batch.normal), batch.solid)
    return {"loss": float(value.detach()), "train_deg": math.degrees(float(theta)), "lr": lr}


def _freeze(model: NiRNE, stage: int) -> None:
    model.requires_grad_(stage == 1)
    if stage == 2:
        for parameter in model.stage_two_parameters():
            parameter.requires_grad_(True)


def _processes(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes, device; from the variables that `accelerate launch` and `torchrun` set."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1, torch.device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    dist.barrier()  # every process has made its part of the data
    place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    return dist.get_rank(), world, torch.device(place)
