"""Training NiRNE: two stages over a shape dataset, resumable, repeatable from its seed.

Stage one trains the whole network, small images first; some photos come with a guide, which is what the network itself
says of them at half the resolution. Stage two, for phases that ask for it, freezes the clean stream and the decoder and
trains the noisy stream as a residual.

Batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats an undisturbed one; the
same code runs on one CPU and, through `accelerate launch` or `torchrun`, on several GPUs.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from maquette.geometry.vectors import unit
from maquette.losses import angle, angular_von_mises_fisher, masked_mean
from maquette.nets.encoder import from_published
from maquette.nets.nirne import NiRNE, enlarged
from maquette.shading.exposure import normalise_exposure
from maquette.synth.photo import photograph
from maquette.synth.shards import ShapeData
from maquette.synth.windows import resample
from maquette.train.batches import Batch, Batches, Coarse, guide_of, halved, make_batch, mix, move
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase, TrainConfig
from maquette.train.steps import open_data, update

VALIDATION_VIEWS = 192
STEPS = (1, 2, 4)  # pixels between the neighbours whose differences count


def train(
    config: TrainConfig,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    init: dict[str, Tensor] | None = None,
    workers: int = 0,
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
        workers: processes that make batches ahead of the training, on the CPU; the same batches as without them.

    Raises:
        InputError: missing data, or what `maquette.train.checkpoints.require_ready` refuses.
    """
    require_ready(config, run, init)
    rank, world, place = _processes(device)
    state = start(config, run, place, init, lambda model: parameter_groups(model, config.encoder_lr))
    network = (
        nn.parallel.DistributedDataParallel(state.model, find_unused_parameters=True) if world > 1 else state.model
    )
    saved = time.monotonic()
    for phase, _, last in config.spans():
        if state.step < last:  # what a later phase lacks is told before hours go into the first
            open_data(folders, phase, phase.widest_px)
    for phase, first, last in config.spans():
        if state.step >= last:
            continue
        data = open_data(folders, phase, phase.widest_px)
        _freeze(state.model, phase.stage)
        ahead = _ahead(Batches(folders[phase.data], phase, config.seed, rank, world), state.step, last, workers)
        while state.step < last:
            if phase.stage == 2 and state.step == first:
                state.model.load_state_dict(state.average.state_dict())  # refine the better weights
            started = time.monotonic()
            if ahead is None:
                batch = make_batch(data, phase, config.seed, state.step, rank, world, place)
            else:
                batch = next(ahead).to(place)
            made = time.monotonic()
            line = _step(network, state, config, phase, state.step - first, batch, place, rank)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            due = state.step == last or state.step % config.validate_every == 0
            if due and validation is not None and rank == 0:
                line |= validate(state.average, validation, place)
            state.log.append(line)
            report(line)
            if rank == 0 and (state.step == last or time.monotonic() - saved > save_every_s):
                save(state, config, run)
                saved = time.monotonic()
    if world > 1:
        dist.destroy_process_group()
    return state.average


def _ahead(batches: Batches, first: int, last: int, workers: int) -> Iterator[Batch] | None:
    """The batches of steps first to last - 1, made by other processes."""
    if workers == 0:
        return None
    # Processes that are forked would inherit locks of threads that they don't have.
    loader = DataLoader(batches, None, sampler=range(first, last), num_workers=workers, multiprocessing_context="spawn")  # pyright: ignore[reportArgumentType]
    return iter(loader)


def loss(normal: Tensor, kappa: Tensor, batch: Batch, edges: float) -> Tensor:
    """Mean angle, plus the differences of neighbours, plus the angle's likelihood under the predicted concentration.

    The likelihood teaches the concentration only (its angle is detached): with its own weights, hard pixels
    would count less than the metric counts them. This is the beta = 1 case of Seitzer et al. 2022.
    """
    theta = angle(normal, batch.normal)
    likelihood = masked_mean(angular_von_mises_fisher(theta.detach(), kappa), batch.solid)
    value = masked_mean(theta, batch.solid) + 0.1 * likelihood
    return value + edges * differences(normal, batch.normal, batch.solid) if edges else value


