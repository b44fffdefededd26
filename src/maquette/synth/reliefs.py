"""Height maps that repeat without a seam: masonry, pebbles, leaves, scales, hair, folds, weave, planks, bark, ...

All are irregular on purpose: sizes, places and depths vary from piece to piece, as on real surfaces. A map is a tile
of 1 by 1; its heights are in [0, 1] and `depth` says how high 1 is, in sides of the tile.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

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


def clouds(
    rng: np.random.Generator, side: int, frequency: float, slope: float = 2.0, stretch: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Periodic noise (side, side) of mean 0 and deviation 1.

    Args:
        rng: draws it.
        side: texels.
        frequency: per tile, below which the spectrum is flat.
        slope: the power by which it falls above that.
        stretch: how much longer its features are along u and v.
    """
    k = np.fft.fftfreq(side, 1 / side)
    along = np.sqrt((k[None, : side // 2 + 1] * stretch[0]) ** 2 + (k[:, None] * stretch[1]) ** 2)
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    spectrum *= (1 + (along / frequency) ** 2) ** (-slope / 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (side, side)).astype(np.float32)
    return noise / max(float(noise.std()), 1e-9)


def moved(image: np.ndarray, du: np.ndarray, dv: np.ndarray, nearest: bool = False) -> np.ndarray:
    """The image at points moved by (du, dv), in tiles; periodic."""
    side = image.shape[0]
    v, u = np.indices((side, side), dtype=np.float32)
    kind = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.remap(
        image, (u + du.astype(np.float32) * side) % side, (v + dv.astype(np.float32) * side) % side, kind,
        borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip


def walls(labels: np.ndarray) -> np.ndarray:
    """Distance, in tiles, of every texel to the edge of its piece (side, side)."""
    side = labels.shape[0]
    edge = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
    pad = side // 4
    padded = np.pad((~edge).astype(np.uint8), pad, mode="wrap")
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[pad:-pad, pad:-pad] / side


def patches(rng: np.random.Generator, side: int, size: float, jitter: float = 1.0, stretch: float = 1.0) -> np.ndarray:
    """Labels (side, side) of Voronoi cells about as wide as `size`, `stretch` times as high."""
    across, down = max(2, round(1 / size)), max(2, round(1 / (size * stretch)))
    v, u = np.indices((down, across)).reshape(2, -1)
    shift = rng.uniform(-0.5, 0.5, (2, len(u))) * jitter
    u, v = (u + 0.5 + (v % 2) * 0.5 * (jitter < 1) + shift[0]) / across, (v + 0.5 + shift[1]) / down
    # A square lattice of texels for which distances are round: stretched cells are made on a squeezed tile.
    pad = 0.25
    rows = max(8, round(side / stretch))
    image: np.ndarray = np.full((round(rows * (1 + 2 * pad)), round(side * (1 + 2 * pad))), 255, np.uint8)
    owner = np.zeros(image.shape, np.int32)
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            i, j = ((u % 1 + du + pad) * side).astype(int), ((v % 1 + dv + pad) * rows).astype(int)
            inside = (i >= 0) & (i < image.shape[1]) & (j >= 0) & (j < image.shape[0])
            image[j[inside], i[inside]] = 0
            owner[j[inside], i[inside]] = np.flatnonzero(inside)
    nearest = np.asarray(cv2.distanceTransformWithLabels(image, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1], int)
    table = np.zeros(int(nearest.max()) + 1, np.int32)
    table[nearest[image == 0]] = owner[image == 0]
    x, y = round(side * pad), round(rows * pad)
    labels = table[nearest][y : y + rows, x : x + side]
    return cv2.resize(labels.astype(np.float32), (side, side), interpolation=cv2.INTER_NEAREST).astype(np.int32)


def courses(rng: np.random.Generator, side: int, size: float, ratio: float, loose: float) -> np.ndarray:
    """Labels of rows of bricks: `ratio` times as wide as high, sizes off by a share of `loose`, joints staggered."""
    count = max(2, round(1 / size))
    heights = np.cumsum(1 + loose * rng.uniform(-0.7, 0.7, count))
    tops = np.concatenate([[0], heights / heights[-1]])
    labels, number = np.zeros((side, side), np.int32), 1
    u = (np.arange(side) + 0.5) / side
    for row in range(count):
        bricks = max(2, round(count / ratio))
        ends = np.cumsum(1 + loose * rng.uniform(-0.8, 0.8, bricks))
        ends = ends / ends[-1]
        shift = rng.random() if loose > 0.3 else 0.5 * (row % 2) / bricks
        which = np.searchsorted(ends, (u + shift) % 1) % bricks
        first, last = round(tops[row] * side), round(tops[row + 1] * side)
        labels[first:last] = number + which
        number += bricks
    return np.roll(labels, rng.integers(0, side, 2), (0, 1))


def split(rng: np.random.Generator, side: int, size: float) -> np.ndarray:
    """Labels of rectangles of all sizes, as ashlar and panels are: a tile cut again and again."""
    labels = np.zeros((side, side), np.int32)
    todo, number = [(0, 0, side, side)], 1
    while todo:
        x, y, w, h = todo.pop()
        if max(w, h) < size * side * rng.uniform(0.9, 2.6) or min(w, h) < 6:
            labels[y : y + h, x : x + w] = number
            number += 1
            continue
        if w * rng.uniform(0.7, 1.4) > h:
            cut = round(w * rng.uniform(0.3, 0.7))
            todo += [(x, y, cut, h), (x + cut, y, w - cut, h)]
        else:
            cut = round(h * rng.uniform(0.3, 0.7))
            todo += [(x, y, w, cut), (x, y + cut, w, h - cut)]
    return np.roll(labels, rng.integers(0, side, 2), (0, 1))


def laid(
    rng: np.random.Generator, labels: np.ndarray, bevel: float, uneven: float, tilt: float, round_: float = 0.0
) -> np.ndarray:
    """Heights of pieces with bevelled edges, each a little higher or lower than its neighbours, and tilted.

    Args:
        rng: draws them.
        labels: (side, side).
        bevel: width of the edge and height of a piece, in tiles.
        uneven, tilt: deviation of heights, and of slopes.
        round_: how much higher a piece is in its middle, as cushions and cobbles are: a share of its half width.
    """
    side = labels.shape[0]
    count = int(labels.max()) + 1
    wall = walls(labels)
    heights = bevel * np.sin(np.clip(wall / bevel, 0, 1) * np.pi / 2)
    inside = wall > 0.25 * bevel
    heights = heights + uneven * rng.standard_normal(count)[labels] * inside
    if tilt > 0:
        area = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
        for place in np.broadcast_arrays(*np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2, indexing="ij")):
            # Relative to the middle of the piece, which may lie across the seam: the middle of the places as angles.
            cos, sin = np.cos(2 * np.pi * place), np.sin(2 * np.pi * place)
            middle = np.arctan2(*(np.bincount(labels.ravel(), v.ravel(), count) / area for v in (sin, cos)))
            offset = (place - middle[labels] / (2 * np.pi) + 0.5) % 1 - 0.5
            heights = heights + (tilt * rng.standard_normal(count))[labels] * offset * inside
    if round_ > 0:
        widest = np.zeros(count)
        np.maximum.at(widest, labels.ravel(), wall.ravel())
        share = np.clip(wall / np.maximum(widest, 1e-6)[labels], 0, 1)
        heights = heights + round_ * widest[labels] * np.sqrt(1 - (1 - share) ** 2)
    return heights


def ids(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Labels as ids of cells: at random, so that neighbours differ."""
    return rng.integers(1, 256, int(labels.max()) + 1)[labels]


def strew(
    rng: np.random.Generator, side: int, pieces: list[tuple[np.ndarray, float]], ground: np.ndarray, pile: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lay pieces over each other at random places, the later on the earlier ones; heights and cells.

    Args:
        rng: draws the places.
        side: texels.
        pieces: of each the heights above what it lies on (any shape up to the side's, not positive where it isn't)
            and how much it sinks into that.
        ground: (side, side) heights to begin with.
        pile: how much of the height below a piece carries it, in [0, 1].
    """
    heights, cells = ground.astype(np.float32).copy(), np.zeros((side, side), np.uint8)
    for piece, sunk in pieces:
        rows, columns = piece.shape
        y = np.arange(rows) + int(rng.integers(side))
        x = np.arange(columns) + int(rng.integers(side))
        window = np.ix_(y % side, x % side)
        under, body = heights[window], piece > 0
        if not body.any():
            continue
        top = piece + (pile * float(under[body].mean()) + (1 - pile) * float(ground[window].mean()) - sunk)
        over = body & (top > under)
        heights[window] = np.where(over, top, under)
        below = cells[window]
        below[over] = rng.integers(1, 256)
        cells[window] = below
    return heights, cells


def streaks(rng: np.random.Generator, side: int, angle: np.ndarray, fine: float, length: float) -> np.ndarray:
    """Noise smeared along a field of directions (side, side), radians: hair, fur, grain (Cabral and Leedom 1993).

    Args:
        rng: draws the noise.
        side: texels.
        angle: of the strands; 0 runs along u.
        fine: frequency of the noise, per tile.
        length: of the smear, in tiles.
    """
    noise = clouds(rng, side, fine, 3.0)
    step = 1.5 / side
    total = noise.copy()
    for sign in (-1, 1):
        du, dv = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
        for n in range(1, round(length / step)):
            here = moved(angle.astype(np.float32), du, dv) if n % 3 == 1 else here  # noqa: F821
            du, dv = du + sign * step * np.cos(here), dv + sign * step * np.sin(here)
            total += moved(noise, du, dv)
    return total / max(float(total.std()), 1e-9)


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
