"""Height maps that repeat without a seam: masonry, pebbles, leaves, scales, hair, folds, weave, planks, bark, ...

All are irregular on purpose: sizes, places and depths vary from piece to piece, as on real surfaces. A map is a tile
of 1 by 1; its heights are in [0, 1] and `depth` says how high 1 is, in sides of the tile.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from maquette.synth.solids.texels import clouds, courses, ids, laid, moved, patches, split, streaks, strew, walls

Draw = Callable[[np.random.Generator, int, float], "Relief"]


class Relief(NamedTuple):
    """A height map.

    Attributes:
        heights: (side, side) float32 in [0, 1].
        cells: (side, side) uint8, 1 to 255, the piece that a point belongs to; 0 between pieces, or without any.
        depth: of height 1, in sides of the tile.
    """

    heights: np.ndarray
    cells: np.ndarray
    depth: float


def bake(rng: np.random.Generator, name: str, side: int, size: float) -> Relief:
    """Draw a map of a kind.

    Args:
        rng: draws it.
        name: a key of `RELIEFS`.
        side: of the map, in texels.
        size: about how wide its pieces are, in sides of the tile.
    """
    heights, cells, depth = RELIEFS[name](rng, side, size)
    low, high = float(heights.min()), float(heights.max())
    span = max(high - low, 1e-6)
    return Relief(((heights - low) / span).astype(np.float32), cells.astype(np.uint8), depth * span)


def _wavy(rng: np.random.Generator, labels: np.ndarray, amount: float) -> np.ndarray:
    """Labels with uneven edges."""
    side = labels.shape[0]
    du, dv = (amount * clouds(rng, side, 6.0, 2.2) for _ in range(2))
    return moved(labels.astype(np.float32), du, dv, nearest=True).astype(np.int32)


def _worn(rng: np.random.Generator, heights: np.ndarray, amount: float) -> np.ndarray:
    """With grain and, in some places, loss."""
    side = heights.shape[0]
    loss = np.maximum(clouds(rng, side, rng.uniform(3, 8), 2.4) - 0.9, 0)
    return heights + amount * (0.35 * clouds(rng, side, 20.0, 2.2) - 0.8 * loss)


def _blurred(heights: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed by a Gaussian, in tiles."""
    side = len(heights)
    return cv2.GaussianBlur(np.tile(heights, (3, 3)), (0, 0), sigma * side)[side : 2 * side, side : 2 * side]


