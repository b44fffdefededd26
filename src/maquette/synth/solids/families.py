"""Families of solids: functions of a builder that place primitives, each drawn from the builder's generator.

Every draw counts: another one, or the same ones in another order, gives other shapes to the same seed, and is
another format of `maquette.synth.datasets.dataset`.
"""

from collections.abc import Callable

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import (
    Builder,
    lettering,
    ornament,
    random_rotation,
    rotation_to,
    smooth_curve,
)


def simple(b: Builder) -> None:
    """One smooth primitive: the spheres, cones and slabs that organic data lacks."""
    r = b.rng
    kind = int(r.choice([f.SPHERE, f.ELLIPSOID, f.BOX, f.CYLINDER, f.CONE, f.TORUS, f.CAPSULE], p=_SIMPLE_ODDS))
    a, c, d = r.uniform(0.25, 0.75, 3)
    turn = random_rotation(r)
    params = {
        f.SPHERE: (0.75,),
        f.ELLIPSOID: (a, c, d),
        f.BOX: (0.8 * a, 0.8 * c, 0.8 * d),
        f.CYLINDER: (0.8 * a, c),
        f.CONE: (a, 0.9 * a * r.random(), 0.8 * c),
        f.TORUS: (0.35 + 0.3 * a, 0.1 + 0.25 * c),
        f.CAPSULE: (0.6 * a, 0.6 * c, 0.2 + 0.3 * d),
    }[kind]
    soft = kind in (f.BOX, f.CYLINDER, f.CONE)
    b.add(kind, params, rotation=turn, rounding=float(r.choice([0.01, 0.04, 0.12])) if soft else 0.0)


_SIMPLE_ODDS = [0.34, 0.22, 0.12, 0.1, 0.07, 0.08, 0.07]


def blob(b: Builder) -> None:
    """Balls and ellipsoids melted together, some scooped out."""
    r = b.rng
    blend = r.uniform(0.05, 0.4)
    for n in range(int(r.integers(2, 9))):
        center = r.uniform(-0.45, 0.45, 3) if n else np.zeros(3)
        size = r.uniform(0.15, 0.42, 3)
        kind = f.SPHERE if r.random() < 0.4 else f.ELLIPSOID
        b.add(kind, tuple(size) if kind == f.ELLIPSOID else (size[0],), center, random_rotation(r), blend=blend)
    for _ in range(int(r.integers(0, 4))):
        b.add(f.SPHERE, (r.uniform(0.1, 0.3),), _on_sphere(r, 0.5), operation=f.SUBTRACT, blend=r.uniform(0, 0.15))


def blocks(b: Builder) -> None:
    """Boxes, cylinders and wedges joined and carved, with bevels: furniture, machines, buildings."""
    r = b.rng
    bevel, blend = bool(r.random() < 0.5), float(r.choice([0.0, 0.03, 0.08]))
    skew = 0.0 if r.random() < 0.6 else 0.8
    reach = r.uniform(0.25, 0.5)
    for n in range(int(r.integers(1, 7))):
        center = r.uniform(-reach, reach, 3) if n else np.zeros(3)
        size = r.uniform(0.1, 0.45, 3)
        kind = int(r.choice([f.BOX, f.BOX, f.CYLINDER, f.CONE]))
        params = {
            f.BOX: tuple(size),
            f.CYLINDER: (size[0], size[1]),
            f.CONE: (size[0], size[0] * r.random(), size[1]),
        }[kind]
        turn = random_rotation(r, skew) @ _axis_swap(r)
        b.add(kind, params, center, turn, blend=blend, bevel=bevel, rounding=float(r.choice([0.0, 0.015, 0.05])))
    for _ in range(int(r.integers(0, 6))):
        kind = int(r.choice([f.BOX, f.CYLINDER, f.SPHERE]))
        size = r.uniform(0.05, 0.25, 3)
        params = {f.BOX: tuple(size), f.CYLINDER: (size[0], 0.2 + size[1]), f.SPHERE: (size[0],)}[kind]
        b.add(kind, params, r.uniform(-0.5, 0.5, 3), _axis_swap(r), operation=f.SUBTRACT, blend=blend, bevel=bevel)


