"""What the training of every network shares: a phase's data, and one step of the optimiser."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.synth.shards import ShapeData
from maquette.train.checkpoints import State
from maquette.train.config import Phase

EMA_HALF_LIFE = 0.02  # of the averaged weights, as a share of the phase's steps
WARM_UP = 50  # steps


def open_data(folders: dict[str, Path], phase: Phase, least_px: int | None = None) -> ShapeData:
    """The shapes of a phase.

    Args:
        folders: by the phases' `data` names.
        phase: which of them, and how many shapes.
        least_px: if windows of any size are taken from the G-buffers, the largest one.

    Raises:
        InputError: no folder was given for them, or its G-buffers don't shrink to the phase's size.
    """
    if phase.data not in folders:
        raise InputError(f"the phase at {phase.size_px} px needs a dataset folder for {phase.data!r}")
    data = ShapeData(folders[phase.data], phase.shapes)
    if least_px is not None and data.spec.size_px < least_px:
        raise InputError(
            f"{folders[phase.data]}: its G-buffers are {data.spec.size_px} px; the phase needs at least {least_px}"
        )
    if least_px is None and data.spec.size_px % phase.size_px:
        raise InputError(
            f"{folders[phase.data]}: its G-buffers are {data.spec.size_px} px; "
            f"the phase needs a multiple of {phase.size_px}"
        )
    return data


def update(state: State, loss: Tensor, phase: Phase, done: int, clip: float) -> tuple[float, float]:
    """One step down the gradient of `loss`, and the averaged weights after it.

    Args:
        state: model, average and optimiser, changed in place.
        loss: of this step.
        phase: whose learning rate falls by a cosine after a short warm-up.
        done: steps of the phase that lie behind.
        clip: largest norm of the gradient.

    Returns:
        The learning rate, and the norm of the gradient before it was clipped.
    """
    lr = phase.lr_end + 0.5 * (phase.lr - phase.lr_end) * (1 + math.cos(math.pi * done / phase.steps))
    lr *= min(1.0, (done + 1) / WARM_UP)
    for group in state.optimiser.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    state.optimiser.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_([p for p in state.model.parameters() if p.grad is not None], clip)
    if torch.isfinite(norm):  # a batch that overflowed teaches nothing
        state.optimiser.step()
    keep = min(0.5 ** (1 / max(EMA_HALF_LIFE * phase.steps, 1)), (done + 1) / (done + 10))
    with torch.no_grad():
        for mean, now in zip(state.average.parameters(), state.model.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
    return lr, float(norm)
