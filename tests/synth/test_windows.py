"""Windows of G-buffers: where they may lie, and that what is seen through them is what was stored."""

import numpy as np
import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.synth.datasets.shards import ShapeData, coarsen
from maquette.synth.datasets.windows import Box, draw_box, place, resample, stack


@pytest.fixture(scope="module")
def data(tiny_shapes):
    return ShapeData(tiny_shapes)


def boxes(mask: np.ndarray, size_px: int, count: int = 300) -> list[Box]:
    rng = np.random.default_rng(0)
    return [draw_box(rng, mask, size_px) for _ in range(count)]


def test_windows_lie_inside_or_hold_all_and_show_some_of_the_object():
    mask = np.zeros((64, 64), bool)
    mask[20:30, 40:50] = True
    drawn = boxes(mask, 32)
    parts = [box for box in drawn if box.side < 64]
    wider = [box for box in drawn if box.side > 64]
    assert len(parts) > 50 and len(wider) > 30
    assert any(box == Box(0, 0, 64) for box in drawn)
    for box in parts:
        assert box.side >= 16
        assert 0 <= box.top <= 64 - box.side and 0 <= box.left <= 64 - box.side
        assert mask[box.top : box.top + box.side, box.left : box.left + box.side].any()
    for box in wider:
        assert box.top <= 0 <= box.top + box.side - 64
        assert box.left <= 0 <= box.left + box.side - 64
        assert box.side <= 96


def test_what_touches_the_frame_is_not_put_into_a_wider_one():
    """Its straight cut would look like an outline."""
    mask = np.zeros((64, 64), bool)
    mask[10:64, 20:30] = True
    assert max(box.side for box in boxes(mask, 64)) == 64
    assert min(box.side for box in boxes(mask, 64)) >= 32  # and no part is enlarged more than twice


def test_halving_is_coarsening(data):
    """Two programs of the same average."""
    surfaces = data.batch([0, 3, 5])
    one, other = resample(surfaces, 16), coarsen(surfaces, 2)
    for name in ("normal", "position", "local", "view", "mask", "lit", "openness", "opening", "part"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-5), name
    assert resample(surfaces, 32) is surfaces


def test_an_enlarged_window_has_the_same_surface(data):
    """Between stored points it is interpolated: halved again, what was seen well inside is there again."""
    surfaces = data.batch([0, 3, 5])
    again = resample(resample(surfaces, 64), 32)
    inner = -torch.nn.functional.max_pool2d(-surfaces.mask, 5, 1, 2) > 0
    cosine = (again.normal * surfaces.normal).sum(1, keepdim=True)[inner]
    assert float(cosine.mean()) > 0.97
    assert float((again.mask - surfaces.mask).abs().mean()) < 0.02
    assert torch.allclose(resample(surfaces, 64).normal.norm(dim=1), resample(surfaces, 64).mask[:, 0], atol=1e-5)


def test_a_wider_frame_holds_the_same_object_smaller(data):
    surfaces = data.batch([1])
    wide = place(surfaces, Box(-8, -16, 48), 24)  # everything at half the size, from row 4 and column 8 on
    half = resample(surfaces, 16)
    inner = (..., slice(4, 20), slice(8, 24))
    for name in ("normal", "position", "mask", "lit", "part"):
        assert torch.equal(getattr(wide, name)[inner], getattr(half, name)), name
        assert float(getattr(wide, name).abs().sum()) == pytest.approx(float(getattr(half, name).abs().sum()), rel=1e-5)
    assert torch.allclose(wide.view.norm(dim=1), torch.ones(1, 24, 24), atol=1e-5)


def test_a_part_is_seen_by_the_same_camera(data):
    """Positions know nothing of the window: a pixel that is cut out has the one that it had."""
    for index in range(len(data)):
        rng = np.random.default_rng(index)
        cut = data.windows([index], 32, rng)
        assert cut.mask.shape == (1, 1, 32, 32)
    whole = data.batch([2])
    rng = np.random.default_rng(4)
    parts = [data.windows([2], 16, rng) for _ in range(40)]
    nearest = [
        float((whole.position[0] - part.position[0, :, y, x, None, None]).norm(dim=0)[whole.mask[0, 0] > 0].min())
        for part in parts
        for y, x in torch.nonzero(part.mask[0, 0])[:3].tolist()
    ]
    assert max(nearest) < 0.2  # of an object of size 2, whose pixels are 0.07 apart
    assert torch.allclose(unit(parts[0].normal, 1).norm(dim=1), parts[0].mask[:, 0], atol=1e-5)


def test_parts_of_a_batch_are_stacked_in_order(data):
    one, other = data.batch([0]), data.batch([4])
    both = stack([one, other])
    assert torch.equal(both.normal, torch.cat([one.normal, other.normal]))
    assert torch.equal(both.lights, torch.cat([one.lights, other.lights]))
