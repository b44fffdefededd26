"""Height maps on the primitives of a signed field: masonry on walls, hair on a head, folds on a robe.

A map is a tile that repeats without a seam; it is laid on a primitive in the primitive's own frame, so it follows
limbs and walls. Its cells (stones, leaves, planks) are parts of their own.
"""

from math import atan2, floor, pi, sqrt

import numpy as np
from numba import njit

from maquette.geometry.field_rows import (
    AROUND,
    BOX,
    CAPSULE,
    CONE,
    CYLINDER,
    ELLIPSOID,
    EXTRUDE,
    KIND,
    ON_TOP,
    PARAM,
    PARTS,
    RELIEF,
    REPEATS,
    REVOLVE,
    SUPERQUADRIC,
    TORUS,
)  # fmt: skip


@njit(cache=True)
def sides_seen(row: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    """How much the surface of a primitive faces its own axes at a point near it, roughly; sums to 1."""
    kind, a, b, c = int(row[KIND]), row[PARAM], row[PARAM + 1], row[PARAM + 2]
    if kind == BOX:  # sharp: faces blend over a narrow seam
        qx, qy, qz = abs(x) - a, abs(y) - b, abs(z) - c
        seam = max(qx, max(qy, qz)) - 0.02
        x, y, z = max(qx - seam, 0.0), max(qy - seam, 0.0), max(qz - seam, 0.0)
    elif kind in (ELLIPSOID, SUPERQUADRIC):
        x, y, z = x / (a * a), y / (b * b), z / (c * c)
    elif kind in (CYLINDER, CONE, EXTRUDE):
        half, radius = (c, max(a, b)) if kind == CONE else (b, a)
        r = sqrt(x * x + z * z)
        if abs(y) - half > (r - radius if kind == CYLINDER else -0.01):
            x, z, y = 0.0, 0.0, 1.0
        else:
            y = 0.0
    elif kind == CAPSULE:
        y = y - min(max(y, -c), c)
    elif kind == TORUS:
        r = 1.0 - a / max(sqrt(x * x + z * z), 1e-6)
        x, z = x * r, z * r
    elif kind == REVOLVE:
        y = 0.35 * sqrt(x * x + z * z)
    x, y, z = x * x, y * y, z * z
    x, y, z = x * x, y * y, z * z
    total = max(x + y + z, 1e-20)
    return x / total, y / total, z / total


@njit(cache=True, inline="always")
def _wrapped(image: np.ndarray, u: float, v: float) -> float:
    """Bilinear, u and v in tiles, periodic."""
    side = image.shape[0]
    s, t = (u - floor(u)) * side, (v - floor(v)) * side
    i, j = int(s), int(t)
    s -= i
    t -= j
    i %= side
    j %= side
    k, m = (i + 1) % side, (j + 1) % side
    top = image[j, i] * (1.0 - s) + image[j, k] * s
    bottom = image[m, i] * (1.0 - s) + image[m, k] * s
    return top * (1.0 - t) + bottom * t


@njit(cache=True, inline="always")
def _cell(image: np.ndarray, u: float, v: float) -> int:
    side = image.shape[0]
    return int(image[int((v - floor(v)) * side) % side, int((u - floor(u)) * side) % side])


@njit(cache=True)
def raised(row: np.ndarray, reliefs: np.ndarray, maps: np.ndarray, x: float, y: float, z: float) -> float:
    """Outward displacement of a primitive's surface at a point near it, in its own frame, not negative."""
    relief = reliefs[int(row[RELIEF]) - 1]
    mapping, image, size = int(relief[0]), maps[int(relief[1])], relief[3]
    u, v = relief[4], relief[5]
    turned = relief[6] > 0.0
    if mapping == AROUND:
        p, q = atan2(z, x) / (2.0 * pi) * row[REPEATS], y / size
        # Towards the axis, on caps and at poles, where a map is squeezed, it fades.
        fade = relief[2] * min(1.0, 16.0 * sqrt(x * x + z * z) / (row[REPEATS] * size))
        return fade * (_wrapped(image, q + u, p + v) if turned else _wrapped(image, p + u, q + v))
    if mapping == ON_TOP:
        return relief[2] * _wrapped(image, x / size + u, z / size + v)
    wx, wy, wz = sides_seen(row, x, y, z)
    x, y, z = x / size, y / size, z / size
    total = 0.0
    if wx > 0.01:
        total += wx * (_wrapped(image, y + v, z + u) if turned else _wrapped(image, z + u, y + v))
    if wy > 0.01:
        total += wy * (_wrapped(image, z + v, x + u) if turned else _wrapped(image, x + u, z + v))
    if wz > 0.01:
        total += wz * (_wrapped(image, y + v, x + u) if turned else _wrapped(image, x + u, y + v))
    return relief[2] * total


@njit(cache=True)
def cell_part(row: np.ndarray, reliefs: np.ndarray, cells: np.ndarray, x: float, y: float, z: float) -> int:
    """The part of the relief's cell at a point near a primitive, in its own frame; 0 where there is no cell."""
    relief = reliefs[int(row[RELIEF]) - 1]
    mapping, image, size = int(relief[0]), cells[int(relief[1])], relief[3]
    p, q = x / size, y / size
    if mapping == AROUND:
        p = atan2(z, x) / (2.0 * pi) * row[REPEATS]
    elif mapping == ON_TOP:
        q = z / size
    else:
        wx, wy, wz = sides_seen(row, x, y, z)
        if wx >= wy and wx >= wz:
            p = z / size
        elif wy > wz:
            q = z / size
    if relief[6] > 0.0 and mapping != ON_TOP:
        p, q = (q + relief[4], p + relief[5]) if mapping == AROUND else (q + relief[5], p + relief[4])
    else:
        p, q = p + relief[4], q + relief[5]
    cell = _cell(image, p, q)
    return PARTS + 1 + cell % (255 - PARTS) if cell > 0 else 0
