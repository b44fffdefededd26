"""People of stone, clay and tin: heads with faces and hair, bodies in a pose, hands, cloth that hangs in folds.

A figure is built a few heads high within the cube, front towards +z; `maquette.synth.solids.assemblies` places it.
"""

from typing import NamedTuple

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, rotation_to, smooth_curve
from maquette.synth.solids.surfacing import relief

Number = int | float
HEAD = 0.125  # half a head of a figure, in its units


class BodyFrame(NamedTuple):
    """Where something sits: its origin, axes (right, up, front as columns) and size."""

    origin: np.ndarray
    axes: np.ndarray
    size: float

    def at(self, x: Number, y: Number, z: Number) -> np.ndarray:
        """A point of it in the object frame."""
        return self.origin + self.axes @ (self.size * np.array([x, y, z]))

    def turned(self, direction: tuple[Number, Number, Number]) -> np.ndarray:
        """A rotation whose local y is along the given direction of the frame."""
        return rotation_to(self.axes @ (np.array(direction) / np.linalg.norm(direction)))


def looking(yaw: Number, pitch: Number, roll: Number) -> np.ndarray:
    """Axes of something upright that is turned to its left, nods and leans (radians)."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return turn @ nod @ lean


def head(b: Builder, at: BodyFrame) -> None:
    """A head with a face, ears, hair, and perhaps a beard or a hat; the frame's size is half its height."""
    r, s = b.rng, at.size
    wide, long = r.uniform(0.9, 1.12), r.uniform(0.9, 1.12)
    with b.grouped():
        _ball(b, at, (0.0, 0.22, -0.08), (0.76 * wide, 0.8, 0.88), 0.0)
        _ball(b, at, (0.0, -0.28 * long, 0.16), (0.58 * wide, 0.66 * long, 0.62), 0.25)
        _ball(b, at, (0.0, -0.82 * long, 0.46), (0.24 * wide, 0.17, 0.2), 0.22)
        for side in (1, -1):
            _ball(b, at, (0.42 * side * wide, -0.12, 0.46), (0.24, 0.2, 0.22), 0.2)
        _bar(b, at, (-0.42 * wide, 0.24, 0.66), (0.42 * wide, 0.24, 0.66), r.uniform(0.08, 0.14), 0.14)
        for side in (1, -1):
            b.add(
                f.ELLIPSOID, (0.21 * s, 0.13 * s, 0.2 * s), at.at(0.31 * side * wide, 0.08, 0.83), at.axes,
                operation=f.SUBTRACT, blend=0.12 * s,
            )  # fmt: skip
        _features(b, at, wide, long)
    for side in (1, -1):
        with b.grouped():
            _ball(b, at, (0.31 * side * wide, 0.07, 0.62), (0.145,) * 3, 0.0)
    with b.grouped():
        for side in (1, -1):
            b.add(
                f.TORUS, (0.17 * s, 0.055 * s), at.at(0.74 * side * wide, -0.02, -0.05),
                at.axes @ rotation_to(np.array([0.9, 0.1, 0.4 * side])), blend=0.04 * s,
            )  # fmt: skip
            _ball(b, at, (0.72 * side * wide, -0.04, -0.05), (0.06, 0.17, 0.13), 0.05)
    _hair(b, at, wide, long)


def _features(b: Builder, at: BodyFrame, wide: float, long: float) -> None:
    """Lids, nose and mouth."""
    r, s = b.rng, at.size
    for side in (1, -1):
        _ball(b, at, (0.31 * side * wide, 0.165, 0.68), (0.19, 0.055, 0.12), 0.04)
        _ball(b, at, (0.31 * side * wide, -0.03, 0.69), (0.17, 0.035, 0.1), 0.05)
    out = r.uniform(0.94, 1.12)
    _bar(b, at, (0, 0.2, 0.74), (0, -0.24 * long, out - 0.06), 0.075, 0.12, 0.12)
    for side in (1, -1):
        _ball(b, at, (0.11 * side, -0.26 * long, out - 0.14), (0.09, 0.07, 0.1), 0.07)
    y, half = -0.53 * long, r.uniform(0.2, 0.28)
    for lip, thick in ((0.045, 0.05), (-0.055, 0.06)):
        points = np.stack(
            [at.at(x * half, y + lip * (1 - 0.6 * x * x), 0.79 - 0.13 * x * x) for x in (-1, -0.5, 0, 0.5, 1)]
        )
        b.tube(points, s * thick * np.array([0.5, 0.9, 1.0, 0.9, 0.5]), 0.05 * s)
    b.add(
        f.ELLIPSOID, (s * half * 0.95, s * 0.018, s * 0.09), at.at(0, y, 0.84), at.axes,
        operation=f.SUBTRACT, blend=0.02 * s,
    )  # fmt: skip


