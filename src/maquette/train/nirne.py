"""Training NiRNE: two stages over a shape dataset, resumable, repeatable from its seed.

Stage one trains the whole network, small images first. Stage two freezes the clean stream (and the decoder)
and trains the noisy stream as a residual on the sharpest data, with more weight where the true normals bend.

Batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats an undisturbed one; the
same code runs on one CPU and, through `accelerate launch` or `torchrun`, on several GPUs.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from maquette.errors import InputError
from maquette.losses import angle, angular_von_mises_fisher, masked_mean
from maquette.nets.nirne import PRESETS, NiRNE, NiRNEConfig, normalise_exposure
from maquette.synth.photo import Surfaces, photograph
from maquette.synth.shards import ShapeData

EMA_HALF_LIFE = 0.02  # of the averaged weights, as a share of the phase's steps
VALIDATION_VIEWS = 192


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size.

    Attributes:
        size_px: side of the photos; the dataset's size must be a multiple of it.
        steps, batch: optimiser steps and photos per step (over all processes).
        lr, lr_end: learning rate at the start (after a short warm-up) and, by a cosine, at the end.
        shapes: the first so many shapes of the dataset.
        stage: 1 trains everything, 2 the noisy stream alone.
        data: which dataset: "shapes", or "sharp", the most detailed one.
    """

    size_px: int
    steps: int
    batch: int
    lr: float
    lr_end: float
    shapes: int = 10**9
    stage: int = 1
    data: str = "shapes"


@dataclass(frozen=True)
class TrainConfig:
    """A training run: network, phases, seed."""

    net: NiRNEConfig
    phases: tuple[Phase, ...]
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)


TRAINING: dict[str, TrainConfig] = {
    "small": TrainConfig(
        PRESETS["small"],
        (
            Phase(64, 1000, 16, 8e-4, 8e-4, shapes=1000),
            Phase(64, 1223, 16, 8e-4, 6.5e-4, shapes=1304),
            Phase(64, 2600, 16, 3e-4, 1.5e-4, shapes=1304),
            Phase(128, 4000, 8, 2.5e-4, 1e-5, shapes=1600),
            Phase(128, 300, 8, 1e-4, 1e-5, stage=2, data="sharp"),
            Phase(128, 1900, 8, 2e-4, 5e-6, shapes=1600),
            Phase(128, 120, 8, 5e-5, 5e-6, stage=2, data="sharp"),
        ),
    ),
    "base": TrainConfig(
        PRESETS["base"],
        (
            Phase(128, 60_000, 128, 6e-4, 3e-4),
            Phase(256, 40_000, 64, 3e-4, 1e-5),
            Phase(256, 10_000, 64, 1e-4, 1e-6, stage=2, data="sharp"),
        ),
    ),
}


@dataclass
class State:
    """All that changes while training; what a checkpoint holds."""

    model: NiRNE
    average: NiRNE
    optimiser: torch.optim.AdamW
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


