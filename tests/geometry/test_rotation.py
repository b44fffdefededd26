"""Quaternions: the sandwich product, the group, flips of the axes, gradients."""

import math
from itertools import product

import numpy as np
import torch
from oracles.gaussian_normals import turn
from torch.autograd import gradcheck

from maquette.geometry.rotation import facing_rotation, flip_rotation, multiply, quaternion_to_matrix


def quaternions(n: int = 8) -> torch.Tensor:
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_columns_are_the_turned_axes():
    for quaternion in quaternions():
        matrix = quaternion_to_matrix(quaternion)
        for k in range(3):
            np.testing.assert_allclose(matrix[:, k], turn(quaternion.numpy(), np.eye(3)[k]), atol=1e-14)


def test_a_quarter_turn_about_z_takes_x_to_y():
    matrix = quaternion_to_matrix(torch.tensor([math.sqrt(0.5), 0, 0, math.sqrt(0.5)]))
    torch.testing.assert_close(matrix @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_they_are_rotations_whatever_the_length():
    matrix = quaternion_to_matrix(quaternions() * torch.logspace(-6, 6, 8, dtype=torch.float64)[:, None])
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(8, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(8, dtype=torch.float64))


def test_a_zero_quaternion_turns_nothing_and_has_no_gradient():
    zero = torch.zeros(4, requires_grad=True)
    matrix = quaternion_to_matrix(zero)
    assert matrix.equal(torch.eye(3))
    assert torch.autograd.grad(matrix.sum(), zero)[0].eq(0).all()


def test_the_gradient_is_the_finite_difference():
    assert gradcheck(quaternion_to_matrix, (quaternions(2).requires_grad_(),))


def test_a_product_turns_by_the_second_and_then_by_the_first():
    first, second = quaternions().split(4)
    both = multiply(first, second)
    torch.testing.assert_close(quaternion_to_matrix(both), quaternion_to_matrix(first) @ quaternion_to_matrix(second))
    one, other = (torch.tensor([[0.0, *axis]]) for axis in ((1.0, 0, 0), (0, 1.0, 0)))
    assert multiply(one, other).tolist() == [[0, 0, 0, 1]]  # i j = k
    assert multiply(other, one).tolist() == [[0, 0, 0, -1]]


def test_products_are_a_group_and_lengths_multiply():
    a, b = quaternions().split(4)
    c, one = a.flip(0), torch.eye(4, dtype=torch.float64)[:1].expand(4, 4)
    torch.testing.assert_close(multiply(multiply(a, b), c), multiply(a, multiply(b, c)))
    assert multiply(one, a).equal(a)
    assert multiply(a, one).equal(a)
    back = a * a.new_tensor([1, -1, -1, -1])
    torch.testing.assert_close(multiply(a, back), one * a.square().sum(1, keepdim=True))
    torch.testing.assert_close(multiply(a, b).norm(dim=1), a.norm(dim=1) * b.norm(dim=1))
    torch.testing.assert_close(multiply(a.reshape(2, 2, 4), b.reshape(2, 2, 4)).reshape(4, 4), multiply(a, b))
    assert gradcheck(multiply, tuple(q[:2].clone().requires_grad_() for q in (a, b)))


def test_flipped_axes_turn_as_m_r_m():
    for signs in product((1.0, -1.0), repeat=3):
        mirror = torch.diag(torch.tensor(signs, dtype=torch.float64))
        flipped = quaternion_to_matrix(flip_rotation(quaternions(), mirror.diagonal()))
        torch.testing.assert_close(flipped, mirror @ quaternion_to_matrix(quaternions()) @ mirror)


def test_the_shortest_turn_takes_the_third_column_onto_the_normal():
    """The column, not the row; and nothing spins about the normal: the axis of the turn lies in the plane z = 0."""
    normals = torch.nn.functional.normalize(quaternions(50)[:, :3], dim=-1)
    found = facing_rotation(normals)
    torch.testing.assert_close(quaternion_to_matrix(found)[..., 2], normals)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(50, dtype=torch.float64))
    assert not found[:, 3].any()


def test_the_turns_to_the_poles():
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1e-9, 0.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(quaternion_to_matrix(facing_rotation(poles))[..., 2], poles, atol=1e-6, rtol=0)
