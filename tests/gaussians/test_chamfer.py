"""The Extended Chamfer Distance: a distance of sets, its oracle, its gradients; what turning Gaussians does to them."""

import math

import pytest
import torch
from oracles.chamfer import extended_chamfer as oracle
from torch.autograd import gradcheck

from maquette.gaussians import chamfer
from maquette.gaussians.chamfer import ChamferWeights, Cloud, extended_chamfer, nearest
from maquette.gaussians.covariance import covariance
from maquette.geometry.rotation import multiply, quaternion_to_matrix
from maquette.render.splat.rasterize import rasterize
from maquette.types import Camera, Gaussians, RenderOutput

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = ChamferWeights(0.3, 0.5, 0.7, 0.2)
THIRD_ABOUT_DIAGONAL = (0.5, 0.5, 0.5, 0.5)  # takes x to y, y to z, z to x
QUARTER_ABOUT_Z = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))  # takes x to y, y to -x


def cloud(n: int, seed: int = 0, dtype: torch.dtype = torch.float64, reach: float = 0.5) -> Cloud:
    rng = torch.Generator().manual_seed(seed)
    draw = {name: torch.rand(n, k, generator=rng, dtype=dtype) for name, k in (("m", 3), ("s", 3), ("c", 3), ("a", 1))}
    rotation = torch.randn(n, 4, generator=rng, dtype=dtype)
    return Cloud(reach * (2 * draw["m"] - 1), draw["s"] - 3, rotation, draw["c"], 0.1 + 0.8 * draw["a"][:, 0])


def rows(of: Cloud) -> list:
    return [
        (*(value[i].detach().numpy() for value in of[:4]), float(of.opacity[i].detach())) for i in range(len(of.mean))
    ]


def ball(x: float = 0.0, log_scale: float = 0.0, color: float = 0.0, opacity: float = 0.5) -> Cloud:
    return Cloud(
        torch.tensor([[x, 0.0, 0.0]]),
        torch.full((1, 3), log_scale),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.full((1, 3), color),
        torch.tensor([opacity]),
    )


def seen(of: Cloud, pose: torch.Tensor, side: int = 48) -> RenderOutput:
    """Rendered on white, from a pose, by a camera as GSN's."""
    sh = (of.color[:, None] - 0.5) / 0.28209479177387814
    gaussians = Gaussians(of.mean, of.log_scale.exp(), of.rotation, of.opacity, sh, encoding="srgb")
    camera = Camera(side, side, side * 525 / 512, (side / 2, side / 2), pose)
    return rasterize(gaussians, camera, background=torch.ones(3))


def front() -> torch.Tensor:
    pose = torch.eye(4)
    pose[2, 3] = 1.3
    return pose


def about_z(angle_rad: float) -> torch.Tensor:
    return torch.tensor([math.cos(angle_rad / 2), 0.0, 0.0, math.sin(angle_rad / 2)])


def test_it_is_that_of_the_oracles_loops():
    for n, m in ((1, 1), (7, 4), (12, 12)):
        a, b = cloud(n, 1), cloud(m, 2)
        assert float(extended_chamfer(a, b, WEIGHTS)) == pytest.approx(oracle(rows(a), rows(b), 0.3, 0.5, 0.7, 0.2))
        assert float(extended_chamfer(a, b)) == pytest.approx(oracle(rows(a), rows(b), 0.1, 0.1, 0.1, 0.1))


def test_equal_sets_have_none_whatever_their_order_their_axes_names_and_their_quaternions_signs():
    """The axes of every third Gaussian are called in another order, of every other third swapped; signs alternate."""
    a = cloud(30)
    rotation, log_scale = a.rotation.clone(), a.log_scale.clone()
    for start, turn, order in ((0, THIRD_ABOUT_DIAGONAL, [1, 2, 0]), (1, QUARTER_ABOUT_Z, [1, 0, 2])):
        turns = torch.tensor(turn, dtype=torch.float64).expand(10, 4)
        rotation[start::3] = multiply(rotation[start::3].clone(), turns)
        log_scale[start::3] = a.log_scale[start::3][:, order]
    rotation[::2] *= -2.5
    other = a._replace(rotation=rotation, log_scale=log_scale)
    mixed = Cloud(*(value[torch.randperm(30, generator=torch.Generator().manual_seed(3))] for value in other))
    assert not torch.allclose(mixed.log_scale.sort(0).values, a.log_scale.sort(0).values)
    assert 0 <= float(extended_chamfer(a, mixed, WEIGHTS)) < 1e-28
    assert 0 <= float(extended_chamfer(mixed, a, WEIGHTS)) < 1e-28


def test_it_does_not_matter_which_set_comes_first_nor_how_both_are_turned():
    a, b = cloud(20, 1), cloud(30, 2)
    assert float(extended_chamfer(a, b, WEIGHTS)) == float(extended_chamfer(b, a, WEIGHTS))
    turn = torch.tensor([0.3, -1.2, 0.4, 2.0], dtype=torch.float64)
    both = extended_chamfer(a.turned(turn), b.turned(turn), WEIGHTS)
    assert float(both) == pytest.approx(float(extended_chamfer(a, b, WEIGHTS)), rel=1e-12)
    assert float(extended_chamfer(a.turned(turn), b, WEIGHTS)) != pytest.approx(float(both), rel=0.01)


