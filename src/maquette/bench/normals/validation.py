"""The set that choices are made by: textured meshes and reliefs of our own, path-traced; never part of a final table.

Weights, sizes and settings may be chosen by it, so its numbers flatter whatever was chosen. Its meshes are none of
the scans, its pictures none of those of the set `textures`. A training that is given a mesh of it (`--meshes`) has
seen that group's shape.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from maquette.bench.normals.datasets import Sample, cached_render, read_as, traced_sample
from maquette.bench.normals.pathtrace import Render, renderer_version
from maquette.bench.normals.reliefs import KINDS
from maquette.bench.normals.textured import FORMAT, read_parts, render_relief, render_textured
from maquette.io.decode import read_pixels

VIEWS = 4
SEED = 2_000_003  # apart from those of the shapes that are held out
MESHES = {
    "helmet": "FlightHelmet_CC0/FlightHelmet.gltf",
    "cabinet": "polyhaven_CC0/painted_wooden_cabinet_02_1k.gltf",
    "sofa": "polyhaven_CC0/sofa_03_1k.gltf",
    "tea-set": "polyhaven_CC0/tea_set_01_1k.gltf",
    "spot": "spot_textured/cow.obj",
    "cat": "cat_statue_ccby/cat.glb",
}
# Pictures, and the part of each that is taken: left, top, right, bottom as shares.
PICTURES = {
    "boards": ("meshes/polyhaven_CC0/textures/painted_wooden_cabinet_02_diff_1k.jpg", (0.0, 0.0, 1.0, 1.0)),
    "print": ("meshes/polyhaven_CC0/textures/tea_set_01_diff_1k.jpg", (0.1, 0.2, 0.75, 0.85)),
    "velvet": ("meshes/polyhaven_CC0/textures/sofa_03_diff_1k.jpg", (0.03, 0.4, 0.28, 0.63)),
    "wood": ("meshes/polyhaven_CC0/textures/sofa_03_diff_1k.jpg", (0.0, 0.0, 0.38, 0.27)),
    "cup": ("photos/coffee.png", (0.0, 0.0, 1.0, 1.0)),
    "cat": ("photos/chelsea.png", (0.0, 0.0, 1.0, 1.0)),
}
RELIEFS = (
    ("bricks", "boards"),
    ("pebbles", "velvet"),
    ("rock", "print"),
    ("folds", "print"),
    ("weave", "velvet"),
    ("planks", "wood"),
    ("carved", "cup"),
    ("pebbles", "cat"),
)


def validation(data: Path, cache: Path) -> Iterator[Sample]:
    """Six textured meshes from four sides each, then eight reliefs that fill their frames and have no mask.

    384 px, path-traced once and then cached. Groups are the meshes, and all reliefs together as one.

    Raises:
        InputError: a mesh, a picture, the environments or Mitsuba is missing.
    """
    folder = cache / renderer_version() / f"validation-{FORMAT}"
    for place, (name, file) in enumerate(MESHES.items()):
        for view in range(VIEWS):
            make = partial(_mesh_render, data / "meshes" / file, seed=SEED + place * VIEWS + view)
            yield traced_sample(name, f"view {view}", *cached_render(folder / f"{name}-{view}.npz", data, make))
    for place, (kind, picture) in enumerate(RELIEFS):
        assert kind in KINDS
        make = partial(_relief_render, data, kind, picture, seed=SEED + 1000 + place)
        traced = cached_render(folder / f"relief-{kind}-{picture}.npz", data, make)
        yield replace(without_mask(traced_sample("reliefs", f"{kind} {picture}", *traced)), fills_frame=True)


def without_mask(sample: Sample) -> Sample:
    """The same photo with nobody to say where the object is; what is scored stays."""
    return replace(sample, photo=replace(sample.photo, mask=None))


def _mesh_render(path: Path, environments: list[Path], seed: int) -> Render:
    return render_textured(read_as(path, read_parts), environments, seed)


def _relief_render(data: Path, kind: str, picture: str, environments: list[Path], seed: int) -> Render:
    file, part = PICTURES[picture]
    return render_relief(kind, _part_of(read_pixels(data / file), part), environments, seed)


def _part_of(
    pixels: UInt8[np.ndarray, "height width channels"], part: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "side side 3"]:
    """A part of a picture, made square."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = part
    cut = pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width), :3]
    side = min(cut.shape[:2])
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
