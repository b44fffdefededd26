"""Things that people build: houses, towers and temples, machines, toys on wheels and of blocks."""

from itertools import pairwise

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, lettering, rotation_to
from maquette.synth.solids.families import Families, mechanical
from maquette.synth.solids.reliefs import RELIEFS
from maquette.synth.solids.surfacing import relief

_X, _Z = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
_PRISM = np.array([[-0.98, 0.0], [0.98, 0.0], [0.0, 0.98]])  # a gable


def building(b: Builder) -> None:
    """One to four wings with windows, doors, cornices, roofs, towers and columns, on a ground."""
    r = b.rng
    wall = relief(
        b, str(r.choice(["masonry", "masonry", "plaster", "planks"])), 1.0, r.uniform(0.05, 0.13), f.SIDES, 0.018
    )
    roof = relief(
        b, str(r.choice(["scales", "scales", "planks", "masonry"])), 1.0, r.uniform(0.05, 0.1), f.SIDES, 0.025
    )
    low = -0.75
    for n in range(int(r.integers(1, 5))):
        half = np.array([r.uniform(0.2, 0.48), r.uniform(0.2, 0.6), r.uniform(0.18, 0.42)]) * (1 if n == 0 else 0.75)
        at = (
            np.array([0.0, low + half[1], 0.0])
            if n == 0
            else np.array([r.uniform(-0.5, 0.5), low + half[1], r.uniform(-0.35, 0.35)])
        )
        if r.random() < 0.2:
            _tower(b, at, half, wall if r.random() < 0.8 else 0, roof)
        else:
            _wing(b, at, half, wall if r.random() < 0.8 else 0, roof)
    if r.random() < 0.4:
        _colonnade(b, low)
    with b.covered(relief(b, str(r.choice(["paving", "terrain", "pebbles", "leaves"])), 1.0, 0.08, f.SIDES, 0.02)):
        b.add(f.BOX, (r.uniform(0.6, 0.8), 0.06, r.uniform(0.5, 0.75)), (0, low - 0.05, 0), rounding=0.01)
    if r.random() < 0.4:
        with b.covered(relief(b, "leaves", 1.0, 0.07, f.SIDES, 0.06)):
            for _ in range(int(r.integers(1, 5))):
                size = r.uniform(0.07, 0.17)
                b.add(f.ELLIPSOID, (size, 1.3 * size, size), (r.uniform(-0.6, 0.6), low + size, r.uniform(0.3, 0.55)))


def _wing(b: Builder, at: np.ndarray, half: np.ndarray, wall: int, roof: int) -> None:
    r = b.rng
    with b.covered(wall):
        b.add(f.BOX, tuple(half), tuple(at), rounding=0.004)
    _windows(b, at, half)
    top = at[1] + half[1]
    if r.random() < 0.6:  # bands between storeys and below the roof
        for level in r.uniform(-0.6, 0.6, int(r.integers(0, 3))):
            b.add(f.BOX, (half[0] + 0.015, 0.012, half[2] + 0.015), (at[0], at[1] + level * half[1], at[2]))
        b.add(f.BOX, (half[0] + 0.03, 0.025, half[2] + 0.03), (at[0], top, at[2]), rounding=0.004)
    kind = str(r.choice(["gable", "hip", "flat", "battlements"], p=[0.5, 0.15, 0.2, 0.15]))
    if kind == "gable":
        across = half[0] < half[2] if r.random() < 0.8 else half[0] >= half[2]
        wide, long = (half[0], half[2]) if across else (half[2], half[0])
        # Extruded along local y: the ridge; local x is the width, local z the height.
        turn = (
            np.stack([_X, _Z, -np.array([0, 1.0, 0])], 1) if across else np.stack([-_Z, _X, -np.array([0, 1.0, 0])], 1)
        )
        outline = _PRISM * [1.0, -r.uniform(0.5, 1.1)]
        with b.covered(roof):
            b.add(f.EXTRUDE, (wide * 1.15, long * 1.08), (at[0], top, at[2]), turn, table=b.profile(outline))
        if r.random() < 0.6:
            b.add(
                f.BOX,
                (0.04, 0.16, 0.05),
                (at[0] + 0.4 * half[0], top + 0.55 * wide, at[2] + r.uniform(-0.5, 0.5) * half[2]),
            )
    elif kind == "hip":
        with b.covered(roof):
            b.add(f.CONE, (1.35 * max(half[0], half[2]), 0.02, 0.5 * half[0]), (at[0], top + 0.5 * half[0], at[2]))
    elif kind == "battlements":
        step = 0.09
        for side in (-1, 1):
            for n in range(int(2 * half[0] / step)):
                b.add(
                    f.BOX,
                    (0.028, 0.045, 0.02),
                    (at[0] - half[0] + (n + 0.5) * step, top + 0.03, at[2] + side * half[2]),
                )


