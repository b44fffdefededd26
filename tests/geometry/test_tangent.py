"""Tangent space on surfaces whose tangents are known: a floor, a cylinder, a torus; and what tiles still does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maquette.errors import InputError
from maquette.geometry.tangent import (
    object_to_tangent,
    tangent_basis,
    tangent_to_object,
    texture_basis,
)
from maquette.types import Mesh

SIZE = 32


def textured(vertices, normals, uv, faces) -> Mesh:
    vertices, normals, uv, faces = (torch.as_tensor(array) for array in (vertices, normals, uv, faces))
    return Mesh(vertices, faces, normals, uv)


def sheet(position, normal, count: int = 64, mirror: bool = False) -> Mesh:
    """The unit square of textures on a parametric surface, as a grid of triangles."""
    axis = np.linspace(0, 1, count + 1)
    u, v = (a.ravel() for a in np.meshgrid(axis, axis))
    index = np.arange((count + 1) ** 2).reshape(count + 1, count + 1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)])
    uv = np.stack([1 - u if mirror else u, v], -1)
    return textured(position(u, v), normal(u, v), uv, faces)


def floor(mirror: bool = False) -> Mesh:
    """y up, u along x, v away from a viewer who stands at +z."""
    return sheet(
        lambda u, v: np.stack([u, 0 * u, -v], -1), lambda u, v: np.stack([0 * u, 0 * u + 1, 0 * u], -1), 2, mirror
    )


def torus_frame(u, v):
    """T, B, N of a torus around z: u goes round it, v round its tube."""
    a, b = 2 * np.pi * u, 2 * np.pi * v
    t = np.stack([-np.sin(a), np.cos(a), 0 * a], -1)
    n = np.stack([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)], -1)
    return t, np.cross(n, t), n


def torus(count: int = 64) -> Mesh:
    def position(u, v):
        a = 2 * np.pi * u
        centre = np.stack([np.cos(a), np.sin(a), 0 * a], -1)
        return centre + 0.4 * torus_frame(u, v)[2]

    return sheet(position, lambda u, v: torus_frame(u, v)[2], count)


def texel_uv(size: int = SIZE):
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    return u, v


def waves(size: int = SIZE) -> torch.Tensor:
    """A tangent-space map that tiles: the normals of a height that is periodic in u and v."""
    u, v = (2 * np.pi * axis for axis in texel_uv(size))
    slope = np.stack([-0.5 * np.cos(u) * np.cos(2 * v), 0.8 * np.sin(u) * np.sin(2 * v), 1 + 0 * u], -1)
    return torch.from_numpy(slope / np.linalg.norm(slope, axis=-1, keepdims=True))


def test_the_floor_has_the_axes_of_its_texture():
    basis = texture_basis(floor(), SIZE, SIZE)
    expected = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # columns T, B, N
    assert torch.allclose(basis, expected.expand_as(basis))
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(SIZE, SIZE, 3)
    flat = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(SIZE, SIZE, 3)
    assert torch.allclose(object_to_tangent(up, basis), flat)


def test_a_mirrored_texture_has_a_left_handed_basis():
    for mirror, handedness in ((False, 1.0), (True, -1.0)):
        basis = texture_basis(floor(mirror), SIZE, SIZE)
        assert torch.allclose(torch.linalg.det(basis), torch.tensor(handedness, dtype=torch.float64))
        # B is where v grows, mirrored or not
        assert torch.allclose(basis[..., 1], torch.tensor([0.0, 0, -1], dtype=torch.float64).expand(SIZE, SIZE, 3))


@pytest.fixture(scope="module")
def torus_basis() -> torch.Tensor:
    return texture_basis(torus(), SIZE, SIZE)


def test_a_torus_against_its_closed_form(torus_basis):
    exact = torch.from_numpy(np.stack(torus_frame(*texel_uv()), -1))
    cosine = (torus_basis * exact).sum(-2)
    # Facets of 360 / 64 degrees: interpolation between exact vertex normals is second order in that angle.
    assert float(torch.rad2deg(cosine.clamp(-1, 1).acos()).max()) < 0.15


@given(st.integers(0, 2**32 - 1))
def test_there_and_back_is_the_same_and_the_basis_is_orthonormal(seed):
    rng = torch.Generator().manual_seed(seed)
    normals, along, vectors = (torch.randn(5, 3, generator=rng, dtype=torch.float64) for _ in range(3))
    mirrored = torch.rand(5, generator=rng) < 0.5
    basis = tangent_basis(normals, along, mirrored)
    assert torch.allclose(basis.transpose(-1, -2) @ basis, torch.eye(3, dtype=torch.float64).expand(5, 3, 3))
    assert torch.equal(torch.linalg.det(basis) < 0, mirrored)
    assert ((basis[..., 0] * along).sum(-1) > 0).all()
    assert torch.allclose(tangent_to_object(object_to_tangent(vectors, basis), basis), vectors)


def border_ratio(values: torch.Tensor) -> float:
    """The mean step across the border of the texture over the largest mean step inside: at most 1 if it tiles."""

    def ratio(axis: int) -> float:
        inside = values.diff(dim=axis).norm(dim=-1).mean(dim=1 - axis)
        across = (values.select(axis, 0) - values.select(axis, -1)).norm(dim=-1).mean()
        return float(across / inside.max())

    return max(ratio(0), ratio(1))


def test_what_tiles_still_does(torus_basis):
    basis = torus_basis
    tangent = waves()
    in_object = tangent_to_object(tangent, basis)
    again = object_to_tangent(in_object, basis)
    assert torch.allclose(again, tangent)
    for values in (tangent, in_object, again):
        assert border_ratio(values) < 1.02
    # the statistic does see a seam: half of a tile has one
    assert border_ratio(in_object[: SIZE // 3]) > 2
    # Any shift of the tile is the same change of space: no texel has a special place.
    shifted = object_to_tangent(in_object.roll((5, 7), (0, 1)), basis.roll((5, 7), (0, 1)))
    assert torch.equal(shifted, again.roll((5, 7), (0, 1)))


def test_a_texture_that_repeats_is_that_of_one_tile():
    once = torus(12)
    twice = textured(once.vertices, once.normals, once.uv + torch.tensor([3.0, -2.0]), once.faces)
    assert torch.allclose(texture_basis(twice, SIZE, SIZE), texture_basis(once, SIZE, SIZE))


def test_gutters_get_the_nearest_basis_over_the_border_too():
    whole, narrow, aside = floor(), torch.tensor([0.25, 1.0]), torch.tensor([0.5, 0])
    chart = textured(whole.vertices, whole.normals, whole.uv * narrow, whole.faces)
    turned = np.stack([0 * whole.uv[:, 0], whole.uv[:, 1], whole.uv[:, 0]], -1)
    other = textured(
        turned,
        np.tile([-1.0, 0, 0], (9, 1)),
        whole.uv * narrow + aside,
        whole.faces,
    )
    both = textured(
        np.concatenate([chart.vertices, other.vertices]),
        np.concatenate([chart.normals, other.normals]),
        np.concatenate([chart.uv, other.uv]),
        np.concatenate([chart.faces, other.faces + 9]),
    )
    n = texture_basis(both, 32, 16)[..., 2]
    first, second = n[0, 0], n[0, 16]
    assert not torch.allclose(first, second)
    columns = [0] * 8 + [0] * 4 + [1] * 4 + [1] * 8 + [1] * 4 + [0] * 4  # the last four are nearer over the border
    for column, chart_number in enumerate(columns):
        assert torch.allclose(n[:, column], (first, second)[chart_number].expand(16, 3)), column


def test_what_cannot_have_a_basis():
    whole = floor()
    with pytest.raises(InputError, match="covers no texel"):
        texture_basis(textured(whole.vertices, whole.normals, whole.uv * 0, whole.faces), 16, 16)
    with pytest.raises(InputError, match="without a tangent"):
        texture_basis(textured(whole.vertices, whole.normals * 0, whole.uv, whole.faces), 16, 16)
    with pytest.raises(InputError, match="repeats the texture"):
        texture_basis(textured(whole.vertices, whole.normals, whole.uv * 1e4, whole.faces), 16, 16)
