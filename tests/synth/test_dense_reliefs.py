"""Height maps: tiles that fit together, of pieces that are apart."""

import numpy as np
import pytest

from maquette.synth.solids.reliefs import RELIEFS, bake
from maquette.synth.solids.texels import patches, walls


@pytest.mark.parametrize("name", RELIEFS)
def test_a_map_is_a_tile_that_repeats(name):
    """Steps over the seam are like steps inside, and the same draw is the same map."""
    drawn = [bake(np.random.default_rng(seed), name, 96, size) for seed in range(3) for size in (0.08, 0.2)]
    for relief in drawn:
        assert relief.heights.shape == relief.cells.shape == (96, 96)
        assert (relief.heights.min(), relief.heights.max()) == (0, 1)
        assert 0.005 < relief.depth < 1
    for axis in (0, 1):
        inside = np.mean([np.abs(np.diff(relief.heights, axis=axis)).mean() for relief in drawn])
        seam = np.mean([np.abs(np.take(r.heights, 0, axis) - np.take(r.heights, -1, axis)).mean() for r in drawn])
        assert seam < 2.2 * inside
    again = bake(np.random.default_rng(0), name, 96, 0.08)
    assert np.array_equal(again.heights, drawn[0].heights)


def test_every_point_of_a_patch_is_nearest_to_its_own_middle():
    """Voronoi cells, across the seam too: the middle of a cell is where its wall is farthest, roughly."""
    labels = patches(np.random.default_rng(1), 128, 0.2)
    assert len(np.unique(labels)) == 25
    shifted = patches(np.random.default_rng(1), 128, 0.2)
    assert np.array_equal(labels, shifted)
    wall = walls(labels)
    edge = labels != np.roll(labels, 1, 1)
    assert wall[edge].max() < 1.5 / 128
    assert 0.05 < wall.max() < 0.2
