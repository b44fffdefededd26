"""What any shape can gain: dense reliefs on its parts, and cuts."""

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, random_rotation
from maquette.synth.solids.reliefs import RELIEFS, bake

ALONG = ("hair", "folds", "bark", "planks", "scales", "masonry")  # have an upright direction
SIDE = 256  # of an object's map, in texels


def cover(b: Builder, chance: float, coarse: float = 1.0) -> None:
    """Lay reliefs on what is there: on all of it, by a chance, or on some of its parts.

    Args:
        b: holds it.
        chance: of all of it.
        coarse: how often larger than `relief` makes them, for what is shrunk afterwards.
    """
    r = b.rng
    names = list(RELIEFS)
    made: list[int] = []
    by_part: dict[float, int] = {}
    everything = r.random() < chance
    for row in b.rows:
        if row[f.OPERATION] != f.UNION or row[f.RELIEF]:
            continue
        part = row[f.PART]
        if part not in by_part:
            if not made or (len(made) < 3 and r.random() < 0.25):
                made.append(relief(b, str(r.choice(names)), coarse))
            by_part[part] = made[int(r.integers(len(made)))] if everything or r.random() < 0.5 else 0
        if by_part[part]:
            b.cover_row(row, by_part[part])


def relief(
    b: Builder,
    name: str,
    coarse: float = 1.0,
    pieces: float | None = None,
    mapping: int | None = None,
    height: float | None = None,
) -> int:
    """Draw a dense relief for objects; returns its number, for `Builder.covered`.

    Args:
        b: gets it.
        name: a key of `maquette.synth.solids.reliefs.RELIEFS`.
        coarse: how often larger than on an object of the size of the cube, for what is shrunk afterwards.
        pieces: width of a piece in object units times `coarse`; drawn from 0.045 to 0.2 by default.
        mapping: `f.AROUND` or `f.SIDES`; drawn by default.
        height: of the relief in object units times `coarse`; at most 0.06 by default.
    """
    r = b.rng
    width = float(np.exp(r.uniform(np.log(0.045), np.log(0.2)))) if pieces is None else pieces
    tile = max(r.uniform(0.5, 1.1), 3 * width) * coarse
    drawn = bake(r, name, SIDE, min(width * coarse / tile, 0.4))
    amplitude = min(
        drawn.depth * tile * r.uniform(0.5, 1.1), coarse * (r.uniform(0.025, 0.06) if height is None else height)
    )
    if mapping is None:
        mapping = f.AROUND if name in ALONG and r.random() < 0.75 else f.SIDES
    return b.relief(drawn.heights, drawn.cells, amplitude, tile, mapping, turned=name not in ALONG and r.random() < 0.5)


def cut(b: Builder) -> None:
    """Carve what is there: planes cut off, balls scooped out, notches, bores and slots."""
    r = b.rng
    points = _surface(b)
    for _ in range(int(r.integers(1, 5))):
        at = points[int(r.integers(len(points)))] + r.normal(0, 0.03, 3)
        kind, soft = r.random(), float(r.choice([0.0, 0.01, 0.04]))
        turn, bevel = random_rotation(r), bool(r.random() < 0.4)
        if kind < 0.3:
            b.add(f.SPHERE, (r.uniform(0.08, 0.35),), at, operation=f.SUBTRACT, blend=soft, bevel=bevel)
        elif kind < 0.6:
            size = r.uniform(0.05, 0.35, 3)
            b.add(f.BOX, tuple(size), at, turn, operation=f.SUBTRACT, blend=soft, bevel=bevel)
        elif kind < 0.8:
            b.add(f.CYLINDER, (r.uniform(0.04, 0.18), 0.6), at, turn, operation=f.SUBTRACT, blend=soft, bevel=bevel)
        else:  # a plane: the ends of a large box
            outward = at / max(float(np.linalg.norm(at)), 1e-6)
            turn = rotation_about(outward, turn)
            b.add(
                f.BOX,
                (1.5, 0.5, 1.5),
                at + outward * (0.5 - r.uniform(0, 0.15)),
                turn,
                operation=f.SUBTRACT,
                blend=soft,
            )


def rotation_about(axis: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """A rotation whose local y is near an axis: the axis, tilted a little by another rotation."""
    y = axis + 0.3 * turn[:, 1]
    y /= np.linalg.norm(y)
    x = np.cross(y, turn[:, 0] + 0.01)
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], 1)


def _surface(b: Builder) -> np.ndarray:
    """Points (n, 3) near the surface of what is there; the origin if nothing is."""
    grid = f.sample_grid(b.build(), 32)
    points = np.argwhere((grid < 0) & (grid > -0.09))[:, ::-1] * (2 / 31) - 1
    return points if len(points) else np.zeros((1, 3))
