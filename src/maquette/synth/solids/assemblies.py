"""Things of many parts that touch, overlap and stand on something: statues, groups, busts, tables, piles, plants."""

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, ornament, random_rotation, rotation_to, smooth_curve
from maquette.synth.solids.constructions import CONSTRUCTIONS
from maquette.synth.solids.expanses import about_y
from maquette.synth.solids.families import CLASSIC, Families, figurine, pottery
from maquette.synth.solids.figures import BodyFrame, FigurePose, figure, head, looking
from maquette.synth.solids.surfacing import relief


def statue(b: Builder) -> None:
    """A figure on a plinth, a seat or a rock, with something in its hands."""
    r = b.rng
    made = Builder(r)
    kind = str(r.choice(["standing", "striding", "seated", "kneeling"], p=[0.45, 0.1, 0.35, 0.1]))
    p = figure(made, kind)
    low = float(p.ankles[:, 1].min()) - 0.07
    _held(made, p)
    if kind == "seated":
        _seat(made, p, low)
    _plinth(made, low, r.uniform(0.05, 0.3))
    _fitted(b, [(made, 1.0, np.eye(3), np.zeros(3))])


def group(b: Builder) -> None:
    """Two to four figures and beasts that touch: beside, before and above each other, on a common ground."""
    r = b.rng
    placed = []
    count = int(r.integers(2, 5))
    for n in range(count):
        one = Builder(r)
        if r.random() < 0.2:
            figurine(one)
            if r.random() < 0.7:
                fur = relief(one, str(r.choice(["hair", "scales"])), 1.4, 0.08, f.AROUND, 0.035)
                for row in one.rows:
                    one.cover_row(row, fur)
            low = float(one.extent()[0][1])
        else:
            p = figure(one)
            _held(one, p)
            low = float(p.ankles[:, 1].min()) - 0.07
        size = r.uniform(0.45, 1.0)
        shift = np.array([(n - (count - 1) / 2) * r.uniform(0.25, 0.45), -size * low, r.normal(0, 0.12)])
        placed.append((one, size, looking(r.normal(0, 0.6), 0.0, 0.0), shift))
    base = Builder(r)
    _plinth(base, 0.0, r.uniform(0.04, 0.15), 0.35 + 0.15 * count)
    _fitted(b, [*placed, (base, 1.0, np.eye(3), np.zeros(3))])


def bust(b: Builder) -> None:
    """A head and shoulders, clothed or not, on a foot."""
    r = b.rng
    s = r.uniform(0.34, 0.46)
    center = np.array([0.0, 0.38, 0.05])
    head(b, BodyFrame(center, looking(*r.normal(0, [0.3, 0.12, 0.08])), s))
    folds = relief(b, "folds", 1.0, r.uniform(0.1, 0.2), f.AROUND, 0.05) if r.random() < 0.7 else 0
    b.tube(np.stack([center - [0, 0.25, 0.1], center - [0, 0.75, 0.12]]), np.array([0.5, 0.62]) * s, 0.1)
    with b.grouped(), b.covered(folds):
        b.add(f.ELLIPSOID, (0.55, 0.26, 0.3), (0, -0.5, -0.05), blend=0.12)
        for side in (1, -1):
            b.add(f.SPHERE, (0.2,), (0.42 * side, -0.45, -0.05), blend=0.12)
    if r.random() < 0.5:
        b.add(f.BOX, (0.9, 0.2, 0.9), (0, -0.86, 0), operation=f.SUBTRACT, blend=0.02)
        b.add(f.CONE, (0.3, 0.14, 0.12), (0, -0.76, -0.03), blend=0.03)
        b.add(f.BOX, (0.3, 0.05, 0.3), (0, -0.9, -0.03), rounding=0.01)
    for row in b.rows:
        row[f.CENTER : f.CENTER + 3] *= 0.92
        row[f.PARAM : f.PARAM + 4] *= 0.92
        row[f.BOUND] *= 0.92
        row[f.BLEND] *= 0.92