def _hair(b: Builder, at: BodyFrame, wide: float, long: float) -> None:
    """A cap of hair, long, curly, tied or short; a beard; or a hat, helmet, hood or wreath."""
    r, s = b.rng, at.size
    coarse = max(s / 0.4, 0.45)
    strands = relief(
        b, str(r.choice(["hair", "hair", "scales", "carving", "leaves"])), 1.0, 0.1 * coarse, f.AROUND, 0.09 * s
    )
    style = r.random()
    if style < 0.88:
        with b.grouped(), b.covered(strands):
            _ball(b, at, (0, 0.33, -0.2), (0.82 * wide, 0.8, 0.86), 0.02)
            if r.random() < 0.5:  # down to the neck or the back
                fall = r.uniform(0.5, 1.5)
                _ball(b, at, (0, -0.2 - 0.3 * fall, -0.5), (0.7 * wide, 0.4 + 0.5 * fall, 0.4), 0.2)
                for side in (1, -1):
                    _bar(b, at, (0.72 * side * wide, 0.3, 0.05), (0.7 * side, -0.5 * fall, 0.05), 0.22, 0.1, 0.16)
            elif r.random() < 0.3:
                _ball(b, at, (0, 0.8, -0.6), (0.35, 0.32, 0.35), 0.05)
    if r.random() < 0.3:
        with b.grouped(), b.covered(strands):
            down = r.uniform(0.2, 0.7)
            _ball(b, at, (0, -0.8 * long - 0.4 * down, 0.42), (0.42 * wide, 0.3 + 0.5 * down, 0.3), 0.12)
            for side in (1, -1):
                _ball(b, at, (0.48 * side * wide, -0.5, 0.22), (0.2, 0.42, 0.3), 0.1)
    hat = r.random()
    if hat < 0.1:
        b.add(f.CYLINDER, (1.2 * s, 0.06 * s), at.at(0, 0.62, -0.1), at.turned((0, 1, -0.15)), rounding=0.02 * s)
        b.add(f.CYLINDER, (0.74 * s, 0.35 * s), at.at(0, 0.95, -0.15), at.turned((0, 1, -0.15)), rounding=0.06 * s)
    elif hat < 0.2:
        with b.grouped():
            _ball(b, at, (0, 0.4, -0.12), (0.9 * wide, 0.75, 0.98), 0.0)
            b.add(f.TORUS, (0.86 * s, 0.07 * s), at.at(0, 0.34, -0.1), at.turned((0, 1, -0.1)), blend=0.03 * s)
            _ball(b, at, (0, 1.0, -0.2), (0.07, 0.4, 0.7), 0.03)
    elif hat < 0.3:
        leaves = relief(b, "leaves", 1.0, 0.07 * coarse, f.SIDES, 0.1 * s)
        with b.covered(leaves):
            b.add(f.TORUS, (0.82 * s, 0.11 * s), at.at(0, 0.45, -0.12), at.turned((0, 1, -0.25)))
    elif hat < 0.4:
        hood = relief(b, "folds", 1.0, 0.16 * coarse, f.AROUND, 0.1 * s)
        with b.grouped(), b.covered(hood):
            _ball(b, at, (0, 0.3, -0.32), (0.98 * wide, 0.95, 0.95), 0.0)
            _ball(b, at, (0, -0.7, -0.35), (1.05 * wide, 0.8, 0.75), 0.3)


def _ball(b: Builder, at: BodyFrame, center: tuple[Number, ...], radii: tuple[Number, ...], blend: Number) -> None:
    b.add(f.ELLIPSOID, tuple(at.size * v for v in radii), at.at(*center), at.axes, blend=blend * at.size)


def _bar(
    b: Builder,
    at: BodyFrame,
    start: tuple[Number, ...],
    end: tuple[Number, ...],
    thick: float,
    blend: float,
    end_thick: float | None = None,
) -> None:
    radii = at.size * np.array([thick, thick if end_thick is None else end_thick])
    b.tube(np.stack([at.at(*start), at.at(*end)]), radii, blend * at.size)


