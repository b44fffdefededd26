"""Square windows of stored G-buffers, at any size: wholes, close-ups, and small objects in wide frames."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.synth.surfaces import Surfaces

_WIDEST = 1.5  # times the G-buffer's side


@dataclass(frozen=True)
class Box:
    """A square of a G-buffer, in its pixels; one that is larger than the G-buffer holds all of it.

    Attributes:
        top, left, side: the square.
    """

    top: int
    left: int
    side: int


def draw_box(rng: np.random.Generator, mask: np.ndarray, size_px: int) -> Box:
    """A window of a view: all of it, a part of it that shows some of the object, or all of it in a wider frame.

    Args:
        rng: draws it.
        mask: (side, side), true on the object; an object that touches the frame can't be put into a wider one.
        size_px: the window becomes an image of this side; a part is at least half as wide: what is twice enlarged is as
            smooth as most things are in large photos.
    """
    side = len(mask)
    smallest = -(-size_px // 2)
    if smallest < side and rng.random() < 0.5:
        window = int(rng.integers(smallest, side))
        row, column = np.argwhere(mask)[rng.integers(mask.sum())]
        top, left = (int(np.clip(at - rng.random() * window, 0, side - window)) for at in (row, column))
        return Box(top, left, window)
    touches = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    if touches or rng.random() < 0.4:
        return Box(0, 0, side)
    window = int(side * rng.uniform(1, _WIDEST))
    return Box(-int(rng.integers(0, window - side + 1)), -int(rng.integers(0, window - side + 1)), window)


def resample(surfaces: Surfaces, size_px: int) -> Surfaces:
    """Another resolution, geometry first: averaged over the squares that become pixels, or interpolated between them.

    A pixel belongs to the object if half of it does. Point samples instead would keep detail that no pixel resolves, as
    noise in both the photo and the truth.
    """
    if surfaces.mask.shape[-1] == size_px:
        return surfaces
    averaged = _averaged if surfaces.mask.shape[-1] > size_px else _interpolated
    covered = averaged(surfaces.mask, size_px)
    mask = (covered >= 0.5).float()

    def shrunk(name: str, values: Tensor) -> Tensor:
        if name == "view":
            return unit(averaged(values, size_px), 1)
        if name == "part":
            middle = F.interpolate(values, (size_px, size_px), mode="nearest-exact")
            return torch.where(middle > 0, middle, F.adaptive_max_pool2d(values, size_px)) * mask
        mean = averaged(values * surfaces.mask, size_px) / covered.clamp_min(1e-6)
        return (unit(mean, 1) if name in ("normal", "opening") else mean) * mask

    images = {f.name: getattr(surfaces, f.name) for f in fields(surfaces) if f.name not in ("lights", "mask")}
    return replace(surfaces, mask=mask, **{name: shrunk(name, values) for name, values in images.items()})


def _averaged(values: Tensor, size_px: int) -> Tensor:
    return F.adaptive_avg_pool2d(values, size_px)


def _interpolated(values: Tensor, size_px: int) -> Tensor:
    return F.interpolate(values, (size_px, size_px), mode="bilinear", align_corners=False)


def place(surfaces: Surfaces, box: Box, size_px: int) -> Surfaces:
    """One whole G-buffer in a frame that is wider than it: shrunk, and surrounded by nothing."""
    inner = round(size_px * surfaces.mask.shape[-1] / box.side)
    small = resample(surfaces, inner)
    top, left = (min(round(-at * size_px / box.side), size_px - inner) for at in (box.top, box.left))
    sides = (left, size_px - inner - left, top, size_px - inner - top)
    images = {f.name: getattr(small, f.name) for f in fields(small) if f.name != "lights"}
    padded = {name: F.pad(values, sides) for name, values in images.items()}
    padded["view"] = padded["view"] + (padded["mask"] == 0) * torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    return replace(small, **{name: values if name != "view" else unit(values, 1) for name, values in padded.items()})


def stack(parts: list[Surfaces]) -> Surfaces:
    """Batches of equal size, as one."""
    return Surfaces(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Surfaces)})
