"""Ranked grasps of a surface: hands that fit around its antipodal pairs.

Around the closing axis of each pair the gripper approaches from several directions, straight in. It is opened as far
as leaves most room between the object's contacts and what stands beside them. A hand is left out where fingers or palm,
all along their straight way in, come nearer to a point of the surface than the least gap.

A grasp's score is the weighted mean of four numbers from 0 to 1, with the weights WEIGHTS (our choice):

    margin      1 - max(theta_1, theta_2) / atan(mu)           how far the contacts are from slipping
    room        1 - width / widest                             how much of the opening is left
    clearance   min(1, gap / (opening / 8))                    gap: least distance of fingers and palm to the object
    centrality  max(0, 1 - |position - center| / radius)       near the center, weight hardly turns what is held

with the surface's center, an average, and its radius, the distance of its furthest point.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from maquette.errors import InputError
from maquette.tools.grasp.gripper import Gripper
from maquette.tools.grasp.pairs import Pairs, antipodal_pairs
from maquette.tools.grasp.surface import GraspSurface

PARTS = ("margin", "room", "clearance", "centrality")
WEIGHTS = {"margin": 0.3, "room": 0.1, "clearance": 0.2, "centrality": 0.4}
DRAWS = 1500
APPROACHES = 12
_FULL_CLEARANCE = 1 / 8  # of the opening
_DIGITS = 4  # of a score; among equals the one with the larger gap comes first
_APART_RAD = math.radians(45)  # two grasps are distinct if they differ by this in an axis, or by ...
_APART = 0.15  # of the object's radius in place


@dataclass(frozen=True)
class Grasp:
    """Where to put the gripper; lengths in scene units, in the surface's frame.

    Attributes:
        position: the middle of the contacts, where the origin of the gripper goes.
        rotation: the gripper's axes as columns: closing axis, approach x closing, approach.
        width: between the contacts.
        opening: between the pads, to be set before the approach.
        contacts: both places, the pad at -x first.
        normals: the surface's outward unit normals there.
        angles_rad: between the closing axis and the normals.
        gap: the least distance of fingers and palm to the object before closing.
        score: the weighted mean of `parts`, 0 to 1, to four digits.
        parts: by the names in PARTS.
    """

    position: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    width: float
    opening: float
    contacts: Float[np.ndarray, "2 3"]
    normals: Float[np.ndarray, "2 3"]
    angles_rad: tuple[float, float]
    gap: float
    score: float
    parts: dict[str, float]

    @property
    def closing(self) -> Float[np.ndarray, "3"]:
        """The axis along which the fingers close."""
        return self.rotation[:, 0]

    @property
    def approach(self) -> Float[np.ndarray, "3"]:
        """The direction in which the gripper moves in."""
        return self.rotation[:, 2]


@dataclass(frozen=True)
class Plan:
    """Grasps, the best first, and what became of the others.

    Attributes:
        grasps: distinct ones, at most as many as were asked for.
        fitting: hands that hold and fit, distinct or not.
        rejected: what came to nothing, by the reason: lines, pairs of contacts, and hands (pairs times approaches).
        unit_mm: how many millimetres a scene unit is.
    """

    grasps: tuple[Grasp, ...]
    fitting: int
    rejected: dict[str, int]
    unit_mm: float


def find_grasps(
    surface: GraspSurface,
    gripper: Gripper,
    unit_mm: float,
    *,
    friction: float = 0.5,
    count: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
    weights: Mapping[str, float] = WEIGHTS,
) -> Plan:
    """Grasps of a surface, ranked; the module's page gives the equations. The same seed gives the same ones.

    Args:
        surface: of the object.
        gripper: in millimetres.
        unit_mm: how many of them a unit of the surface is.
        friction: mu, between fingers and object.
        count: of distinct grasps.
        draws: lines through the object that are tried.
        seed: of the draws.
        weights: of the parts of the score, by the names in PARTS.

    Raises:
        InputError: a number out of its range.
    """
    for name, value, most in (("unit_mm", unit_mm, math.inf), ("friction", friction, 10.0)):
        if not 0 < value < math.inf or value > most:
            raise InputError(f"{name} is {value}; it must lie above 0" + (f", up to {most:g}" if most < 1e9 else ""))
    if count < 1 or draws < 1:
        raise InputError(f"count is {count} and draws {draws}; both must be 1 or more")
    mm = 1 / unit_mm
    pairs = antipodal_pairs(surface, friction, gripper.least_width_mm * mm, gripper.widest_mm * mm, draws, seed)
    rejected = pairs.rejected | {"fingers meet the object": 0, "palm meets the object": 0}
    obstacles = _obstacles(surface, gripper.finger_width_mm * mm / 2)
    blur = surface.spacing / 2
    found = [_hands(pairs, k, obstacles, gripper, mm, blur, rejected) for k in range(len(pairs.widths))]
    hands = (
        _Hands(*(np.concatenate([getattr(some, name) for some in found]) for name in _Hands._fields)) if found else None
    )
    if hands is None or len(hands.pair) == 0:
        return Plan((), 0, rejected, unit_mm)
    parts = _parts(pairs, hands, math.atan(friction), gripper, mm, surface)
    scores = sum((weights[name] * parts[name] for name in PARTS), np.zeros(len(hands.pair)))
    # Rounded, or the last bits of a turned splat would decide between hands that are equally good.
    scores = scores.round(_DIGITS)
    ranked = np.lexsort((-(hands.gap / surface.radius).round(_DIGITS), -scores))
    chosen = _distinct(pairs, hands, ranked, count, _APART * surface.radius)
    grasps = tuple(
        _grasp(pairs, hands, k, float(scores[k]), {name: float(parts[name][k]) for name in PARTS}) for k in chosen
    )
    return Plan(grasps, len(ranked), rejected, unit_mm)


class _Hands(NamedTuple):
    """Hands that fit: the number of the pair, the approach (n, 3), the opening and the gap."""

    pair: np.ndarray
    approach: np.ndarray
    opening: np.ndarray
    gap: np.ndarray


def _obstacles(surface: GraspSurface, half_finger: float) -> np.ndarray:
    """The points, and the rims of those pieces between whose middles a finger would slip through."""
    spread = [surface.points]
    for k in range(2):
        wide = surface.reach[:, k] > half_finger
        along = surface.axes[wide, k] * surface.reach[wide, k : k + 1]
        spread += [surface.points[wide] + along, surface.points[wide] - along]
    return np.concatenate(spread)


def _hands(
    pairs: Pairs, number: int, obstacles: np.ndarray, gripper: Gripper, mm: float, blur: float, rejected: dict[str, int]
) -> _Hands:
    """The hands of one pair that fit; counts those that don't.

    Args:
        pairs, number: which pair.
        obstacles: (n, 3) what is in the way.
        gripper: in millimetres.
        mm: scene units per millimetre.
        blur: how far the surface may reach beyond its points.
        rejected: by the reason; added to.
    """
    least = gripper.least_gap_mm * mm
    span = pairs.contacts[number, 1] - pairs.contacts[number, 0]
    width = float(np.linalg.norm(span))
    closing, held = span / width, width / 2
    first = pairs.tangents[number] - closing * (closing @ pairs.tangents[number])
    first /= np.linalg.norm(first)
    second = np.cross(closing, first)
    offsets = obstacles - pairs.contacts[number].mean(0)
    away = np.abs(offsets @ closing)
    # What lies further out lets the pads open all the way and leaves them more room than there is inside.
    offsets, away = (part[away <= (gripper.opening_mm + gripper.finger_thickness_mm) * mm] for part in (offsets, away))
    p, q = offsets @ first, offsets @ second
    angle = 2 * math.pi * np.arange(APPROACHES)[:, None] / APPROACHES
    y, z = np.sin(angle) * p - np.cos(angle) * q, np.cos(angle) * p + np.sin(angle) * q
    finger_gap, half = _finger_gap(away, y, z, held, gripper, mm, blur)
    palm = (away < gripper.opening_mm * mm / 2 + gripper.finger_thickness_mm * mm + least) & (
        np.abs(y) < gripper.palm_width_mm * mm / 2 + least + blur
    )
    palm_gap = np.where(palm, z, np.inf).min(1) + gripper.finger_length_mm * mm
    rejected["fingers meet the object"] += int((finger_gap < least).sum())
    rejected["palm meets the object"] += int(((finger_gap >= least) & (palm_gap < least)).sum())
    gap = np.minimum(finger_gap, palm_gap)
    fits = np.flatnonzero(gap >= least)
    approach = np.cos(angle[fits]) * first + np.sin(angle[fits]) * second
    return _Hands(np.full(len(fits), number), approach, 2 * half[fits], gap[fits])


def _finger_gap(
    away: np.ndarray, y: np.ndarray, z: np.ndarray, held: float, gripper: Gripper, mm: float, blur: float
) -> tuple[np.ndarray, np.ndarray]:
    """The least distance of the opened fingers to the object, and half the opening that makes it largest.

    What lies in the fingers' way in, no further out than a contact and some slack, is what is held: up to q_0 from the
    middle. What lies further out begins at q_1. With fingers of thickness T the pads open to
    h = min(opening / 2, (q_0 + q_1 - T) / 2), and the gap is min(h - q_0, q_1 - T - h).

    Args:
        away: (n,) distance of the points from the middle along the closing axis.
        y, z: (approaches, n) the points along the gripper's other axes.
        held: half the width.
        gripper, mm, blur: as for `_hands`.
    """
    room = gripper.least_gap_mm * mm + blur
    in_way = (np.abs(y) < gripper.finger_width_mm * mm / 2 + room) & (z < gripper.tip_mm * mm + room)
    inner = away <= held + gripper.least_gap_mm * mm
    q_0 = np.maximum(np.where(in_way & inner, away, 0).max(1), held)
    q_1 = np.where(in_way & ~inner, away, np.inf).min(1)
    thickness = gripper.finger_thickness_mm * mm
    half = np.minimum(gripper.opening_mm * mm / 2, (q_0 + q_1 - thickness) / 2)
    return np.minimum(half - q_0, q_1 - thickness - half), half


def _parts(
    pairs: Pairs, hands: _Hands, cone: float, gripper: Gripper, mm: float, surface: GraspSurface
) -> dict[str, np.ndarray]:
    """The four numbers of the score, of every hand."""
    away = np.linalg.norm(pairs.contacts.mean(1) - surface.center, axis=1)
    ample = gripper.opening_mm * mm * _FULL_CLEARANCE
    return {
        "margin": (1 - pairs.angles_rad.max(1) / cone)[hands.pair],
        "room": (1 - pairs.widths / (gripper.widest_mm * mm))[hands.pair],
        "clearance": np.minimum(1, hands.gap / ample),
        "centrality": np.maximum(0, 1 - away / surface.radius)[hands.pair],
    }


def _distinct(pairs: Pairs, hands: _Hands, ranked: np.ndarray, count: int, apart: float) -> list[int]:
    """The best ones, each in another place or turned another way than all better ones."""
    places, closing = pairs.contacts.mean(1)[hands.pair], pairs.closing[hands.pair]
    least = math.cos(_APART_RAD)
    chosen: list[int] = []
    left = ranked
    while len(left) and len(chosen) < count:
        best = int(left[0])
        chosen.append(best)
        alike = (
            (np.linalg.norm(places[left] - places[best], axis=1) < apart)
            & (np.abs(closing[left] @ closing[best]) > least)
            & (hands.approach[left] @ hands.approach[best] > least)
        )
        left = left[~alike]
    return chosen


def _grasp(pairs: Pairs, hands: _Hands, k: int, score: float, parts: dict[str, float]) -> Grasp:
    number, approach = int(hands.pair[k]), hands.approach[k]
    closing, angles = pairs.closing[number], pairs.angles_rad[number]
    return Grasp(
        pairs.contacts[number].mean(0),
        np.stack([closing, np.cross(approach, closing), approach], 1),
        float(pairs.widths[number]),
        float(hands.opening[k]),
        pairs.contacts[number],
        pairs.normals[number],
        (float(angles[0]), float(angles[1])),
        float(hands.gap[k]),
        score,
        parts,
    )