def hand(b: Builder, wrist: np.ndarray, along: np.ndarray, palm: np.ndarray, size: float) -> None:
    """A palm with four fingers and a thumb, more or less closed; `palm` is the side that it grasps with."""
    r = b.rng
    front = np.cross(np.cross(along, palm), along)
    front /= max(float(np.linalg.norm(front)), 1e-6)
    axes = np.stack([np.cross(along, front), along, front], 1)
    at = BodyFrame(wrist, axes, size)
    curl = r.uniform(0.1, 1.6)
    with b.grouped():
        b.add(f.ELLIPSOID, (0.42 * size, 0.5 * size, 0.2 * size), at.at(0, 0.45, 0), axes, blend=0.2 * size)
        for n in range(4):
            x, bend = 0.3 - 0.2 * n, curl * r.uniform(0.8, 1.2)
            reach = (0.42, 0.48, 0.45, 0.35)[n]
            knuckle = np.array([x, 0.85, 0])
            middle = knuckle + reach * np.array([0.1 * x, np.cos(bend), np.sin(bend)])
            tip = middle + 0.8 * reach * np.array([0.0, np.cos(2 * bend), np.sin(2 * bend)])
            b.tube(
                np.stack([at.at(*p) for p in (knuckle, middle, tip)]), size * np.array([0.12, 0.11, 0.08]), 0.05 * size
            )
        thumb = [at.at(*p) for p in ((0.35, 0.25, 0.05), (0.62, 0.5, 0.2), (0.55, 0.75, 0.4))]
        b.tube(np.stack(thumb), size * np.array([0.14, 0.13, 0.09]), 0.06 * size)


class FigurePose(NamedTuple):
    """Joints of a figure: (3,), or (2, 3) right and left."""

    pelvis: np.ndarray
    chest: np.ndarray
    hips: np.ndarray
    knees: np.ndarray
    ankles: np.ndarray
    shoulders: np.ndarray
    elbows: np.ndarray
    wrists: np.ndarray
    look: np.ndarray


def pose(rng: np.random.Generator, kind: str) -> FigurePose:
    """Standing, striding, seated or kneeling, arms anyhow: hanging, on the hips or the lap, raised, or held forward."""
    low = {"standing": 0.08, "striding": 0.04, "seated": -0.22, "kneeling": -0.2}[kind]
    pelvis = np.array([rng.normal(0, 0.03), low, 0.0])
    spine = np.array([rng.normal(0, 0.05), 1.0, rng.normal(0.04, 0.1)])
    chest = pelvis + 0.34 * spine / np.linalg.norm(spine)
    sides = np.array([[1.0], [-1.0]])
    across = np.array([np.cos(a := rng.normal(0, 0.25)), 0, -np.sin(a)])
    hips = pelvis + 0.1 * sides * [1, rng.normal(0, 0.15), 0] + [0, -0.06, 0]
    shoulders = chest + 0.2 * sides * (across + [0, rng.normal(0, 0.15), 0]) + [0, 0.1, 0]
    if kind == "seated":
        forward = np.array([rng.uniform(0.0, 0.35), rng.normal(0, 0.1), 1.0]) * np.concatenate(
            [sides, sides * 0 + 1, sides * 0 + 1], 1
        )
        shin = np.array([0, -1.0, rng.uniform(-0.3, 0.2)])
    elif kind == "kneeling":
        forward = np.array([[0.15, -0.2, 1.0], [-0.1, -1.0, 0.25]])
        shin = np.array([[0, -1.0, 0.0], [0, -0.2, -1.0]])
    else:
        swing = rng.uniform(0.25, 0.6) if kind == "striding" else rng.normal(0, 0.12)
        forward = np.array([[0.08, -1.0, swing], [-0.1, -1.0, -swing]])
        shin = np.array([[0.02, -1.0, swing - 0.25 * abs(swing)], [-0.02, -1.0, -swing - abs(swing)]])
    knees = hips + 0.37 * _units(forward)
    ankles = knees + 0.37 * _units(np.broadcast_to(shin, (2, 3)))
    elbows, wrists = np.zeros((2, 3)), np.zeros((2, 3))
    for n, side in enumerate((1.0, -1.0)):
        arm = str(rng.choice(["down", "hip", "lap", "up", "out", "chest"], p=[0.3, 0.12, 0.18, 0.12, 0.14, 0.14]))
        upper, fore = {
            "down": ((0.25 * side, -1.0, rng.normal(0, 0.25)), (0.0, -1.0, rng.uniform(0, 0.5))),
            "hip": ((0.9 * side, -0.8, -0.2), (-0.9 * side, -0.6, 0.5)),
            "lap": ((0.2 * side, -1.0, 0.35), (-0.5 * side, -0.25, 1.0)),
            "up": ((0.7 * side, rng.uniform(0.0, 0.9), 0.3), (rng.normal(0, 0.4), 1.0, 0.3)),
            "out": ((0.3 * side, -0.7, 0.7), (0.2 * side, rng.uniform(-0.2, 0.5), 1.0)),
            "chest": ((0.4 * side, -1.0, 0.3), (-0.9 * side, 0.5, 0.6)),
        }[arm]
        elbows[n] = shoulders[n] + 0.27 * _units(np.array([upper]))[0]
        wrists[n] = elbows[n] + 0.25 * _units(np.array([fore]))[0]
    return FigurePose(
        pelvis, chest, hips, knees, ankles, shoulders, elbows, wrists, looking(*rng.normal(0, [0.5, 0.2, 0.12]))
    )


