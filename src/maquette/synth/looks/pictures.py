"""Flat pictures that surfaces wear and backgrounds show: photographed textures and scenes (CC0), and drawn inks.

All are made or read once. Inks are drawn blurred by a pixel or so, so that a steep ramp about one half gives an
edge that is sharp at any magnification.
"""

from functools import cache
from importlib import resources
from math import cos, pi, sin

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SCENES = 10
INK_SIDE = 128
_TEXTURES = ("gold", "marble", "rock", "wood")
LETTERED = 16  # the first so many inks are lettering and emblems
_SHEETS = 8  # of each kind of ink
_WORDS = (
    "MAQUETTE", "Coffee", "No. 7", "FRAGILE", "Nordic", "1894", "OPEN", "tea", "Made by hand", "SALE", "Roma", "42",
    "best before", "www", "Studio", "A-113", "salt & oil", "EXIT", "Lumen", "2.5 kg", "Atelier", "FOX", "Grand Cru",
)  # fmt: skip


@cache
def textures() -> Float[Tensor, "textures 3 side side"]:
    """Photographed colour maps, linear: gold, marble, rock, wood."""
    images = [_read(f"{name}.jpg") for name in _TEXTURES]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


@cache
def scenes() -> Float[Tensor, "scenes 3 height width"]:
    """Panoramas of places, linear and tone-mapped: 360 degrees wide, their zenith and nadir cut off."""
    sheet = _read("scenes.jpg")
    height = len(sheet) // SCENES
    return torch.from_numpy(sheet).reshape(SCENES, height, -1, 3).permute(0, 3, 1, 2).contiguous()


@cache
def inks() -> Float[Tensor, "inks 1 side side"]:
    """What is printed on things, 1 where ink is: lettering, marks, stripes, checks, cells, dots, fibres, veins."""
    rng = np.random.default_rng(11)
    drawn = [draw(rng) for draw in _DRAWERS for _ in range(_SHEETS)]
    stack = np.stack([cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8) for image in drawn])
    return torch.from_numpy(stack).clamp(0, 1)[:, None].contiguous()


def repeat(
    images: Float[Tensor, "batch channels rows columns"],
    places: Float[Tensor, "batch 2 height width"],
    mirrored: Bool[Tensor, "batch 1 1 1"] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Sample pictures that repeat, one tile two units wide; every other tile is mirrored, so that nothing has a seam.

    Where `mirrored` is false the tiles are all alike: lettering stays legible.
    """
    grid = places.permute(0, 2, 3, 1) + 1
    folded = 1 - (grid % 4 - 2).abs()
    if mirrored is not None:
        folded = torch.where(mirrored, folded, grid % 2 - 1)
    return F.grid_sample(images, folded, align_corners=False, padding_mode="border")


def _read(name: str) -> np.ndarray:
    """An asset as linear RGB."""
    data = resources.files("maquette.synth").joinpath(f"assets/{name}").read_bytes()
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray((image[..., ::-1] / 255.0).astype(np.float32) ** 2.2)


def _blank() -> np.ndarray:
    return np.zeros((INK_SIDE, INK_SIDE), np.uint8)


def _lettering(rng: np.random.Generator) -> np.ndarray:
    """A few lines of words in one of OpenCV's fonts, small or large."""
    image, side = _blank(), INK_SIDE
    lines = int(rng.choice([1, 1, 2, 3, 5]))
    for line in range(lines):
        word = _WORDS[int(rng.integers(len(_WORDS)))]
        if lines > 2:
            word = f"{word} {_WORDS[int(rng.integers(len(_WORDS)))]}"
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX]))
        thick = int(rng.integers(1, 5 if lines < 3 else 2))
        (width, height), _ = cv2.getTextSize(word, font, 1, thick)
        scale = min(0.92 * side / width, 0.7 * side / lines / height)
        x = int((side - width * scale) / 2)
        y = int(side * (line + 0.5) / lines + height * scale / 2)
        cv2.putText(image, word, (x, y), font, scale, 1, thick, cv2.LINE_8)
    return image


