import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.errors import InputError
from maquette.methods.masks import object_mask
from maquette.types import Photo


def disc_photo(size: int = 240, radius: float = 0.3) -> tuple[Photo, torch.Tensor]:
    """A shaded orange disc with a white highlight on a grey, noisy table."""
    axis = torch.linspace(-0.5, 0.5, size)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    disc = x**2 + y**2 < radius**2
    highlight = (x + 0.1) ** 2 + (y + 0.1) ** 2 < 0.02**2
    noise = 0.02 * torch.rand(size, size, 1, generator=torch.Generator().manual_seed(0))
    rgb = torch.where(disc[..., None], torch.tensor([0.7, 0.25, 0.05]) * (1 - 0.5 * x[..., None]), 0.2) + noise
    rgb[highlight] = 1.0
    return Photo(rgb, name="disc"), disc


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a & b).sum() / (a | b).sum()).item()


def test_auto_finds_a_disc_with_its_highlight():
    photo, disc = disc_photo()
    assert overlap(object_mask(photo, "auto"), disc) > 0.97


def test_auto_works_on_a_reduced_copy_and_repeats_itself():
    photo, disc = disc_photo(900)
    first, second = object_mask(photo), object_mask(photo)
    assert first.shape == disc.shape
    assert overlap(first, disc) > 0.97
    assert torch.equal(first, second)


def test_auto_keeps_large_holes_open():
    photo, disc = disc_photo()
    axis = torch.linspace(-0.5, 0.5, 240)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    hole = x**2 + y**2 < 0.12**2
    photo.rgb[hole] = photo.rgb[:100, :50].reshape(-1, 3)[: int(hole.sum())]
    assert overlap(object_mask(photo), disc & ~hole) > 0.95


@pytest.mark.filterwarnings("error")
def test_alpha_comes_first():
    photo, disc = disc_photo()
    other = ~disc
    for how in ("auto", "alpha"):
        assert torch.equal(object_mask(photo.with_mask(other), how), other)
    assert object_mask(photo.with_mask(other), "none").all()


def test_nothing_to_tell_apart_is_the_whole_frame_with_a_warning():
    with pytest.warns(UserWarning, match="blank: no object stands out"):
        mask = object_mask(Photo(torch.full((40, 60, 3), 0.3), name="blank"))
    assert mask.all()
    assert mask.shape == (40, 60)


def test_a_black_photo_is_the_whole_frame():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert object_mask(Photo(torch.zeros(40, 60, 3))).all()


def test_a_mask_file(tmp_path):
    photo, disc = disc_photo()
    Image.fromarray(disc.numpy().astype(np.uint8) * 255).save(tmp_path / "mask.png")
    assert torch.equal(object_mask(photo, str(tmp_path / "mask.png")), disc)


def test_masks_that_cannot_be(tmp_path):
    photo, disc = disc_photo()
    with pytest.raises(InputError, match="disc: has no transparent pixels"):
        object_mask(photo, "alpha")
    with pytest.raises(InputError, match="disc: its mask is empty"):
        object_mask(photo.with_mask(torch.zeros_like(disc)), "auto")
    Image.new("L", (240, 240)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="empty"):
        object_mask(photo, str(tmp_path / "black.png"))
    Image.new("L", (100, 90), 255).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="the mask is 100x90, disc is 240x240"):
        object_mask(photo, str(tmp_path / "small.png"))
    with pytest.raises(InputError, match="no such file"):
        object_mask(photo, "alhpa")
