"""A wall for the flat guess, an analytic hemisphere for the inflated one."""

import numpy as np
import pytest
import torch

from maquette import metrics
from maquette.errors import InputError
from maquette.methods.baselines import flat, inflate
from maquette.types import Photo


def disc(radius: float, margin: int = 5) -> tuple[Photo, torch.Tensor]:
    """A photo whose mask is a disc, and the normals of the hemisphere over it."""
    side = 2 * int(np.ceil(radius)) + 2 * margin
    row, column = np.mgrid[:side, :side] + 0.5 - side / 2
    x, y = column / radius, -row / radius
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    normals = torch.from_numpy(np.stack([x, y, z], -1)).float()
    mask = torch.from_numpy(x**2 + y**2 < 1)
    return Photo(torch.zeros(side, side, 3), mask), normals


@pytest.mark.parametrize(("radius", "bound_deg"), [(30, 1.3), (60, 0.7), (120, 0.4)])
def test_an_inflated_disc_is_a_hemisphere_and_the_more_so_the_finer(radius, bound_deg):
    photo, truth = disc(radius)
    assert photo.mask is not None
    error = metrics.angular_error_deg(inflate(photo).normals, truth, photo.mask)
    assert float(error.mean()) < bound_deg


def test_the_silhouette_of_an_inflated_disc_looks_outward():
    photo, truth = disc(60)
    found = inflate(photo)
    assert photo.mask is not None
    rim = photo.mask & (truth[..., 2] < 0.25)
    assert float(metrics.angular_error_deg(found.normals, truth, rim).mean()) < 6
    assert float((found.normals[rim][:, :2] * truth[rim][:, :2]).sum(-1).min()) > 0


def test_a_long_strip_inflates_to_a_half_cylinder():
    # Across a strip of half-width w, laplace(u) = -4 gives u = 2 (w^2 - x^2): height sqrt(2) of a circle's.
    half_width = 20
    mask = torch.zeros(600, 2 * half_width + 9, dtype=torch.bool)
    mask[:, 5 : 5 + 2 * half_width - 1] = True
    row = inflate(Photo(torch.zeros(*mask.shape, 3), mask)).normals[300]
    x = torch.arange(-half_width + 1, half_width).float()
    expected = torch.stack([2 * x, torch.zeros_like(x), (2 * (half_width**2 - x**2)).sqrt()], -1)
    angle = metrics.angle_between_deg(row[5 : 5 + 2 * half_width - 1], expected)
    assert float(angle[1:-1].max()) < 0.01


def test_unit_inside_the_mask_and_zero_outside():
    photo, _ = disc(20)
    assert photo.mask is not None
    # A separate pixel and a mask that touches the border of the picture.
    mask = photo.mask.clone()
    mask[0, 0] = True
    mask[:, -1] = True
    for found in (inflate(photo.with_mask(mask)), flat(photo.with_mask(mask))):
        length = torch.linalg.vector_norm(found.normals, dim=-1)
        assert torch.allclose(length[mask], torch.ones(int(mask.sum())), atol=1e-6)
        assert float(length[~mask].max()) == 0
        assert bool(found.normals.isfinite().all()) and float(found.normals[..., 2].min()) >= 0
    assert inflate(photo.with_mask(mask)).normals[0, 0].tolist() == [0, 0, 1]


def test_flat_without_a_mask_covers_the_picture():
    found = flat(Photo(torch.zeros(3, 4, 3)))
    assert bool(found.mask.all()) and found.normals.sum().item() == 12 == found.normals[..., 2].sum().item()


def test_inflating_nothing_is_refused():
    for photo in (
        Photo(torch.zeros(3, 4, 3)),
        Photo(torch.zeros(3, 4, 3), torch.zeros(3, 4, dtype=torch.bool)),
    ):
        with pytest.raises(InputError, match=r"^photo: inflating needs a mask"):
            inflate(photo)