def _windows(b: Builder, at: np.ndarray, half: np.ndarray) -> None:
    """Rows of openings on the front and the sides, recessed, some arched, with sills, bars and frames; a door."""
    r = b.rng
    rows, arched = max(1, round(half[1] / r.uniform(0.1, 0.2))), r.random() < 0.4
    deep, tall = r.uniform(0.02, 0.06), r.uniform(0.3, 0.65)
    sills, bars = r.random() < 0.5, r.random() < 0.4
    for turn, wide, out in ((np.eye(3), half[0], half[2]), (_quarter(), half[2], half[0])):
        columns = max(1, round(wide / r.uniform(0.09, 0.18)))
        size = np.array([0.5 * r.uniform(0.4, 0.7) * 2 * wide / columns, tall * half[1] / rows])
        for side in (1, -1):
            for row in range(rows):
                for column in range(columns):
                    x, y = (2 * (column + 0.5) / columns - 1) * wide, (2 * (row + 0.5) / rows - 1) * half[1]
                    spot = at + turn @ np.array([x, y, side * out])
                    if row == 0 and column == columns // 2 and r.random() < 0.6:  # a door down to the ground
                        spot[1] -= half[1] / rows - 1.1 * size[1]
                    b.add(f.BOX, (size[0], size[1], deep), spot, turn, operation=f.SUBTRACT)
                    if arched:
                        tilt = turn @ rotation_to(_Z)
                        b.add(f.CYLINDER, (size[0], deep), spot + [0, size[1], 0], tilt, operation=f.SUBTRACT)
                    if bars:
                        b.add(f.BOX, (0.008, size[1], 0.008), spot - 0.3 * deep * side * turn[:, 2], turn)
                    if sills:
                        low = spot - np.array([0, size[1], 0]) + 0.01 * side * turn[:, 2]
                        b.add(f.BOX, (1.2 * size[0], 0.01, 0.02), low, turn)


def _tower(b: Builder, at: np.ndarray, half: np.ndarray, wall: int, roof: int) -> None:
    r = b.rng
    radius, high = float(min(half[0], half[2])) * 0.8, float(half[1]) * 1.15
    center = np.array([at[0], -0.75 + high, at[2]])
    with b.covered(wall):
        b.add(f.CONE, (radius * 1.1, radius, high), center)
    for n in range(int(r.integers(3, 9))):
        turn = 2.4 * n
        spot = center + [radius * np.cos(turn), high * r.uniform(-0.6, 0.8), radius * np.sin(turn)]
        b.add(f.BOX, (0.03, 0.06, 0.03), spot, operation=f.SUBTRACT, blend=0.004)
    b.add(f.CYLINDER, (radius * 1.12, 0.03), center + [0, high, 0], rounding=0.005)
    with b.covered(roof):
        tall = r.uniform(0.12, 0.3)
        b.add(f.CONE, (radius * 1.2, 0.01, tall), center + [0, high + tall, 0])


