"""Cameras that look at a box: all of its corners are seen, from where they should be, and none wastes the image."""

import itertools
import math

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.camera import project
from maquette.geometry.viewpoints import facing, resized, spread, turntable
from maquette.types import Camera

BOXES = [
    ([-1, -2, -3], [1, 2, 3]),
    ([10, 0, 0], [14, 1, 0]),
    ([-5, 3, 1e-3], [5, 3.5, 8]),
    ([0, 0, 0], [1e-4, 1e-4, 0]),
]


def box(low, high) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    low, high = torch.tensor(low).double(), torch.tensor(high).double()
    corners = torch.tensor(list(itertools.product((0, 1), repeat=3))).double()
    return low, high, low + corners * (high - low)


@pytest.mark.parametrize(("low", "high"), BOXES)
@pytest.mark.parametrize("size", [(640, 480), (300, 700)])
def test_the_front_camera_sees_the_box_and_fills_most_of_one_side(low, high, size):
    low, high, corners = box(low, high)
    camera = facing(low, high, *size)
    pixels = project(camera, corners)
    assert torch.equal(camera.camera_to_world[:3, :3], torch.eye(3, dtype=torch.float64))
    away = (pixels - torch.tensor(size) / 2).abs() / (torch.tensor(size) / 2)
    assert float(away.max()) == pytest.approx(0.92)


@pytest.mark.parametrize(("low", "high"), BOXES)
def test_around_a_box_all_of_it_is_always_seen(low, high):
    low, high, corners = box(low, high)
    cameras = turntable(low, high, 320, 240, 8)
    largest = 0.0
    for k, camera in enumerate(cameras):
        pixels = project(camera, corners)
        away = (pixels - torch.tensor([160.0, 120.0])).abs() / torch.tensor([160.0, 120.0])
        largest = max(largest, float(away.max()))
        back = camera.camera_to_world[:3, 2]
        assert back.tolist() == pytest.approx([math.sin(k * math.pi / 4), 0, math.cos(k * math.pi / 4)])
        assert torch.linalg.det(camera.camera_to_world[:3, :3]) == pytest.approx(1)
        assert camera.camera_to_world[:3, 1].tolist() == [0, 1, 0]
    assert 0.5 < largest <= 0.92 + 1e-9


def test_a_point_has_a_camera_too():
    point = torch.tensor([1.0, 2.0, 3.0])
    assert project(facing(point, point, 64, 64), point.double()).tolist() == [32, 32]


def test_strays_do_not_count_but_few_points_all_do():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1000, 3, generator=generator)
    strays = points.clone()
    strays[:5] = 1e6
    strays[5:10] = -1e6
    low, high = spread(strays, torch.zeros(1000))
    assert (low >= 0).all() and (low < 0.05).all()
    assert (high <= 1).all() and (high > 0.95).all()
    low, high = spread(points[:50], torch.full((50,), 0.25))
    torch.testing.assert_close(low, points[:50].amin(0) - 0.25)
    torch.testing.assert_close(high, points[:50].amax(0) + 0.25)


def test_another_size_is_the_same_view():
    camera = Camera(640, 480, 500.0, (300.0, 250.0), torch.eye(4, dtype=torch.float64))
    small = resized(camera, 320, 240)
    point = torch.tensor([0.3, -0.2, -2.0], dtype=torch.float64)
    assert torch.equal(project(small, point) * 2, project(camera, point))
    assert resized(camera, 101, 76).height == 76
    with pytest.raises(InputError, match="camera's is 640x480, which is 320x240 at that width"):
        resized(camera, 320, 320)