def superquadric(b: Builder) -> None:
    """Barr's superquadrics, one to four, from pillows to rounded boxes."""
    r = b.rng
    count = int(r.integers(1, 5))
    for n in range(count):
        size = r.uniform(0.2, 0.65 if count == 1 else 0.45, 3)
        center = r.uniform(-0.4, 0.4, 3) if n else np.zeros(3)
        b.add(f.SUPERQUADRIC, (*size, r.uniform(0.25, 1.3)), center, random_rotation(r), blend=r.uniform(0.0, 0.2))


def turned(b: Builder) -> None:
    """A closed lathe: balusters, chess pieces, bottles, finials."""
    r = b.rng
    knots = int(r.integers(4, 10))
    y = np.linspace(-0.85, 0.85, knots)
    radius = r.uniform(0.1, 0.75 if r.random() < 0.5 else 0.5, knots)
    outline = np.stack([radius, y], 1)
    if r.random() < 0.6:
        outline = smooth_curve(outline, 28)
        outline[:, 0] = np.clip(outline[:, 0], 0.05, 0.9)
    else:  # steps and fillets
        outline = np.repeat(outline, 2, 0)
        outline[1:-1:2, 1] = outline[2::2, 1]
    b.add(f.REVOLVE, (1.0,), table=b.profile(_revolved(outline)), rotation=_lying(r), rounding=r.uniform(0, 0.02))


def pottery(b: Builder) -> None:
    """Hollow vessels with an open mouth: bowls, cups, plates, vases, jars; some with handles and a spout."""
    r = b.rng
    style = str(r.choice(["bowl", "cup", "vase", "plate", "jar"], p=[0.34, 0.24, 0.2, 0.1, 0.12]))
    height = {"bowl": 0.5, "cup": 0.62, "vase": 0.85, "plate": 0.16, "jar": 0.7}[style] * r.uniform(0.75, 1.1)
    s = np.linspace(0, 1, 14)
    if style == "bowl":
        radius = 0.28 + (0.82 - 0.28) * s ** r.uniform(0.35, 0.9)
    elif style == "cup":
        radius = r.uniform(0.42, 0.6) * (1 + r.uniform(-0.15, 0.3) * (s - 0.5) + r.uniform(0, 0.25) * np.sin(np.pi * s))
    elif style == "plate":
        radius = 0.4 + 0.45 * s ** r.uniform(0.6, 1.4)
    else:
        knots = r.uniform(0.22, 0.68, 5)
        radius = np.clip(smooth_curve(np.stack([knots, np.linspace(0, 1, 5)], 1), 14)[:, 0], 0.16, 0.8)
    y = -height + 2 * height * s
    wall = r.uniform(0.05, 0.1)
    outer = np.stack([radius, y], 1)
    inner = np.stack([np.maximum(radius - wall, 0.03), np.maximum(y, -height + wall * 1.3)], 1)[::-1]
    ring = np.concatenate([outer, inner])
    half = np.concatenate([[[0.0, -height]], ring, [[0.0, -height + wall * 1.3]]])
    b.add(
        f.REVOLVE, (1.0,), table=b.profile(np.concatenate([half, half[::-1] * [-1, 1]])), rounding=r.uniform(0.0, 0.02)
    )
    if (style in ("cup", "jar") and r.random() < 0.75) or (style == "vase" and r.random() < 0.3):
        for side in (1, -1)[: 1 if style == "cup" else int(r.integers(1, 3))]:
            low, high = -0.45 * height, 0.6 * height
            at = np.interp([low, high], y, radius) - wall / 2
            reach = r.uniform(0.18, 0.32)
            loop = np.array([[at[0], low, 0], [at[0] + reach, low, 0], [at[1] + reach, high, 0], [at[1], high, 0]]) * [
                side,
                1,
                1,
            ]
            b.tube(smooth_curve(loop, 8), np.full(8, r.uniform(0.035, 0.06)), 0.04)