def _held(b: Builder, p: FigurePose) -> None:
    """Something in a hand or on the lap: a ball, a bowl, a staff, a book, a child."""
    r = b.rng
    if r.random() < 0.4:
        return
    n = int(r.integers(2))
    at = p.wrists[n] + 0.12 * (p.wrists[n] - p.elbows[n]) / 0.25
    kind = str(r.choice(["ball", "staff", "book", "sheaf", "shield"]))
    if kind == "ball":
        b.add(f.SPHERE, (r.uniform(0.05, 0.12),), at)
    elif kind == "staff":
        lean = np.array([r.normal(0, 0.15), 1.0, r.normal(0, 0.15)])
        b.tube(np.stack([at - 0.7 * lean, at + r.uniform(0.2, 0.5) * lean]), np.full(2, r.uniform(0.014, 0.025)), 0.0)
    elif kind == "book":
        b.add(f.BOX, (0.09, 0.12, 0.03), at, random_rotation(r), rounding=0.008)
    elif kind == "shield":
        turn = rotation_to(_unit(np.array([r.normal(0, 0.3), 0.2, 1.0])))
        with b.covered(relief(b, "carving", 1.0, 0.08, f.SIDES, 0.02)):
            b.add(f.CYLINDER, (r.uniform(0.18, 0.28), 0.02), at, turn, rounding=0.015)
        b.add(f.SPHERE, (0.05,), at + 0.03 * turn[:, 1], blend=0.02)
    else:
        with b.covered(relief(b, "leaves", 1.0, 0.06, f.SIDES, 0.05)):
            b.add(f.ELLIPSOID, (0.1, 0.16, 0.1), at, random_rotation(r, 0.6))


def _seat(b: Builder, p: FigurePose, low: float) -> None:
    """A block, chair, rock or stump below the pelvis, down to the ground."""
    r = b.rng
    top = float(p.pelvis[1]) - 0.1
    half = (top - low) / 2
    kind = str(r.choice(["block", "throne", "rock", "stump"]))
    if kind in ("block", "throne"):
        cover = relief(b, str(r.choice(["masonry", "carving", "planks", "plaster"])), 1.0, 0.12, f.SIDES, 0.02)
        with b.covered(cover if r.random() < 0.6 else 0):
            b.add(f.BOX, (r.uniform(0.2, 0.3), half, 0.22), (0, top - half, -0.08), rounding=0.01)
            if kind == "throne":
                b.add(f.BOX, (0.28, r.uniform(0.3, 0.5), 0.04), (0, top + 0.2, -0.28), rounding=0.015)
                for side in (1, -1):
                    b.add(f.BOX, (0.04, 0.1, 0.2), (0.27 * side, top + 0.06, -0.08), rounding=0.015)
    else:
        with b.covered(relief(b, "terrain" if kind == "rock" else "bark", 1.0, 0.15, None, 0.06)):
            if kind == "rock":
                b.add(f.ELLIPSOID, (0.36, half * 1.2, 0.34), (0, top - half * 1.15, -0.1), random_rotation(r, 0.2))
            else:
                b.add(f.CONE, (0.3, 0.22, half), (0, top - half, -0.06), rounding=0.02)


def _plinth(b: Builder, top: float, high: float, wide: float = 0.4) -> None:
    """A slab, drum, stepped block or mound below a height; inscribed, carved or plain."""
    r = b.rng
    kind = str(r.choice(["slab", "drum", "steps", "mound", "none"], p=[0.3, 0.25, 0.2, 0.17, 0.08]))
    cover = relief(b, str(r.choice(["carving", "masonry", "plaster", "terrain"])), 1.0, 0.12, f.SIDES, 0.02)
    with b.grouped(), b.covered(cover if r.random() < 0.4 else 0):
        if kind == "slab":
            b.add(f.BOX, (wide, high, 0.35), (0, top - high, 0), rounding=0.01)
            if r.random() < 0.5:  # an inscribed face
                b.add(f.BOX, (0.8 * wide, 0.6 * high, 0.05), (0, top - high, 0.38), operation=f.SUBTRACT, blend=0.008)
        elif kind == "drum":
            b.add(f.CYLINDER, (wide, high), (0, top - high, 0), rounding=0.01)
            b.add(f.TORUS, (wide, 0.03), (0, top - 2 * high, 0), blend=0.01)
        elif kind == "steps":
            for n in range(3):
                b.add(
                    f.BOX,
                    (wide + 0.08 * n, high / 3, 0.32 + 0.08 * n),
                    (0, top - high / 3 * (1 + 2 * n), 0),
                    rounding=0.006,
                )
        elif kind == "mound":
            with b.covered(relief(b, "terrain", 1.0, 0.12, f.SIDES, 0.05)):
                b.add(f.ELLIPSOID, (1.15 * wide, high + 0.08, 0.42), (0, top - high, 0))


