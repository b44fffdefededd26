"""Objects of named, coloured parts: a builder that keeps them apart, and whose part a point of the surface is.

What a part carves, it carves out of all that came before. Object frame: within [-1, 1]^3, y up, front towards +z.
"""

from typing import NamedTuple

import numpy as np

from maquette.geometry import field as f
from maquette.geometry.field_points import evaluate_at
from maquette.synth.solids.builder import Builder


class Part(NamedTuple):
    """A part of an object: its name, its own field, its linear albedo (3,)."""

    name: str
    field: f.SolidField
    albedo: np.ndarray


class Thing(NamedTuple):
    """An object: the field of all of it, and its parts."""

    field: f.SolidField
    parts: tuple[Part, ...]


class PartsBuilder(Builder):
    """A builder that keeps its rows apart by parts; `part` begins the next one."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.begun: list[tuple[str, np.ndarray, int]] = []

    def part(self, name: str, albedo: np.ndarray) -> None:
        """What is added from here on is of this part."""
        self.begun.append((name, albedo, len(self.rows)))

    def thing(self) -> Thing:
        """Pack; parts without a primitive are left out."""
        whole = self.build()
        ends = [first for _, _, first in self.begun[1:]] + [len(self.rows)]
        parts = [
            Part(name, whole.only(first, end), albedo)
            for (name, albedo, first), end in zip(self.begun, ends, strict=True)
            if end > first
        ]
        return Thing(whole, tuple(parts))

    def lathe(self, outline: np.ndarray, rounding: float = 0.005) -> None:
        """Turn a closed outline (radius, y), that runs from the axis to the axis or stays off it, about y."""
        both = np.concatenate([outline, outline[::-1] * [-1, 1]]) if outline[0, 0] == 0 else outline
        self.add(f.REVOLVE, (1.0,), table=self.profile(both), rounding=rounding)

    def vessel(self, outer: np.ndarray, wall: float, lining: np.ndarray | None) -> None:
        """A vessel with an open mouth by its outer outline, from the bottom up; a lining is a part of its own."""
        floor = outer[0, 1] + 1.5 * wall
        halves = [(0.0, wall)] if lining is None else [(0.0, wall / 2), (wall / 2, wall)]
        for number, (near, far) in enumerate(halves):
            if number and lining is not None:
                self.part("lining", lining)
            begin, end = (outer - [near, 0], outer - [far, 0])
            low = outer[0, 1] + 1.5 * near
            middle = floor if number == len(halves) - 1 else outer[0, 1] + 0.75 * wall
            up = np.concatenate([[[0, low]], begin]) if not number else np.concatenate([[[0, low]], _above(begin, low)])
            down = np.concatenate([_above(end, middle)[::-1], [[0, middle]]])
            self.lathe(np.concatenate([up, down]), 0.0)


def nearest_part(thing: Thing, points: np.ndarray) -> np.ndarray:
    """(n,) number of the part that each of the points (n, 3) on the surface belongs to."""
    values = [evaluate_at(part.field, np.ascontiguousarray(points, dtype=np.float64)) for part in thing.parts]
    return np.argmin(np.stack(values), axis=0)


def paint(rng: np.random.Generator) -> np.ndarray:
    """A linear albedo: a quarter are greys, the others of any hue, dull to strong."""
    value = rng.uniform(0.08, 0.85)
    hue = rng.random(3)
    hue = hue / hue.max()
    saturation = 0.0 if rng.random() < 0.25 else rng.uniform(0.2, 0.95)
    return value * (1 - saturation + saturation * hue)


def wood(rng: np.random.Generator) -> np.ndarray:
    """Pine to walnut."""
    return rng.uniform(0.12, 0.75) * np.array([1.0, rng.uniform(0.5, 0.72), rng.uniform(0.2, 0.45)])


def metal(rng: np.random.Generator) -> np.ndarray:
    """Matte greys with a little warmth, and some blacks."""
    value = rng.uniform(0.03, 0.1) if rng.random() < 0.25 else rng.uniform(0.25, 0.65)
    return value * (1 + rng.uniform(-0.06, 0.06, 3))


def _above(outline: np.ndarray, low: float) -> np.ndarray:
    """An outline from the bottom up, cut off at a height."""
    start = np.array([[np.interp(low, outline[:, 1], outline[:, 0]), low]])
    return np.concatenate([start, outline[outline[:, 1] > low]])
