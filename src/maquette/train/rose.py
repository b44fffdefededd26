"""Training RoSE: a VAE on shadings, then, over the frozen VAE, a video model of an object under a ring of lights.

Resumable, repeatable from its seed: batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats
an undisturbed one.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.losses import angle, masked_mean
from maquette.nets.nirne import normalise_exposure
from maquette.nets.rose import Condition, Rose
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.synth.photo import photograph
from maquette.synth.shards import ShapeData
from maquette.train.batches import Batch, make_batch, mix, move
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase
from maquette.train.rose_config import RoseTraining
from maquette.train.steps import open_data, update

VALIDATION_VIEWS = 24
_VAE_FRAMES = 3  # of a ring: the VAE's decoder smooths over time
_KL = 1e-6


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
    saved = time.monotonic()
    for phase, first, last in config.spans():
        if state.step >= last:
            continue
        data = open_data(folders, phase)
        _freeze(state.model, phase.stage)
        while state.step < last:
            started = time.monotonic()
            batch = make_batch(data, phase, config.seed, state.step, device=place)
            if phase.stage == 2 and state.step == first and first > 0:
                _keep_vae(state, batch)
            made = time.monotonic()
            line = _step(state, config, phase, state.step - first, batch)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            due = state.step == last or (validate_every > 0 and state.step % validate_every == 0)
            if due and validation is not None:
                score = validate_vae if phase.stage == 1 else validate_rose
                line |= score(state.average, validation, phase.size_px, place)
            state.log.append(line)
            report(line)
            if state.step == last or time.monotonic() - saved > save_every_s:
                save(state, config, run)
                saved = time.monotonic()
    return state.average


def truth(net: Rose, normal: Tensor, solid: Tensor) -> Float[Tensor, "batch frames 3 height width"]:
    """The sequence that the network is to imagine, in -1..1."""
    normal = normal * solid
    if net.config.predicts == "normals":
        return normal[:, None].expand(-1, net.config.frames, -1, -1, -1)
    return sequence_of(normal, ring_lights(net.config.frames))


def sequence_of(
    normal: Float[Tensor, "batch 3 height width"], lights: Float[Tensor, "count 3"]
) -> Float[Tensor, "batch count 3 height width"]:
    """Shadings under the lights, grey, in -1..1."""
    shadings = shading_frames(normal.movedim(1, -1), lights).movedim(0, 1)
    return (2 * shadings - 1)[:, :, None].expand(-1, -1, 3, -1, -1)


def vae_loss(net: Rose, batch: Batch, rng: Generator) -> dict[str, Tensor]:
    """How far images are from what the VAE makes of them, plus a little of its latents' divergence from noise.

    Of five batches three are shadings, a few frames of a ring that is turned at random; one is photos, one normal maps.
    """
    kind = int(torch.randint(5, (), generator=rng, device=batch.photo.device))
    if kind < 3:
        lights = ring_lights(36)
        begin = int(torch.randint(36, (), generator=rng, device=batch.photo.device))
        chosen = [(begin + 4 * i) % 36 for i in range(_VAE_FRAMES)]
        images = sequence_of(batch.normal * batch.solid, lights[chosen])
    elif kind == 3:
        grey = torch.rand(len(batch.photo), 1, 1, 1, generator=rng, device=batch.photo.device) < 0.5
        images = torch.where(grey, batch.photo.mean(1, keepdim=True), batch.photo)[:, None] * 2 - 1
    else:
        images = (batch.normal * batch.solid)[:, None]
    posterior = net.posterior(images)
    noise = torch.randn(posterior.mean.shape, generator=rng, device=posterior.mean.device)
    latents = posterior.mean + posterior.std * noise
    made = net.decode_raw(latents, images.shape[1]).float()
    error = (made - images).abs().mean()
    spread = posterior.kl().float().mean()
    return {"loss": error + _KL * spread, "vae_error": error, "vae_kl": spread}


def video_loss(net: Rose, batch: Batch, config: RoseTraining, rng: Generator) -> dict[str, Tensor]:
    """||z0 - z0(z0 + sigma e, sigma, photo)||^2, the paper's loss; sigma is log-normal."""
    with torch.no_grad():
        clean = net.encode(truth(net, batch.normal, batch.solid)).float()
    n, device = len(clean), clean.device
    mean, spread = config.log_sigma
    sigma = torch.exp(mean + spread * torch.randn(n, generator=rng, device=device))
    noise = torch.randn(clean.shape, generator=rng, device=device)
    seen = (torch.rand(n, 1, 1, generator=rng, device=device) >= config.unseen).to(clean)
    told = net.condition(batch.photo, batch.mask)
    told = Condition(told.tokens * seen, told.latent * seen[..., None])
    found = net.clean(clean + sigma.reshape(-1, 1, 1, 1, 1) * noise, sigma, told)
    return {"loss": (found - clean).square().mean()}


