"""The ring of lights: where it starts, which way it turns, and that its frames tell every normal."""

import pytest
import torch

from maquette.errors import InputError
from maquette.metrics import angle_between_deg
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.shading.solve import solve_shading


def sphere(side: int) -> torch.Tensor:
    """Normals of a ball that fills a square of pixels, row 0 on top; zero beside it."""
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    z2 = 1 - x * x - y * y
    return torch.stack([x, y, z2.clamp_min(0).sqrt()], -1) * (z2 > 0)[..., None]


def test_it_starts_above_and_turns_clockwise():
    lights = ring_lights(4)
    half = 0.5**0.5
    wanted = torch.tensor([[0, half, half], [half, 0, half], [0, -half, half], [-half, 0, half]], dtype=torch.float64)
    assert torch.allclose(lights, wanted, atol=1e-12)


@pytest.mark.parametrize(("count", "elevation"), [(3, 20.0), (9, 45.0), (12, 80.0)])
def test_lights_are_unit_at_their_elevation_and_evenly_spread(count, elevation):
    lights = ring_lights(count, elevation)
    assert torch.allclose(lights.norm(dim=-1), torch.ones(count, dtype=torch.float64))
    assert torch.allclose(torch.rad2deg(torch.asin(lights[:, 2])), torch.full((count,), elevation).double())
    steps = (lights * lights.roll(-1, 0)).sum(-1)
    assert torch.allclose(steps, steps[0].expand(count))
    assert torch.allclose(lights[:, :2].sum(0), torch.zeros(2).double(), atol=1e-12)


def test_frames_of_a_ball_are_brightest_where_the_light_stands():
    normals, lights = sphere(101), ring_lights()
    frames = shading_frames(normals, lights)
    assert frames.shape == (9, 101, 101)
    for frame, light in zip(frames, lights, strict=True):
        row, column = divmod(int(frame.argmax()), 101)
        assert column == pytest.approx((light[0] + 1) / 2 * 101 - 0.5, abs=1)
        assert row == pytest.approx((1 - light[1]) / 2 * 101 - 0.5, abs=1)
        assert float(frame.max()) == pytest.approx(1, abs=1e-3)
    assert not frames[:, 0, 0].any()  # no surface there


@pytest.mark.parametrize("count", [6, 9, 12])
@pytest.mark.parametrize(("solver", "most_deg"), [("paper", 1e-3), ("robust", 1e-4)])  # the paper's has a ridge
def test_perfect_frames_tell_every_normal_that_three_lights_reach(count, solver, most_deg):
    normals, lights = sphere(64), ring_lights(count)
    facing = normals[normals[..., 2] > 0]
    frames = shading_frames(facing, lights)
    lit = (frames > 0).sum(0) >= 3
    assert lit.all()  # the paper's lemma
    error = angle_between_deg(solve_shading(frames, lights, solver=solver).normals, facing)
    assert float(error.max()) < most_deg


def test_rigs_that_tell_nothing_are_refused():
    with pytest.raises(InputError, match="at least 3"):
        ring_lights(2)
    for elevation in (0.0, 90.0, float("nan")):
        with pytest.raises(InputError, match="between 0 and 90"):
            ring_lights(9, elevation)
