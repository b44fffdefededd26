"""Conjugate gradients with a multigrid V-cycle, for weighted Laplacians on a masked pixel grid.

The matrix is A = sum over links of weight * (x_a - x_b)^2 plus shift * x_a^2, where a link joins two pixels
that are neighbours in a row or a column. Weights may jump by orders of magnitude and be zero: pixels outside a
mask are simply pixels without links. Grids are coarsened by leaving out every second row and column;
interpolation is read off the matrix, so that it doesn't reach across weak links, and coarse matrices are
Galerkin products (Alcouffe, Brandt, Dendy and Painter 1981; Dendy 1982). Smoothing is Gauss-Seidel in two
colours (four on coarse grids), backward on the way up, so that the cycle is symmetric.

All arrays have a border of one element of zeros on each side; the inner part is the picture. Links are kept
at their left or upper end. Everything is float64 and runs in one thread, and so always gives the same bits.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from maquette.geometry.coarsening import galerkin, interpolate

_SMALLEST_SIDE = 3  # the coarsest grid
_COARSEST_SWEEPS = 10
_NOTHING = 1e-16  # of the goal: a residual of zero, but for rounding


class Links(NamedTuple):
    """A matrix: its diagonal and the weights of its links, towards the right and downward.

    Attributes:
        diagonal: sum of the links of a pixel, plus its shift; 0 where there is no pixel.
        east, south: weights to the next column and to the next row.
        southeast, southwest: weights of diagonal links; arrays of size 0 on the finest grid.
    """

    diagonal: np.ndarray
    east: np.ndarray
    south: np.ndarray
    southeast: np.ndarray
    southwest: np.ndarray


class Level(NamedTuple):
    """A grid: its matrix, the interpolation from the next coarser one, and room to work in.

    Attributes:
        interpolation: (8, rows, columns) by coarse point: weights of the fine point to its right from its two
            neighbours, of the one below from its two, and of the one below right from its four.
    """

    links: Links
    interpolation: np.ndarray
    solution: np.ndarray
    right_side: np.ndarray
    residual: np.ndarray


def five_point(east: np.ndarray, south: np.ndarray, shift: np.ndarray) -> Links:
    """The finest matrix, from bordered arrays of links and shifts."""
    diagonal = shift.copy()
    diagonal += east
    diagonal[:, 1:] += east[:, :-1]
    diagonal += south
    diagonal[1:] += south[:-1]
    none = np.zeros((0, 0))
    return Links(diagonal, east, south, none, none)


def build(links: Links) -> list[Level]:
    """The hierarchy of a matrix, finest first."""
    levels = []
    while True:
        rows, columns = links.diagonal.shape[0] - 2, links.diagonal.shape[1] - 2
        last = max(rows, columns) <= _SMALLEST_SIDE
        interpolation = np.zeros((8, (rows + 1) // 2 + 2, (columns + 1) // 2 + 2) if not last else (8, 0, 0))
        work = [np.zeros_like(links.diagonal) for _ in range(3)]
        levels.append(Level(links, interpolation, *work))
        if last:
            return levels
        interpolate(*links, interpolation)
        coarse = Links(*(np.zeros(interpolation.shape[1:]) for _ in range(5)))
        galerkin(*links, interpolation, *coarse)
        links = coarse


def solve(
    levels: list[Level], right_side: np.ndarray, start: np.ndarray, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, int]:
    """Solve A x = b by conjugate gradients, preconditioned with one V-cycle.

    Args:
        levels: of A.
        right_side: b, bordered.
        start: a first guess, bordered.
        tolerance: stops when |b - A x| <= tolerance * |b|, but takes a step even if the guess is that good, so
            that rounds of ever smaller changes don't stall.
        max_iterations: stops then, too.

    Returns:
        x, and the iterations that it took.
    """
    links = levels[0].links
    x = start.copy()
    direction = np.zeros_like(x)
    product = np.zeros_like(x)
    residual = right_side - product
    _apply5(links.diagonal, links.east, links.south, x, product)
    residual -= product
    goal = tolerance**2 * _dot(right_side, right_side)
    last_rho = 0.0
    for iteration in range(max_iterations):
        left = _dot(residual, residual)
        if left <= (goal if iteration else _NOTHING * goal):
            return x, iteration
        z = _cycle(levels, 0, residual)
        rho = _dot(residual, z)
        if rho <= 0.0:  # nothing is left but rounding
            return x, iteration
        _renew(direction, z, rho / last_rho if last_rho > 0 else 0.0)
        curvature = _apply5(links.diagonal, links.east, links.south, direction, product)
        _advance(x, residual, direction, product, rho / curvature)
        last_rho = rho
    return x, max_iterations


def _cycle(levels: list[Level], index: int, right_side: np.ndarray) -> np.ndarray:
    """One V-cycle from zero; the result lies in the level's own memory."""
    links, interpolation, x, _, residual = levels[index]
    x.fill(0.0)
    if index == len(levels) - 1:
        for backward in (False, True):
            for _ in range(_COARSEST_SWEEPS):
                _smooth(links, right_side, x, backward)
        return x
    _smooth(links, right_side, x, False)
    if links.southeast.size:
        _residual9(*links, right_side, x, residual)
    else:
        _residual5(links.diagonal, links.east, links.south, right_side, x, residual)
    coarse = levels[index + 1].right_side
    _restrict(interpolation, residual, coarse)
    _prolong(interpolation, _cycle(levels, index + 1, coarse), x)
    _smooth(links, right_side, x, True)
    return x


def _smooth(links: Links, right_side: np.ndarray, x: np.ndarray, backward: bool) -> None:
    if links.southeast.size:
        _smooth9(*links, right_side, x, backward)
    else:
        _smooth5(links.diagonal, links.east, links.south, right_side, x, backward)


