"""Categories of objects that stand on legs or on a column: chairs and tables (see `synth.solids.categories`)."""

import numpy as np

from maquette.geometry import field as f
from maquette.synth.solids.parts import PartsBuilder, metal, paint, wood


def chair(m: PartsBuilder) -> None:
    """Chairs, armchairs and stools: on four legs, straight or splayed, or on a column; backs of boards or of bars."""
    r = m.rng
    width, depth, seat = r.uniform(0.35, 0.5), r.uniform(0.35, 0.5), r.uniform(-0.25, 0.05)
    thick = r.uniform(0.035, 0.1)
    round_seat = bool(r.random() < 0.25)
    frame, cover = wood(r) if r.random() < 0.6 else metal(r), paint(r)
    m.part("seat", cover)
    if round_seat:
        depth = width
        m.add(f.CYLINDER, (width, thick), (0, seat, 0), rounding=0.02)
    else:
        m.add(f.BOX, (width, thick, depth), (0, seat, 0), rounding=r.uniform(0.01, 0.05))
    m.part("legs", frame)
    inset = 0.68 if round_seat else r.uniform(0.8, 0.95)
    if r.random() < 0.75:
        _legs(m, width * inset, depth * inset, seat, -0.9)
    else:
        _column(m, seat, -0.9, r.uniform(0.3, 0.45))
    if r.random() < 0.9:
        across, behind = (0.72 * width, 0.66 * depth) if round_seat else (width, depth)  # on the seat, not beside it
        _back(m, across, -behind, seat, min(r.uniform(0.35, 0.9), 0.88 - seat), frame, cover)
    if not round_seat and r.random() < 0.4:
        m.part("arms", frame)
        high, bar = seat + r.uniform(0.2, 0.35), r.uniform(0.03, 0.05)
        m.add(f.BOX, (bar, bar, depth * 0.95), (width, high, 0), mirror=True, rounding=0.01)
        m.add(f.BOX, (bar, (high - seat) / 2, bar), (width, (high + seat) / 2, depth * 0.8), mirror=True)
        m.add(f.BOX, (bar, (high - seat) / 2, bar), (width, (high + seat) / 2, -depth * 0.8), mirror=True)


def table(m: PartsBuilder) -> None:
    """Tables and desks: round, square or oblong tops on four legs, two boards or a column; some with a shelf."""
    r = m.rng
    width, depth, top = r.uniform(0.6, 0.9), r.uniform(0.4, 0.75), r.uniform(0.0, 0.5)
    low, thick = max(top - r.uniform(0.5, 1.1), -0.88), r.uniform(0.035, 0.07)
    colour = wood(r) if r.random() < 0.6 else paint(r)
    frame = colour if r.random() < 0.4 else (metal(r) if r.random() < 0.5 else paint(r))
    shape = str(r.choice(["box", "round", "oval"]))
    m.part("top", colour)
    if shape == "box":
        m.add(f.BOX, (width, thick, depth), (0, top, 0), rounding=r.uniform(0.005, 0.03))
    elif shape == "round":
        depth = width = 0.5 * (width + depth)
        m.add(f.CYLINDER, (width, thick), (0, top, 0), rounding=0.01)
    else:
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        outline = np.stack([width * np.cos(turn), depth * np.sin(turn)], 1)
        m.add(f.EXTRUDE, (1.0, thick), (0, top, 0), table=m.profile(outline), rounding=0.01)
    m.part("legs", frame)
    inset = r.uniform(0.85, 0.93) if shape == "box" else 0.62
    style = r.random()
    if style < 0.6:
        _legs(m, width * inset, depth * inset, top, low)
        if r.random() < 0.4:
            m.part("shelf", colour)
            at = low + r.uniform(0.15, 0.4) * (top - low)
            m.add(f.BOX, (width * inset, 0.03, depth * inset), (0, at, 0), rounding=0.005)
    elif style < 0.8 and shape == "box":
        m.add(f.BOX, (0.04, (top - low) / 2, depth * 0.9), (width * inset, (top + low) / 2, 0), mirror=True)
        m.add(f.BOX, (width * inset, (top - low) / 4, 0.03), (0, top - (top - low) / 4, -depth * 0.7))
    else:
        _column(m, top, low, r.uniform(0.35, 0.5))


