"""Signed fields: solids as a short program of primitives, blends, carvings, displacement noise and decals.

A field is negative inside and positive outside. Blends, warps and displacement make it something other than
a true distance, so nothing here may be sphere-traced by its value; `maquette.render.gbuffer` marches sign
changes instead. Everything is evaluated by one scalar function, compiled by Numba, so a grid, a refined hit
and a normal finer than the grid all come from the same definition.

Object frame: the solid lies within the cube [-1, 1]^3, y up. Lengths are in these units.
"""

from math import cos, sin, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from maquette.geometry.field_noise import bilinear, displacement, gradient_noise, pressed
from maquette.geometry.field_relief import cell_part, raised
from maquette.geometry.field_rows import (  # noqa: F401  (all of them are names of this module's rows)
    APART,
    AROUND,
    BILLOW,
    BLEND,
    BOUND,
    BOX,
    CAPSULE,
    CENTER,
    CHAMFER,
    CONE,
    CRACKS,
    CYLINDER,
    CYLINDRICAL,
    DECAL_COLUMNS,
    DIMPLES,
    ELLIPSOID,
    EXTRUDE,
    FAR,
    FBM,
    GROOVES,
    INTERSECT,
    KIND,
    MIRROR,
    NOISE_COLUMNS,
    ON_TOP,
    OPERATION,
    PARAM,
    PART,
    PARTS,
    PLANAR,
    PLANE,
    PRIMITIVE_COLUMNS,
    RELIEF,
    RELIEF_COLUMNS,
    REPEATS,
    REVOLVE,
    RIDGED,
    ROTATION,
    ROUNDING,
    SIDES,
    SPHERE,
    SUBTRACT,
    SUPERQUADRIC,
    TABLE,
    TORUS,
    UNION,
)  # fmt: skip

BINS = 24  # of a field of many primitives, along each axis
BIN_REACH = 1.2  # the bins span [-BIN_REACH, BIN_REACH]^3


class SolidField(NamedTuple):
    """A solid as arrays that compiled code can read.

    Attributes:
        primitives: (n, PRIMITIVE_COLUMNS) rows, applied in order; see the column names above.
        tables: (t, side, side) exact signed distances of 2D profiles over [-1, 1]^2, row = second coordinate.
        noises: (m, NOISE_COLUMNS) displacement along the normal.
        decals: (d, side, side) heights in [0, 1] of ornaments and lettering.
        decal_rows: (d, DECAL_COLUMNS) where and how deep each decal is pressed.
        maps: (r, side, side) float32 heights in [0, 1], tiles that repeat; see `maquette.geometry.field_relief`.
        cells: (r, side, side) uint8 ids of what the maps show, 0 between.
        reliefs: (k, RELIEF_COLUMNS) how a map lies on primitives.
        first: (bins + 1,) where the list of each bin starts in `near`; one bin that spans everything, or BINS^3.
        near: rows of primitives that matter in a bin, in order.
        warp: twist (rad per unit y), bend (rad per unit y), taper (per unit y), wobble amplitude, wobble
            frequency, bound of the displacement.
    """

    primitives: np.ndarray
    tables: np.ndarray
    noises: np.ndarray
    decals: np.ndarray
    decal_rows: np.ndarray
    maps: np.ndarray
    cells: np.ndarray
    reliefs: np.ndarray
    first: np.ndarray
    near: np.ndarray
    warp: np.ndarray

    def only(self, begin: int, end: int) -> "SolidField":
        """Of some of its primitives, without bins."""
        count = end - begin
        return self._replace(
            primitives=self.primitives[begin:end].copy(), first=np.array([0, count]), near=np.arange(count)
        )


