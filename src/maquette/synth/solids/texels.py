"""What height maps that repeat are made of (`maquette.synth.solids.reliefs`): noise, pieces, strewn things, strands.

Images are (side, side), periodic; u runs along columns, v along rows, a tile is 1 by 1.
"""

import cv2
import numpy as np


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