def test_what_each_difference_counts_for():
    """Two single Gaussians, worked out by hand; each way counts once."""
    one = ball()
    assert float(extended_chamfer(one, ball(x=2.0))) == pytest.approx(2 * 4)
    assert float(extended_chamfer(one, ball(log_scale=0.5), WEIGHTS)) == pytest.approx(2 * 0.3 * 3 * 0.25)
    assert float(extended_chamfer(one, ball(color=0.5), WEIGHTS)) == pytest.approx(2 * 0.5 * 3 * 0.25)
    assert float(extended_chamfer(one, ball(opacity=1.0), WEIGHTS)) == pytest.approx(2 * 0.7 * 0.25)
    needle = one._replace(log_scale=torch.tensor([[0.0, -20.0, -20.0]]))
    across = needle._replace(rotation=torch.tensor([QUARTER_ABOUT_Z]))
    assert float(extended_chamfer(needle, across, WEIGHTS)) == pytest.approx(2 * 0.2 * 2)  # diag(1, 0, 0) - (0, 1, 0)
    spun = one._replace(rotation=torch.tensor([QUARTER_ABOUT_Z]))
    assert float(extended_chamfer(one, spun, WEIGHTS)) == pytest.approx(0, abs=1e-12)  # a ball has no rotation


def test_its_gradient_is_the_finite_difference():
    """To everything of both sets: places, scales, quaternions, colours, opacities."""
    a, b = cloud(3, 4), cloud(4, 5)

    def value(*parts: torch.Tensor) -> torch.Tensor:
        return extended_chamfer(Cloud(*parts[:5]), Cloud(*parts[5:]), WEIGHTS)

    assert gradcheck(value, tuple(part.clone().requires_grad_() for part in (*a, *b)))


def test_distances_are_held_for_few_pairs_at_a_time(monkeypatch):
    points, others = cloud(50, 1).mean, cloud(30, 2).mean
    whole, cdist, held = nearest(points, others), torch.cdist, []
    monkeypatch.setattr(torch, "cdist", lambda a, b: (held.append(len(a) * len(b)), cdist(a, b))[1])
    for most in (1, 64, 30 * 50):
        held.clear()
        monkeypatch.setattr(chamfer, "_MOST_PAIRS", most)
        assert nearest(points, others).equal(whole)
        assert max(held) <= max(most, len(others))
        assert sum(held) == 50 * 30
    assert whole.tolist() == [int((others - point).square().sum(1).argmin()) for point in points]


def test_in_single_precision_the_neighbour_is_the_nearest_up_to_rounding():
    points, others = cloud(400, 1, torch.float32).mean, cloud(300, 2, torch.float32).mean
    found = (points - others[nearest(points, others)]).double().square().sum(1)
    least = torch.cdist(points.double(), others.double()).min(1).values.square()
    assert float((found - least).max()) < 1e-6


def test_turning_turns_means_and_covariances_and_nothing_else():
    a, turn = cloud(9), torch.tensor([0.3, -1.2, 0.4, 2.0], dtype=torch.float64)
    matrix, moved = quaternion_to_matrix(turn), a.turned(turn)
    torch.testing.assert_close(moved.mean, (matrix @ a.mean.T).T)
    before = covariance(a.log_scale.exp(), a.rotation)
    torch.testing.assert_close(covariance(moved.log_scale.exp(), moved.rotation), matrix @ before @ matrix.T)
    for name in ("log_scale", "color", "opacity"):
        assert getattr(moved, name) is getattr(a, name)
    second = torch.tensor([1.0, 0.2, -0.7, 0.1], dtype=torch.float64)
    twice = a.turned(turn).turned(second)
    assert float(extended_chamfer(twice, a.turned(multiply(second, turn)), WEIGHTS)) < 1e-28


@pytest.mark.parametrize("angle_deg", [90, 180, 270])
def test_turned_by_a_right_angle_its_picture_is_the_turned_picture(angle_deg):
    """Counter-clockwise about z, which points to the viewer; so does `rot90` turn a picture."""
    a, turn = cloud(40, 6, torch.float32, 0.25), about_z(math.radians(angle_deg))
    before, after = seen(a, front()), seen(a.turned(turn), front())
    torch.testing.assert_close(after.color, before.color.rot90(angle_deg // 90), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.alpha, before.alpha.rot90(angle_deg // 90), atol=1e-4, rtol=0)
    assert float((after.color - before.color.rot90(angle_deg // 90 + 2)).abs().max()) > 0.1


@pytest.mark.parametrize("quaternion", [tuple(about_z(0.7).tolist()), (0.3, -1.2, 0.4, 2.0)])
def test_turned_gaussians_look_as_unturned_ones_to_a_camera_turned_back(quaternion):
    """About the camera's axis that is a camera rolled the other way; and so for any turn."""
    a, turn = cloud(40, 6, torch.float32, 0.25), torch.tensor(quaternion)
    back = torch.eye(4)
    back[:3, :3] = quaternion_to_matrix(turn).T
    after, by_camera = seen(a.turned(turn), front()), seen(a, back @ front())
    torch.testing.assert_close(after.color, by_camera.color, atol=1e-4, rtol=0)
    torch.testing.assert_close(after.depth, by_camera.depth, atol=1e-4, rtol=1e-4)
    assert float((after.color - seen(a, front()).color).abs().max()) > 0.1