@njit(cache=True)
def _primitive(kind: int, row: np.ndarray, tables: np.ndarray, x: float, y: float, z: float) -> float:
    """Field of one primitive in its own frame (distances as in Quilez' catalogue; approximate where said)."""
    a, b, c, d = row[PARAM], row[PARAM + 1], row[PARAM + 2], row[PARAM + 3]
    if kind == SPHERE:
        return sqrt(x * x + y * y + z * z) - a
    if kind == ELLIPSOID:  # first-order distance
        k0 = sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        k1 = sqrt((x / (a * a)) ** 2 + (y / (b * b)) ** 2 + (z / (c * c)) ** 2)
        return k0 * (k0 - 1.0) / max(k1, 1e-9) if k0 > 1e-6 else -min(a, min(b, c))
    if kind == BOX:
        qx, qy, qz = abs(x) - a, abs(y) - b, abs(z) - c
        outside = sqrt(max(qx, 0.0) ** 2 + max(qy, 0.0) ** 2 + max(qz, 0.0) ** 2)
        return outside + min(max(qx, max(qy, qz)), 0.0)
    if kind == CYLINDER:
        q, h = sqrt(x * x + z * z) - a, abs(y) - b
        return sqrt(max(q, 0.0) ** 2 + max(h, 0.0) ** 2) + min(max(q, h), 0.0)
    if kind == CONE:  # truncated: radius a at y = -c, b at y = +c; a lower bound of the distance
        slope = (a - b) / (2.0 * c)
        q = (sqrt(x * x + z * z) - (a + b) * 0.5 + slope * y) / sqrt(1.0 + slope * slope)
        return max(q, abs(y) - c)
    if kind == TORUS:
        q = sqrt(x * x + z * z) - a
        return sqrt(q * q + y * y) - b
    if kind == CAPSULE:  # along y, radius a at -c, b at +c
        t = min(max(y / (2.0 * c) + 0.5, 0.0), 1.0)
        h = y - (t - 0.5) * 2.0 * c
        return sqrt(x * x + h * h + z * z) - (a + (b - a) * t)
    if kind == SUPERQUADRIC:  # radial distance; exponents in d (both)
        p = 2.0 / d
        r = sqrt(x * x + y * y + z * z)
        f = (abs(x / a) ** p + abs(y / b) ** p + abs(z / c) ** p) ** (1.0 / p)
        return r * (1.0 - 1.0 / f) if f > 1e-6 else -min(a, min(b, c))
    if kind == PLANE:
        return y - a
    table = tables[int(row[TABLE])]
    if kind == REVOLVE:
        r = sqrt(x * x + z * z)
        inside = max(abs(r / a), abs(y / a))
        return a * bilinear(table, r / a, y / a) + a * max(inside - 1.0, 0.0)
    inside = max(abs(x / a), abs(z / a))  # EXTRUDE along y, half height b
    q, h = a * bilinear(table, x / a, z / a) + a * max(inside - 1.0, 0.0), abs(y) - b
    return sqrt(max(q, 0.0) ** 2 + max(h, 0.0) ** 2) + min(max(q, h), 0.0)


@njit(cache=True, inline="always")
def _smooth_min(p: float, q: float, k: float, chamfer: float) -> float:
    """Minimum with a fillet (quadratic) or a bevel of size k."""
    if k <= 0.0:
        return min(p, q)
    if chamfer > 0.0:
        return min(min(p, q), (p + q - 0.5 * k) * 0.7071067811865476)
    h = max(k - abs(p - q), 0.0) / k
    return min(p, q) - 0.25 * k * h * h


