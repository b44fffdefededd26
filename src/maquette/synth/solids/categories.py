"""Categories of objects: cups, bottles, chairs and others, each a parametric family of named, coloured parts.

An object is composed of the primitives of `maquette.geometry.field` in the object frame (within [-1, 1]^3, y up, front
towards +z), as `synth.solids.families` composes its solids; but its parts are kept apart, so that a point of the
surface takes the colour of the part that it is nearest to.

Every draw counts: another one, or the same ones in another order, gives other objects to the same seed, and is another
format of `maquette.synth.datasets.multiview.spec`.
"""

from collections.abc import Callable

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.builder import rotation_to, smooth_curve
from maquette.synth.solids.furniture import chair, table
from maquette.synth.solids.parts import PartsBuilder, Thing, metal, paint, wood

_LYING_X, _LYING_Z = rotation_to(np.array([1.0, 0, 0])), rotation_to(np.array([0, 0, 1.0]))


def sample_thing(category: str, rng: np.random.Generator) -> Thing:
    """An object of one of `CATEGORIES`."""
    m = PartsBuilder(rng)
    CATEGORIES[category](m)
    return m.thing()


def cup(m: PartsBuilder) -> None:
    """Mugs, tumblers and beakers: tapered or bellied, with a round, a square or no handle, some with a band."""
    r = m.rng
    half, radius, wall = r.uniform(0.4, 0.8), r.uniform(0.36, 0.58), r.uniform(0.05, 0.08)
    taper, belly = r.uniform(-0.12, 0.3), r.uniform(0, 0.2) * (r.random() < 0.5)
    s = np.linspace(0, 1, 12)
    outline = np.stack([radius * (1 + taper * (s - 0.5) + belly * np.sin(np.pi * s)), half * (2 * s - 1)], 1)
    colour = paint(r)
    m.part("body", colour)
    m.vessel(outline, wall, paint(r) if r.random() < 0.5 else None)
    if r.random() < 0.7:
        m.part("handle", colour if r.random() < 0.6 else paint(r))
        low, high = r.uniform(-0.7, -0.35) * half, r.uniform(0.3, 0.75) * half
        reach, thick = r.uniform(0.2, 0.34), r.uniform(0.04, 0.065)
        root = np.interp([low, high], outline[:, 1], outline[:, 0]) + thick - wall * 0.7  # in the wall, not through it
        reach = min(reach, 0.86 - float(root.max()))
        corners = [[root[0], low, 0], [root[0] + reach, low, 0], [root[1] + reach, high, 0], [root[1], high, 0]]
        square = r.random() < 0.35
        path = np.array(corners) if square else smooth_curve(np.array(corners), 10)
        m.tube(path, np.full(len(path), thick), 0.02)
    if r.random() < 0.4:
        _band(m, outline, *np.sort(r.uniform(0.1, 0.9, 2)))


def bowl(m: PartsBuilder) -> None:
    """Bowls and dishes, flat to deep, with a foot or none."""
    r = m.rng
    depth, width, wall = r.uniform(0.25, 0.6), r.uniform(0.65, 0.9), r.uniform(0.05, 0.08)
    s = np.linspace(0, 1, 14)
    foot = r.uniform(0.25, 0.5) * width
    radius = foot + (width - foot) * s ** r.uniform(0.35, 1.0)
    colour = paint(r)
    m.part("body", colour)
    outline = np.stack([radius, depth * (2 * s - 1)], 1)
    m.vessel(outline, wall, paint(r) if r.random() < 0.6 else None)
    if r.random() < 0.6:
        m.part("foot", colour if r.random() < 0.5 else paint(r))
        high = r.uniform(0.03, 0.12)
        m.add(f.CYLINDER, (foot * r.uniform(0.7, 0.95), high), (0, -depth - 0.6 * high, 0), rounding=0.01)
    if r.random() < 0.3:
        _band(m, outline, 0.8, 0.97)


