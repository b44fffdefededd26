"""Covariances and normals of Gaussians: oracles, eigenvalues that tie, gradients in value, direction and life."""

import math

import numpy as np
import pytest
import torch
from oracles.gaussian_normals import covariance as covariance_oracle
from oracles.gaussian_normals import thinnest_axis
from torch.autograd import gradcheck

from maquette.gaussians.covariance import covariance, face_camera, normals_from_covariance
from maquette.geometry.rotation import smallest_axis
from maquette.types import Camera

QUARTER_ABOUT_X = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)


def random_factors(n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, 3, generator=generator, dtype=torch.float64) + 0.05
    return scale, torch.randn(n, 4, generator=generator, dtype=torch.float64)


def turned(eigenvalues: tuple[float, float, float], seed: int = 1) -> torch.Tensor:
    _, rotation = random_factors(1, seed)
    return covariance(torch.tensor([eigenvalues], dtype=torch.float64).sqrt(), rotation)[0]


def camera(orthographic: bool) -> Camera:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.0, 0.0, 5.0])
    return Camera(8, 8, 8.0, (4.0, 4.0), pose, orthographic)


def angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Between lines, in radians."""
    return torch.linalg.cross(a, b, dim=-1).norm(dim=-1).asin()


def test_the_covariance_is_the_oracles():
    scale, rotation = random_factors()
    ours = covariance(scale, rotation)
    for k in range(len(scale)):
        np.testing.assert_allclose(ours[k], covariance_oracle(scale[k].numpy(), rotation[k].numpy()), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_find_the_oracles_axis(dtype):
    scale, rotation = random_factors()
    wanted = torch.from_numpy(np.stack([thinnest_axis(sigma) for sigma in covariance(scale, rotation).numpy()]))
    column = smallest_axis(scale.to(dtype), rotation.to(dtype)).double()
    eigen = normals_from_covariance(covariance(scale.to(dtype), rotation.to(dtype))).double()
    limit = 1e-9 if dtype == torch.float64 else 1e-4
    assert angle(column, wanted).max() < limit
    assert angle(eigen, wanted).max() < limit
    torch.testing.assert_close(eigen.norm(dim=-1), torch.ones(len(scale), dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_axis_of_a_turned_disc_is_a_column_not_a_row():
    """A disc in the xy-plane, tipped by a quarter turn about x: z goes to -y; the row would say +y."""
    scale = torch.tensor([1.0, 1.0, 0.01], dtype=torch.float64)
    tipped = torch.tensor(QUARTER_ABOUT_X, dtype=torch.float64)
    wanted = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(smallest_axis(scale, tipped), wanted)
    about_xyz = torch.tensor([0.5, 0.5, 0.5, 0.5], dtype=torch.float64)  # x to y, y to z, z to x; its inverse z to y
    wanted = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(smallest_axis(scale, about_xyz), wanted)
    torch.testing.assert_close(normals_from_covariance(covariance(scale, about_xyz)), wanted)


@pytest.mark.parametrize("eigenvalues", [(0.04, 0.3, 1.0), (0.04, 1.0, 1.0), (0.04, 1.0, 1.0 + 1e-13), (0.0, 1.0, 1.0)])
def test_the_backward_is_the_finite_difference_also_where_the_large_two_tie(eigenvalues):
    sigma = turned(eigenvalues).requires_grad_()
    assert gradcheck(normals_from_covariance, (sigma,), atol=1e-6, rtol=1e-6)


def test_the_backward_of_a_general_eigen_decomposition_would_not_do():
    """What the own backward is for: torch's divides by the gap of the large two, which is zero."""
    sigma = torch.diag(torch.tensor([1.0, 1.0, 0.04], dtype=torch.float64)).requires_grad_()
    cotangent = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    general = torch.autograd.grad((torch.linalg.eigh(sigma)[1][:, 0] * cotangent).sum(), sigma)[0]
    ours = torch.autograd.grad((normals_from_covariance(sigma) * cotangent).sum(), sigma)[0]
    assert not general.isfinite().all()
    # by hand: d n_x = dSigma_xz / (0.04 - 1), and dSigma_xz sits in two places
    assert ours[0, 2] == pytest.approx(1.0 / (0.04 - 1) / 2, rel=1e-12)
    assert ours[2, 1] == pytest.approx(2.0 / (0.04 - 1) / 2, rel=1e-12)
    assert ours[2, 2] == ours[0, 1] == 0


def test_a_batch_has_the_gradients_of_its_members():
    scale, rotation = random_factors(5)
    sigma = covariance(scale, rotation).requires_grad_()
    cotangent = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    together = torch.autograd.grad((normals_from_covariance(sigma) * cotangent).sum(), sigma)[0]
    for k in range(5):
        one = sigma[k].detach().requires_grad_()
        alone = torch.autograd.grad((normals_from_covariance(one) * cotangent[k]).sum(), one)[0]
        torch.testing.assert_close(together[k], alone)


