"""Spherical harmonics: the table of splat files, orthonormality, flips of the axes."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from maquette.geometry.sh import DC, flip_signs, sh_basis, sh_color, sh_degree

DIRECTIONS = torch.nn.functional.normalize(
    torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1
)


def test_the_first_three_degrees_are_the_table_of_splat_files():
    x, y, z = DIRECTIONS.unbind(-1)
    table = [
        0.28209479177387814 * torch.ones_like(x),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.092548430592079 * x * y,
        -1.092548430592079 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y),
        -1.092548430592079 * x * z,
        0.5462742152960395 * (x * x - y * y),
        -0.5900435899266435 * y * (3 * x * x - y * y),
        2.890611442640554 * x * y * z,
        -0.4570457994644657 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644657 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y),
        -0.5900435899266435 * x * (x * x - 3 * y * y),
    ]
    torch.testing.assert_close(sh_basis(DIRECTIONS, 3), torch.stack(table, dim=-1))


def test_they_are_orthonormal_up_to_degree_4():
    """By a quadrature that is exact for polynomials of degree 8: Gauss in z, even steps in azimuth."""
    heights, weights = np.polynomial.legendre.leggauss(6)
    azimuths = np.arange(12) * 2 * math.pi / 12
    radius = np.sqrt(1 - heights**2)[:, None]
    points = np.stack([radius * np.cos(azimuths), radius * np.sin(azimuths), np.tile(heights[:, None], 12)], axis=-1)
    basis = sh_basis(torch.from_numpy(points), 4).numpy()
    gram = np.einsum("ij,ijk,ijl->kl", np.tile(weights[:, None], 12) * 2 * math.pi / 12, basis, basis)
    np.testing.assert_allclose(gram, np.eye(25), atol=1e-13)


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_flipped_directions_flip_the_signs(signs):
    flipped = sh_basis(DIRECTIONS * torch.tensor(signs, dtype=torch.float64), 4)
    wanted = sh_basis(DIRECTIONS, 4) * torch.tensor(flip_signs(4, signs))
    torch.testing.assert_close(flipped, wanted)


def test_a_constant_colour():
    sh = torch.zeros(4, 3, dtype=torch.float64)
    sh[0] = (torch.tensor([0.2, 0.5, -0.4], dtype=torch.float64) - 0.5) / DC
    wanted = torch.tensor([0.2, 0.5, 0.0], dtype=torch.float64)  # below zero is black
    torch.testing.assert_close(sh_color(sh, DIRECTIONS[0]), wanted)


def test_the_degree_of_a_count():
    assert [sh_degree(count) for count in (1, 4, 9, 16, 25)] == [0, 1, 2, 3, 4]