def bottle(m: PartsBuilder) -> None:
    """Round and square bottles, flasks and jars: shoulder, neck, cap, some with a label or a pump."""
    r = m.rng
    top, radius = r.uniform(0.6, 0.75), r.uniform(0.22, 0.45)
    shoulder, neck = r.uniform(-0.1, 0.4), r.uniform(0.08, 0.7 * radius)
    collar = r.uniform(shoulder + 0.12, top - 0.08)
    waist = radius * r.uniform(0.8, 1.0)
    m.part("body", paint(r))
    if r.random() < 0.3:
        depth = radius * r.uniform(0.5, 1)
        m.add(f.BOX, (radius, (shoulder + 0.9) / 2 - 0.04, depth), (0, (shoulder - 0.9) / 2, 0), rounding=0.04)
        m.add(f.CONE, (depth, neck, (collar - shoulder) / 2), (0, (collar + shoulder) / 2, 0), blend=0.05)
    else:
        knots = np.array([[radius, -0.9], [waist, (shoulder - 0.9) / 2], [radius, shoulder], [neck, collar]])
        outline = np.concatenate([[[0, -0.9]], smooth_curve(knots, 18), [[neck, top], [0, top]]])
        outline[:, 0] = np.clip(outline[:, 0], 0, 0.9)
        m.lathe(outline)
        if r.random() < 0.55:
            m.part("label", paint(r))
            low, high = np.sort(r.uniform(-0.75, shoulder - 0.1, 2))
            band = outline[(outline[:, 0] > 0) & (outline[:, 1] <= shoulder)]
            wide = float(np.interp((low + high) / 2, band[:, 1], band[:, 0]))
            m.add(f.CYLINDER, (max(wide, radius * 0.9) + 0.012, max((high - low) / 2, 0.06)), (0, (low + high) / 2, 0))
    m.add(f.CYLINDER, (neck, (top - collar) / 2 + 0.03), (0, (top + collar) / 2, 0))
    if r.random() < 0.85:
        m.part("cap", paint(r))
        tall = r.uniform(0.05, 0.12)
        m.add(f.CYLINDER, (neck + r.uniform(0.02, 0.06), tall), (0, top, 0), rounding=0.012)
        if r.random() < 0.2:  # a pump
            m.add(f.CYLINDER, (0.04, 0.06), (0, top + tall, 0))
            m.tube(np.array([[0, top + tall + 0.04, 0], [0.28, top + tall + 0.02, 0]]), np.array([0.06, 0.04]), 0.02)