@njit(cache=True, inline="always")
def _local(row: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    """A point in the frame of a primitive."""
    x = (abs(x) if row[MIRROR] > 0.0 else x) - row[CENTER]
    y -= row[CENTER + 1]
    z -= row[CENTER + 2]
    return (
        row[ROTATION] * x + row[ROTATION + 1] * y + row[ROTATION + 2] * z,
        row[ROTATION + 3] * x + row[ROTATION + 4] * y + row[ROTATION + 5] * z,
        row[ROTATION + 6] * x + row[ROTATION + 7] * y + row[ROTATION + 8] * z,
    )


@njit(cache=True, inline="always")
def _distance(field: SolidField, row: np.ndarray, x: float, y: float, z: float) -> float:
    """Field of one primitive, its relief included, at a point in its frame."""
    distance = _primitive(int(row[KIND]), row, field.tables, x, y, z) - row[ROUNDING]
    if row[RELIEF] > 0.0 and abs(distance) < 2.0 * field.reliefs[int(row[RELIEF]) - 1, 2] + 0.04:
        distance -= raised(row, field.reliefs, field.maps, x, y, z)
    return distance


@njit(cache=True, inline="always")
def _bin(field: SolidField, x: float, y: float, z: float) -> int:
    """The bin that holds a point of the straight solid, or the one next to it."""
    if field.first.shape[0] == 2:
        return 0
    scale = BINS / (2.0 * BIN_REACH)
    i = min(max(int((x + BIN_REACH) * scale), 0), BINS - 1)
    j = min(max(int((y + BIN_REACH) * scale), 0), BINS - 1)
    k = min(max(int((z + BIN_REACH) * scale), 0), BINS - 1)
    return (k * BINS + j) * BINS + i


@njit(cache=True)
def _unwarped(warp: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Where a point of the warped solid lies in the straight one."""
    ux, uy, uz = x, y, z
    if warp[3] > 0.0:
        f = warp[4]
        x += warp[3] * gradient_noise(ux * f + 11.3, uy * f, uz * f)
        y += warp[3] * gradient_noise(ux * f, uy * f + 5.7, uz * f)
        z += warp[3] * gradient_noise(ux * f, uy * f, uz * f + 8.1)
    if warp[0] != 0.0:
        s, c = sin(warp[0] * y), cos(warp[0] * y)
        x, z = c * x - s * z, s * x + c * z
    if warp[1] != 0.0:
        s, c = sin(warp[1] * y), cos(warp[1] * y)
        x, y = c * x - s * y, s * x + c * y
    if warp[2] != 0.0:
        shrink = 1.0 / max(1.0 + warp[2] * y, 0.3)
        x *= shrink
        z *= shrink
    return x, y, z


@njit(cache=True)
def evaluate(field: SolidField, x: float, y: float, z: float) -> float:
    """Value of the field at a point: negative inside."""
    x, y, z = _unwarped(field.warp, x, y, z)
    value, before = FAR, FAR
    primitives = field.primitives
    here = _bin(field, x, y, z)
    for n in range(field.first[here], field.first[here + 1]):
        row = primitives[field.near[n]]
        operation, k = int(row[OPERATION]), row[BLEND]
        if operation == APART:
            value, before = FAR, min(value, before)
            continue
        px = abs(x) if row[MIRROR] > 0.0 else x
        dx, dy, dz = px - row[CENTER], y - row[CENTER + 1], z - row[CENTER + 2]
        # The bounding sphere says when a primitive can't change the value: most of them, at most points.
        away = sqrt(dx * dx + dy * dy + dz * dz) - row[BOUND]
        if operation == UNION and away > 0.0 and away > value + k:
            continue
        if operation == SUBTRACT and away > 0.0 and -away < value - k:
            continue
        lx, ly, lz = _local(row, x, y, z)
        distance = _distance(field, row, lx, ly, lz)
        if operation == UNION:
            value = _smooth_min(value, distance, k, row[CHAMFER])
        elif operation == SUBTRACT:
            value = -_smooth_min(-value, distance, k, row[CHAMFER])
        else:
            value = -_smooth_min(-value, -distance, k, row[CHAMFER])
    value = min(value, before)
    if abs(value) < field.warp[5]:
        for n in range(field.noises.shape[0]):
            value -= displacement(field.noises[n], x, y, z)
        for n in range(field.decal_rows.shape[0]):
            value -= pressed(field.decals[n], field.decal_rows[n], x, y, z)
    return value


@njit(cache=True)
def part_at(field: SolidField, x: float, y: float, z: float) -> int:
    """The `PART` of the primitive that a point near the surface belongs to; where two blend, of the nearer one."""
    x, y, z = _unwarped(field.warp, x, y, z)
    value, part = FAR, 0
    before, part_before = FAR, 0
    primitives = field.primitives
    here = _bin(field, x, y, z)
    for n in range(field.first[here], field.first[here + 1]):
        row = primitives[field.near[n]]
        operation = int(row[OPERATION])
        if operation == APART:
            if value < before:
                before, part_before = value, part
            value = FAR
            continue
        lx, ly, lz = _local(row, x, y, z)
        distance = _distance(field, row, lx, ly, lz)
        if operation == SUBTRACT:
            distance = -distance
        if distance < value if operation == UNION else distance > value:
            value, part = distance, int(row[PART])
            if row[RELIEF] > 0.0:
                cell = cell_part(row, field.reliefs, field.cells, lx, ly, lz)
                part = cell if cell > 0 else part
    return part if value < before else part_before


@njit(cache=True, parallel=True)
def sample_near(field: SolidField, side: int, block: int, sure: float) -> np.ndarray:
    """`sample_grid`, exact near the surface only: for fields of many primitives.

    Where the values at a block's corners are all beyond `sure`, on one side, the others in it are those of its first
    corner. A field that changes as fast as a distance has no surface in a block whose corners are further from it
    than half the block's diagonal.
    """
    step = 2.0 / (side - 1)
    count = (side - 1 + block - 1) // block
    corners = np.empty((count + 1, count + 1, count + 1), np.float32)
    for k in prange(count + 1):
        z = min(k * block, side - 1) * step - 1.0
        for j in range(count + 1):
            y = min(j * block, side - 1) * step - 1.0
            for i in range(count + 1):
                corners[k, j, i] = evaluate(field, min(i * block, side - 1) * step - 1.0, y, z)
    grid = np.empty((side, side, side), np.float32)
    for k in prange(count):
        for j in range(count):
            for i in range(count):
                first = corners[k, j, i]
                away = abs(first) > sure
                for n in range(1, 8):
                    value = corners[k + (n & 1), j + (n >> 1 & 1), i + (n >> 2)]
                    away = away and abs(value) > sure and (value > 0.0) == (first > 0.0)
                for c in range(k * block, side if k == count - 1 else k * block + block):
                    for b in range(j * block, side if j == count - 1 else j * block + block):
                        for a in range(i * block, side if i == count - 1 else i * block + block):
                            if away:
                                grid[c, b, a] = first
                            else:
                                grid[c, b, a] = evaluate(field, a * step - 1.0, b * step - 1.0, c * step - 1.0)
    return grid


@njit(cache=True, parallel=True)
def sample_grid(field: SolidField, side: int) -> np.ndarray:
    """The field on a grid of side^3 points that spans [-1, 1]^3; index order (z, y, x), float32."""
    grid = np.empty((side, side, side), np.float32)
    step = 2.0 / (side - 1)
    for k in prange(side):
        for j in range(side):
            for i in range(side):
                grid[k, j, i] = evaluate(field, i * step - 1.0, j * step - 1.0, k * step - 1.0)
    return grid


@njit(cache=True)
def gradient(field: SolidField, x: float, y: float, z: float, eps: float) -> tuple[float, float, float]:
    """Unit outward normal by central differences over 2 eps; features finer than eps are averaged.

    Four samples (a tetrahedron) would be cheaper and biased: curvature tilts them by 0.3 degrees at a pixel's eps.
    """
    gx = evaluate(field, x + eps, y, z) - evaluate(field, x - eps, y, z)
    gy = evaluate(field, x, y + eps, z) - evaluate(field, x, y - eps, z)
    gz = evaluate(field, x, y, z + eps) - evaluate(field, x, y, z - eps)
    length = sqrt(gx * gx + gy * gy + gz * gz)
    if length < 1e-12:
        return 0.0, 0.0, 0.0
    return gx / length, gy / length, gz / length
