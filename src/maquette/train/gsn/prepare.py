"""The views that a GSN's training needs: made if they aren't there, and seen to fit before hours go into it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from maquette.errors import InputError
from maquette.runs.processes import require_one_process
from maquette.synth.datasets import manifests
from maquette.synth.datasets.multiview.cameras import RADIUS
from maquette.synth.datasets.multiview.objects import generate
from maquette.synth.datasets.multiview.reading import ViewsDataset, of_split
from maquette.synth.datasets.multiview.spec import KIND, ViewsSpec, read_manifest
from maquette.train.gsn.config import GSNTraining
from maquette.train.gsn.data import distance_of, require_distance
from maquette.train.shapes import HELD_OUT_SEED

TRAIN_SPEC = ViewsSpec(200, seed=101, views=16)
HELD_OUT_SPEC = ViewsSpec(0, seed=HELD_OUT_SEED, val=4, test_views=26)


def distance_in(folder: Path, split: str = "train") -> float:
    """How far the cameras of a data set's split stand from the origin, or will, if it isn't there yet.

    A manifest tells; without one it is measured, to three digits.

    Raises:
        InputError: it holds no objects of the split, or its cameras stand at several distances.
    """
    if not folder.exists():
        return RADIUS
    if (folder / manifests.NAME).exists():
        return read_manifest(folder).radius
    return float(f"{distance_of(of_split(folder, split)):.3g}")


def require_fitting(config: GSNTraining, data: Path, held_out: Path) -> None:
    """See that what is there already fits every phase; what isn't there will.

    Raises:
        InputError: a folder is a file or holds no objects of its split, one folder for both that isn't there, images
            that don't shrink to a phase's size, fewer views than a step compares, cameras at another distance than the
            network's, several processes.
    """
    require_one_process("GSN")
    if data.resolve() == held_out.resolve() and not data.exists():
        raise InputError(f"{data}: both --data and --held-out, and isn't there; give two folders, to make one each")
    for folder, split, needed in ((data, "train", config.views), (held_out, "val", 2)):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; give a data set's folder, or one to make it in")
        if folder.exists():
            side, views = _size_of(folder, split)
            for phase in config.phases:
                if side % phase.size_px:
                    raise InputError(
                        f"{folder}: its images are {side} px; the phase needs a multiple of {phase.size_px}"
                    )
            if views < needed:
                raise InputError(f"{folder}: its objects have {views} views; a step compares {needed}")
            require_distance(folder, distance_in(folder, split), config.net.distance)


def prepare_views(
    data: Path, held_out: Path, radius: float = RADIUS, done: Callable[[str], None] = lambda _: None
) -> None:
    """Generate what is missing; a folder that has a manifest is completed as that says, but for one with meshes.

    Args:
        data: objects to train on; `TRAIN_SPEC` by default.
        held_out: objects to measure errors on; `HELD_OUT_SPEC` by default.
        radius: of the sphere that the cameras of what is made anew stand on.
        done: told each object that is there.

    Raises:
        InputError: as `maquette.synth.datasets.multiview.objects.generate`.
    """
    for folder, default in ((held_out, HELD_OUT_SPEC), (data, TRAIN_SPEC)):
        if (folder / manifests.NAME).exists():
            spec = read_manifest(folder)
        elif folder.exists():
            continue  # somebody else's, such as ShapeNet-SRN
        else:
            spec = replace(default, radius=radius)
        if not spec.meshes:  # whose folder isn't known here
            generate(folder, spec, done=lambda task, folder=folder: done(f"{folder}: {task.name}"))


def describe_views(folder: Path) -> dict[str, Any]:
    """The manifest of a data set of views; of one without, as ShapeNet-SRN is published, what its folders say."""
    if (folder / manifests.NAME).exists():
        return {"kind": KIND} | asdict(read_manifest(folder))
    data = ViewsDataset(folder)
    kinds = Counter(f"{c}_{s}" if c else "of no category" for c, s in zip(data.categories, data.splits, strict=True))
    return {
        "kind": "a folder without a manifest, in the layout of ShapeNet-SRN",
        "objects": dict(sorted(kinds.items())),
    }


def _size_of(folder: Path, split: str) -> tuple[int, int]:
    """Side of the images and number of views of the objects of a split, by the manifest or by the first object."""
    if (folder / manifests.NAME).exists():
        spec = read_manifest(folder)
        counts = [spec.view_count(task) for task in spec.tasks() if task.split == split]
        if not counts:
            raise InputError(f"{folder}: holds no object of {split}; its manifest asks for none")
        return spec.size_px, counts[0]
    data = of_split(folder, split)
    return data.object(0, [0]).rgb.shape[-1], data.view_count(0)
