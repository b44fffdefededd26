"""What RoSE is trained on: shapes, photographed anew at every step, or MultiShade, whose photos are made already."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.runs.schedule import Phase
from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.dataset import read_manifest
from maquette.synth.datasets.multishade import spec as multishade
from maquette.synth.datasets.multishade.reading import MultiShade
from maquette.train.batches import Batch, generators, imprecise, mix, photo_batch
from maquette.train.rose.config import RoseTraining
from maquette.train.shapes import open_data


@dataclass(frozen=True)
class RingBatch(Batch):
    """A batch whose shading frames the data set holds: max(n . l, 0) for each light of the ring, linear."""

    ring: Float[Tensor, "batch frames height width"]


def open_source(
    config: RoseTraining, folders: dict[str, Path], phase: Phase, device: torch.device
) -> Callable[[int], Batch]:
    """The batches of a phase by step, each a function of (seed, step) and the data alone.

    Raises:
        InputError: no folder was given, or its images don't fit the phase's size or the network's frames.
    """
    folder = folders.get(phase.data)
    if folder is None or not is_multishade(folder):
        shapes = open_data(folders, phase)
        return lambda step: photo_batch(
            shapes, phase.size_px, phase.batch, *generators(config.seed, step, device=device)
        )
    data = MultiShade(folder, config.net.frames)
    chosen = np.flatnonzero(data.objects < phase.shapes)
    side = data.batch([int(chosen[0])]).photo.shape[-1]
    if side != phase.size_px:
        raise InputError(f"{folder}: its images are {side} px; the phase needs {phase.size_px}")

    def batch(step: int) -> RingBatch:
        picks = torch.Generator().manual_seed(mix(config.seed, step, 0, 0))
        numbers = torch.randint(len(chosen), (phase.batch,), generator=picks).tolist()
        return ring_batch(data, [int(chosen[i]) for i in numbers], mix(config.seed, step, 0, 1), device)

    return batch


def require_data(config: RoseTraining, folders: dict[str, Path]) -> None:
    """See that what is there already fits every phase, before hours go into the first.

    Raises:
        InputError: a folder of MultiShade doesn't fit, or is damaged.
    """
    for phase in config.phases:
        if phase.data in folders and is_multishade(folders[phase.data]):
            open_source(config, folders, phase, torch.device("cpu"))


def ring_batch(data: MultiShade, indices: list[int], seed: int, device: torch.device) -> RingBatch:
    """Samples by number, as the network sees them: exposure normalised, masks as users have them.

    Raises:
        InputError: a sample has no normals.
    """
    found = data.batch(indices)
    if found.normal is None:
        raise InputError("MultiShade: a sample has no normals; RoSE's training needs them, for its VAE and its scores")
    solid = found.mask.to(device)
    mask = imprecise(solid, torch.Generator(device).manual_seed(seed))
    seen = normalise_exposure(found.photo.to(device) ** 2.2, mask)
    return RingBatch(seen, mask, found.normal.to(device), solid, found.shading.to(device))


def is_multishade(folder: Path) -> bool:
    """Whether a folder holds MultiShade, ours by its manifest or the published one, and not shapes."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return (folder / "layout.json").exists()
    try:
        content = json.loads(manifest.read_bytes())
    except (ValueError, OSError):
        return False  # whoever reads the manifest says what is wrong with it
    return isinstance(content, dict) and content.get("kind") == multishade.KIND


def describe_data(folder: Path) -> dict[str, Any]:
    """What a card says of a data set: its manifest; of the published MultiShade, how much of it there is."""
    if not is_multishade(folder):
        return asdict(read_manifest(folder))
    if (folder / "manifest.json").exists():
        return {"kind": multishade.KIND} | asdict(multishade.read_manifest(folder))
    return {"kind": "multishade, as published", "samples": len(MultiShade(folder))}