def figure(b: Builder, kind: str | None = None) -> FigurePose:
    """A clothed or bare figure, 1.6 high if it stands; returns its joints, for what it holds and sits on."""
    r = b.rng
    kind = (
        str(r.choice(["standing", "striding", "seated", "kneeling"], p=[0.45, 0.15, 0.3, 0.1]))
        if kind is None
        else kind
    )
    p = pose(r, kind)
    stout = r.uniform(0.85, 1.35)
    dress = str(r.choice(["robe", "tunic", "suit", "bare"], p=[0.45, 0.25, 0.15, 0.15]))
    cloth = 0 if dress == "bare" else relief(b, "folds", 1.0, r.uniform(0.06, 0.14), f.AROUND, r.uniform(0.02, 0.045))
    up = _units((p.chest - p.pelvis)[None])[0]
    trunk = np.stack([np.cross(up, [0, 0, 1.0]), up, np.cross(np.cross(up, [0, 0, 1.0]), up)], 1)
    trunk /= np.linalg.norm(trunk, axis=0)
    with b.grouped(), b.covered(cloth):
        b.add(f.ELLIPSOID, (0.18 * stout, 0.19, 0.125 * stout), p.chest + 0.02 * up, trunk, blend=0.06)
        b.add(f.ELLIPSOID, (0.15 * stout, 0.2, 0.115 * stout), (p.chest + p.pelvis) / 2, trunk, blend=0.08)
        b.add(f.ELLIPSOID, (0.17 * stout, 0.13, 0.13 * stout), p.pelvis, trunk, blend=0.08)
        b.tube(p.shoulders + [0, 0.01, 0], np.full(2, 0.075 * stout), 0.08)
    _limbs(b, p, stout, dress, cloth)
    if dress in ("robe", "tunic"):
        _skirt(b, p, kind, dress, cloth, stout)
    if dress != "bare":
        _wraps(b, p, trunk, stout)
    neck = p.chest + 0.2 * up
    crown = neck + 0.16 * up + [0, 0, 0.02]
    b.tube(np.stack([neck - 0.05 * up, crown]), np.array([0.07, 0.055]) * stout, 0.04)
    head(b, BodyFrame(crown, p.look, HEAD * r.uniform(0.9, 1.15)))
    return p


