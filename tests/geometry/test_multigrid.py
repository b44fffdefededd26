"""The solver against scipy's direct one, its Galerkin products against dense ones, and how few steps it takes."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve

from maquette.geometry import multigrid


def links(shape, kind, seed=0):
    """A matrix on a mask with a hole and an island; weights of one, or of seven orders of magnitude."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    ring = np.hypot(x - shape[1] / 2, y - shape[0] / 2) / min(shape)
    mask = ((ring < 0.45) & (ring > 0.1)) | ((x < 3) & (y < 4))
    sizes = 10 ** rng.uniform(-7, 0, (2, *shape)) if kind == "jumps" else np.ones((2, *shape))
    east, south = np.zeros(shape), np.zeros(shape)
    east[:, :-1] = sizes[0, :, :-1] * (mask[:, 1:] & mask[:, :-1])
    south[:-1] = sizes[1, :-1] * (mask[1:] & mask[:-1])
    return multigrid.five_point(*(np.pad(field, 1) for field in (east, south, 1e-9 * mask))), np.pad(mask, 1)


def dense(matrix: multigrid.Links) -> np.ndarray:
    shape = matrix.diagonal.shape
    index = np.arange(matrix.diagonal.size).reshape(shape)
    full = np.diag(matrix.diagonal.ravel())
    steps = ((matrix.east, 0, 1), (matrix.south, 1, 0), (matrix.southeast, 1, 1), (matrix.southwest, 1, -1))
    for weights, di, dj in steps:
        for i, j in np.argwhere(weights):
            one, other = index[i, j], index[i + di, j + dj]
            full[one, other] = full[other, one] = -weights[i, j]
    return full


def prolongation(level, coarse_shape) -> np.ndarray:
    columns = []
    for k in range(int(np.prod(coarse_shape))):
        coarse, fine = np.zeros(coarse_shape), np.zeros(level.links.diagonal.shape)
        i, j = divmod(k, coarse_shape[1])
        if 0 < i < coarse_shape[0] - 1 and 0 < j < coarse_shape[1] - 1:
            coarse[i, j] = 1
            multigrid._prolong(level.interpolation, coarse, fine)
        columns.append(fine.ravel())
    return np.stack(columns, 1)


@pytest.mark.parametrize("kind", ["even", "jumps"])
def test_coarse_matrices_are_galerkin_products_and_restriction_is_the_transpose(kind):
    matrix, _ = links((13, 18), kind)
    levels = multigrid.build(matrix)
    assert len(levels) > 3
    rng = np.random.default_rng(1)
    for fine, coarse in itertools.pairwise(levels):
        p = prolongation(fine, coarse.links.diagonal.shape)
        expected = p.T @ dense(fine.links) @ p
        active = coarse.links.diagonal.ravel() > 0  # points that aren't there carry no unknown
        assert np.abs(expected - dense(coarse.links))[np.ix_(active, active)].max() < 1e-14
        residual = np.pad(rng.normal(size=tuple(side - 2 for side in fine.links.diagonal.shape)), 1)
        restricted = np.zeros(coarse.links.diagonal.shape)
        multigrid._restrict(fine.interpolation, residual, restricted)
        assert np.allclose(restricted.ravel(), p.T @ residual.ravel(), atol=1e-13)
        assert fine.interpolation.min() >= 0
        assert p.sum(1).max() <= 1 + 1e-12


@pytest.mark.parametrize(("kind", "tolerance"), [("even", 1e-6), ("jumps", 1e-4)])
def test_solution_is_that_of_a_direct_solver(kind, tolerance):
    matrix, mask = links((23, 37), kind)
    truth = np.where(mask, np.random.default_rng(2).normal(size=mask.shape), 0)
    full = dense(matrix)
    right_side = (full @ truth.ravel()).reshape(mask.shape)
    found, _ = multigrid.solve(multigrid.build(matrix), right_side, np.zeros_like(truth), 1e-13, 500)
    inside = mask.ravel()
    expected = spsolve(csc_matrix(full[np.ix_(inside, inside)]), right_side.ravel()[inside])
    difference = (full @ found.ravel())[inside] - (full[np.ix_(inside, inside)] @ expected)
    assert np.abs(difference).max() < 1e-11
    # Of a piece's own offset, the matrix knows only what the shift of 1e-9 tells.
    assert np.abs(np.diff(found.ravel()[inside] - expected)).mean() < tolerance
    assert np.abs(found[~mask]).max() == 0


def test_the_cycle_is_symmetric_and_positive():
    matrix, mask = links((40, 31), "jumps")
    levels = multigrid.build(matrix)
    rng = np.random.default_rng(3)
    a, b = (np.where(mask, rng.normal(size=mask.shape), 0) for _ in range(2))
    image_a = multigrid._cycle(levels, 0, a).copy()
    image_b = multigrid._cycle(levels, 0, b).copy()
    assert (b * image_a).sum() == pytest.approx((a * image_b).sum(), rel=1e-9)
    assert (a * image_a).sum() > 0


def test_steps_do_not_grow_with_the_grid():
    steps = []
    for side in (64, 256):
        matrix, mask = links((side, side + 5), "even")
        right_side = np.where(mask, np.random.default_rng(4).normal(size=mask.shape), 0)
        shifted = multigrid.five_point(matrix.east, matrix.south, 1e-4 * mask)
        steps.append(multigrid.solve(multigrid.build(shifted), right_side, np.zeros(mask.shape), 1e-8, 99)[1])
    assert max(steps) <= 16
    assert steps[1] <= steps[0] + 3


def test_two_runs_give_the_same_bits():
    matrix, mask = links((50, 60), "jumps")
    right_side = np.where(mask, np.random.default_rng(5).normal(size=mask.shape), 0)
    runs = [multigrid.solve(multigrid.build(matrix), right_side, np.zeros(mask.shape), 1e-6, 30)[0] for _ in range(2)]
    assert np.array_equal(*runs)
