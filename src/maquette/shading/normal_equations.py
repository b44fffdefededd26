"""The inner loop of `maquette.shading.solve`: weighted 3x3 least squares of every pixel, in float64.

Compiled by Numba. The loops over frames are sums whose order the compiler may change (`reassoc`), so that they
become vector instructions; nothing else of the arithmetic is loosened.
"""

from math import sqrt

import numpy as np
from numba import njit, prange

ANNEALING_START = 8.0
ANNEALING_STEP = 1.6
CONVERGED = 1e-4  # of |x|: six thousandths of a degree
MAD_TO_SIGMA = 1.2533  # standard deviation over mean absolute deviation of a normal distribution: sqrt(pi / 2)
UNKNOWNS = 3
_BLOCK = 64  # pixels that are copied together, so that frames are read in order
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SUMS)
def _weighted_fit(shading, lx, ly, lz, weight, ridge):
    """x of least squares, and sum w l l^T (xx, xy, xz, yy, yz, zz), by Cholesky's decomposition."""
    xx = xy = xz = yy = yz = zz = bx = by = bz = 0.0
    for k in range(len(shading)):
        wx, wy, wz = weight[k] * lx[k], weight[k] * ly[k], weight[k] * lz[k]
        xx += wx * lx[k]
        xy += wx * ly[k]
        xz += wx * lz[k]
        yy += wy * ly[k]
        yz += wy * lz[k]
        zz += wz * lz[k]
        bx += wx * shading[k]
        by += wy * shading[k]
        bz += wz * shading[k]
    more = ridge + 1e-300  # the last: no division by zero where no frame counts
    a = sqrt(xx + more)
    b, c = xy / a, xz / a
    d = sqrt(max(yy + more - b * b, more))
    e = (yz - b * c) / d
    f = sqrt(max(zz + more - c * c - e * e, more))
    u = bx / a
    v = (by - b * u) / d
    z = (bz - c * u - e * v) / (f * f)
    y = (v - e * z) / d
    return (u - b * y - c * z) / a, y, z, (xx, xy, xz, yy, yz, zz)


@njit(cache=True, fastmath=_SUMS)
def _start(shading, share, weight):
    """Weight 1 for the frames brighter than `share` of the pixel's root mean square, else 0. Returns how many."""
    power = 0.0
    for k in range(len(shading)):
        power += shading[k] * shading[k]
    level = share * sqrt(power / len(shading))
    bright = 0.0
    for k in range(len(shading)):
        weight[k] = 1.0 if shading[k] > level else 0.0
        bright += weight[k]
    return bright


@njit(cache=True, fastmath=_SUMS)
def _reweight(shading, lx, ly, lz, x, y, z, mu, least_scale, scales, weight, residual):
    """Geman-McClure weights of the frames that x lights, 0 for the others. Returns c^2 and how many it lights."""
    lit = total = spread = 0.0
    for k in range(len(shading)):
        p = lx[k] * x + ly[k] * y + lz[k] * z
        on = 1.0 if p > 0.0 else 0.0
        r = shading[k] - p
        w = weight[k] * on
        residual[k] = r if p > 0.0 else np.inf
        lit += on
        total += w
        spread += w * abs(r)
    sigma = MAD_TO_SIGMA * spread / max(total, 1e-12) * sqrt(lit / max(lit - UNKNOWNS, 1.0))
    c = max(least_scale * sqrt(x * x + y * y + z * z), scales * sigma) + 1e-150
    g = mu * c * c
    for k in range(len(shading)):
        w = g / (residual[k] * residual[k] + g)
        weight[k] = w * w
    return c * c, lit


@njit(cache=True, fastmath=_SUMS)
def _misfit(shading, lx, ly, lz, x, y, z, weight, bound):
    """Sum of the bounded squares r^2 c^2 / (r^2 + c^2) over the frames in use, and how many these are."""
    loss = count = 0.0
    for k in range(len(shading)):
        r = shading[k] - (lx[k] * x + ly[k] * y + lz[k] * z)
        used = 1.0 if weight[k] > 0.0 else 0.0
        loss += used * r * r * (bound / (r * r + bound))
        count += used
    return loss, count


@njit(cache=True)
def _solve_pixel(shading, lx, ly, lz, share, ridge, iterations, least_scale, scales, weight, residual):
    bound = 1e300
    if _start(shading, share, weight) < UNKNOWNS and iterations > 0:
        weight[:] = 1.0
    x, y, z, gram = _weighted_fit(shading, lx, ly, lz, weight, ridge)
    mu = ANNEALING_START
    for _ in range(iterations):
        bound, lit = _reweight(shading, lx, ly, lz, x, y, z, mu, least_scale, scales, weight, residual)
        if lit < UNKNOWNS:
            weight[:] = 1.0
        x1, y1, z1, gram = _weighted_fit(shading, lx, ly, lz, weight, ridge)
        moved = (x1 - x) ** 2 + (y1 - y) ** 2 + (z1 - z) ** 2
        x, y, z = x1, y1, z1
        if mu == 1.0 and moved <= CONVERGED**2 * (x * x + y * y + z * z):
            break
        mu = max(1.0, mu / ANNEALING_STEP)
    return x, y, z, gram, _misfit(shading, lx, ly, lz, x, y, z, weight, bound)


@njit(cache=True, parallel=True)
def solve_pixels(frames, lights, share, ridge, iterations, least_scale, scales):
    """Solve every pixel; `maquette.shading.solve` says what the numbers mean.

    Args:
        frames: (K, P) shadings, float32 or float64.
        lights: (3, K) float64.
        share: of the pixel's root mean square, below which a frame is left out at first; -inf takes all.
        ridge: added to the diagonal.
        iterations: of reweighting, at most; 0 leaves the start as it is.
        least_scale: smallest scale c of an inlier's residual, as a share of |x|.
        scales: c in standard deviations of the residual.

    Returns:
        (P, 11): x (3), sum w l l^T (6: xx xy xz yy yz zz), bounded sum of squares, frames in use.
    """
    count, pixels = frames.shape
    found = np.empty((pixels, 11))
    for block in prange((pixels + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        size = min(_BLOCK, pixels - first)
        shadings = np.empty((size, count))
        for k in range(count):
            for j in range(size):
                shadings[j, k] = frames[k, first + j]
        weight, residual = np.empty(count), np.empty(count)
        for j in range(size):
            x, y, z, gram, misfit = _solve_pixel(
                shadings[j], lights[0], lights[1], lights[2], share, ridge, iterations, least_scale, scales,
                weight, residual,
            )  # fmt: skip
            row = found[first + j]
            row[0], row[1], row[2] = x, y, z
            row[3], row[4], row[5], row[6], row[7], row[8] = gram
            row[9], row[10] = misfit
    return found
