"""Datasets of shapes that trainings share: generated if they aren't there, opened for a phase."""

import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from maquette.errors import InputError
from maquette.runs.processes import world_size
from maquette.runs.schedule import Phase
from maquette.runs.state import Training
from maquette.synth.datasets.dataset import DatasetSpec, generate, read_manifest
from maquette.synth.datasets.shards import ShapeData

HELD_OUT_SEED = 900_000  # training seeds lie below it
DEFAULT_SHAPES = {"shapes": 3000, "sharp": 160}


def prepare_datasets(
    config: Training[nn.Module],
    folders: dict[str, Path],
    held_out: Path,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Generate what is missing; a folder that has a manifest is completed as that says.

    Phases whose data isn't among `folders` have it already.

    Each process of a distributed run makes its own part; the loop waits for all of them.

    Raises:
        InputError: a folder is a file, which is told before anything is made; or as `synth.datasets.dataset.generate`.
    """
    for folder in (held_out, *folders.values()):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; give a data set's folder, or one to make it in")
    part = int(os.environ.get("RANK", "0")), world_size()
    side = max(phase.widest_px for phase in config.phases)
    jobs = [(held_out, DatasetSpec(48, HELD_OUT_SEED, views=4, size_px=side), 48)]
    for name in sorted({phase.data for phase in config.phases} & folders.keys()):
        shapes = max(phase.shapes for phase in config.phases if phase.data == name)
        jobs.append((folders[name], default_spec(name, side), shapes))
    for folder, default, shapes in jobs:
        spec = read_manifest(folder) if (folder / "manifest.json").exists() else default
        generate(folder, spec, part, shapes=shapes, done=lambda n, folder=folder: report(f"{folder}: shard {n + 1}"))


def default_spec(name: str, size_px: int) -> DatasetSpec:
    """What `maquette train` generates for a phase's `data` name; "sharp" shapes all have full detail."""
    detail = 1.0 if name == "sharp" else None
    return DatasetSpec(DEFAULT_SHAPES[name], seed=1 if name == "sharp" else 0, size_px=size_px, detail=detail)


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
