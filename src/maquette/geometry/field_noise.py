"""Displacement of signed fields (`maquette.geometry.field`): noise of several kinds, and ornaments pressed on."""

from math import atan2, copysign, exp, floor, pi, sin, sqrt

import numpy as np
from numba import njit

from maquette.geometry.field_rows import BILLOW, CRACKS, DIMPLES, GROOVES, PLANAR, RIDGED


@njit(cache=True, inline="always")
def _hash(i: int, j: int, k: int) -> int:
    h = (i * 374761393 + j * 668265263 + k * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return (h ^ (h >> 16)) & 0xFFFFFFFF


@njit(cache=True, inline="always")
def _corner(i: int, j: int, k: int, x: float, y: float, z: float) -> float:
    """Dot product of the lattice point's pseudo-random gradient with the offset from it."""
    h = _hash(i, j, k)
    gx = (h & 1023) / 511.5 - 1.0
    gy = ((h >> 10) & 1023) / 511.5 - 1.0
    gz = ((h >> 20) & 1023) / 511.5 - 1.0
    return gx * x + gy * y + gz * z


@njit(cache=True)
def gradient_noise(x: float, y: float, z: float) -> float:
    """Gradient noise (Perlin 2002), about -1 to 1, twice differentiable."""
    fx, fy, fz = floor(x), floor(y), floor(z)
    i, j, k = int(fx), int(fy), int(fz)
    x -= fx
    y -= fy
    z -= fz
    u = x * x * x * (x * (x * 6.0 - 15.0) + 10.0)
    v = y * y * y * (y * (y * 6.0 - 15.0) + 10.0)
    w = z * z * z * (z * (z * 6.0 - 15.0) + 10.0)
    a = _corner(i, j, k, x, y, z)
    b = _corner(i + 1, j, k, x - 1.0, y, z)
    c = _corner(i, j + 1, k, x, y - 1.0, z)
    d = _corner(i + 1, j + 1, k, x - 1.0, y - 1.0, z)
    near = (a + u * (b - a)) * (1.0 - v) + (c + u * (d - c)) * v
    a = _corner(i, j, k + 1, x, y, z - 1.0)
    b = _corner(i + 1, j, k + 1, x - 1.0, y, z - 1.0)
    c = _corner(i, j + 1, k + 1, x, y - 1.0, z - 1.0)
    d = _corner(i + 1, j + 1, k + 1, x - 1.0, y - 1.0, z - 1.0)
    far = (a + u * (b - a)) * (1.0 - v) + (c + u * (d - c)) * v
    return 1.2 * (near + w * (far - near))


@njit(cache=True)
def _cell_gap(x: float, y: float, z: float) -> float:
    """Worley's F2 - F1: zero on the walls between cells, so a valley network for cracks."""
    fx, fy, fz = floor(x), floor(y), floor(z)
    first, second = 1e9, 1e9
    for di in range(-1, 2):
        for dj in range(-1, 2):
            for dk in range(-1, 2):
                h = _hash(int(fx) + di, int(fy) + dj, int(fz) + dk)
                px = fx + di + (h & 1023) / 1023.0 - x
                py = fy + dj + ((h >> 10) & 1023) / 1023.0 - y
                pz = fz + dk + ((h >> 20) & 1023) / 1023.0 - z
                r = px * px + py * py + pz * pz
                if r < first:
                    second = first
                    first = r
                elif r < second:
                    second = r
    return sqrt(second) - sqrt(first)


@njit(cache=True)
def displacement(noise: np.ndarray, x: float, y: float, z: float) -> float:
    """Outward displacement of one noise row at a point."""
    kind = int(noise[0])
    frequency = noise[1]
    ox, oy, oz = noise[5], noise[6], noise[7]
    if noise[8] > 0.0:  # only in some regions: a smooth mask of low-frequency noise
        region = gradient_noise(x * noise[8] + oz, y * noise[8] + ox, z * noise[8] + oy) + noise[9]
        weight = min(max(region * 4.0 + 0.5, 0.0), 1.0)
        if weight == 0.0:
            return 0.0
    else:
        weight = 1.0
    if kind == CRACKS:
        gap = _cell_gap(x * frequency + ox, y * frequency + oy, z * frequency + oz)
        return -weight * noise[2] * exp(-gap * gap * 180.0)
    if kind == DIMPLES:
        gap = _cell_gap(x * frequency + ox, y * frequency + oy, z * frequency + oz)
        return weight * noise[2] * min(gap * 1.6, 1.0)
    if kind == GROOVES:
        axis = int(noise[10])
        along = y if axis == 0 else (atan2(z, x) * 0.5 if axis == 1 else y + 0.35 * atan2(z, x))
        wave = sin(along * frequency * 2.0 * pi / (pi if axis == 1 else 1.0) + ox)
        return weight * noise[2] * copysign(abs(wave) ** noise[4], wave)
    total, amplitude = 0.0, noise[2]
    for _ in range(int(noise[3])):
        n = gradient_noise(x * frequency + ox, y * frequency + oy, z * frequency + oz)
        if kind == RIDGED:
            n = 1.0 - 2.0 * abs(n) - 0.5
        elif kind == BILLOW:
            n = 2.0 * abs(n) - 0.5
        total += amplitude * n
        amplitude *= noise[4]
        frequency *= 2.03
    return weight * total


@njit(cache=True, inline="always")
def bilinear(table: np.ndarray, u: float, v: float) -> float:
    """Sample a square table over [-1, 1]^2; clamped at the border."""
    side = table.shape[0]
    s = min(max((u + 1.0) * 0.5 * (side - 1), 0.0), side - 1.001)
    t = min(max((v + 1.0) * 0.5 * (side - 1), 0.0), side - 1.001)
    i, j = int(s), int(t)
    s -= i
    t -= j
    top = table[j, i] * (1.0 - s) + table[j, i + 1] * s
    bottom = table[j + 1, i] * (1.0 - s) + table[j + 1, i + 1] * s
    return top * (1.0 - t) + bottom * t


@njit(cache=True)
def pressed(decal: np.ndarray, row: np.ndarray, x: float, y: float, z: float) -> float:
    """Outward displacement of one decal: an ornament or lettering, embossed (> 0) or engraved (< 0)."""
    x -= row[4]
    y -= row[5]
    z -= row[6]
    lx = row[7] * x + row[8] * y + row[9] * z
    ly = row[10] * x + row[11] * y + row[12] * z
    lz = row[13] * x + row[14] * y + row[15] * z
    if int(row[0]) == PLANAR:
        if lz < -row[18]:  # stamped on the side that faces local +z only
            return 0.0
        u, v = lx / row[16], ly / row[17]
    else:
        u, v = atan2(lx, lz) / row[16], ly / row[17]
    edge = min(1.0 - abs(u), 1.0 - abs(v))
    if edge <= 0.0:
        return 0.0
    u = ((u + 1.0) * 0.5 * row[2]) % 1.0
    v = ((v + 1.0) * 0.5 * row[3]) % 1.0
    return row[1] * bilinear(decal, 2.0 * u - 1.0, 2.0 * v - 1.0) * min(edge * 12.0, 1.0)
