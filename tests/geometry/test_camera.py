import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maquette.geometry.camera import pixel_centers, pixel_rays, project
from maquette.types import Camera


def camera_at(seed: int, orthographic: bool) -> Camera:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_rotvec(np.random.default_rng(seed).normal(0, 2, 3)).as_matrix())
    pose[:3, 3] = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Camera(21, 13, 17.0, (9.3, 6.1), pose, orthographic)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.floats(0.1, 50.0))
def test_points_on_a_ray_project_to_its_pixel(seed, orthographic, distance):
    camera = camera_at(seed, orthographic)
    origins, directions = pixel_rays(camera)
    pixels = project(camera, origins + distance * directions)
    assert torch.allclose(pixels, pixel_centers(camera), atol=1e-9)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(13, 21, dtype=torch.float64))


def test_a_camera_looks_along_its_minus_z_with_y_up():
    camera = Camera(3, 3, 1.5, (1.5, 1.5), torch.eye(4))
    origins, directions = pixel_rays(camera)
    assert origins.abs().max() == 0
    assert directions[1, 1].tolist() == [0, 0, -1]
    # The middle of the top row is one pixel above the axis, at a focal length of 1.5 pixels.
    length = math.hypot(1 / 1.5, 1)
    assert directions[0, 1].tolist() == pytest.approx([0, 1 / 1.5 / length, -1 / length])
    assert directions[1, 2].tolist() == pytest.approx([1 / 1.5 / length, 0, -1 / length])


def test_orthographic_rays_are_parallel_and_start_on_the_cameras_plane():
    camera = Camera(4, 2, 2.0, (2.0, 1.0), torch.eye(4), orthographic=True)
    origins, directions = pixel_rays(camera)
    assert torch.equal(directions, torch.tensor([0.0, 0.0, -1.0]).expand(2, 4, 3))
    assert origins[0, 0].tolist() == [-0.75, 0.25, 0]


def test_what_is_behind_a_pinhole_camera_has_no_pixel():
    camera = Camera(4, 4, 2.0, (2.0, 2.0), torch.eye(4))
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    pixels = project(camera, points)
    assert pixels[:2].isnan().all()
    assert pixels[2].tolist() == [2.0, 2.0]