def sweep(b: Builder) -> None:
    """Tubes along curves: knots, rings, horns, branches, loops."""
    r = b.rng
    style = str(r.choice(["knot", "curve", "branches", "coil"]))
    if style == "knot":
        p, q = r.choice([(2, 3), (3, 2), (2, 5), (1, 2), (1, 3)])
        t = np.linspace(0, 2 * np.pi, 40)
        ring = 0.5 + 0.2 * np.cos(q * t)
        points = np.stack([ring * np.cos(p * t), 0.25 * np.sin(q * t), ring * np.sin(p * t)], 1)
        b.tube(points, np.full(40, r.uniform(0.06, 0.14)), 0.02)
    elif style == "coil":
        t = np.linspace(0, 2 * np.pi * r.uniform(1.5, 4), 44)
        s = np.linspace(0, 1, 44)
        ring = 0.55 * (1 - r.uniform(0, 0.8) * s)
        points = np.stack([ring * np.cos(t), -0.55 + 1.1 * s, ring * np.sin(t)], 1)
        b.tube(points, r.uniform(0.07, 0.15) * (1 - r.uniform(0, 0.6) * s), 0.05)
    else:
        for _ in range(1 if style == "curve" else int(r.integers(3, 8))):
            walk = np.cumsum(r.normal(0, 0.3, (5, 3)), 0) * (1 if style == "curve" else 0.6)
            walk = np.clip(walk - (walk.mean(0) if style == "curve" else walk[0]), -0.75, 0.75)
            thick = r.uniform(0.07, 0.22)
            b.tube(smooth_curve(walk, 14), thick * np.linspace(1, r.uniform(0.3, 1), 14), r.uniform(0.01, 0.1))


def polyhedron(b: Builder) -> None:
    """Cut stones, gems, dice: planes through a ball, with or without pips."""
    r = b.rng
    if r.random() < 0.4:  # a die
        half = 0.5
        turn = random_rotation(r)
        b.add(f.BOX, (half, half, half), rotation=turn, rounding=r.uniform(0.02, 0.1))
        if r.random() < 0.6:
            b.add(f.SPHERE, (half * r.uniform(1.3, 1.6),), operation=f.INTERSECT, blend=0.03)
        size = r.uniform(0.06, 0.12)
        for axis in range(3):
            for sign in (-1, 1):
                for _ in range(int(r.integers(1, 6))):
                    spot = np.round(r.uniform(-1.4, 1.4, 3)) * 0.27
                    spot[axis] = sign * (half + size * r.uniform(0.3, 0.7))
                    b.add(f.SPHERE, (size,), turn @ spot, operation=f.SUBTRACT, blend=r.uniform(0, 0.03))
        return
    b.add(f.SPHERE, (0.78,))
    squash = r.uniform(0.5, 1, 3)
    for _ in range(int(r.integers(6, 24))):
        axis = _on_sphere(r, 1.0) / squash
        b.add(
            f.PLANE, (r.uniform(0.4, 0.65) / float(np.linalg.norm(axis)),), rotation=rotation_to(_unit(axis)),
            operation=f.INTERSECT, blend=float(r.choice([0.0, 0.02, 0.06])),
        )  # fmt: skip


def figurine(b: Builder) -> None:
    """A creature with mirrored limbs: torso, head, arms or wings, legs, ears, eyes, tail."""
    r = b.rng
    blend = r.uniform(0.03, 0.14)
    upright = r.random() < 0.6
    torso = r.uniform([0.18, 0.25, 0.16], [0.34, 0.42, 0.32])
    tilt = rotation_to(_unit(np.array([0, 1, r.uniform(-0.2, 0.3)] if upright else [0, 0.3, 1.0])))
    b.add(f.ELLIPSOID, tuple(torso), (0, -0.1, 0), tilt, blend=blend)
    neck = np.array([0, -0.1, 0]) + tilt[:, 1] * (torso[1] + 0.05)
    head_size = r.uniform(0.15, 0.3)
    head = neck + np.array([0, head_size * 0.7, head_size * r.uniform(0, 0.6)])
    b.add(f.ELLIPSOID, tuple(head_size * r.uniform(0.8, 1.1, 3)), head, blend=blend)
    b.add(f.SPHERE, (head_size * 0.4,), head + [0, -0.15 * head_size, head_size * 0.85], blend=blend)  # muzzle
    b.add(f.SPHERE, (head_size * 0.14,), head + head_size * np.array([0.4, 0.2, 0.8]), blend=0.01, mirror=True)
    ear = r.uniform(0.3, 1.2) * head_size
    root = head + head_size * np.array([0.45, 0.7, 0])
    tip = root + ear * _unit(np.array([r.uniform(0, 0.8), 1, r.uniform(-0.4, 0.3)]))
    b.tube(np.stack([root, (root + tip) / 2 + [0.03, 0, 0], tip]), ear * np.array([0.3, 0.28, 0.14]), 0.04, mirror=True)
    for hip in (0.75, -0.75) if not upright else (0.45, -0.7):
        joint = np.array([0, -0.1, 0]) + tilt[:, 1] * torso[1] * hip + [torso[0] * 0.75, 0, 0]
        swing = np.array(
            [r.uniform(0.05, 0.35), r.uniform(-0.6, 0.3) if upright and hip > 0 else -0.55, r.normal(0, 0.15)]
        )
        limb = np.stack([joint, joint + swing * 0.5 + r.normal(0, 0.05, 3), joint + swing])
        thick = r.uniform(0.06, 0.13)
        b.tube(np.clip(limb, -0.85, 0.85), thick * np.array([1.1, 1.0, 0.9]), blend, mirror=True)
    if r.random() < 0.5:
        back = np.array([0, -0.1, 0]) - tilt[:, 1] * torso[1] * 0.7
        tail = np.clip(back + np.cumsum(r.normal([0, 0.02, -0.12], 0.08, (5, 3)), 0), -0.85, 0.85)
        b.tube(smooth_curve(tail, 8), np.linspace(0.09, 0.04, 8), blend)
    if r.random() < 0.5:
        b.add(f.CYLINDER, (r.uniform(0.3, 0.6), 0.06), (0, -0.72, 0), blend=0.03, rounding=0.02)  # a base