def _marks(rng: np.random.Generator) -> np.ndarray:
    """Emblems: rings, stars, polygons, one within another."""
    image = _blank()
    centre, radius, ink = INK_SIDE / 2, 0.46 * INK_SIDE, 1
    for _ in range(int(rng.integers(1, 5))):
        points, depth = int(rng.integers(3, 9)), float(rng.choice([1.0, rng.uniform(0.4, 0.8)]))
        start = rng.uniform(0, pi)
        corners = [
            (centre + r * cos(start + k * pi / points), centre + r * sin(start + k * pi / points))
            for k in range(2 * points)
            for r in [radius * (depth if k % 2 else 1)]
        ]
        if rng.random() < 0.5:
            cv2.circle(image, (INK_SIDE // 2, INK_SIDE // 2), int(radius), ink, -1)
        else:
            cv2.fillPoly(image, [np.array(corners, np.int32)], ink)
        radius, ink = radius * rng.uniform(0.5, 0.85), 1 - ink
    return image


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Bands of unequal widths, as on a barcode or an awning; sometimes crossed, as on plaid."""
    edges = np.cumsum(rng.uniform(*(2, 8) if rng.random() < 0.4 else (6, 30), 80))
    band = (np.searchsorted(edges, np.arange(INK_SIDE)) % 2).astype(float)
    image = np.broadcast_to(band, (INK_SIDE, INK_SIDE))
    crossed = rng.random()
    if crossed < 0.3:
        return 0.5 * image + 0.5 * image.T
    return np.abs(image - image.T) if crossed < 0.45 else image


def _checks(rng: np.random.Generator) -> np.ndarray:
    """Squares, or tiles with joints between them, straight or staggered."""
    y, x = np.mgrid[:INK_SIDE, :INK_SIDE]
    size = float(rng.choice([8, 16, 32]))
    if rng.random() < 0.5:
        return (x // size + y // size) % 2
    shift = size * (y // size % 2) * float(rng.choice([0, 0.5, 1]))
    joint = rng.uniform(0.06, 0.2) * size
    return ((x + shift) % (size * rng.choice([1, 2])) > joint) & (y % size > joint)


def _cells(rng: np.random.Generator) -> np.ndarray:
    """Voronoi cells filled at random, or their borders: a giraffe, a mosaic, crackle."""
    seeds = rng.uniform(0, INK_SIDE, (int(rng.integers(12, 90)), 2))
    y, x = np.mgrid[:INK_SIDE, :INK_SIDE]
    distance = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1])
    nearest = np.sort(distance, -1)
    kind = rng.random()
    if kind < 0.5:
        return nearest[..., 1] - nearest[..., 0] > rng.uniform(1.5, 6)
    return (rng.random(len(seeds)) * (0.4 if kind > 0.8 else 1) + 0.3)[distance.argmin(-1)] > 0.5


def _dots(rng: np.random.Generator) -> np.ndarray:
    """Spots, rings or blossoms, in rows or scattered."""
    image, size = _blank(), int(rng.choice([16, 21, 32, 43]))
    for y in range(size // 2, INK_SIDE, size):
        for x in range(size // 2, INK_SIDE, size):
            dx, dy = rng.integers(-size // 4, size // 4 + 1, 2) if rng.random() < 0.5 else (0, 0)
            radius = max(int(size * rng.uniform(0.18, 0.42)), 2)
            for petal in range(int(rng.choice([1, 1, 5]))):
                ox, oy = (0, 0) if petal == 0 else (radius * cos(petal * 1.57), radius * sin(petal * 1.57))
                centre = (int(x + dx + ox), int(y + dy + oy))
                cv2.circle(image, centre, radius if petal == 0 else radius // 2 + 1, 1, -1)
            if rng.random() < 0.4:
                cv2.circle(image, (int(x + dx), int(y + dy)), radius // 2, 0, -1)
    return image


def _clouds(rng: np.random.Generator, slope: float, stretch: float = 1.0) -> np.ndarray:
    """1/f^slope noise of mean 0 and deviation 1, stretched along the rows."""
    fy, fx = np.meshgrid(np.fft.fftfreq(INK_SIDE), np.fft.rfftfreq(INK_SIDE), indexing="ij")
    spectrum = np.hypot(fy, fx * stretch)
    spectrum[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(INK_SIDE, INK_SIDE))) / np.maximum(spectrum, 0.01) ** slope)
    return noise / noise.std()


def _blots(rng: np.random.Generator) -> np.ndarray:
    """Camouflage, paint splashed and rubbed, worn print; sharp contours of 1/f noise."""
    noise = _clouds(rng, rng.uniform(1.0, 2.2))
    return noise > rng.uniform(-0.7, 1.0)


def _veins(rng: np.random.Generator) -> np.ndarray:
    """Marble's and agate's: thin where noise crosses zero."""
    noise = _clouds(rng, rng.uniform(1.4, 2.2), rng.uniform(0.4, 1.0))
    return np.exp(-np.abs(noise) * rng.uniform(4, 14)) * 0.9 + 0.1 * _clouds(rng, 1.0)


def _fibres(rng: np.random.Generator) -> np.ndarray:
    """Wood grain: noise drawn out along one axis, with rings."""
    grain = _clouds(rng, rng.uniform(0.5, 1), rng.uniform(10, 30))
    rings = np.sin(rng.uniform(3, 9) * (_clouds(rng, 2.0, 4.0) + np.arange(INK_SIDE)[:, None] / INK_SIDE * 4))
    return 0.5 + 0.25 * rings * rng.uniform(0, 1.3) + 0.17 * grain


def _weave(rng: np.random.Generator) -> np.ndarray:
    """Threads over and under, plain or twill; uneven."""
    y, x = np.mgrid[:INK_SIDE, :INK_SIDE]
    step = float(rng.choice([4, 8]))
    over = (x // step + y // step * rng.choice([1, 2])) % rng.choice([2, 3, 4]) < 1
    shade = np.where(over, np.sin(x % step / step * pi), 0.75 * np.sin(y % step / step * pi))
    return np.clip(shade * (1 + 0.15 * _clouds(rng, 1.0)), 0, 1)


def _gradients(rng: np.random.Generator) -> np.ndarray:
    """Painted light: soft blobs and slopes that look like shading and are none."""
    smooth = _clouds(rng, 3.0)
    slope = np.linspace(-1.5, 1.5, INK_SIDE)[:, None] * rng.choice([-1, 1])
    return 1 / (1 + np.exp(-(smooth * rng.uniform(0.3, 1.5) + slope * rng.uniform(0, 1.5))))


def _speckle(rng: np.random.Generator) -> np.ndarray:
    """Granite, terrazzo, worn enamel: grains of all sizes."""
    noise = _clouds(rng, rng.uniform(0.1, 0.7))
    return np.clip((noise - rng.uniform(-0.5, 1.2)) * rng.uniform(0.8, 6), 0, 1)


_DRAWERS = (
    _lettering, _marks, _stripes, _checks, _cells, _dots, _blots, _veins, _fibres, _weave, _gradients, _speckle,
)  # fmt: skip