@njit(cache=True)
def _plus_neighbours5(total, east, south, x, i, j):
    """A total and the four neighbours of a point, each times its link."""
    return (
        total
        + east[i, j] * x[i, j + 1]
        + east[i, j - 1] * x[i, j - 1]
        + south[i, j] * x[i + 1, j]
        + south[i - 1, j] * x[i - 1, j]
    )


@njit(cache=True)
def _plus_neighbours9(total, east, south, southeast, southwest, x, i, j):
    """A total and the eight neighbours of a point, each times its link."""
    return (
        _plus_neighbours5(total, east, south, x, i, j)
        + southeast[i, j] * x[i + 1, j + 1]
        + southeast[i - 1, j - 1] * x[i - 1, j - 1]
        + southwest[i, j] * x[i + 1, j - 1]
        + southwest[i - 1, j + 1] * x[i - 1, j + 1]
    )


@njit(cache=True)
def _smooth5(diagonal, east, south, right_side, x, backward):
    rows, columns = x.shape[0] - 2, x.shape[1] - 2
    for turn in range(2):
        colour = 1 - turn if backward else turn
        for i in range(1, rows + 1):
            for j in range(1 + (i + colour) % 2, columns + 1, 2):
                if diagonal[i, j] > 0.0:
                    x[i, j] = _plus_neighbours5(right_side[i, j], east, south, x, i, j) / diagonal[i, j]


@njit(cache=True)
def _smooth9(diagonal, east, south, southeast, southwest, right_side, x, backward):
    rows, columns = x.shape[0] - 2, x.shape[1] - 2
    for turn in range(4):
        colour = 3 - turn if backward else turn
        for i in range(1 + colour // 2, rows + 1, 2):
            for j in range(1 + colour % 2, columns + 1, 2):
                if diagonal[i, j] > 0.0:
                    total = _plus_neighbours9(right_side[i, j], east, south, southeast, southwest, x, i, j)
                    x[i, j] = total / diagonal[i, j]


@njit(cache=True)
def _residual5(diagonal, east, south, right_side, x, residual):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            own = right_side[i, j] - diagonal[i, j] * x[i, j]
            residual[i, j] = _plus_neighbours5(own, east, south, x, i, j)


@njit(cache=True)
def _residual9(diagonal, east, south, southeast, southwest, right_side, x, residual):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            own = right_side[i, j] - diagonal[i, j] * x[i, j]
            residual[i, j] = _plus_neighbours9(own, east, south, southeast, southwest, x, i, j)


@njit(cache=True)
def _apply5(diagonal, east, south, x, product):
    """product = A x; returns x . A x."""
    total = 0.0
    for i in range(1, x.shape[0] - 1):
        row = 0.0
        for j in range(1, x.shape[1] - 1):
            value = (
                diagonal[i, j] * x[i, j]
                - east[i, j] * x[i, j + 1]
                - east[i, j - 1] * x[i, j - 1]
                - south[i, j] * x[i + 1, j]
                - south[i - 1, j] * x[i - 1, j]
            )
            product[i, j] = value
            row += value * x[i, j]
        total += row
    return total


@njit(cache=True, fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = 0.0
    for i in range(1, a.shape[0] - 1):
        row = 0.0
        for j in range(1, a.shape[1] - 1):
            row += a[i, j] * b[i, j]
        total += row
    return total


@njit(cache=True)
def _renew(direction, z, beta):
    for i in range(1, z.shape[0] - 1):
        for j in range(1, z.shape[1] - 1):
            direction[i, j] = z[i, j] + beta * direction[i, j]


@njit(cache=True)
def _advance(x, residual, direction, product, alpha):
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            x[i, j] += alpha * direction[i, j]
            residual[i, j] -= alpha * product[i, j]


@njit(cache=True)
def _restrict(weights, fine, coarse):
    """coarse = transpose(P) fine."""
    for i in range(1, coarse.shape[0] - 1):
        for j in range(1, coarse.shape[1] - 1):
            k, l = 2 * i - 1, 2 * j - 1
            total = fine[k, l] + weights[0, i, j] * fine[k, l + 1] + weights[2, i, j] * fine[k + 1, l]
            total += weights[1, i, j - 1] * fine[k, l - 1] + weights[3, i - 1, j] * fine[k - 1, l]
            total += weights[4, i, j] * fine[k + 1, l + 1] + weights[5, i, j - 1] * fine[k + 1, l - 1]
            total += weights[6, i - 1, j] * fine[k - 1, l + 1] + weights[7, i - 1, j - 1] * fine[k - 1, l - 1]
            coarse[i, j] = total


@njit(cache=True)
def _prolong(weights, coarse, fine):
    """fine += P coarse."""
    rows, columns = fine.shape[0] - 2, fine.shape[1] - 2
    for i in range(1, coarse.shape[0] - 1):
        for j in range(1, coarse.shape[1] - 1):
            k, l = 2 * i - 1, 2 * j - 1
            here, right = coarse[i, j], coarse[i, j + 1]
            below, across = coarse[i + 1, j], coarse[i + 1, j + 1]
            fine[k, l] += here
            if l < columns:
                fine[k, l + 1] += weights[0, i, j] * here + weights[1, i, j] * right
            if k < rows:
                fine[k + 1, l] += weights[2, i, j] * here + weights[3, i, j] * below
                if l < columns:
                    fine[k + 1, l + 1] += (
                        weights[4, i, j] * here
                        + weights[5, i, j] * right
                        + weights[6, i, j] * below
                        + weights[7, i, j] * across
                    )
