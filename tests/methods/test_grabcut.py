"""GrabCut alone: what `--mask grabcut` finds, as it always did."""

import numpy as np
import pytest
import torch
from mask_photos import disc_photo, overlap

from maquette.methods.grabcut import grabcut_in_box, grabcut_mask
from maquette.methods.masks import object_mask
from maquette.types import Photo


def test_a_disc_with_its_highlight():
    photo, disc = disc_photo()
    assert overlap(object_mask(photo, "grabcut"), disc) > 0.97


def test_a_reduced_copy_is_looked_at_and_it_repeats_itself():
    photo, disc = disc_photo(900)
    first, second = object_mask(photo, "grabcut"), object_mask(photo, "grabcut")
    assert first.shape == disc.shape
    assert overlap(first, disc) > 0.97
    assert torch.equal(first, second)


def test_large_holes_stay_open():
    photo, disc = disc_photo()
    axis = torch.linspace(-0.5, 0.5, 240)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    hole = x**2 + y**2 < 0.12**2
    photo.rgb[hole] = photo.rgb[:100, :50].reshape(-1, 3)[: int(hole.sum())]
    assert overlap(object_mask(photo, "grabcut"), disc & ~hole) > 0.95


@pytest.mark.parametrize("rgb", [torch.full((40, 60, 3), 0.3), torch.zeros(40, 60, 3)], ids=["grey", "black"])
def test_nothing_to_tell_apart(rgb):
    assert grabcut_mask(Photo(rgb)) is None
    with pytest.warns(UserWarning, match="blank: no object stands out"):
        assert object_mask(Photo(rgb, name="blank"), "grabcut").all()


@pytest.mark.parametrize("length", range(64, 1500, 170))
@pytest.mark.parametrize("turned", [False, True])
def test_no_strip_is_too_long(length, turned):
    """OpenCV raises where its rectangle has no area: beyond about 23 to 1."""
    rgb = torch.rand(32, length, 3, generator=torch.Generator().manual_seed(0))
    found = grabcut_mask(Photo(rgb.transpose(0, 1).contiguous() if turned else rgb))
    assert found is None or found.shape == ((length, 32) if turned else (32, length))
    assert length < 700 or found is None


def test_in_a_box_what_differs_from_around_it():
    photo, disc = disc_photo()
    inside = np.zeros((240, 240), np.bool_)
    inside[40:200, 40:200] = True
    found = grabcut_in_box(photo.rgb.numpy(), inside)
    assert found is not None
    assert overlap(torch.from_numpy(found), disc) > 0.95
    assert not found[~inside].any()
    assert grabcut_in_box(photo.rgb.numpy(), np.ones((240, 240), np.bool_)) is None  # nothing is around it