def relief(b: Builder) -> None:
    """A coin, plaque, tile or tablet with ornament or lettering on its face."""
    r = b.rng
    if r.random() < 0.5:
        b.add(f.CYLINDER, (0.78, r.uniform(0.04, 0.15)), rotation=rotation_to(np.array([0, 0, 1.0])), rounding=0.02)
    else:
        b.add(f.BOX, (r.uniform(0.5, 0.78), r.uniform(0.4, 0.78), r.uniform(0.05, 0.15)), rounding=0.02)
    for _ in range(int(r.integers(1, 4))):
        art = lettering(r) if r.random() < 0.4 else ornament(r)
        window = r.uniform(0.25, 0.75, 2)
        across, down = (1, 1) if r.random() < 0.5 else r.integers(1, 4, 2)
        b.decal(
            art, f.PLANAR, r.choice([-1, 1]) * r.uniform(0.015, 0.06), (window[0], window[1]),
            (*r.uniform(-0.2, 0.2, 2), 0.0), repeats=(int(across), int(down)), depth=0.0,
        )  # fmt: skip
    for _ in range(int(r.integers(0, 5))):
        b.add(
            f.ELLIPSOID, tuple(r.uniform(0.08, 0.3, 3)), (*r.uniform(-0.4, 0.4, 2), 0.08), blend=r.uniform(0.02, 0.12)
        )


def organic(b: Builder) -> None:
    """A rounded body under strong noise: stones, fruit, walnuts, coral, bark."""
    r = b.rng
    b.add(f.ELLIPSOID, tuple(r.uniform(0.35, 0.62, 3)), rotation=random_rotation(r))
    kind = int(r.choice([f.FBM, f.RIDGED, f.BILLOW]))
    b.noise(kind, r.uniform(1.0, 3.0), r.uniform(0.04, 0.16), int(r.integers(2, 6)), r.uniform(0.35, 0.6))


def mechanical(b: Builder) -> None:
    """Extruded outlines: gears, stars, brackets, with bores and bosses."""
    r = b.rng
    teeth = int(r.integers(3, 14))
    t = np.linspace(0, 2 * np.pi, teeth * 8, endpoint=False)
    style = str(r.choice(["gear", "star", "lobes", "polygon"]))
    wave = np.cos(teeth * t)
    radius = {
        "gear": 0.68 + 0.1 * np.clip(wave * 3, -1, 1),
        "star": 0.6 + 0.2 * (2 / np.pi) * np.arcsin(wave),
        "lobes": 0.62 + 0.16 * wave,
        "polygon": 0.6 * np.cos(np.pi / teeth) / np.cos((t + np.pi / teeth) % (2 * np.pi / teeth) - np.pi / teeth),
    }[style]
    outline = np.stack([radius * np.cos(t), radius * np.sin(t)], 1)
    thick = r.uniform(0.06, 0.35)
    turn = random_rotation(r)
    b.add(f.EXTRUDE, (1.0, thick), table=b.profile(outline), rotation=turn, rounding=float(r.choice([0.005, 0.03])))
    axis = turn[:, 1]
    if r.random() < 0.6:
        b.add(f.CYLINDER, (r.uniform(0.1, 0.4), thick + 0.12), rotation=turn, blend=0.03, bevel=True)
    if r.random() < 0.7:
        b.add(f.CYLINDER, (r.uniform(0.05, 0.3), 0.6), rotation=turn, operation=f.SUBTRACT, blend=0.02, bevel=True)
    count, ring = int(r.integers(0, 7)), r.uniform(0.35, 0.5)
    for n in range(count):
        spot = ring * (np.cos(2 * np.pi * n / count) * turn[:, 0] + np.sin(2 * np.pi * n / count) * turn[:, 2])
        carve = r.random() < 0.6
        b.add(
            f.CYLINDER, (r.uniform(0.04, 0.1), 0.6 if carve else 0.05), spot if carve else spot + axis * thick, turn,
            operation=f.SUBTRACT if carve else f.UNION, blend=0.015,
        )  # fmt: skip


