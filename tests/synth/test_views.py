"""Cameras frame the solid; lights stand where their text says."""

import numpy as np
import pytest

from maquette.render.gbuffer import DISTANT, POINT
from maquette.synth.solids.shapes import sample_solid
from maquette.synth.views import LIGHTS, lights_to_camera, sample_lights, sample_view


@pytest.fixture(scope="module")
def sampled():
    """(solid, view) of 40 cameras on each of six shapes."""
    out = []
    for index in range(6):
        solid, family = sample_solid(8, index, side=32)
        rng = np.random.default_rng(index)
        out += [(solid, sample_view(rng, solid.grid, family, 96)) for _ in range(40)]
    return out


def projected(grid, view):
    points = np.argwhere(grid < 0)[:, ::-1] * (2 / (grid.shape[0] - 1)) - 1
    local = (points - view.camera_to_object[:, 3]) @ view.camera_to_object[:, :3]
    assert (local[:, 2] < 0).all()  # in front of the camera
    scale = 1 if view.orthographic else -local[:, 2:]
    flat = local[:, :2] / scale * view.focal_px * [1, -1] + view.center_px
    return flat / view.width


def test_poses_are_rigid(sampled):
    for _, view in sampled:
        rotation = view.camera_to_object[:, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_nine_views_in_ten_hold_the_whole_solid(sampled):
    """A close-up shows less than the solid is wide; every other view holds all of it, whatever the jitter."""
    outside = np.array([np.maximum(-(flat := projected(s.grid, v)), flat - 1).max() for s, v in sampled])
    sizes = np.array([np.ptp(projected(s.grid, v), axis=0).max() for s, v in sampled])
    whole = sizes < 1
    assert 0.84 < whole.mean() < 0.96  # 0.9, and three standard deviations of 240 draws
    assert outside[whole].max() < 1e-9
    assert sizes[whole].min() > 1 / 1.32 - 1e-9  # margins are 1 to 16 percent of the object on either side
    assert sizes[whole].max() < 1 / 1.02 + 1e-9
    assert sizes[~whole].min() > 1 / (1.32 * 0.7) - 1e-9


def test_lights_shine_from_the_viewer_s_side(sampled):
    rng = np.random.default_rng(4)
    for _, view in sampled[:60]:
        lights = sample_lights(rng, view)
        assert lights.shape == (LIGHTS, 4)
        assert lights[:, 3].tolist() == [DISTANT, DISTANT, DISTANT, POINT, *[DISTANT] * 4]
        seen = lights_to_camera(lights, view)
        np.testing.assert_allclose(np.linalg.norm(seen[lights[:, 3] == DISTANT, :3], axis=1), 1, atol=1e-12)
        assert (seen[:2, 2] > np.cos(np.radians(85)) - 1e-9).all()
        assert seen[2, 2] > np.cos(np.radians(30)) - 1e-9


def test_lights_in_the_camera_frame_are_the_same_lights(sampled):
    """Directions keep their angle to any object vector, the point its distance to the camera."""
    _, view = sampled[3]
    lights = sample_lights(np.random.default_rng(0), view)
    seen = lights_to_camera(lights, view)
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    distant = lights[:, 3] == DISTANT
    np.testing.assert_allclose(seen[distant, :3] @ rotation.T, lights[distant, :3], atol=1e-12)
    np.testing.assert_allclose(rotation @ seen[3, :3] + origin, lights[3, :3], atol=1e-12)
    # The object's centre lies at the camera's distance along its axis; the light 1.3 to 5 from there.
    center = -(rotation.T @ origin)
    assert 1.2 < np.linalg.norm(seen[3, :3] - [0, 0, center[2]]) < 5.1
