"""The table of whole frames, on maps whose lean is known."""

import math

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.types import NormalMap


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("whole_frames")


def test_a_map_that_leans_outwards_at_its_border_alone(benchmark):
    """By 45 degrees in a band of a sixteenth, over a truth that is flat."""
    side = 64
    axis = torch.linspace(-1, 1, side)
    x, y = axis.expand(side, side), axis.flip(0)[:, None].expand(side, side)
    slopes = torch.stack([torch.where(a.abs() > 7 / 8, a.sign(), 0 * a) for a in (x, y)], -1)
    one_way = torch.where((x.abs() > y.abs())[..., None], slopes * torch.tensor([1, 0]), slopes * torch.tensor([0, 1]))
    full = torch.ones(side, side, dtype=torch.bool)
    leaning = NormalMap(unit(torch.cat([one_way, torch.ones(side, side, 1)], -1)), full)
    truth = NormalMap(torch.tensor([0.0, 0.0, 1.0]).expand(side, side, 3), full)
    border, middle, border_error, middle_error, edges, _ = map(float, benchmark.row(leaning, truth))
    diagonal = (y.abs() == x.abs()) & (x.abs() > 7 / 8)  # where neither axis has the say, y has
    assert int(diagonal.sum()) < 20
    assert border == pytest.approx(45, abs=0.1)
    assert middle == 0
    assert border_error == pytest.approx(45, abs=0.1)
    assert middle_error == 0
    assert 80 < edges <= math.degrees(math.pi / 2)
    assert list(map(float, benchmark.row(truth, truth))) == [0] * 6
