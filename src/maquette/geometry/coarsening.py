"""Interpolation and coarse matrices for `maquette.geometry.multigrid`, read off a weighted Laplacian.

Matrices are given as `multigrid.Links` holds them, bordered by one element of zeros; the weights of interpolation as
`multigrid.Level` does. Sources: Alcouffe, Brandt, Dendy and Painter 1981; Dendy 1982.
"""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def _shares(a, b, rest, has_a, has_b):
    """Weights a / rest and b / rest of two coarse points.

    A link that was collapsed onto a point that isn't there is left out, and negative coarse links don't take
    weights out of 0..1.
    """
    if not has_a:
        rest -= a
        a = 0.0
    if not has_b:
        rest -= b
        b = 0.0
    a, b = max(a, 0.0), max(b, 0.0)
    rest = max(rest, a + b)
    return (a / rest, b / rest) if rest > 0.0 else (0.0, 0.0)


@njit(cache=True)
def interpolate(diagonal, east, south, southeast, southwest, weights):
    """Weights of interpolation, by Dendy's rule: the matrix, collapsed along or solved at a fine point."""
    rows, columns = diagonal.shape[0] - 2, diagonal.shape[1] - 2
    nine = southeast.size > 0
    for i in range(1, weights.shape[1] - 1):
        for j in range(1, weights.shape[2] - 1):
            k, l = 2 * i - 1, 2 * j
            if l <= columns and diagonal[k, l] > 0.0:  # between two coarse points of a row
                a, b = east[k, l - 1], east[k, l]
                if nine:
                    a += southeast[k - 1, l - 1] + southwest[k, l]
                    b += southeast[k, l] + southwest[k - 1, l + 1]
                rest = diagonal[k, l] - south[k - 1, l] - south[k, l]
                has_a, has_b = diagonal[k, l - 1] > 0.0, diagonal[k, l + 1] > 0.0
                weights[0, i, j], weights[1, i, j] = _shares(a, b, rest, has_a, has_b)
            k, l = 2 * i, 2 * j - 1
            if k <= rows and diagonal[k, l] > 0.0:  # of a column
                a, b = south[k - 1, l], south[k, l]
                if nine:
                    a += southeast[k - 1, l - 1] + southwest[k - 1, l + 1]
                    b += southeast[k, l] + southwest[k, l]
                rest = diagonal[k, l] - east[k, l - 1] - east[k, l]
                has_a, has_b = diagonal[k - 1, l] > 0.0, diagonal[k + 1, l] > 0.0
                weights[2, i, j], weights[3, i, j] = _shares(a, b, rest, has_a, has_b)
    for i in range(1, weights.shape[1] - 1):
        for j in range(1, weights.shape[2] - 1):
            k, l = 2 * i, 2 * j
            if k > rows or l > columns or diagonal[k, l] <= 0.0:
                continue
            north, below = max(south[k - 1, l], 0.0), max(south[k, l], 0.0)
            west, right = max(east[k, l - 1], 0.0), max(east[k, l], 0.0)
            a = north * weights[0, i, j] + west * weights[2, i, j]
            b = north * weights[1, i, j] + right * weights[2, i, j + 1]
            c = below * weights[0, i + 1, j] + west * weights[3, i, j]
            d = below * weights[1, i + 1, j] + right * weights[3, i, j + 1]
            if nine:
                a += max(southeast[k - 1, l - 1], 0.0)
                b += max(southwest[k - 1, l + 1], 0.0)
                c += max(southwest[k, l], 0.0)
                d += max(southeast[k, l], 0.0)
            rest = max(diagonal[k, l], a + b + c + d)
            weights[4, i, j], weights[5, i, j] = a / rest, b / rest
            weights[6, i, j], weights[7, i, j] = c / rest, d / rest


@njit(cache=True, inline="always")
def _basis(weights, i, j, basis):
    """What the coarse point (i, j) gives to the 3 x 3 fine points around it."""
    basis[0, 0], basis[0, 1], basis[0, 2] = weights[7, i - 1, j - 1], weights[3, i - 1, j], weights[6, i - 1, j]
    basis[1, 0], basis[1, 1], basis[1, 2] = weights[1, i, j - 1], 1.0, weights[0, i, j]
    basis[2, 0], basis[2, 1], basis[2, 2] = weights[5, i, j - 1], weights[2, i, j], weights[4, i, j]


@njit(cache=True)
def galerkin(diagonal, east, south, southeast, southwest, weights, c_diagonal, c_east, c_south, c_se, c_sw):
    """The coarse matrix transpose(P) A P, one row at a time."""
    nine = southeast.size > 0
    basis, other, image = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((5, 5))
    rows, columns = c_diagonal.shape[0] - 2, c_diagonal.shape[1] - 2
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            _basis(weights, i, j, basis)
            image[:] = 0.0
            for a in range(3):
                for b in range(3):
                    p = basis[a, b]
                    k, l = 2 * i - 2 + a, 2 * j - 2 + b
                    if p == 0.0 or diagonal[k, l] <= 0.0:
                        continue
                    image[a + 1, b + 1] += diagonal[k, l] * p
                    image[a + 1, b + 2] -= east[k, l] * p
                    image[a + 1, b] -= east[k, l - 1] * p
                    image[a + 2, b + 1] -= south[k, l] * p
                    image[a, b + 1] -= south[k - 1, l] * p
                    if nine:
                        image[a + 2, b + 2] -= southeast[k, l] * p
                        image[a, b] -= southeast[k - 1, l - 1] * p
                        image[a + 2, b] -= southwest[k, l] * p
                        image[a, b + 2] -= southwest[k - 1, l + 1] * p
            for target in range(5):
                # the point itself, and its neighbours to the right, below, below right, below left
                di = 0 if target < 2 else 1
                dj = 0 if target in (0, 2) else (-1 if target == 4 else 1)
                if not (i + di <= rows and 1 <= j + dj <= columns):
                    continue
                _basis(weights, i + di, j + dj, other)
                total = 0.0
                for a in range(min(3, 4 - 2 * di)):
                    for b in range(max(0, -1 - 2 * dj), min(3, 4 - 2 * dj)):
                        total += other[a, b] * image[a + 2 * di + 1, b + 2 * dj + 1]
                if target == 0:
                    c_diagonal[i, j] = total
                elif target == 1:
                    c_east[i, j] = -total
                elif target == 2:
                    c_south[i, j] = -total
                elif target == 3:
                    c_se[i, j] = -total
                else:
                    c_sw[i, j] = -total