@torch.no_grad()
def validate_vae(net: Rose, folder: Path, size_px: int, device: torch.device | str) -> dict[str, float]:
    """What the VAE alone costs: peak signal-to-noise of shadings, in dB, over fixed views of held-out shapes."""
    data = ShapeData(folder)
    surfaces = move(data.batch(_views(data)[:12], data.spec.size_px // size_px), device)
    images = sequence_of(surfaces.normal, ring_lights(net.config.frames))
    made = net.decode(net.encode(images))
    error = ((made - images) / 2).square().mean()
    return {"val_vae_psnr_db": float(-10 * error.log10())}


@torch.no_grad()
def validate_rose(net: Rose, folder: Path, size_px: int, device: torch.device | str) -> dict[str, float]:
    """Mean angular error, in degrees, of what one and four steps imagine of photos of held-out shapes."""
    from maquette.methods.rose import imagine, to_normals

    data = ShapeData(folder)
    errors: dict[int, list[Tensor]] = {1: [], 4: []}
    order = _views(data)
    for first in range(0, len(order), 12):
        surfaces = move(data.batch(order[first : first + 12], data.spec.size_px // size_px), device)
        rng = torch.Generator(device).manual_seed(first)
        seen = normalise_exposure(photograph(surfaces, rng) ** 2.2, surfaces.mask)
        for steps, found in errors.items():
            normal = to_normals(net, imagine(net, seen, surfaces.mask, steps))
            found.append(masked_mean(angle(normal, surfaces.normal), surfaces.mask) * len(seen))
    return {f"val_{s}_deg": math.degrees(float(torch.stack(e).sum()) / len(order)) for s, e in errors.items()}


def _views(data: ShapeData) -> list[int]:
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]


def _step(state: State[Rose], config: RoseTraining, phase: Phase, done: int, batch: Batch) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    device = batch.photo.device
    rng = torch.Generator(device).manual_seed(mix(config.seed, state.step, 20))
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        parts = vae_loss(state.model, batch, rng) if phase.stage == 1 else video_loss(state.model, batch, config, rng)
    lr, norm = update(state, parts["loss"], phase, done, config.clip)
    return {name: float(value.detach()) for name, value in parts.items()} | {"norm": norm, "lr": lr}


@torch.no_grad()
def _keep_vae(state: State[Rose], batch: Batch) -> None:
    """Between the stages: the averaged VAE stays, and its latents are brought to a standard deviation of one."""
    state.model.load_state_dict(state.average.state_dict())
    for net in (state.model, state.average):
        net.latent_std.fill_(1.0)
    images = sequence_of(batch.normal * batch.solid, ring_lights(state.model.config.frames))
    spread = state.model.encode(images).float().std()
    for net in (state.model, state.average):
        net.latent_std.copy_(spread)


def _freeze(net: Rose, stage: int) -> None:
    net.requires_grad_(False)
    for part in (net.vae,) if stage == 1 else (net.unet, net.project):
        part.requires_grad_(True)