def car(m: PartsBuilder) -> None:
    """Saloons, hatchbacks, vans, coupes and pick-ups, the front towards +z: body, cabin, wheels, lights."""
    r = m.rng
    style = str(r.choice(["saloon", "hatch", "van", "coupe", "pickup"]))
    long, wide = 0.9, r.uniform(0.34, 0.42)
    belt, ground = r.uniform(0.0, 0.1), -0.24
    roof = belt + {"saloon": 0.22, "hatch": 0.25, "van": 0.33, "coupe": 0.17, "pickup": 0.24}[style] * r.uniform(
        0.9, 1.1
    )
    hood = belt - r.uniform(0.02, 0.1)
    colour = paint(r)
    m.part("body", colour)
    back, nose = belt - r.uniform(0, 0.08), [[long, hood - 0.08], [long * 0.93, hood - 0.01]]
    side = [[-long, ground], [long, ground], *nose, [0.35, belt], [-0.8, belt], [-long, back]]
    _profile_along_z(m, np.array(side), wide - 0.03, 0.03)
    wheel, axle = r.uniform(0.15, 0.19), r.uniform(0.52, 0.6)
    for at in (axle, -axle):
        m.add(f.CYLINDER, (wheel + 0.025, 0.13), (wide, ground, at), _LYING_X, operation=f.SUBTRACT, mirror=True)
    front = {"saloon": 0.38, "hatch": 0.42, "van": 0.68, "coupe": 0.3, "pickup": 0.4}[style]
    rear = {"saloon": -0.58, "hatch": -0.8, "van": -0.86, "coupe": -0.72, "pickup": -0.12}[style]
    rake, tail = r.uniform(0.14, 0.26), {"saloon": 0.2, "hatch": 0.1, "van": 0.03, "coupe": 0.34, "pickup": 0.05}[style]
    m.part("windows", np.array([0.02, 0.025, 0.03]) * r.uniform(0.6, 3))
    glass = [[rear, belt - 0.03], [front, belt - 0.03], [front - rake, roof], [rear + tail, roof]]
    _profile_along_z(m, np.array(glass), wide * 0.86, 0.01)
    m.part("roof", colour if r.random() < 0.8 else paint(r))
    middle, half = (front - rake + rear + tail) / 2, (front - rake - rear - tail) / 2
    m.add(f.BOX, (wide * 0.84, 0.025, max(half, 0.08)), (0, roof, middle), rounding=0.015)
    for at in np.linspace(front - rake, rear + tail, int(r.integers(2, 4))):  # pillars
        m.add(f.BOX, (0.02, (roof - belt) / 2, 0.025), (wide * 0.86, (roof + belt) / 2, at), mirror=True)
    m.part("tyres", np.full(3, r.uniform(0.015, 0.04)))
    for at in (axle, -axle):
        m.add(f.CYLINDER, (wheel, 0.06), (wide - 0.05, ground, at), _LYING_X, mirror=True, rounding=0.01)
    m.part("hubs", metal(r))
    for at in (axle, -axle):
        m.add(f.CYLINDER, (wheel * r.uniform(0.5, 0.7), 0.08), (wide - 0.05, ground, at), _LYING_X, mirror=True)
        m.add(f.CYLINDER, (0.04, wide), (0, ground, at), _LYING_X)  # the axle holds the wheels to the body
    m.part("head lights", np.array([0.85, 0.85, 0.75]))
    m.add(f.ELLIPSOID, (0.07, 0.045, 0.03), (wide * 0.7, hood - 0.11, long + 0.01), mirror=True)
    m.part("tail lights", np.array([0.55, 0.02, 0.02]))
    m.add(f.BOX, (0.06, 0.035, 0.02), (wide * 0.75, belt - 0.11, -long - 0.01), mirror=True)
    if r.random() < 0.5:
        m.part("bumpers", np.full(3, r.uniform(0.03, 0.4)))
        m.add(f.BOX, (wide * 0.95, 0.04, 0.03), (0, ground + 0.06, long), rounding=0.02)
        m.add(f.BOX, (wide * 0.95, 0.04, 0.03), (0, ground + 0.06, -long), rounding=0.02)


def lamp(m: PartsBuilder) -> None:
    """Table, floor and desk lamps: a foot, a stem that is straight, turned or bent, and a shade or a globe."""
    r = m.rng
    frame, high = metal(r) if r.random() < 0.5 else paint(r), r.uniform(0.15, 0.38)
    style = str(r.choice(["straight", "turned", "bent"]))
    lean = r.uniform(0.2, 0.45) if style == "bent" else 0.0
    tall, wide, wall = r.uniform(0.18, 0.32), r.uniform(0.28, 0.5), 0.05
    m.part("shade", paint(r))
    if r.random() < 0.25:
        m.add(f.SPHERE, (min(wide, 0.36),), (lean, high + 0.2, 0))
    else:
        narrow = wide * r.uniform(0.35, 0.95)
        m.add(f.CONE, (wide, narrow, tall), (lean, high + 0.1, 0))
        m.add(f.CONE, (wide - wall, narrow - wall, tall + 0.01), (lean, high + 0.1 - wall, 0), operation=f.SUBTRACT)
        m.part("bulb", np.array([0.9, 0.88, 0.8]))
        m.tube(np.array([[lean, high - 0.05, 0], [lean, high + 0.1 + tall - wall / 2, 0]]), np.full(2, 0.045), 0.0)
        m.add(f.SPHERE, (min(0.1, narrow * 0.6),), (lean, high + 0.05, 0))
    m.part("stem", frame if r.random() < 0.6 else paint(r))
    if style == "turned":
        knots = np.stack([r.uniform(0.05, 0.26, 5) * [1, 1, 1, 0.6, 0.4], np.linspace(-0.86, high, 5)], 1)
        outline = smooth_curve(knots, 20)
        outline[:, 0] = np.clip(outline[:, 0], 0.04, 0.4)
        m.lathe(np.concatenate([[[0, -0.86]], outline, [[0, high]]]))
    else:
        elbow = [-r.uniform(0.1, 0.35) if lean else 0.0, r.uniform(-0.3, 0.1), 0]
        path = np.array([[0, -0.86, 0], elbow, [lean, high, 0]])
        m.tube(path, np.full(3, r.uniform(0.035, 0.06)), 0.02)
    m.part("foot", frame)
    foot = r.uniform(0.25, 0.42)
    m.add(f.CONE, (foot, foot * r.uniform(0.5, 1), 0.04), (0, -0.86, 0), rounding=0.01)