def differences(
    normal: Float[Tensor, "batch 3 height width"],
    true: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """Mean length of the error of neighbours' differences, over steps of 1, 2 and 4 pixels along rows and columns.

    A soft edge in the right place has small angles nearly everywhere; its differences are wrong.
    """
    terms = []
    error = normal - true
    for step in STEPS:
        for axis in (2, 3):
            inner = error.shape[axis] - step
            both = mask.narrow(axis, 0, inner) * mask.narrow(axis, step, inner)
            change = error.narrow(axis, step, inner) - error.narrow(axis, 0, inner)
            terms.append(masked_mean((change.square().sum(1, keepdim=True) + 1e-6).sqrt(), both))
    return torch.stack(terms).mean()


@torch.no_grad()
def validate(model: NiRNE, folder: Path, device: torch.device | str) -> dict[str, float]:
    """Mean angular errors in degrees over fixed photos of held-out shapes, with their masks.

    Returns:
        `val_deg`: the network's, at its own size; `val_fine_deg`: with that as the guide of a pass at twice the size,
        if the data are as large; `val_flat_deg`: the flat guess's; `val_sharp`: `differences` of the finest pass.
    """
    data = ShapeData(folder)
    size_px = model.config.size_px
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]
    totals: dict[str, float] = {}
    for first in range(0, len(order), 8):
        rng = torch.Generator(device).manual_seed(first)
        some = order[first : first + 8]
        fine = data.spec.size_px >= 2 * size_px
        surfaces = move(resample(data.batch(some), 2 * size_px if fine else size_px), device)
        mask = surfaces.mask
        whole = Batch(normalise_exposure(photograph(surfaces, rng) ** 2.2, mask), mask, surfaces.normal, mask)
        errors = _errors(model, whole, fine)
        for name, value in errors.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(some) / len(order)
    return {name: math.degrees(value) if name.endswith("deg") else value for name, value in totals.items()}


def _errors(model: NiRNE, whole: Batch, fine: bool) -> dict[str, Tensor]:
    """Of photos at the network's size or, if `fine`, at twice that."""
    flat = torch.zeros_like(whole.normal)
    flat[:, 2] = 1
    errors = {"val_flat_deg": masked_mean(angle(flat, whole.normal), whole.solid)}
    coarse = halved(whole) if fine else Coarse(whole.photo, whole.mask)
    normal, _ = model(coarse.photo, coarse.mask)
    if fine:
        true = unit(F.avg_pool2d(whole.normal, 2), 1)
        errors["val_deg"] = masked_mean(angle(normal, true), coarse.mask)
        normal, _ = model(whole.photo, whole.mask, guide=enlarged(normal, coarse.mask))
    errors["val_fine_deg" if fine else "val_deg"] = masked_mean(angle(normal, whole.normal), whole.solid)
    errors["val_sharp"] = differences(normal, whole.normal, whole.solid)
    return errors


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
        guide = None
        if batch.coarse is not None:
            with torch.no_grad():
                guide = guide_of(batch, state.model(batch.coarse.photo, batch.coarse.mask)[0])
        normal, kappa = network(batch.photo, batch.mask, rng, guide)
    value = loss(normal, kappa, batch, config.edges)
    lr, _ = update(state, value, phase, done, config.clip)
    theta = masked_mean(angle(normal.detach(), batch.normal), batch.solid)
    return {"loss": float(value.detach()), "train_deg": math.degrees(float(theta)), "lr": lr}


def fresh_weights(config: TrainConfig, encoder: Path | None) -> dict[str, Tensor]:
    """Fresh weights, with the published ones of the encoder in their place if `encoder` is their file.

    Raises:
        InputError: not the weights of the configuration's encoder.
    """
    torch.manual_seed(config.seed)
    model = config.build()
    if encoder is not None:
        model.clean.load_state_dict(from_published(encoder, config.net.encoder)[0])
    return model.state_dict()


def parameter_groups(model: NiRNE, encoder_lr: float) -> list[dict[str, Any]]:
    """The optimiser's: what is pretrained learns more slowly than what is new."""
    pretrained = list(model.clean.parameters())
    ids = {id(p) for p in pretrained}
    return [
        {"params": [p for p in model.parameters() if id(p) not in ids]},
        {"params": pretrained, "lr_scale": encoder_lr},
    ]


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