def _colonnade(b: Builder, low: float) -> None:
    """Columns before the front with a beam and a gable above, steps below."""
    r = b.rng
    count, high, z = int(r.integers(3, 8)), r.uniform(0.2, 0.35), r.uniform(0.42, 0.6)
    wide = r.uniform(0.25, 0.55)
    radius = min(0.35 * wide / count * 2, 0.06)
    flutes = relief(b, "folds", 1.0, 0.03, f.AROUND, 0.01) if r.random() < 0.5 else 0
    for n in range(count):
        x = (2 * n / (count - 1) - 1) * wide
        with b.covered(flutes):
            b.add(f.CONE, (radius, 0.82 * radius, high), (x, low + high, z))
        for y in (low + 0.02, low + 2 * high):
            b.add(f.BOX, (1.3 * radius, 0.02, 1.3 * radius), (x, y, z), rounding=0.006)
    b.add(f.BOX, (wide + 0.08, 0.04, 0.09), (0, low + 2 * high + 0.05, z))
    turn = np.stack([_X, _Z, -np.array([0, 1.0, 0])], 1)
    b.add(f.EXTRUDE, (wide + 0.1, 0.09), (0, low + 2 * high + 0.08, z), turn, table=b.profile(_PRISM * [1.0, -0.35]))
    for n in range(3):
        b.add(f.BOX, (wide + 0.1 + 0.04 * n, 0.015, 0.12 + 0.04 * n), (0, low + 0.03 - 0.025 * n, z))


def machine(b: Builder) -> None:
    """Housings with bevels, panels and grooves, drums, fins, pipes, flanges, bolts, gears and dials."""
    r = b.rng
    bevel = float(r.choice([0.008, 0.02, 0.04]))
    cores = []
    for n in range(int(r.integers(2, 6))):
        half = r.uniform(0.12, 0.36, 3) * (1.2 if n == 0 else 0.8)
        at = np.zeros(3) if n == 0 else r.uniform(-0.4, 0.4, 3)
        if r.random() < 0.6 or n == 0:
            b.add(f.BOX, tuple(half), at, rounding=bevel)
            _panels(b, at, half)
        else:
            turn = rotation_to(np.eye(3)[int(r.integers(3))])
            b.add(f.CYLINDER, (half[0], half[1]), at, turn, rounding=bevel)
            for end in (-1, 1):
                b.add(f.CYLINDER, (1.15 * half[0], 0.025), at + 0.7 * end * half[1] * turn[:, 1], turn, rounding=0.006)
            if r.random() < 0.5:
                _fins(b, at, turn, half[0] * 1.25, half[1])
            _bolts(b, at + half[1] * turn[:, 1], turn, 0.75 * half[0])
        cores.append((at, half))
    for _ in range(int(r.integers(1, 7))):
        _pipe(b, cores)
    if r.random() < 0.5:
        gear = Builder(r)
        mechanical(gear)
        at, half = cores[int(r.integers(len(cores)))]
        b.place(gear, r.uniform(0.15, 0.4), np.eye(3), at + [0, 0, half[2] + 0.03])
    b.add(f.BOX, (r.uniform(0.45, 0.75), 0.05, r.uniform(0.35, 0.6)), (0, -0.55, 0), rounding=0.01)
    if r.random() < 0.35:
        b.decal(lettering(r), f.PLANAR, r.choice([-1, 1]) * 0.012, (0.25, 0.12), (0, 0, 0.1), depth=0.0)