def hammer(m: PartsBuilder) -> None:
    """Claw, cross-peen and sledge hammers and mallets, standing on their handles."""
    r = m.rng
    top, thick = r.uniform(0.45, 0.7), r.uniform(0.05, 0.09)
    m.part("handle", wood(r) if r.random() < 0.6 else paint(r))
    swell = r.uniform(0.8, 1.3, 4)
    path = np.stack([np.zeros(4), np.linspace(-0.85, top, 4), np.zeros(4)], 1)
    m.tube(path, thick * swell, 0.03)
    if r.random() < 0.5:
        m.part("grip", paint(r))
        m.add(f.CAPSULE, (thick * 1.35, thick * 1.25, r.uniform(0.2, 0.32)), (0, -0.55, 0))
    style = str(r.choice(["claw", "peen", "sledge", "mallet"]))
    m.part("head", wood(r) if style == "mallet" and r.random() < 0.5 else metal(r))
    size, reach = r.uniform(0.11, 0.17), r.uniform(0.28, 0.45)
    if style in ("sledge", "mallet"):
        if r.random() < 0.5:
            m.add(f.CYLINDER, (size * 1.3, reach), (0, top, 0), _LYING_Z, rounding=0.015)
        else:
            m.add(f.BOX, (size, size * 1.1, reach), (0, top, 0), rounding=0.03)
        return
    m.add(f.BOX, (size * 0.8, size * 0.8, size), (0, top, 0), rounding=0.02)
    m.add(f.CYLINDER, (size * 0.6, reach / 2), (0, top, reach / 2), _LYING_Z, blend=0.04)
    m.add(f.CYLINDER, (size * r.uniform(0.85, 1.1), 0.06), (0, top, reach), _LYING_Z, blend=0.02, rounding=0.01)
    if style == "peen":
        m.add(
            f.CONE,
            (size, 0.03, reach / 2),
            (0, top, -reach / 2 - 0.03),
            rotation_to(np.array([0, 0, -1.0])),
            blend=0.03,
        )
    else:
        drop = r.uniform(0.05, 0.25)
        prong = np.array([[0.06, top, -0.05], [0.09, top + 0.02, -reach * 0.6], [0.1, top - drop, -reach * 1.1]])
        m.tube(prong, np.array([0.07, 0.055, 0.03]), 0.02, mirror=True)


def screwdriver(m: PartsBuilder) -> None:
    """Screwdrivers and nut drivers, standing on their handles: grips turned or fluted, blades flat or round."""
    r = m.rng
    split, tip, thick = r.uniform(-0.2, 0.2), 0.88, r.uniform(0.035, 0.06)
    grip = r.uniform(0.12, 0.24)
    m.part("grip", paint(r))
    knots = np.stack([grip * r.uniform(0.65, 1.1, 5), np.linspace(-0.85, split, 5)], 1)
    m.lathe(np.concatenate([[[0, -0.85]], np.clip(smooth_curve(knots, 18), [0.05, -1], [0.4, 1]), [[0, split]]]))
    if r.random() < 0.5:
        count = int(r.integers(4, 8))
        for angle in 2 * np.pi * np.arange(count) / count:
            groove = (1.15 * grip * np.cos(angle), (split - 0.85) / 2, 1.15 * grip * np.sin(angle))
            m.add(f.CYLINDER, (grip * 0.35, 0.35 * (split + 0.85)), groove, operation=f.SUBTRACT, blend=0.02)
    if r.random() < 0.6:
        m.part("collar", paint(r))
        m.add(f.CYLINDER, (grip * r.uniform(0.7, 1.05), r.uniform(0.03, 0.1)), (0, split, 0), rounding=0.01)
    m.part("shaft", metal(r))
    m.add(f.CYLINDER, (thick, (tip - split) / 2), (0, (tip + split) / 2, 0))
    style = str(r.choice(["flat", "cross", "nut"]))
    if style == "flat":
        m.add(f.BOX, (thick * r.uniform(1.3, 2), 0.09, 0.022), (0, tip - 0.05, 0), blend=0.03)
    elif style == "cross":
        m.add(f.CONE, (thick * 1.1, 0.02, 0.06), (0, tip, 0))
    else:
        m.add(f.CYLINDER, (thick * r.uniform(1.6, 2.4), 0.1), (0, tip - 0.1, 0), rounding=0.01)