def _limbs(b: Builder, p: FigurePose, stout: float, dress: str, cloth: int) -> None:
    """Arms with hands, legs with feet; sleeves and trousers are covered with the cloth."""
    r = b.rng
    sleeves, trousers = dress in ("suit", "robe") or r.random() < 0.4, dress == "suit" or r.random() < 0.2
    wide = r.uniform(1.0, 1.7) if dress == "robe" else 1.0
    for n in range(2):
        with b.covered(cloth if sleeves else 0):
            arm = np.stack([p.shoulders[n], p.elbows[n], p.wrists[n]])
            b.tube(arm, np.array([0.065, 0.052 * wide, 0.04 * wide]) * stout, 0.04)
        fore = _units((p.wrists[n] - p.elbows[n])[None])[0]
        hand(
            b, p.wrists[n] + 0.02 * fore, fore, np.array([0.3 - 0.6 * (n == 0), -0.3, 0.3]) + r.normal(0, 0.3, 3), 0.075
        )
        with b.covered(cloth if trousers else 0):
            leg = np.stack([p.hips[n], p.knees[n], p.ankles[n]])
            b.tube(leg, np.array([0.095, 0.068, 0.045]) * stout, 0.05)
        toe = p.ankles[n] + [0.03 * (1 - 2 * n), -0.035, 0.13]
        b.tube(np.stack([p.ankles[n] + [0, -0.02, -0.02], toe]), np.array([0.045, 0.035]), 0.02)


def _skirt(b: Builder, p: FigurePose, kind: str, dress: str, cloth: int, stout: float) -> None:
    """Cloth about the legs: a cone of folds, or, of who sits, over the lap and down from the knees."""
    r = b.rng
    down = 1.0 if dress == "robe" else r.uniform(0.35, 0.6)
    deep = relief(b, "folds", 1.0, r.uniform(0.1, 0.2), f.AROUND, r.uniform(0.035, 0.06))
    with b.grouped(), b.covered(deep if r.random() < 0.8 else cloth):
        if kind in ("standing", "striding"):
            foot = p.ankles.mean(0)
            reach = down * (foot - p.pelvis) * 1.02
            spread = 0.5 * np.abs(p.ankles[0] - p.ankles[1]).max() * down
            length = float(np.linalg.norm(reach))
            b.add(
                f.CONE, (0.17 * stout + r.uniform(0.03, 0.12) + spread, 0.16 * stout, length / 2),
                p.pelvis + reach / 2, rotation_to(-reach / length), blend=0.05, rounding=0.01,
            )  # fmt: skip
        else:
            for n in range(2):
                b.tube(np.stack([p.hips[n], p.knees[n]]), np.array([0.13, 0.105]) * stout, 0.12)
                b.tube(
                    np.stack([p.knees[n], p.knees[n] + down * (p.ankles[n] - p.knees[n])]), np.array([0.105, 0.13]), 0.1
                )
            middle = (p.knees.mean(0) + p.ankles.mean(0)) / 2
            b.add(f.BOX, (0.12, 0.17 * down, 0.05), middle + [0, 0.1 * (1 - down), 0], rounding=0.04, blend=0.1)


def _wraps(b: Builder, p: FigurePose, trunk: np.ndarray, stout: float) -> None:
    """A cloak down the back, a sash across, a belt, a scarf: each at a chance."""
    r = b.rng
    if r.random() < 0.35:
        cloak = relief(b, "folds", 1.0, r.uniform(0.08, 0.16), f.AROUND, r.uniform(0.03, 0.055))
        length = r.uniform(0.35, 0.75)
        with b.grouped(), b.covered(cloak):
            b.add(
                f.CONE,
                (0.3 * stout, 0.2 * stout, length),
                p.chest + [0, 0.08 - length, -0.09],
                blend=0.04,
                rounding=0.01,
            )
    if r.random() < 0.35:
        rolls = relief(b, "folds", 1.0, 0.06, f.SIDES, 0.03)
        with b.grouped(), b.covered(rolls):
            turn = 2 * np.pi * np.linspace(0, 1, 15)
            loop = np.stack([0.2 * stout * np.cos(turn), 0.24 * np.cos(turn + 0.4), 0.145 * stout * np.sin(turn)], 1)
            b.tube((p.chest + p.pelvis) / 2 + [0, 0.06, 0] + loop, np.full(15, r.uniform(0.03, 0.055)), 0.02)
    if r.random() < 0.4:
        b.add(f.TORUS, (0.15 * stout, 0.025), (p.chest + p.pelvis) / 2 - [0, 0.06, 0], trunk, blend=0.01)
    if r.random() < 0.25:
        end = p.wrists[int(r.integers(2))]
        drop = smooth_curve(np.stack([end + [0.02, 0.05, 0], end + [0, -0.12, 0.03], end + [0.04, -0.4, 0.0]]), 6)
        with b.covered(relief(b, "folds", 1.0, 0.07, f.AROUND, 0.03)):
            b.tube(drop, np.linspace(0.04, 0.09, 6), 0.03)


def _units(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
