"""Reliefs against what their heights must do: repeat, slope as asked, and have the normals of a plane wave."""

import numpy as np
import pytest

from maquette.bench.normals.reliefs import KINDS, brick_cells, normals_of, relief, slopes

SIDE = 96


def wave(side: int, cycles: int, height: float) -> np.ndarray:
    """Heights that rise and fall to the right."""
    x = (np.arange(side) + 0.5) / side
    return np.tile(height * np.sin(2 * np.pi * cycles * x), (side, 1))


def test_the_normals_of_a_wave_are_the_analytic_ones():
    heights, x = wave(256, 3, 0.02), (np.arange(256) + 0.5) / 256
    rise = 0.02 * 2 * np.pi * 3 * np.cos(2 * np.pi * 3 * x)
    expected = np.stack([-rise, np.zeros(256), np.ones(256)], -1) / np.sqrt(1 + rise**2)[:, None]
    assert np.abs(normals_of(heights) - expected).max() < 2e-3
    # Row 0 is the top: heights that rise upwards are the wave turned by a quarter, and so are their normals.
    turned = normals_of(np.rot90(heights))
    assert np.abs(turned[::-1, 0, 1] - expected[:, 0]).max() < 2e-3
    assert np.abs(turned[..., 0]).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_relief_slopes_as_asked_and_is_its_seed_s(kind):
    first, again, other = (relief(kind, np.random.default_rng(seed), SIDE, 0.3) for seed in (1, 1, 2))
    assert np.linalg.norm(slopes(first), axis=-1).mean() == pytest.approx(0.3)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "carved"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_tile_meets_itself(kind, seed):
    heights = relief(kind, np.random.default_rng(seed), SIDE, 0.3)
    for tile in (heights, heights.T):
        inner = np.abs(np.diff(tile, axis=1)).mean(0)
        assert np.abs(tile[:, 0] - tile[:, -1]).mean() <= 1.2 * inner.max()
    # A tile that is rolled has the same normals, rolled: no border is treated apart.
    rolled = normals_of(np.roll(heights, 17, (0, 1)))
    assert np.allclose(rolled, np.roll(normals_of(heights), 17, (0, 1)))


def test_bricks_are_in_bond():
    """The upright joints of every second row of bricks stand over the middles of the bricks between."""
    _, local, row, column = brick_cells(np.random.default_rng(3), 240)
    assert row.max() % 2 == 1
    at = [np.flatnonzero(row[:, 0] == number)[0] for number in (0, 1)]
    shift = 240 // (column.max() + 1) // 2
    assert np.allclose(np.roll(local[at[0], :, 0], shift), local[at[1], :, 0], atol=0.05)
    assert not np.allclose(local[at[0], :, 0], local[at[1], :, 0], atol=0.05)
