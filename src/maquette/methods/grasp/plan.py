"""Ranked grasps of a surface: hands that fit around its antipodal pairs.

Around the closing axis of each pair the gripper approaches from several directions, straight in. It is opened as far as
leaves most room between the object's contacts and what stands beside them. A hand is left out where fingers or palm, all
along their straight way in, come nearer to a point of the surface than the least gap.

A grasp's score is the weighted mean of four numbers from 0 to 1, with the weights WEIGHTS (our choice, measured on
objects that the benchmark doesn't use):

    margin      1 - max(theta_1, theta_2) / atan(mu)        how far the contacts are from slipping
    room        1 - width / widest                          how much of the opening is left
    clearance   min(1, gap / (opening / 8))                 gap: the least distance of fingers and palm to the object
    centrality  max(0, 1 - 2 |position - center| / diagonal)   weight that doesn't turn the object in the fingers
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from maquette.errors import InputError
from maquette.methods.grasp.gripper import Gripper
from maquette.methods.grasp.pairs import Pairs, antipodal_pairs
from maquette.methods.grasp.surface import Surface

PARTS = ("margin", "room", "clearance", "centrality")
WEIGHTS = {"margin": 0.3, "room": 0.1, "clearance": 0.2, "centrality": 0.4}
DRAWS = 1500
APPROACHES = 12
_FULL_CLEARANCE = 1 / 8  # of the opening
_APART_RAD = math.radians(30)  # two grasps are distinct if they differ by this in an axis, or by ...
_APART = 0.08  # of the diagonal in place


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
        score: the weighted mean of `parts`, 0 to 1.
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
    surface: Surface,
    gripper: Gripper,
    unit_mm: float,
    *,
    friction: float = 0.5,
    count: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
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
    center, diagonal = surface.center, surface.diagonal
    found: list[Grasp] = []
    for number in range(len(pairs.widths)):
        found += _hands(pairs, number, obstacles, gripper, mm, surface.spacing / 2, rejected)
    limits = (math.atan(friction), gripper.widest_mm * mm, gripper.opening_mm * mm * _FULL_CLEARANCE)
    ranked = sorted((_scored(grasp, *limits, center, diagonal) for grasp in found), key=lambda grasp: -grasp.score)
    return Plan(tuple(_distinct(ranked, count, _APART * diagonal)), len(ranked), rejected, unit_mm)


def _obstacles(surface: Surface, half_finger: float) -> np.ndarray:
    """The points, and the rims of those pieces between whose middles a finger would slip through."""
    spread = [surface.points]
    for k in range(2):
        wide = surface.reach[:, k] > half_finger
        along = surface.axes[wide, k] * surface.reach[wide, k : k + 1]
        spread += [surface.points[wide] + along, surface.points[wide] - along]
    return np.concatenate(spread)


def _hands(
    pairs: Pairs, number: int, obstacles: np.ndarray, gripper: Gripper, mm: float, blur: float, rejected: dict[str, int]
) -> list[Grasp]:
    """The grasps of one pair whose hand fits, not yet scored; counts those that don't.

    Args:
        pairs, number: which pair.
        obstacles: (n, 3) what is in the way.
        gripper: in millimetres.
        mm: scene units per millimetre.
        blur: how far the surface may reach beyond its points.
        rejected: by the reason; added to.
    """
    least = gripper.least_gap_mm * mm
    contacts, closing, width = pairs.contacts[number], pairs.closing[number], float(pairs.widths[number])
    position = contacts.mean(0)
    first = pairs.tangents[number] - closing * (closing @ pairs.tangents[number])
    first /= np.linalg.norm(first)
    second = np.cross(closing, first)
    offsets = obstacles - position
    x, p, q = offsets @ closing, offsets @ first, offsets @ second
    angle = 2 * math.pi * np.arange(APPROACHES)[:, None] / APPROACHES
    y, z = np.sin(angle) * p - np.cos(angle) * q, np.cos(angle) * p + np.sin(angle) * q
    finger_gap, half = _finger_gap(np.abs(x), y, z, width / 2, gripper, mm, blur)
    palm = (np.abs(x) < gripper.opening_mm * mm / 2 + gripper.finger_thickness_mm * mm + least) & (
        np.abs(y) < gripper.palm_width_mm * mm / 2 + least + blur
    )
    palm_gap = np.where(palm, z, np.inf).min(1) + gripper.finger_length_mm * mm
    rejected["fingers meet the object"] += int((finger_gap < least).sum())
    rejected["palm meets the object"] += int(((finger_gap >= least) & (palm_gap < least)).sum())
    hands = []
    for k in np.flatnonzero(np.minimum(finger_gap, palm_gap) >= least):
        approach = np.cos(angle[k]) * first + np.sin(angle[k]) * second
        hands.append(
            Grasp(
                position,
                np.stack([closing, np.cross(approach, closing), approach], 1),
                width,
                2 * float(half[k]),
                contacts,
                pairs.normals[number],
                (float(pairs.angles_rad[number, 0]), float(pairs.angles_rad[number, 1])),
                float(min(finger_gap[k], palm_gap[k])),
                0.0,
                {},
            )
        )
    return hands


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


def _scored(grasp: Grasp, cone: float, widest: float, ample: float, center: np.ndarray, diagonal: float) -> Grasp:
    away = float(np.linalg.norm(grasp.position - center))
    parts = {
        "margin": 1 - max(grasp.angles_rad) / cone,
        "room": 1 - grasp.width / widest,
        "clearance": min(1.0, grasp.gap / ample),
        "centrality": max(0.0, 1 - 2 * away / diagonal),
    }
    return replace(grasp, parts=parts, score=sum(WEIGHTS[name] * parts[name] for name in PARTS))


def _distinct(ranked: list[Grasp], count: int, apart: float) -> list[Grasp]:
    """The best ones, each in another place or turned another way than all better ones."""
    chosen: list[Grasp] = []
    least = math.cos(_APART_RAD)
    for grasp in ranked:
        alike = any(
            np.linalg.norm(grasp.position - other.position) < apart
            and abs(grasp.closing @ other.closing) > least
            and grasp.approach @ other.approach > least
            for other in chosen
        )
        if not alike:
            chosen.append(grasp)
            if len(chosen) == count:
                break
    return chosen
