"""Reliefs that fill a frame: heights over a square, made at random, most of them tiles that repeat without a seam.

Heights and the square's side are in the same unit: a tile is 1 wide.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float

from maquette.synth.solids.builder import lettering, ornament

Heights = Float[np.ndarray, "side side"]  # row 0 is the top


def relief(kind: str, random: np.random.Generator, side: int, mean_slope: float) -> Heights:
    """Heights of one of `KINDS`, scaled so that the mean of the slope's magnitude is the one asked for."""
    heights = KINDS[kind](random, side)
    heights = cv2.GaussianBlur(np.tile(heights, (3, 3)), (0, 0), side / 512)[side : 2 * side, side : 2 * side]
    return heights * mean_slope / np.linalg.norm(slopes(heights), axis=-1).mean()


def slopes(heights: Heights) -> Float[np.ndarray, "side side 2"]:
    """Rise of a tile towards the right and towards the top, by central differences across its seams."""
    step = 2 / len(heights)
    right = (np.roll(heights, -1, 1) - np.roll(heights, 1, 1)) / step
    up = (np.roll(heights, 1, 0) - np.roll(heights, -1, 0)) / step
    return np.stack([right, up], -1)


def normals_of(heights: Heights) -> Float[np.ndarray, "side side 3"]:
    """Unit normals of a tile: x right, y up, z towards the viewer."""
    normals = np.concatenate([-slopes(heights), np.ones((*heights.shape, 1))], -1)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def brick_cells(
    random: np.random.Generator, side: int
) -> tuple[Heights, Float[np.ndarray, "side side 2"], np.ndarray, np.ndarray]:
    """A running bond: distance to the nearest joint, the place within its brick, and the row and column of each."""
    u, v = _grid(side)
    rows = 2 * int(random.integers(3, 6))  # an even number, or the bond would break where the tile repeats
    columns = int(random.integers(3, 6))
    row = np.floor(v * rows).astype(int)
    across = u * columns + (row % 2) / 2
    column = np.floor(across).astype(int) % columns
    local = np.stack([across % 1 - 0.5, v * rows % 1 - 0.5], -1)
    distance = np.minimum((0.5 - np.abs(local[..., 0])) / columns, (0.5 - np.abs(local[..., 1])) / rows)
    return distance, local, row, column


def _bricks(random: np.random.Generator, side: int) -> Heights:
    distance, local, row, column = brick_cells(random, side)
    joint, bevel = random.uniform(0.004, 0.01), random.uniform(0.006, 0.02)
    solid = np.clip((distance - joint) / bevel, 0, 1)
    solid = solid * solid * (3 - 2 * solid)
    lift, lean = random.normal(0, 0.15, (16, 16)), random.normal(0, 0.15, (16, 16, 2))
    own = lift[row, column] + (lean[row, column] * local).sum(-1)
    return 0.02 * solid * (1 + own) + 0.004 * noise(random, side, 1.6)


def _pebbles(random: np.random.Generator, side: int) -> Heights:
    u, v = _grid(side)
    heights = 0.002 * noise(random, side, 1.6)
    for _ in range(int(random.integers(60, 160))):
        (x, y), radius, squash = random.random(2), random.uniform(0.03, 0.11), random.uniform(0.3, 0.7)
        du, dv = (u - x + 0.5) % 1 - 0.5, (v - y + 0.5) % 1 - 0.5
        turn, long = random.uniform(0, np.pi), random.uniform(1, 1.6)
        a, b = np.cos(turn) * du + np.sin(turn) * dv, (np.cos(turn) * dv - np.sin(turn) * du) * long
        inside = 1 - (a * a + b * b) / radius**2
        heights = np.maximum(heights, squash * radius * np.sqrt(np.maximum(inside, 0)))
    return heights


def _rock(random: np.random.Generator, side: int) -> Heights:
    broad = noise(random, side, random.uniform(1.4, 1.9))
    return 0.02 * (broad + 0.6 * np.abs(noise(random, side, 1.7)))


def _folds(random: np.random.Generator, side: int) -> Heights:
    u, v = _grid(side)
    bend = 0.08 * noise(random, side, 3.0)
    heights = np.zeros_like(u)
    for _ in range(5):
        k, m = random.integers(-4, 5, 2)
        wave = np.sin(2 * np.pi * (k * u + m * v + bend * 2) + random.uniform(0, 6))
        heights += (1 - np.abs(wave)) ** random.uniform(0.8, 2) / (1 + np.hypot(k, m))
    return 0.05 * heights


def _weave(random: np.random.Generator, side: int) -> Heights:
    u, v = _grid(side)
    threads = 2 * int(random.integers(8, 15))
    wobble = 0.1 * noise(random, side, 3.0)
    a, b = u * threads + wobble, v * threads + wobble
    i, j = np.floor(a), np.floor(b)
    sign_i, sign_j = 1 - 2 * (i % 2), 1 - 2 * (j % 2)
    warp = np.sqrt(1 - (2 * (a - i) - 1) ** 2) + 0.8 * np.sin(np.pi * b) * sign_i
    weft = np.sqrt(1 - (2 * (b - j) - 1) ** 2) - 0.8 * np.sin(np.pi * a) * sign_j
    return np.maximum(warp, weft) / threads * (1 + 0.2 * noise(random, side, 1.5))


def _planks(random: np.random.Generator, side: int) -> Heights:
    _, v = _grid(side)
    count = int(random.integers(4, 8))
    board = np.floor(v * count).astype(int)
    local = v * count % 1 - 0.5
    gap = np.clip((0.5 - np.abs(local)) / count / random.uniform(0.006, 0.015), 0, 1)
    lean = random.normal(0, 0.3, 8)[board] * local
    grain = noise(random, side, 1.2, along=16.0)
    crown = -(local**2) * random.uniform(0, 0.8)
    return 0.02 * np.sqrt(gap) * (1 + lean + crown) + 0.0015 * grain


def _carved(random: np.random.Generator, side: int) -> Heights:
    """Ornaments and words that stand out of a board or are cut into it; its last row and first don't meet."""
    half = side // 2
    cells = [ornament(random) if random.random() < 0.6 else lettering(random)[::-1] for _ in range(4)]
    cells = [random.choice([-1, 1]) * cv2.resize(cell.astype(float), (half, half)) for cell in cells]
    board = cv2.resize(np.block([cells[:2], cells[2:]]), (side, side))
    return 0.02 * board + 0.003 * noise(random, side, 2.0)


KINDS: dict[str, Callable[[np.random.Generator, int], Heights]] = {
    "bricks": _bricks,
    "pebbles": _pebbles,
    "rock": _rock,
    "folds": _folds,
    "weave": _weave,
    "planks": _planks,
    "carved": _carved,
}


def _grid(side: int) -> tuple[Heights, Heights]:
    """Centres of cells: to the right, and upwards, 0 to 1."""
    axis = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(axis, axis[::-1])
    return u, v


def noise(random: np.random.Generator, side: int, falloff: float, along: float = 1.0) -> Heights:
    """Noise that repeats, of deviation 1, whose amplitudes fall with the frequency to the power given.

    What lies along x is so many times longer than what lies along y.
    """
    y, x = np.fft.fftfreq(side)[:, None] * side, np.fft.rfftfreq(side)[None] * side
    frequency = np.hypot(x * along, y)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=(side, side))) / frequency**falloff
    values = np.fft.irfft2(spectrum, (side, side))
    return values / values.std()
