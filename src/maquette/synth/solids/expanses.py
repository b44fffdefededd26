"""Surfaces that fill the frame: walls, grounds, fabrics, and things that stand about on a ground.

The ground is the plane y = 0 of the object frame, as far as the cube reaches; its height field lies on it. Such a
shape is seen by `maquette.synth.views.expanse_view`.
"""

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, random_rotation
from maquette.synth.solids.families import CLASSIC, Families
from maquette.synth.solids.figures import BodyFrame, figure, head, looking
from maquette.synth.solids.reliefs import Relief, bake
from maquette.synth.solids.surfacing import cover
from maquette.synth.solids.texels import clouds

SIDE = 640  # of a ground's map: texels no larger than a pixel of a frame of 384
_GROUNDS = {
    "masonry": 2.2, "paving": 1.6, "pebbles": 1.4, "leaves": 1.0, "scales": 0.8, "hair": 0.5, "folds": 1.2,
    "crumpled": 0.9, "weave": 1.2, "planks": 1.2, "bark": 1.0, "plaster": 1.5, "terrain": 1.4, "debris": 0.9,
    "carving": 0.6,
}  # fmt: skip
_PLAIN = ("paving", "planks", "weave", "plaster", "terrain", "folds", "pebbles", "leaves")  # to stand on
_STANDING = {
    "simple": 1.0, "blob": 0.8, "blocks": 1.2, "superquadric": 0.7, "turned": 1.2, "pottery": 2.2, "polyhedron": 1.0,
    "figurine": 1.4, "mechanical": 0.8, "scooped": 0.6, "sweep": 0.5,
}  # fmt: skip


def expanse(b: Builder) -> None:
    """A wall or ground of one kind, or of two where one covers the other in places."""
    r = b.rng
    names, odds = list(_GROUNDS), np.array(list(_GROUNDS.values()))
    kind = str(r.choice(names, p=odds / odds.sum()))
    size = float(np.exp(r.uniform(np.log(0.035), np.log(0.16))))
    ground = bake(r, kind, SIDE, size)
    heights, cells, depth = ground
    depth *= r.uniform(0.5, 1.2)
    if r.random() < 0.25:  # plaster that fell off bricks, moss on stones, litter on planks
        other = bake(r, str(r.choice(["plaster", "terrain", "leaves", "pebbles"])), SIDE, size * r.uniform(0.4, 1.2))
        patch = clouds(r, SIDE, r.uniform(1, 4), 2.6) + r.uniform(-1.0, 0.6)
        level = other.heights * other.depth * 0.5 + depth * (0.6 + 0.5 * np.clip(patch * 3, -2, 0.6))
        over = level > heights * depth
        heights = np.where(over, level, heights * depth)
        depth = float(heights.max())
        heights, cells = heights / depth, np.where(over, other.cells, cells)
    _lay(b, Relief(heights, cells, depth), limit=0.16)
    if r.random() < 0.5:  # a ground that isn't level
        b.noise(f.FBM, r.uniform(0.5, 1.5), r.uniform(0.02, 0.12), 2, 0.4)
    if r.random() < 0.35:
        b.noise(f.FBM, r.uniform(15, 45), r.uniform(0.001, 0.004), 2, 0.5)


def _lay(b: Builder, ground: Relief, limit: float) -> None:
    """The ground: a slab that goes on beyond the cube."""
    amplitude = min(2 * ground.depth, limit)
    relief = b.relief(ground.heights, ground.cells, amplitude, 2.0, f.ON_TOP)
    with b.covered(relief):
        b.add(f.BOX, (1.3, 0.2, 1.3), (0, -0.2 - 0.5 * amplitude, 0))


def clutter(b: Builder) -> None:
    """Things of all families on a ground, beside, before and against each other."""
    r = b.rng
    names, odds = list(_STANDING), np.array(list(_STANDING.values()))
    kinds = r.choice(names, 3, p=odds / odds.sum())
    crowded = r.random()
    for _ in range(int(r.integers(3, 6 + round(9 * crowded)))):
        name = str(r.choice(kinds if r.random() < 0.6 else names))
        scale = r.uniform(0.14, 0.42) * (1 - 0.35 * crowded)
        thing = Builder(r)
        CLASSIC[name][0](thing)
        if r.random() < 0.3:
            cover(thing, 0.5, 1 / scale)
        upright = name in ("pottery", "figurine", "turned", "scooped") and r.random() < 0.8
        turn = about_y(r) if upright or r.random() < 0.4 else random_rotation(r)
        low, high = thing.extent()
        corners = np.stack(np.meshgrid(*np.stack([low, high], 1)), -1).reshape(-1, 3) @ turn.T * scale
        at = np.clip(r.normal(0, 0.32, 2), -0.8, 0.8)
        b.place(thing, scale, turn, np.array([at[0], -corners[:, 1].min() * (0.97 if upright else 0.8), at[1]]))
    b.apart()
    _lay(b, bake(r, str(r.choice(_PLAIN)), SIDE, r.uniform(0.03, 0.14)), limit=r.uniform(0.005, 0.06))


def about_y(rng: np.random.Generator) -> np.ndarray:
    """A rotation about y by any angle."""
    c, s = np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def frieze(b: Builder) -> None:
    """Figures and heads that stand out of a wall by about half."""
    r = b.rng
    out = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # their front is the wall's
    count = int(r.integers(1, 4))
    for n in range(count):
        one = Builder(r)
        heads = r.random() < 0.3
        if heads:
            head(one, BodyFrame(np.zeros(3), looking(*r.normal(0, [0.25, 0.1, 0.1])), 0.4))
        else:
            figure(one)
        size = r.uniform(0.6, 1.0)
        sunk = size * r.uniform(-0.1, 0.1)
        b.place(one, size, out, np.array([(n - (count - 1) / 2) * r.uniform(0.35, 0.55), sunk, r.normal(0, 0.1)]))
    b.apart()
    kind = str(r.choice(["masonry", "plaster", "carving", "leaves", "paving"]))
    _lay(b, bake(r, kind, SIDE, r.uniform(0.04, 0.14)), limit=r.uniform(0.01, 0.06))


EXPANSES: Families = {"expanse": (expanse, 5.2), "clutter": (clutter, 2.7), "frieze": (frieze, 0.8)}