def wrench(m: PartsBuilder) -> None:
    """Spanners standing upright: open or ring ends, alike or not, with or without a grip."""
    r = m.rng
    flat, half = r.uniform(0.045, 0.08), r.uniform(0.05, 0.09)
    m.part("steel", metal(r))
    m.add(f.BOX, (half, 0.62, flat), (0, 0, 0), rounding=0.02)
    cuts = []
    for end in (1, -1):
        size, kind = r.uniform(0.17, 0.26), str(r.choice(["open", "ring", "none"], p=[0.5, 0.35, 0.15]))
        at = end * (0.88 - size)
        if kind == "none" and end == -1:
            m.add(f.CYLINDER, (half * 1.2, flat), (0, at, 0), _LYING_Z, rounding=0.02)
            cuts.append((f.CYLINDER, (half * 0.5, 0.3), (0, at, 0), _LYING_Z))
            continue
        m.add(f.CYLINDER, (size, flat * r.uniform(1.0, 1.3)), (0, at, 0), _LYING_Z, blend=0.06)
        if kind == "open":
            lean = r.uniform(-0.3, 0.3)
            axis = np.array([np.sin(lean), end * np.cos(lean), 0])
            cuts.append(
                (f.BOX, (0.3, size * 0.85, size * 0.5), np.array([0, at, 0]) + axis * size * 0.8, rotation_to(axis))
            )
        else:
            cuts.append((f.CYLINDER, (size * r.uniform(0.5, 0.65), 0.3), (0, at, 0), _LYING_Z))
    for kind, params, at, turn in cuts:
        m.add(kind, params, at, turn, operation=f.SUBTRACT)
    if r.random() < 0.4:
        m.part("grip", paint(r))
        m.add(f.BOX, (half * 1.15, r.uniform(0.2, 0.4), flat * 1.25), (0, 0, 0), rounding=0.03)


CATEGORIES: dict[str, Callable[[PartsBuilder], None]] = {
    "bottle": bottle,
    "bowl": bowl,
    "car": car,
    "chair": chair,
    "cup": cup,
    "hammer": hammer,
    "lamp": lamp,
    "screwdriver": screwdriver,
    "table": table,
    "wrench": wrench,
}


def _band(m: PartsBuilder, outline: np.ndarray, low: float, high: float) -> None:
    """A painted ring around a vessel, between two shares of its height."""
    m.part("band", paint(m.rng))
    y = outline[0, 1] + np.linspace(low, max(high, low + 0.08), 6) * (outline[-1, 1] - outline[0, 1])
    y = np.minimum(y, outline[-1, 1] - 0.02)
    radius = np.interp(y, outline[:, 1], outline[:, 0])
    m.lathe(np.concatenate([np.stack([radius + 0.012, y], 1), np.stack([radius - 0.02, y], 1)[::-1]]), 0.0)


def _profile_along_z(m: PartsBuilder, side: np.ndarray, half_width: float, rounding: float) -> None:
    """Extrude an outline (z, y) across x."""
    # The extrusion's own axes x, y, z become z, x and y of the object.
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    m.add(f.EXTRUDE, (1.0, half_width), rotation=turn, table=m.profile(side), rounding=rounding)