def masonry(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Brickwork, ashlar or rubble with joints."""
    style = str(rng.choice(["brick", "ashlar", "rubble", "courses"]))
    if style == "brick":
        labels, loose = courses(rng, side, 0.6 * size, rng.uniform(1.8, 3.2), 0.06), 0.15
    elif style == "courses":
        labels, loose = courses(rng, side, 0.8 * size, rng.uniform(1.1, 2.2), 0.75), 0.5
    elif style == "ashlar":
        labels, loose = split(rng, side, size), 0.4
    else:
        labels, loose = patches(rng, side, size, 1.0, rng.uniform(0.6, 1.0)), 1.0
    labels = _wavy(rng, labels, size * 0.06 * (0.3 + loose))
    bevel = size * rng.uniform(0.06, 0.16) * (1 + loose)
    heights = laid(rng, labels, bevel, bevel * 0.3 * loose, 0.25 * loose, rng.uniform(0, 0.5) * loose)
    return Relief(_worn(rng, heights, bevel * rng.uniform(0.05, 0.3)), ids(rng, labels), 1.0)


def paving(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Tiles, flagstones, cobbles or dried mud."""
    style = str(rng.choice(["tiles", "flags", "cobbles", "mud"]))
    if style == "tiles":
        labels = courses(rng, side, size, 1.0, 0.0) if rng.random() < 0.6 else patches(rng, side, size, 0.0)
        heights = laid(rng, labels, size * 0.06, size * 0.01, 0.02)
    elif style == "flags":
        labels = _wavy(rng, split(rng, side, 1.2 * size), size * 0.03)
        heights = laid(rng, labels, size * 0.1, size * 0.03, 0.06, 0.05)
    elif style == "cobbles":
        labels = patches(rng, side, 0.7 * size, 0.55)
        heights = laid(rng, labels, size * 0.06, size * 0.05, 0.1, rng.uniform(0.5, 0.9))
    else:
        labels = _wavy(rng, patches(rng, side, size, 1.0), size * 0.08)
        rim = np.exp(-walls(labels) / (0.12 * size))
        heights = laid(rng, labels, size * 0.05, size * 0.02, 0.1) + 0.06 * size * rim
    return Relief(_worn(rng, heights, size * rng.uniform(0.003, 0.02)), ids(rng, labels), 1.0)


def _grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(-1, 1, columns)[None], np.linspace(-1, 1, rows)[:, None]


def _turned_grid(rng: np.random.Generator, radius_px: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in [-1, 1] of a disc's window, turned."""
    x, y = _grid(2 * radius_px + 1, 2 * radius_px + 1)
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


def pebbles(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Gravel, river pebbles, beads, crumbs: rounded pieces of all sizes piled on each other."""
    sharp, spread, pieces = rng.uniform(1.6, 4.0), rng.uniform(0.2, 0.8), []
    for _ in range(int(rng.uniform(1.2, 2.2) / size**2)):
        radius = 0.55 * size * float(np.clip(np.exp(spread * rng.normal()), 0.3, 2.0))
        px = max(3, round(radius * side))
        x, y = _turned_grid(rng, px, rng.uniform(0, np.pi))
        y = y * rng.uniform(1, 1.9)
        lean = rng.normal(0, 0.25, 2)
        r = (np.abs(x) ** sharp + np.abs(y) ** sharp) ** (2 / sharp)
        body = np.sqrt(np.maximum(1 - r, 0)) * rng.uniform(0.4, 0.95) * (1 + lean[0] * x + lean[1] * y)
        pieces.append((radius * body, radius * rng.uniform(0.2, 0.6)))
    ground = 0.15 * size * clouds(rng, side, 4.0, 2.2)
    heights, cells = strew(rng, side, pieces, ground, rng.uniform(0.2, 0.6))
    return Relief(heights + 0.012 * size * clouds(rng, side, 30.0, 2.0), cells, 1.0)


def leaves(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Foliage, ivy, litter, petals, feathers: pointed blades over each other, bent along a rib, lying anyhow."""
    long, bent, pieces = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.5), []
    mostly, spread = rng.uniform(0, 2 * np.pi), rng.choice([0.5, 1.2, 6.0])
    for _ in range(int(rng.uniform(1.6, 3.0) / size**2)):
        radius = 0.8 * size * rng.uniform(0.6, 1.3)
        px = max(4, round(radius * side))
        x, y = _turned_grid(rng, px, mostly + spread * rng.normal())
        y = y + rng.normal(0, 0.12) * (1 - x * x)
        half = long * np.maximum(1 - x * x, 0) ** 0.8 * (1 - 0.35 * x)
        across = np.abs(y) / np.maximum(half, 1e-3)
        blade = 0.35 + 0.3 * rng.normal() * x + bent * (across - 0.5) * rng.choice([-1, 1], p=[0.3, 0.7])
        blade += 0.12 * np.exp(-((y / 0.06) ** 2)) + 0.25 * rng.normal() * y
        pieces.append((np.where(across < 1, radius * np.maximum(blade, 0.02), 0), radius * rng.uniform(0, 0.3)))
    ground = 0.2 * size * clouds(rng, side, 5.0, 2.2)
    return Relief(*strew(rng, side, pieces, ground, rng.uniform(0.15, 0.5)), 1.0)


def scales(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Fish scales, shingles, roof tiles, feathers: rows that overlap downwards, no two alike."""
    rows = max(3, round(1.3 / size))
    across = max(2, round(1 / size))
    pointed, loose, lift = rng.uniform(1.2, 5.0), rng.uniform(0.03, 0.25), rng.uniform(0.15, 0.4)
    pitch, width = side / rows, side / across
    heights, cells = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint8)
    h, w = round(2.1 * pitch), max(4, round(1.1 * width))
    for row in range(rows):
        for column in range(across):
            x, y = _grid(h, w)
            y = y + rng.normal(0, loose) * 0.5
            body = (np.abs(x) ** pointed + np.maximum(y, 0) ** pointed) < 1
            top = size * (lift * (y + 1) / 2 * rng.uniform(0.7, 1.3) + rng.normal(0, loose) * 0.4 * x)
            top = top + size * (0.14 * np.sqrt(np.maximum(1 - x * x, 0)) + 0.3 * lift)
            u = round((column + 0.5 * (row % 2) + loose * rng.normal() * 0.4) * width)
            v = round((row + loose * rng.normal() * 0.4) * pitch)
            window = np.ix_((np.arange(h) + v) % side, (np.arange(w) + u) % side)
            over = body & (top > heights[window])
            heights[window] = np.where(over, top, heights[window])
            below = cells[window]
            below[over] = rng.integers(1, 256)
            cells[window] = below
    return Relief(heights + 0.01 * size * clouds(rng, side, 25.0, 2.0, (1.0, 3.0)), cells, 1.0)


def hair(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Strands in locks along v, straight to curly; short ones are fur."""
    curl = rng.uniform(0.1, 0.9)
    angle = np.pi / 2 + curl * clouds(rng, side, rng.uniform(1.5, 5), 2.6)
    length = size * rng.uniform(0.5, 2.0)
    locks = streaks(rng, side, angle, 0.8 / size, length)
    strands = streaks(rng, side, angle, 2.6 / size, length)
    heights = size * (0.10 * np.tanh(locks) + 0.035 * strands)
    return Relief(heights, np.zeros((side, side)), 1.0)


def folds(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Cloth that hangs along v: folds that fork, fade and gather, sharper in the valleys."""
    u = (np.arange(side, dtype=np.float32) / side)[None]
    count = max(2, round(0.8 / size))
    warp = rng.uniform(0.2, 0.5) * clouds(rng, side, 1.5, 3.0, (1.0, rng.uniform(1.5, 4.0)))
    ridge = 1 - np.abs(np.sin(np.pi * (count * u + warp))) ** rng.uniform(0.6, 1.4)
    finer = 2 * count * u + 2.2 * warp + 0.3 * clouds(rng, side, 2.0, 3.0, (1.0, 2.0))
    second = 1 - np.abs(np.sin(np.pi * finer))
    fades = np.clip(0.6 + 0.45 * clouds(rng, side, 1.5, 3.0, (1.0, 2.0)), 0.1, 1.2)
    cross = np.maximum(clouds(rng, side, 2.5, 3.0, (3.0, 1.0)), 0) * rng.uniform(0, 0.3)
    heights = size * (0.55 * fades * ridge + 0.16 * (1.2 - fades) * second + 0.35 * cross)
    return Relief(_blurred(heights, 0.014), np.zeros((side, side)), 1.0)


def crumpled(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Paper, foil, leather, rock faces: facets that meet in creases of every direction and size."""
    heights = np.zeros((side, side), np.float32)
    for octave in range(3):
        scale = size * 1.8 / 2**octave
        for _ in range(2):
            labels = _wavy(rng, patches(rng, side, min(scale, 0.5), 1.0), 0.05 * scale)
            heights += laid(rng, labels, 1e-3, 0.0, 0.0, 0.5 / 2**octave) * rng.choice([-1, 1])
    return Relief(_blurred(heights, 0.004), np.zeros((side, side)), 1.0)


def weave(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Woven threads, basketry or knitting, pulled out of line."""
    count = 2 * max(2, round(0.5 / (0.5 * size)))
    axis = np.arange(side, dtype=np.float32) / side
    du, dv = (0.12 * size * clouds(rng, side, 2.5, 2.6) for _ in range(2))
    u, v = axis[None] + du, axis[:, None] + dv
    if rng.random() < 0.35:  # knitting: slanted loops in columns
        slant = np.abs((count / 2 * u) % 1 - 0.5) * 2
        heights = np.abs(np.sin(np.pi * (count * v + 0.7 * slant))) ** 0.8 * np.sin(np.pi * (count / 2 * u % 1)) ** 0.5
    else:
        over = np.cos(np.pi * count * u) * np.cos(np.pi * count * v)
        warp = np.abs(np.sin(np.pi * count * u)) ** 0.6 * (0.6 + 0.4 * np.sign(over) * np.abs(over) ** 0.5)
        weft = np.abs(np.sin(np.pi * count * v)) ** 0.6 * (0.6 - 0.4 * np.sign(over) * np.abs(over) ** 0.5)
        heights = np.maximum(warp, weft)
    heights = size * (0.2 * heights * (1 + 0.12 * clouds(rng, side, 5.0, 2.0)) + 0.006 * clouds(rng, side, 40.0, 1.5))
    return Relief(heights, np.zeros((side, side)), 1.0)


def planks(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Boards along v with grain and gaps."""
    labels = courses(rng, side, size, rng.uniform(4.0, 10.0), rng.uniform(0, 0.4)).T.copy()
    heights = laid(rng, labels, 0.05 * size, 0.02 * size, 0.04)
    shifts = rng.random(int(labels.max()) + 1)[labels]
    grain = moved(clouds(rng, side, 30.0, 1.6, (1.0, 14.0)), np.zeros_like(shifts), shifts)
    return Relief(heights + size * rng.uniform(0.004, 0.02) * grain, ids(rng, labels), 1.0)


def bark(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Plates torn apart along v, with furrows."""
    labels = _wavy(rng, patches(rng, side, size, 1.0, rng.uniform(1.6, 3.0)), 0.16 * size)
    heights = laid(rng, labels, 0.22 * size, 0.07 * size, 0.15, 0.3)
    ridged = 1 - np.abs(clouds(rng, side, 1.2 / size, 2.2, (1.0, 3.0)))
    heights += size * (0.12 * ridged + 0.04 * clouds(rng, side, 3 / size, 1.8, (1.0, 3.0)))
    return Relief(heights, ids(rng, labels), 1.0)


def plaster(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Stucco, roughcast, hammered or trowelled coats, with cracks and places that fell off."""
    smear = rng.uniform(1.0, 4.0)
    heights = 0.07 * clouds(rng, side, 0.5 / size, 2.8, (1.0, smear)) + 0.02 * clouds(rng, side, 2 / size, 2.4)
    if rng.random() < 0.5:
        gone = clouds(rng, side, 2.0, 2.6) + 0.15 * clouds(rng, side, 12.0, 2.0)
        heights = heights + rng.uniform(0.15, 0.5) * np.clip((0.8 - gone) * 8, 0, 1)
    if rng.random() < 0.6:
        labels = _wavy(rng, patches(rng, side, min(0.5, 3 * size), 1.0), 0.25 * size)
        heights = heights - 0.15 * np.exp(-((walls(labels) / (0.06 * size)) ** 2)) * (
            clouds(rng, side, 2.0, 3.0) > -0.3
        )
    return Relief(size * heights, np.zeros((side, side)), 1.0)


def terrain(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Rock, soil, sand: ridges, ripples and gullies."""
    base = clouds(rng, side, 0.35 / size, rng.uniform(2.2, 3.2))
    ridged = 1 - np.abs(clouds(rng, side, 0.6 / size, rng.uniform(1.9, 2.6)))
    heights = rng.uniform(0, 0.4) * base + rng.uniform(0, 0.5) * ridged
    if rng.random() < 0.4:  # ripples
        v = (np.arange(side) / side)[:, None]
        heights = heights + 0.2 * np.sin(2 * np.pi * (round(0.8 / size) * v + 0.35 * base)) ** 3
    return Relief(size * (heights + 0.03 * clouds(rng, side, 2.5 / size, 1.8)), np.zeros((side, side)), 1.0)


def debris(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Small parts over each other: plates, rods, rings, studs, boxes; circuit boards, scrap, toys, chips."""
    square, pieces = rng.random() < 0.5, []
    for _ in range(int(rng.uniform(1.0, 2.0) / size**2)):
        radius = 0.7 * size * rng.uniform(0.4, 1.4)
        px = max(4, round(radius * side))
        x, y = _turned_grid(rng, px, np.pi / 2 * rng.integers(4) if square else rng.uniform(0, np.pi))
        kind, high = rng.random(), radius * rng.uniform(0.1, 0.5)
        r = np.hypot(x, y)
        if kind < 0.45:
            edge = np.minimum(0.68 - np.abs(x), 0.68 * rng.uniform(0.2, 1) - np.abs(y))
            body = high * np.clip(edge * 12, 0, 1) * (1 + 0.5 * rng.normal(0, 0.3) * x)
        elif kind < 0.6:
            half = rng.uniform(0.1, 0.25)
            body = np.where(np.abs(x) < 0.9, radius * np.sqrt(np.maximum(half**2 - y**2, 0)), 0)
        elif kind < 0.8:
            body = high * np.clip((0.9 - r) * 12, 0, 1) * np.clip((r - rng.uniform(-0.2, 0.6)) * 12, 0, 1)
        else:
            body = radius * 0.8 * np.sqrt(np.maximum(0.6 - r * r, 0))
        pieces.append((body, radius * rng.uniform(0, 0.05)))
    ground = 0.02 * size * clouds(rng, side, 5.0, 2.0)
    return Relief(*strew(rng, side, pieces, ground, rng.uniform(0.3, 0.7)), 1.0)


def carving(rng: np.random.Generator, side: int, size: float) -> Relief:
    """Scrollwork and interlace: bands that wind, between sunken grounds."""
    field = clouds(rng, side, 0.5 / size, 4.0) + 0.15 * clouds(rng, side, 1.2 / size, 3.0)
    band = np.abs((field * rng.uniform(0.5, 1.2)) % 1 - 0.5) * 2
    raised = np.clip((band - 0.35) * 4, 0, 1)
    heights = size * 0.22 * np.sin(raised * np.pi / 2) * (0.75 + 0.25 * np.cos(np.pi * band * 2))
    return Relief(heights + 0.008 * size * clouds(rng, side, 20.0, 2.0), np.zeros((side, side)), 1.0)


RELIEFS: dict[str, Draw] = {
    "masonry": masonry,
    "paving": paving,
    "pebbles": pebbles,
    "leaves": leaves,
    "scales": scales,
    "hair": hair,
    "folds": folds,
    "crumpled": crumpled,
    "weave": weave,
    "planks": planks,
    "bark": bark,
    "plaster": plaster,
    "terrain": terrain,
    "debris": debris,
    "carving": carving,
}