def _fitted(b: Builder, placed: list[tuple[Builder, float, np.ndarray, np.ndarray]]) -> None:
    """Place what was built so that all of it fits the cube, upright."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for one, size, turn, shift in placed:
        for row in one.rows:
            if row[f.OPERATION] != f.UNION:
                continue
            for side in (1, -1) if row[f.MIRROR] else (1,):
                center = turn @ (size * row[f.CENTER : f.CENTER + 3] * [side, 1, 1]) + shift
                reach = size * _reach(row)
                low, high = np.minimum(low, center - reach), np.maximum(high, center + reach)
    scale = 0.94 / float((high - low).max() / 2)
    for one, size, turn, shift in placed:
        b.place(one, size * scale, turn, (shift - (low + high) / 2) * scale)


def _reach(row: np.ndarray) -> np.ndarray:
    """Half sizes of a box about a primitive, along the axes: exact for ellipsoids and boxes, else its ball."""
    turn = row[f.ROTATION : f.ROTATION + 9].reshape(3, 3).T
    a = row[f.PARAM : f.PARAM + 3]
    if row[f.KIND] == f.ELLIPSOID:
        return np.sqrt(((turn * a) ** 2).sum(1))
    if row[f.KIND] in (f.CYLINDER, f.CONE):
        half = (max(a[0], a[1]), a[2]) if row[f.KIND] == f.CONE else (a[0], a[1])
        a = np.array([half[0], half[1], half[0]])
    elif row[f.KIND] != f.BOX:
        return np.full(3, row[f.BOUND])
    return np.abs(turn) @ a + row[f.ROUNDING]


def pile(b: Builder) -> None:
    """Dozens of things heaped in a bowl, on a plate, a box or the ground: fruit, stones, bricks, shells, coins."""
    r = b.rng
    kinds = r.choice(["ball", "egg", "box", "drum", "ring", "rod", "stone"], int(r.integers(1, 4)))
    base = Builder(r)
    count, spread, size = int(r.integers(14, 70)), r.uniform(0.2, 0.42), r.uniform(0.07, 0.2)
    covers = [
        relief(b, str(r.choice(["pebbles", "scales", "plaster", "bark", "weave", "crumpled"])), 1.0, None, None, 0.02)
    ]
    covers += [0, 0]
    tops = np.zeros((0, 4))  # centre and radius of what lies there
    for _ in range(count):
        radius = size * r.uniform(0.6, 1.3)
        spots = [r.normal(0, spread, 2).clip(-0.72, 0.72) for _ in range(5)]
        heights = [_rest(tops, spot, radius) for spot in spots]
        at, high = spots[int(np.argmin(heights))], min(heights)  # it rolls to where it lies lowest
        if high > 1.2:
            continue
        tops = np.concatenate([tops, [[*at, high, radius]]])
        with b.covered(covers[int(r.integers(3))]):
            _lump(b, str(r.choice(kinds)), np.array([at[0], high - 0.75, at[1]]), radius)
    _carrier(base, spread)
    b.place(base, 1.0, np.eye(3), np.array([0, -0.75, 0]))


def _rest(tops: np.ndarray, at: np.ndarray, radius: float) -> float:
    """Height of the centre of a ball that is let down on balls (x, z, height, radius) and on the ground; a bit sunk."""
    gap = np.hypot(tops[:, 0] - at[0], tops[:, 1] - at[1])
    touch = gap < tops[:, 3] + radius
    if not touch.any():
        return radius
    rise = tops[touch, 2] + np.sqrt((tops[touch, 3] + radius) ** 2 - gap[touch] ** 2)
    return max(radius, tops[touch, 2].min() + 0.85 * float((rise - tops[touch, 2].min()).max()))


def _lump(b: Builder, kind: str, at: np.ndarray, radius: float) -> None:
    r = b.rng
    turn = random_rotation(r)
    if kind == "ball":
        b.add(f.SPHERE, (radius,), at)
        if r.random() < 0.3:
            b.add(f.SPHERE, (0.25 * radius,), at + 1.05 * radius * turn[:, 1], operation=f.SUBTRACT, blend=0.2 * radius)
    elif kind == "egg":
        b.add(f.ELLIPSOID, (0.8 * radius, radius * r.uniform(0.9, 1.3), 0.8 * radius), at, turn)
    elif kind == "box":
        b.add(f.BOX, tuple(radius * r.uniform(0.4, 0.95, 3)), at, turn, rounding=0.06 * radius)
    elif kind == "drum":
        b.add(f.CYLINDER, (0.8 * radius, radius * r.uniform(0.15, 0.9)), at, turn, rounding=0.05 * radius)
    elif kind == "ring":
        b.add(f.TORUS, (0.75 * radius, 0.25 * radius), at, turn)
    elif kind == "rod":
        b.add(f.CAPSULE, (0.25 * radius, 0.2 * radius, 1.1 * radius), at, turn)
    else:
        b.add(f.SUPERQUADRIC, (*(radius * r.uniform(0.55, 1.0, 3)), r.uniform(0.5, 1.0)), at, turn)


def _carrier(b: Builder, spread: float) -> None:
    """What a heap lies in or on, its floor at y = 0."""
    r = b.rng
    wide = min(1.6 * spread + 0.2, 0.9)
    kind = str(r.choice(["bowl", "plate", "crate", "slab"]))
    if kind == "bowl":
        with b.covered(relief(b, "weave", 1.0, 0.08, f.AROUND, 0.03) if r.random() < 0.5 else 0):
            b.add(f.ELLIPSOID, (wide, 0.4, wide), (0, 0.15, 0))
        b.add(f.ELLIPSOID, (wide - 0.07, 0.34, wide - 0.07), (0, 0.17, 0), operation=f.SUBTRACT)
        b.add(f.BOX, (1, 0.4, 1), (0, 0.55 + 0.1 * r.random(), 0), operation=f.SUBTRACT, blend=0.02)
        b.add(f.BOX, (1, 0.2, 1), (0, -0.41, 0), operation=f.SUBTRACT, blend=0.01)
    elif kind == "plate":
        b.add(f.CYLINDER, (wide, 0.03), (0, 0, 0), rounding=0.02, blend=0.02)
        b.add(f.TORUS, (wide, 0.05), (0, 0.03, 0), blend=0.06)
    elif kind == "crate":
        with b.covered(relief(b, "planks", 1.0, 0.12, f.SIDES, 0.015)):
            b.add(f.BOX, (wide, 0.22, 0.8 * wide), (0, 0.1, 0), rounding=0.01)
        b.add(f.BOX, (wide - 0.06, 0.3, 0.8 * wide - 0.06), (0, 0.32, 0), operation=f.SUBTRACT)
    else:
        with b.covered(relief(b, str(r.choice(["planks", "paving", "terrain", "weave"])), 1.0, 0.12, f.SIDES, 0.03)):
            b.add(f.BOX, (0.9, 0.06, 0.9), (0, -0.04, 0), rounding=0.01)


def table(b: Builder) -> None:
    """Cups on saucers, jugs, candlesticks, spoons and fruit on a tray or a cloth."""
    r = b.rng
    placed = []
    for _ in range(int(r.integers(2, 6))):
        one = Builder(r)
        name = str(r.choice(["pottery", "turned", "simple", "polyhedron"], p=[0.6, 0.2, 0.15, 0.05]))
        (pottery if name == "pottery" else CLASSIC[name][0])(one)
        low, high = one.extent()
        size = r.uniform(0.22, 0.5) / max(float((high - low).max()) / 2, 0.2)
        at = r.uniform(-0.5, 0.5, 2)
        rise = 0.0
        if name == "pottery" and r.random() < 0.6:
            dish = Builder(r)
            dish.add(f.CYLINDER, (0.6, 0.02), (0, 0.03, 0), rounding=0.015)
            dish.add(f.TORUS, (0.6, 0.03), (0, 0.07, 0), blend=0.08)
            wide = size * float(max(high[0], high[2]))
            placed.append((dish, wide * 1.9 / 0.6 * 0.62, np.eye(3), np.array([at[0], 0, at[1]])))
            rise = 0.035
        placed.append((one, size, about_y(r), np.array([at[0], rise - size * float(low[1]), at[1]])))
    if r.random() < 0.6:
        spoon = Builder(r)
        stem = smooth_curve(np.array([[0, 0.02, -0.4], [0, 0.08, -0.1], [0, 0.03, 0.2]]), 6)
        spoon.tube(stem, np.linspace(0.025, 0.015, 6), 0.01)
        spoon.add(f.ELLIPSOID, (0.09, 0.03, 0.13), (0, 0.03, 0.32), blend=0.03)
        spoon.add(f.ELLIPSOID, (0.075, 0.03, 0.115), (0, 0.05, 0.32), operation=f.SUBTRACT)
        placed.append((spoon, 0.8, about_y(r), np.array([*r.uniform(-0.5, 0.5, 1), 0.0, 0.55])))
    tray = Builder(r)
    with tray.covered(relief(tray, str(r.choice(["weave", "planks", "folds", "carving"])), 1.0, 0.08, f.SIDES, 0.015)):
        if r.random() < 0.5:
            tray.add(f.BOX, (0.95, 0.05, 0.8), (0, -0.055, 0), rounding=0.02)
        else:
            tray.add(f.CYLINDER, (0.95, 0.05), (0, -0.055, 0), rounding=0.02)
    _fitted(b, [*placed, (tray, 1.0, np.eye(3), np.zeros(3))])


def plant(b: Builder) -> None:
    """A pot or a mound with stems, leaves and flowers; or a trunk under a crown of foliage."""
    r = b.rng
    if r.random() < 0.4:
        with b.covered(relief(b, "bark", 1.0, 0.08, f.AROUND, 0.03)):
            trunk = np.array([[0, -0.85, 0], [r.normal(0, 0.06), -0.4, 0], [r.normal(0, 0.1), 0.0, r.normal(0, 0.1)]])
            b.tube(smooth_curve(trunk, 6), np.linspace(0.13, 0.07, 6), 0.03)
        crown = relief(b, "leaves", 1.0, r.uniform(0.07, 0.14), f.SIDES, 0.08)
        with b.covered(crown):
            for _ in range(int(r.integers(4, 14))):
                at = trunk[2] + [0, 0.2, 0] + r.normal(0, [0.28, 0.2, 0.28])
                b.add(f.ELLIPSOID, tuple(r.uniform(0.14, 0.32, 3)), at.clip(-0.6, 0.6), random_rotation(r, 0.5))
        b.add(f.CYLINDER, (0.4, 0.04), (0, -0.88, 0), rounding=0.02)
        return
    b.add(f.CONE, (r.uniform(0.15, 0.3), r.uniform(0.2, 0.36), 0.2), (0, -0.65, 0), rounding=0.01)
    b.add(f.SPHERE, (0.2,), (0, -0.48, 0))
    long, wide = r.uniform(0.12, 0.28), r.uniform(0.25, 0.6)
    for _ in range(int(r.integers(5, 12))):
        lean = r.normal(0, 0.4, 2)
        stem = np.array([[0, -0.45, 0], [0.4 * lean[0], -0.05, 0.4 * lean[1]], [lean[0], r.uniform(0.1, 0.6), lean[1]]])
        stem = smooth_curve(stem, 7).clip(-0.75, 0.75)
        b.tube(stem, np.linspace(0.03, 0.02, 7), 0.0)
        for node in stem[2:]:
            out = _unit(np.array([r.normal(), r.normal(0.3, 0.4), r.normal()]))
            turn = rotation_to(out)
            size = long * r.uniform(0.6, 1.2)
            b.add(f.ELLIPSOID, (wide * size, size, max(0.1 * size, 0.018)), node + 0.9 * size * out, turn)
        if r.random() < 0.4:
            for n in range(6):
                turn = random_rotation(r, 0.3) @ looking(n * np.pi / 3, 0.9, 0.0)
                b.add(f.ELLIPSOID, (0.05, 0.025, 0.09), stem[-1] + 0.07 * turn[:, 2], turn, blend=0.01)
            b.add(f.SPHERE, (0.045,), stem[-1])


def draped(b: Builder) -> None:
    """A cloth thrown over things: they melt under it, and it hangs in folds."""
    r = b.rng
    cloth = relief(b, str(r.choice(["folds", "crumpled"])), 1.0, r.uniform(0.12, 0.25), f.SIDES, 0.06)
    melt = r.uniform(0.12, 0.3)
    with b.grouped(), b.covered(cloth):
        for _ in range(int(r.integers(2, 6))):
            kind = int(r.choice([f.SPHERE, f.BOX, f.CYLINDER, f.CONE]))
            a, c = r.uniform(0.12, 0.34, 2)
            params = {f.SPHERE: (a,), f.BOX: (a, c, a), f.CYLINDER: (a, c), f.CONE: (a, 0.4 * a, c)}[kind]
            at = np.array([r.uniform(-0.4, 0.4), -0.55 + c + r.uniform(0, 0.3), r.uniform(-0.4, 0.4)])
            b.add(kind, params, at, random_rotation(r, 0.4), blend=melt, rounding=0.03)
        b.add(f.CYLINDER, (r.uniform(0.6, 0.85), 0.08), (0, -0.6, 0), blend=melt, rounding=0.03)
    if r.random() < 0.4:
        b.decal(ornament(r), f.CYLINDRICAL, 0.015, (np.pi, 0.15), (0, -0.6, 0), repeats=(6, 1))


ASSEMBLIES: Families = CONSTRUCTIONS | {
    "statue": (statue, 2.6),
    "group": (group, 1.2),
    "bust": (bust, 1.4),
    "pile": (pile, 1.0),
    "table": (table, 0.8),
    "plant": (plant, 1.0),
    "draped": (draped, 0.6),
}


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)
