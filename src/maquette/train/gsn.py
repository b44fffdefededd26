"""Training GSN on objects seen from many sides.

    views of a few objects -> their images, some of them turned -> Splats -> rendered views and ECD -> AdamW

Resumable, repeatable from its seed: batch t is drawn from (seed, t) alone, so a run that was killed and resumed repeats
an undisturbed one.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from maquette.metrics import psnr_db
from maquette.nets.gsn import GSN
from maquette.synth.multiview.cameras import condition_view
from maquette.synth.multiview.reading import of_split
from maquette.train.batches import mix
from maquette.train.checkpoints import State, require_ready, save, start
from maquette.train.config import Phase
from maquette.train.gsn_config import GSNLoss, GSNTraining
from maquette.train.gsn_data import (
    ViewBatch,
    ViewCache,
    distance_of,
    draw_batch,
    require_distance,
    turned_images,
    views_of,
)
from maquette.train.gsn_loss import equivariance, gsn_loss, rendered
from maquette.train.steps import update

_SCORED_VIEWS = 6  # of each held-out object


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
) -> GSN:
    """Train, or go on from `run`'s last checkpoint; returns the averaged weights.

    Args:
        config: what to do; a run folder that holds another config is refused.
        data: folder of objects, in the layout of ShapeNet-SRN; those of other splits than `train` are left out.
        run: folder of checkpoints and `log.jsonl`.
        device: torch device.
        validation: folder of objects whose errors are logged at the end of every phase; its split `val`.
        save_every_s: seconds between checkpoints: the most that a kill can lose.
        validate_every: steps between further such errors; 0 for none.
        report: called with every log line.
        init: weights to start from instead of random ones; a checkpoint in `run` wins.

    Raises:
        InputError: missing data, cameras at another distance than the network's, or what
            `maquette.train.checkpoints.require_ready` refuses.
    """
    cache = open_views(config, data, "train")
    held_out = None if validation is None else open_views(config, validation, "val")
    require_ready(config, run, init)
    place = torch.device(device)
    state = start(config, run, place, init)
    saved = time.monotonic()
    for phase, first, last in config.spans():
        while state.step < last:
            started = time.monotonic()
            batch = draw_batch(cache, config.seed, state.step, phase.batch, config.views, phase.size_px)
            batch = moved(batch, place)
            made = time.monotonic()
            line = _step(state, config, phase, state.step - first, batch)
            state.step += 1
            line |= {"step": state.step, "data_s": made - started, "step_s": time.monotonic() - made}
            due = state.step == last or (validate_every > 0 and state.step % validate_every == 0)
            if due and held_out is not None:
                line |= validate_gsn(state.average, held_out, config, phase.size_px, place)
            state.log.append(line)
            report(line)
            if state.step == last or time.monotonic() - saved > save_every_s:
                save(state, config, run)
                saved = time.monotonic()
    return state.average.eval()


def open_views(config: GSNTraining, folder: Path, split: str) -> ViewCache:
    """The objects of a split, or all of a folder that names none.

    Raises:
        InputError: there are none, or their cameras stand elsewhere than the network's.
    """
    data = of_split(folder, split)
    require_distance(folder, distance_of(data), config.net.distance)
    return ViewCache(data)


def moved(batch: ViewBatch, device: torch.device) -> ViewBatch:
    """The batch's images on a device; cameras are read from wherever they are."""
    return ViewBatch(
        batch.rgb.to(device),
        batch.cameras,
        None if batch.mask is None else batch.mask.to(device),
        None if batch.normals is None else batch.normals.to(device),
    )


@torch.no_grad()
def validate_gsn(
    net: GSN, held_out: ViewCache, config: GSNTraining, size_px: int, device: torch.device
) -> dict[str, float]:
    """Mean PSNR of some other views of held-out objects, and the ECD of their images turned by a quarter and an eighth.

    The image is the view at the place of the protocol's along the spiral.
    """
    net.eval()
    psnr, ecd = [], []
    for index in range(len(held_out)):
        item = held_out.stored(index)
        count = len(item.rgb)
        shown = condition_view(count)
        others = torch.linspace(0, count - 1, _SCORED_VIEWS).round().int().tolist()
        rgb, cameras, _, _ = views_of(item, [shown, *(k for k in others if k != shown)], size_px)
        image = torch.ones_like(rgb[:1]) if config.blind else rgb[:1]
        angles = torch.tensor([torch.pi / 2, torch.pi / 4])
        images = torch.cat([image, turned_images(image.expand(2, -1, -1, -1), angles)]).to(device)
        splats = net(images)
        color, _, _ = rendered(splats, 0, cameras[1:])
        psnr += [psnr_db(seen.clamp(0, 1).cpu(), true) for seen, true in zip(color, rgb[1:], strict=True)]
        twice = type(splats)(*(value[:1].expand(2, *value.shape[1:]) for value in vars(splats).values()))
        ecd.append(float(equivariance(twice, splats[1:], angles.to(device), GSNLoss())))
    net.train()
    return {"val_psnr_db": sum(psnr) / len(psnr), "val_ecd": sum(ecd) / len(ecd)}


def _step(state: State[GSN], config: GSNTraining, phase: Phase, done: int, batch: ViewBatch) -> dict[str, float]:
    """One optimiser step; `done` steps of the phase lie behind."""
    state.model.train()
    rng = torch.Generator(batch.rgb.device).manual_seed(mix(config.seed, state.step, 1))
    parts = gsn_loss(state.model, batch, config, rng)
    lr, norm = update(state, parts["loss"], phase, done, config.clip)
    return {name: float(value.detach()) for name, value in parts.items()} | {"norm": norm, "lr": lr}