def _legs(m: PartsBuilder, width: float, depth: float, top: float, low: float) -> None:
    """Four legs, square or round, straight or splayed, perhaps with rungs."""
    r = m.rng
    thick, splay = r.uniform(0.035, 0.06), r.uniform(0, 0.12) * (r.random() < 0.5)
    square = r.random() < 0.5 and splay == 0
    for z in (depth, -depth):
        if square:
            m.add(f.BOX, (thick, (top - low) / 2, thick), (width - thick, (top + low) / 2, z * 0.95), mirror=True)
            continue
        leg = np.array([[width - thick, top, z * 0.95], [width - thick + splay, low, z * 0.95 + np.sign(z) * splay]])
        m.tube(leg, np.array([thick, thick * r.uniform(0.7, 1)]), 0.0, mirror=True)
    if r.random() < 0.35:
        at = low + r.uniform(0.25, 0.5) * (top - low)
        m.add(f.BOX, (0.03, 0.03, depth * 0.95), (width - thick + splay * 0.6, at, 0), mirror=True)


def _column(m: PartsBuilder, top: float, low: float, reach: float) -> None:
    """A column on a disc or on a star of feet."""
    r = m.rng
    thick = r.uniform(0.05, 0.09)
    m.add(f.CYLINDER, (thick, (top - low) / 2), (0, (top + low) / 2, 0))
    if r.random() < 0.5:
        m.add(f.CYLINDER, (reach, 0.035), (0, low + 0.035, 0), blend=0.05, rounding=0.01)
        return
    count = int(r.integers(3, 6))
    for angle in 2 * np.pi * np.arange(count) / count:
        end = np.array([reach * np.sin(angle), low + 0.04, reach * np.cos(angle)])
        m.tube(np.stack([[0, low + r.uniform(0.1, 0.2), 0], end]), np.array([0.05, 0.04]), 0.02)


def _back(
    m: PartsBuilder, width: float, z: float, seat: float, tall: float, frame: np.ndarray, cover: np.ndarray
) -> None:
    """A chair's back: a board, or bars, upright or across, between two posts."""
    r = m.rng
    tilt = r.uniform(0, 0.2)
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    foot = np.array([0, seat - 0.03, z + 0.04])
    style = str(r.choice(["board", "upright", "across"]))

    def at(x: float, y: float) -> np.ndarray:
        return foot + lean @ np.array([x, y, 0])

    m.part("back", cover if style == "board" else frame)
    if style == "board":
        gap = r.uniform(0, 0.25) * (r.random() < 0.4)
        m.add(
            f.BOX,
            (width * 0.95, (tall - gap) / 2, 0.035),
            at(0.0, (tall + gap) / 2),
            lean,
            rounding=r.uniform(0.01, 0.03),
        )
        if gap == 0:
            return
        m.part("posts", frame)
    post = 0.04
    m.add(f.BOX, (post, tall / 2, 0.035), at(width - post, tall / 2), lean, mirror=True, rounding=0.008)
    if style == "upright":
        m.add(f.BOX, (width, 0.05, 0.04), at(0.0, tall), lean, rounding=0.015)
        for x in np.linspace(-width, width, int(r.integers(4, 8)))[1:-1]:
            m.add(f.BOX, (0.03, tall / 2, 0.025), at(x, tall / 2), lean)
    elif style == "across":
        for y in np.linspace(0, tall, int(r.integers(3, 6)))[1:]:
            m.add(f.BOX, (width, r.uniform(0.035, 0.07), 0.03), at(0.0, y), lean, rounding=0.01)