def test_a_ball_has_a_unit_normal_and_no_gradient():
    for dtype in (torch.float32, torch.float64):
        sigma = (0.3 * torch.eye(3, dtype=dtype)).requires_grad_()
        normal = normals_from_covariance(sigma)
        assert float(normal.norm().detach()) == pytest.approx(1)
        assert torch.autograd.grad(normal.sum(), sigma)[0].eq(0).all()


def test_a_needle_keeps_the_gradient_that_turns_its_long_axis():
    """Sigma = diag(1, 1, 9): the normal is anywhere in the xy-plane, but it must stay across the needle."""
    sigma = torch.diag(torch.tensor([1.0, 1.0, 9.0], dtype=torch.float64)).requires_grad_()
    normal = normals_from_covariance(sigma)
    grad = torch.autograd.grad(normal[2], sigma)[0]
    step = 1e-6
    tilt = torch.zeros(3, 3, dtype=torch.float64)
    tilt[:2, 2] = tilt[2, :2] = step * normal.detach()[:2]
    long_axis = torch.linalg.eigh(sigma.detach() + tilt)[1][:, 2]
    long_axis = long_axis * long_axis[2].sign()
    # v0 follows the needle's plane: dv0_z = -(d long axis) . v0
    wanted = -(long_axis[:2] @ normal.detach()[:2]) / step
    assert float((grad * tilt).sum() / step) == pytest.approx(float(wanted), rel=1e-5)
    assert grad.isfinite().all()


@pytest.mark.parametrize("way", ["column", "covariance"])
@pytest.mark.parametrize("sizes", [(0.2, 0.5, 1.0), (0.05, 1.0, 1.0)])
def test_the_gradient_to_the_quaternion_is_alive_and_points_the_right_way(way, sizes):
    scale = torch.tensor(sizes, dtype=torch.float64)
    rotation = random_factors(1, seed=4)[1][0].requires_grad_()

    def normal(quaternion: torch.Tensor) -> torch.Tensor:
        found = smallest_axis(scale, quaternion)
        if way == "column":
            return found
        eigen = normals_from_covariance(covariance(scale, quaternion))
        return eigen * (eigen * found).sum().sign().detach()

    assert gradcheck(normal, (rotation,))
    target = torch.nn.functional.normalize(normal(rotation).detach() + torch.tensor([0.2, -0.1, 0.3]), dim=0)
    error = 1 - normal(rotation) @ target
    grad = torch.autograd.grad(error, rotation)[0]
    assert float(grad.norm()) > 1e-2
    assert abs(float(grad @ rotation.detach())) < 1e-9  # the length of a quaternion doesn't count
    after = 1 - normal(rotation.detach() - 0.05 * grad) @ target
    assert after < error


def test_descending_the_covariance_alone_turns_a_disc_to_a_wanted_normal():
    scale = torch.tensor([1.0, 1.0, 0.1])
    rotation = torch.tensor([0.9, 0.3, -0.2, 0.1], requires_grad=True)
    wanted = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 0.8]), dim=0)
    descent = torch.optim.Adam([rotation], lr=0.05)
    for _ in range(200):
        descent.zero_grad()
        normal = normals_from_covariance(covariance(scale, rotation))
        (1 - (normal @ wanted) ** 2).backward()
        descent.step()
    assert float(angle(normals_from_covariance(covariance(scale, rotation)), wanted).detach()) < math.radians(0.1)


@pytest.mark.parametrize("orthographic", [False, True])
def test_normals_face_the_camera(orthographic):
    means = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    normals = torch.tensor([[0.8, 0.0, 0.6], [-0.8, 0.0, -0.6], [1.0, 0.0, 0.0]], dtype=torch.float64)
    facing = face_camera(normals, means, camera(orthographic))
    # from (4, 0, 0) the camera at (0, 0, 5) lies towards (-4, 0, 5): 0.8 * -4 + 0.6 * 5 = -0.2, so it looks away
    first = [0.8, 0.0, 0.6] if orthographic else [-0.8, 0.0, -0.6]
    assert facing.tolist() == [first, first, [1.0, 0.0, 0.0]]


def test_facing_the_camera_passes_the_gradient_with_its_sign():
    normals = torch.tensor([[0.0, 0.6, -0.8]], dtype=torch.float64, requires_grad=True)
    face_camera(normals, torch.zeros(1, 3, dtype=torch.float64), camera(True)).sum().backward()
    assert normals.grad is not None
    assert normals.grad.tolist() == [[-1.0, -1.0, -1.0]]
