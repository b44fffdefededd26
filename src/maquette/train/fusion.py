"""What the confidences of NiRNE and RoSE are worth: measured on renders of held-out shapes, for `--method auto`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.catalogue import AUTO_NIRNE_WEIGHTS, RingSolver
from maquette.errors import InputError
from maquette.geometry.directional import expected_angle
from maquette.io.files import write_bytes
from maquette.methods.auto import CALIBRATION_NAME, AutoConfig, fingerprint
from maquette.methods.fusion import Calibration, Method, calibrate
from maquette.methods.nirne import NiRNE
from maquette.methods.rose import GUIDANCE, STEPS, RoSE
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.photo import photograph
from maquette.train.batches import mix
from maquette.types import Photo

PIXELS = 4000  # of each photo, so that a large one doesn't outweigh a small one
_SEED = 44


@dataclass(frozen=True)
class PixelPairs:
    """The same pixels of photos, by two methods and in truth.

    Attributes:
        first, second, truth: unit normals.
        first_rad, second_rad: the angles that the methods expect to be off by.
    """

    first: Float[Tensor, "pixels 3"]
    second: Float[Tensor, "pixels 3"]
    first_rad: Float[Tensor, " pixels"]
    second_rad: Float[Tensor, " pixels"]
    truth: Float[Tensor, "pixels 3"]


def half_of(
    folder: Path, half: int, photos: int | None = None
) -> Iterator[tuple[Photo, Float[Tensor, "rows columns 3"]]]:
    """Photos of every other shape of a dataset, one of each view, with the true normals; the same ones every time.

    Args:
        folder: dataset of shapes.
        half: 0 for the even shapes, 1 for the odd ones: no shape is in both.
        photos: at most so many, spread over the shapes; None for all.
    """
    data = ShapeData(folder)
    chosen = [i for i in range(len(data)) if i // data.spec.views % 2 == half]
    step = 1 if photos is None else max(1, -(-len(chosen) // photos))
    for index in chosen[::step]:
        surfaces = data.batch([index])
        image = photograph(surfaces, torch.Generator().manual_seed(mix(_SEED, index)))[0]
        mask = surfaces.mask[0, 0] > 0
        yield Photo((image**2.2).permute(1, 2, 0), mask, f"{folder}: view {index}"), surfaces.normal[0].permute(1, 2, 0)


def look(first: Method, second: Method, photos: Iterator[tuple[Photo, Tensor]], pixels: int = PIXELS) -> PixelPairs:
    """What both methods say of a random choice of pixels of every photo, the same choice every time.

    Raises:
        InputError: a method doesn't know its confidence; there are no photos.
    """
    rows: list[tuple[Tensor, ...]] = []
    for number, (photo, truth) in enumerate(photos):
        one, two = first(photo), second(photo)
        if one.concentration is None or two.concentration is None:
            raise InputError(f"{photo.name}: a method doesn't know its confidence; there is nothing to calibrate")
        both = one.mask & two.mask
        rng = torch.Generator().manual_seed(mix(_SEED, number))
        some = torch.randperm(int(both.sum()), generator=rng)[:pixels]
        rows.append(
            (
                one.normals[both][some],
                two.normals[both][some],
                expected_angle(one.concentration[both][some].double()),
                expected_angle(two.concentration[both][some].double()),
                truth[both][some],
            )
        )
    if not rows:
        raise InputError("there are no photos to look at")
    return PixelPairs(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def calibrate_auto(
    folder: Path,
    rose: str | Path,
    nirne: str | Path = AUTO_NIRNE_WEIGHTS,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    solver: RingSolver = "robust",
    photos: int | None = None,
    device: str = "cpu",
) -> AutoConfig:
    """Measure, on the even shapes of a dataset that trained neither method.

    Args:
        folder: of the dataset.
        rose, nirne: weights, names or folders.
        steps, guidance, solver: how RoSE is asked, from now on.
        photos: at most so many; None for one of every view.
        device: torch device.

    Raises:
        InputError: weights or data are missing, or a number is out of its range.
    """
    first = NiRNE.from_pretrained(nirne, device)
    second = RoSE.from_pretrained(rose, device, steps, guidance, solver)
    seen = look(first, second, half_of(folder, 0, photos))
    fitted: Calibration = calibrate(seen.first, seen.second, seen.first_rad, seen.second_rad, seen.truth)
    count = len(seen.truth)
    return AutoConfig(fingerprint(nirne), fingerprint(rose), steps, guidance, solver, count, fitted)


def save_calibration(folder: Path, config: AutoConfig) -> Path:
    """Write it where `maquette.methods.auto` looks for it; whole or absent."""
    path = folder / CALIBRATION_NAME
    write_bytes(path, (json.dumps(asdict(config), indent=2) + "\n").encode())
    return path