def _panels(b: Builder, at: np.ndarray, half: np.ndarray) -> None:
    """On the faces of a housing: recessed flats, raised plates, slots, louvres, small parts, screws."""
    r = b.rng
    for axis in range(3):
        for side in (1, -1):
            kind, out = r.random(), np.zeros(3)
            out[axis] = side * half[axis]
            size = half * r.uniform(0.4, 0.85, 3)
            size[axis] = r.uniform(0.01, 0.03)
            if kind < 0.3:
                b.add(f.BOX, tuple(size), at + out, operation=f.SUBTRACT, blend=0.008, bevel=True)
            elif kind < 0.5:
                cover = relief(b, "debris", 1.0, 0.1, f.SIDES, 0.04) if r.random() < 0.5 else 0
                with b.covered(cover):
                    b.add(f.BOX, tuple(size), at + out, rounding=0.006)
                for u in (-0.85, 0.85):
                    for v in (-0.85, 0.85):
                        spot = size * 0
                        spot[(axis + 1) % 3], spot[(axis + 2) % 3] = u * size[(axis + 1) % 3], v * size[(axis + 2) % 3]
                        spot[axis] = side * size[axis]
                        b.add(f.SPHERE, (0.018,), at + out + spot)
            elif kind < 0.7:  # slots
                run = (axis + 1) % 3
                for step in np.linspace(-0.7, 0.7, int(r.integers(3, 9))):
                    slot = size * 0.8
                    slot[run] = 0.012
                    spot = out.copy()
                    spot[run] += step * half[run]
                    b.add(f.BOX, tuple(slot), at + spot, operation=f.SUBTRACT)
            elif kind < 0.8:
                turn = rotation_to(np.eye(3)[axis])
                b.add(f.CYLINDER, (r.uniform(0.04, 0.12), 0.05), at + out, turn, rounding=0.01)


def _fins(b: Builder, at: np.ndarray, turn: np.ndarray, radius: float, half: float) -> None:
    for step in np.linspace(-0.55, 0.55, int(b.rng.integers(4, 11))):
        b.add(f.CYLINDER, (radius, 0.012), at + step * half * turn[:, 1], turn)


def _bolts(b: Builder, at: np.ndarray, turn: np.ndarray, radius: float) -> None:
    count = int(b.rng.integers(4, 9))
    with b.grouped():
        for n in range(count):
            a = 2 * np.pi * n / count
            b.add(f.CYLINDER, (0.022, 0.02), at + radius * (np.cos(a) * turn[:, 0] + np.sin(a) * turn[:, 2]), turn)