def scooped(b: Builder) -> None:
    """A body with one deep smooth hollow that the camera may look into: dishes, sockets, masks from behind."""
    r = b.rng
    kind = int(r.choice([f.SPHERE, f.BOX, f.CYLINDER, f.SUPERQUADRIC]))
    params = {
        f.SPHERE: (0.72,),
        f.BOX: tuple(r.uniform(0.4, 0.6, 3)),
        f.CYLINDER: (r.uniform(0.4, 0.65), r.uniform(0.25, 0.5)),
        f.SUPERQUADRIC: (*r.uniform(0.45, 0.65, 3), r.uniform(0.4, 1.2)),
    }[kind]
    b.add(kind, params, rounding=0.03)
    size = r.uniform(0.3, 0.6, 3)
    top = 0.72 if kind == f.SPHERE else float(params[1])
    b.add(
        f.ELLIPSOID, tuple(size), (0, top + r.uniform(-0.1, 0.2) * size[1], 0),
        operation=f.SUBTRACT, blend=r.uniform(0.0, 0.1),
    )  # fmt: skip


def folds(b: Builder) -> None:
    """Cloth-like bodies: a soft cone, cushion or curtain under directional waves and wobble."""
    r = b.rng
    kind = int(r.choice([f.CONE, f.SUPERQUADRIC, f.CAPSULE]))
    params = {
        f.CONE: (r.uniform(0.45, 0.7), r.uniform(0.1, 0.4), 0.55),
        f.SUPERQUADRIC: (0.6, r.uniform(0.25, 0.6), 0.6, 0.7),
        f.CAPSULE: (0.35, 0.25, 0.35),
    }[kind]
    b.add(kind, params, rounding=0.05)
    b.noise(
        f.GROOVES, float(r.integers(4, 14)), r.uniform(0.02, 0.07), gain=r.uniform(0.8, 1.0), axis=int(r.choice([1, 2]))
    )
    b.noise(f.FBM, r.uniform(1, 2.5), r.uniform(0.03, 0.1), 3, 0.4)
    b.warp[3], b.warp[4] = r.uniform(0.05, 0.15), r.uniform(1, 2)


Families = dict[str, tuple[Callable[[Builder], None], float]]  # by name: what builds it, and its odds

# The families of formats 1 and 2: the bench's path-traced shapes are theirs, so they stay as they are.
CLASSIC: Families = {
    "simple": (simple, 1.2),
    "blob": (blob, 1.2),
    "blocks": (blocks, 1.0),
    "superquadric": (superquadric, 0.7),
    "turned": (turned, 0.8),
    "pottery": (pottery, 1.5),
    "sweep": (sweep, 0.6),
    "polyhedron": (polyhedron, 0.8),
    "figurine": (figurine, 1.8),
    "relief": (relief, 0.8),
    "organic": (organic, 1.1),
    "mechanical": (mechanical, 0.6),
    "scooped": (scooped, 0.9),
    "folds": (folds, 0.6),
}


def _revolved(outline: np.ndarray) -> np.ndarray:
    """Close a half outline (radius, y) into the polygon of a solid of revolution, mirrored about the axis."""
    return np.concatenate([outline, outline[::-1] * [-1, 1]])


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _on_sphere(rng: np.random.Generator, radius: float) -> np.ndarray:
    return radius * _unit(rng.normal(size=3))


def _axis_swap(rng: np.random.Generator) -> np.ndarray:
    """One of three right-angled rotations, so that local y lies along x, y or z."""
    return rotation_to(np.eye(3)[int(rng.integers(0, 3))])


def _lying(rng: np.random.Generator) -> np.ndarray | None:
    return None if rng.random() < 0.7 else random_rotation(rng)