def train(
    config: TrainConfig,
    folders: dict[str, Path],
    run: Path,
    device: str = "cpu",
    validation: Path | None = None,
    save_every_s: float = 60.0,
    report: Callable[[dict[str, float]], None] = lambda _: None,
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

    Raises:
        InputError: missing data, or a run folder of another config.
    """
    rank, world, place = _processes(device)
    state = _start(config, run, place)
    network = (
        nn.parallel.DistributedDataParallel(state.model, find_unused_parameters=True) if world > 1 else state.model
    )
    saved = time.monotonic()
    for phase, first, last in _spans(config):
        if state.step >= last:
            continue
        data = _open(folders, phase)
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
    return state.average


@dataclass(frozen=True)
class Batch:
    """Network input and truth."""

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    normal: Float[Tensor, "batch 3 height width"]
    solid: Float[Tensor, "batch 1 height width"]


def make_batch(
    data: ShapeData,
    phase: Phase,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
) -> Batch:
    """Batch `step`, a function of (seed, step, rank) and the data alone."""
    # Selection and shading draw from generators of their own: shading runs on the device.
    picks = torch.Generator().manual_seed(_mix(seed, step, rank, 0))
    indices = torch.randint(len(data), (phase.batch // world,), generator=picks).tolist()
    surfaces = _to(data.batch(indices, data.spec.size_px // phase.size_px), device)
    rng = torch.Generator(device).manual_seed(_mix(seed, step, rank, 1))
    return prepare(surfaces, photograph(surfaces, rng), rng)


def prepare(surfaces: Surfaces, photo: Float[Tensor, "batch 3 height width"], rng: Generator) -> Batch:
    """What the network is given: imprecise masks, now and then none, mirrored and turned images."""
    n, device = len(photo), photo.device
    draw = torch.rand(n, 3, generator=rng, device=device)
    solid = surfaces.mask
    grown, shrunk = F.max_pool2d(solid, 3, 1, 1), -F.max_pool2d(-solid, 3, 1, 1)
    kind = draw[:, 0].reshape(n, 1, 1, 1)
    mask = torch.where(kind < 0.1, torch.ones_like(solid), solid)
    mask = torch.where((kind >= 0.1) & (kind < 0.25), grown, mask)
    mask = torch.where((kind >= 0.25) & (kind < 0.4), shrunk, mask)
    seen = normalise_exposure(photo.clamp_min(0) ** 2.2, mask)
    normal = surfaces.normal
    sign = torch.ones(3, device=device).reshape(1, 3, 1, 1)
    mirror = (draw[:, 1] < 0.5).reshape(n, 1, 1, 1)
    seen, mask, solid = (torch.where(mirror, t.flip(3), t) for t in (seen, mask, solid))
    normal = torch.where(mirror, normal.flip(3) * sign.index_fill(1, torch.tensor(0, device=device), -1), normal)
    # A quarter turn counter-clockwise takes x to y and y to -x.
    turn = (draw[:, 2] < 0.15).reshape(n, 1, 1, 1)
    seen, mask, solid = (torch.where(turn, t.rot90(1, (2, 3)), t) for t in (seen, mask, solid))
    turned = normal.rot90(1, (2, 3))
    turned = torch.stack([-turned[:, 1], turned[:, 0], turned[:, 2]], 1)
    return Batch(seen.contiguous(), mask.contiguous(), torch.where(turn, turned, normal), solid)


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
        step = (normal - normal.roll(1, axis)).square().sum(1, keepdim=True) * mask * mask.roll(1, axis)
        change = torch.maximum(change, torch.maximum(step, step.roll(-1, axis)))
    return change.sqrt().clamp(max=1)


@torch.no_grad()
def validate(model: NiRNE, folder: Path, size_px: int, device: torch.device | str) -> tuple[float, float]:
    """Mean angular error in degrees over fixed photos of held-out shapes: the network's, the flat guess's."""
    data = ShapeData(folder)
    factor = max(data.spec.size_px // size_px, 1)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]
    errors, flats = [], []
    for start in range(0, len(order), 16):
        rng = torch.Generator(device).manual_seed(start)
        surfaces = _to(data.batch(order[start : start + 16], factor), device)
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


def save(state: State, config: TrainConfig, run: Path) -> None:
    """Write the checkpoint whole: tensors first beside their name, then renamed; then the log."""
    run.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    for parameter, moments in state.optimiser.state.items():
        tensors |= {f"adam.{key}.{names[id(parameter)]}": torch.as_tensor(value) for key, value in moments.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    part = run / ".checkpoint.part"
    save_file(tensors, part, metadata={"step": str(state.step), "config": _describe(config)})
    os.replace(part, run / "checkpoint.safetensors")
    part = run / ".log.part"
    part.write_text("".join(json.dumps(line) + "\n" for line in state.log))
    os.replace(part, run / "log.jsonl")


def _start(config: TrainConfig, run: Path, device: torch.device) -> State:
    """A fresh state, or the checkpoint's."""
    torch.manual_seed(config.seed)
    model = NiRNE(config.net).to(device)
    average = NiRNE(config.net).to(device)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=config.weight_decay)
    state = State(model, average, optimiser)
    path = run / "checkpoint.safetensors"
    if not path.exists():
        return state
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    if not _compatible(metadata["config"], config, int(metadata["step"])):
        raise InputError(f"{path}: was trained with another configuration; give another --run folder")
    tensors = load_file(path, device=str(device))
    for prefix, module in (("model.", model), ("average.", average)):
        module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    for name, parameter in model.named_parameters():
        moments = {
            key: tensors[f"adam.{key}.{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"adam.{key}.{name}" in tensors
        }
        if moments:
            optimiser.state[parameter] = moments | {"step": moments["step"].cpu()}
    state.step = int(metadata["step"])
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").exists() else []
    state.log = [line for line in map(json.loads, lines) if line["step"] <= state.step]
    return state


def _describe(config: TrainConfig) -> str:
    return json.dumps(asdict(config))


def _compatible(there: str, config: TrainConfig, step: int) -> bool:
    """Whether a checkpoint at `step` is one of this config's: the phases that lie ahead may differ."""
    old = json.loads(there)
    new = json.loads(_describe(config))
    begun = 0
    for index, (_, first, _) in enumerate(_spans(config)):
        if first < step:
            begun = index + 1
    same = all(old[key] == new[key] for key in ("net", "seed", "weight_decay", "clip"))
    return same and old["phases"][:begun] == new["phases"][:begun]


def _spans(config: TrainConfig) -> Iterator[tuple[Phase, int, int]]:
    """Every phase with its first step and the one after its last."""
    first = 0
    for phase in config.phases:
        yield phase, first, first + phase.steps
        first += phase.steps


def _step(
    network: nn.Module,
    state: State,
    config: TrainConfig,
    phase: Phase,
    done: int,
    batch: Batch,
    device: torch.device,
    rank: int,
) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    progress = done / phase.steps
    lr = phase.lr_end + 0.5 * (phase.lr - phase.lr_end) * (1 + math.cos(math.pi * progress))
    lr *= min(1.0, (done + 1) / 50)
    for group in state.optimiser.param_groups:
        group["lr"] = lr
    rng = torch.Generator(device).manual_seed(_mix(config.seed, state.step, rank, 2))
    normal, kappa = network(batch.photo, batch.mask, rng)
    value = loss(normal, kappa, batch, phase.stage)
    state.optimiser.zero_grad()
    value.backward()
    norm = nn.utils.clip_grad_norm_([p for p in state.model.parameters() if p.grad is not None], config.clip)
    if torch.isfinite(norm):  # a batch that overflowed teaches nothing
        state.optimiser.step()
    keep = min(0.5 ** (1 / max(EMA_HALF_LIFE * phase.steps, 1)), (done + 1) / (done + 10))
    with torch.no_grad():
        for mean, now in zip(state.average.parameters(), state.model.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        theta = masked_mean(angle(normal, batch.normal), batch.solid)
    return {"loss": float(value.detach()), "train_deg": math.degrees(float(theta)), "lr": lr}


def _mix(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _freeze(model: NiRNE, stage: int) -> None:
    model.requires_grad_(stage == 1)
    if stage == 2:
        for parameter in model.stage_two_parameters():
            parameter.requires_grad_(True)


def _open(folders: dict[str, Path], phase: Phase) -> ShapeData:
    if phase.data not in folders:
        raise InputError(f"the phase at {phase.size_px} px needs a dataset folder for {phase.data!r}")
    data = ShapeData(folders[phase.data], phase.shapes)
    if data.spec.size_px % phase.size_px:
        raise InputError(
            f"{folders[phase.data]}: its G-buffers are {data.spec.size_px} px; "
            f"the phase needs a multiple of {phase.size_px}"
        )
    return data


def _processes(device: str) -> tuple[int, int, torch.device]:
    """Rank, number of processes, device; from the variables that `accelerate launch` and `torchrun` set."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1, torch.device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
    return dist.get_rank(), world, torch.device(place)


def _to(surfaces: Surfaces, device: torch.device | str) -> Surfaces:
    return replace(surfaces, **{name: value.to(device) for name, value in vars(surfaces).items()})