def _pipe(b: Builder, cores: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A pipe with square bends from one housing to another or outwards, with flanges."""
    r = b.rng
    start, _ = cores[int(r.integers(len(cores)))]
    points, radius = [start + r.uniform(-0.15, 0.15, 3)], r.uniform(0.018, 0.06)
    for axis in r.permutation(3)[: int(r.integers(2, 4))]:
        step = np.zeros(3)
        step[axis] = r.choice([-1, 1]) * r.uniform(0.2, 0.6)
        points.append((points[-1] + step).clip(-0.8, 0.8))
    line = np.stack(points)
    b.tube(line, np.full(len(line), radius), 0.0)
    for p, q in pairwise(line):
        length = float(np.linalg.norm(q - p))
        if length > 0.1:
            b.add(f.CYLINDER, (1.6 * radius, 0.015), p + 0.6 * (q - p), rotation_to((q - p) / length), rounding=0.004)


def toy(b: Builder) -> None:
    """A car, a locomotive, or blocks built up, on their ground or not."""
    kind = b.rng.random()
    if kind < 0.6:
        _vehicle(b, engine=bool(kind < 0.25))
    else:
        _blocks(b)


def _vehicle(b: Builder, engine: bool) -> None:
    r = b.rng
    half = np.array([r.uniform(0.5, 0.8), r.uniform(0.1, 0.2), r.uniform(0.2, 0.34)])
    wheel = r.uniform(0.12, 0.22)
    low, soft = -0.45, r.uniform(0.01, 0.08)
    b.add(f.BOX, tuple(half - soft), (0, low + wheel + half[1], 0), rounding=soft)
    top = low + wheel + 2 * half[1]
    cabin = np.array([half[0] * r.uniform(0.3, 0.55), r.uniform(0.1, 0.22), half[2] * 0.85])
    x = r.uniform(-0.4, 0.1) * half[0]
    b.add(f.BOX, tuple(cabin - 0.5 * soft), (x, top + cabin[1], 0), rounding=0.5 * soft, blend=0.02)
    for axis, reach in ((2, cabin[2]), (0, cabin[0])):  # windows
        for side in (1, -1):
            size = cabin * 0.7
            size[axis] = 0.02
            spot = np.array([x, top + 1.1 * cabin[1], 0])
            spot[axis] += side * reach
            b.add(f.BOX, tuple(size), spot, operation=f.SUBTRACT, blend=0.01)
    if engine:
        b.add(
            f.CYLINDER, (0.8 * half[2], 0.4 * half[0]), (x + cabin[0] + 0.35 * half[0], top + 0.1, 0), rotation_to(_X)
        )
        b.add(f.CONE, (0.05, 0.09, 0.14), (x + cabin[0] + 0.5 * half[0], top + 0.1 + half[2], 0), rounding=0.01)
        b.add(f.SPHERE, (0.08,), (x + cabin[0] + 0.15 * half[0], top + 0.1 + 0.75 * half[2], 0), blend=0.02)
    for across in np.linspace(-0.65, 0.65, int(r.integers(2, 4))):
        for side in (1, -1):
            hub = np.array([across * half[0], low + wheel * 0.6, side * half[2]])
            b.add(f.TORUS, (0.7 * wheel, 0.3 * wheel), hub, rotation_to(_Z))
            b.add(f.CYLINDER, (0.6 * wheel, 0.2 * wheel), hub, rotation_to(_Z), rounding=0.01)
            b.add(f.SPHERE, (0.16 * wheel,), hub + 0.25 * wheel * side * _Z)
    for side in (1, -1):
        b.add(
            f.CYLINDER,
            (0.05, 0.03),
            (half[0], low + wheel + half[1], 0.6 * side * half[2]),
            rotation_to(_X),
            rounding=0.01,
        )
    b.add(f.BOX, (0.03, 0.03, half[2] * 1.02), (half[0], low + wheel + 0.02, 0), rounding=0.015)


def _blocks(b: Builder) -> None:
    """Bricks with studs, or beams and arches, stacked a little out of line."""
    r = b.rng
    studs, unit = r.random() < 0.5, r.uniform(0.14, 0.22)
    for layer in range(int(r.integers(2, 6))):
        for _ in range(int(r.integers(1, 5))):
            half = np.array([r.integers(1, 4), 1, r.integers(1, 3)]) * unit * [0.5, 0.45, 0.5] - 0.004
            spot = np.round(r.uniform(-2, 2, 2)) * unit * 0.5 * (0.9 - 0.12 * layer)
            at = np.array([spot[0], -0.7 + (layer + 0.5) * 0.9 * unit, spot[1]]) + r.normal(0, 0.004, 3)
            angle = r.normal(0, 0.02 if studs else 0.2)
            turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
            b.add(f.BOX, tuple(half), at, turn, rounding=0.006)
            if studs:
                with b.grouped():
                    for x in np.arange(-half[0] + unit / 4, half[0], unit / 2):
                        for z in np.arange(-half[2] + unit / 4, half[2], unit / 2):
                            stud = at + turn @ np.array([x, half[1] + 0.012, z])
                            b.add(f.CYLINDER, (0.15 * unit, 0.02), stud, turn, rounding=0.004)
    with b.covered(relief(b, str(r.choice(list(RELIEFS))), 1.0, 0.1, f.SIDES, 0.015)):
        b.add(f.BOX, (0.75, 0.04, 0.6), (0, -0.75, 0), rounding=0.01)


def _quarter() -> np.ndarray:
    """A quarter turn about y: local z lies along x."""
    return np.array([[0, 0, 1.0], [0, 1, 0], [-1.0, 0, 0]])


CONSTRUCTIONS: Families = {"building": (building, 1.8), "machine": (machine, 1.2), "toy": (toy, 0.9)}
