"""Every way to say where the object is."""

import warnings

import numpy as np
import pytest
import torch
from mask_photos import disc_photo, overlap, two_discs
from PIL import Image

from maquette.errors import InputError
from maquette.io.images import read_photo
from maquette.methods import masks
from maquette.methods.masks import cut_out, mask_share, object_mask
from maquette.types import Photo


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [240, 900])
def test_auto_finds_a_disc_with_its_highlight(size):
    photo, disc = disc_photo(size)
    found = cut_out(photo)
    assert found.mask is not None and found.alpha is not None
    assert overlap(found.mask, disc) > 0.99
    assert torch.equal(found.mask, found.alpha > 0.5)
    assert torch.equal(cut_out(photo).alpha, found.alpha)
    assert found.rgb is photo.rgb


def test_a_dark_photo_is_looked_at_as_a_bright_one_whatever_glints_in_it():
    """At a twentieth, with a spot that is white, it looks as it was, but for the spot; and finds the same."""
    photo, disc = disc_photo()
    dark = Photo(photo.rgb / 20)
    dark.rgb[20:23, 20:23] = 1.0
    bright, seen = masks._exposed(photo), masks._exposed(dark)
    assert np.abs(seen - bright)[30:].max() < 0.01
    assert overlap(object_mask(dark), disc) > 0.99


def test_auto_takes_all_pieces_of_a_size():
    photo, left, right = two_discs()
    photo.rgb[2:8, 2:8] = 1.0  # a speck
    found = object_mask(photo)
    assert overlap(found, left | right) > 0.97
    assert not found[:10, :10].any()


@pytest.mark.filterwarnings("error")
def test_alpha_comes_first():
    photo, disc = disc_photo()
    other = ~disc
    soft = Photo(photo.rgb, other, "disc", other * 0.8)
    for how in ("auto", "alpha", "grabcut"):
        assert torch.equal(object_mask(photo.with_mask(other), how), other)
        assert cut_out(soft, how).alpha is soft.alpha
    assert object_mask(soft, "none").all()
    assert cut_out(soft, "none").alpha is None


@pytest.mark.parametrize("how", ["auto", "grabcut"])
@pytest.mark.parametrize("rgb", [torch.full((40, 60, 3), 0.3), torch.zeros(40, 60, 3)], ids=["grey", "black"])
def test_nothing_to_tell_apart_is_the_whole_frame_with_a_warning(how, rgb):
    with pytest.warns(UserWarning, match=r"^blank: no object stands out from the background; the whole frame is used$"):
        photo = cut_out(Photo(rgb, name="blank"), how)
    assert photo.mask is not None and photo.mask.all()
    assert photo.mask.shape == (40, 60)
    assert photo.alpha is None
    assert mask_share(photo) == 1


@pytest.mark.parametrize("shape", [(32, 1024), (1024, 32), (16, 3000)])
@pytest.mark.parametrize("how", ["auto", "grabcut"])
def test_a_long_strip_of_texture_is_the_whole_frame(how, shape):
    rgb = 0.3 + 0.02 * torch.rand(*shape, 1, generator=torch.Generator().manual_seed(0)).expand(*shape, 3)
    with pytest.warns(UserWarning, match="the whole frame is used"):
        assert object_mask(Photo(rgb), how).all()


def test_of_a_tiny_object_its_share_is_said():
    photo, disc = disc_photo(radius=0.09)
    with pytest.warns(UserWarning, match=r"disc: the object is 2\.\d% of the frame, by U\^2-Net-p; --mask none takes"):
        found = cut_out(photo)
    assert mask_share(found) == pytest.approx(float(disc.float().mean()), abs=0.003)
    with pytest.warns(UserWarning, match="by GrabCut"):
        cut_out(photo, "grabcut")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("point", "which"), [("90,100", 1), ("240.5,120", 2)])
def test_a_point_takes_the_piece_that_is_there(point, which):
    photo, *discs = two_discs()
    found = cut_out(photo, f"point:{point}")
    assert found.mask is not None
    assert overlap(found.mask, discs[which - 1]) > 0.98
    assert not found.mask[discs[2 - which]].any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("box", "which"), [("25,35,155,165", 1), ("190,50,291,150", 2), ("190,-9,400,999", 2), ("128,50,291,150", 2)]
)
def test_a_box_takes_what_is_in_it(box, which):
    photo, *discs = two_discs()
    found = object_mask(photo, f"box:{box}")  # the last one cuts into the other disc
    assert overlap(found, discs[which - 1]) > 0.97
    left, top, right, bottom = (max(0, int(number)) for number in box.split(","))
    outside = torch.ones_like(found)
    outside[top:bottom, left:right] = False
    assert not found[outside].any()


def test_a_box_of_nothing_is_taken_whole():
    photo = Photo(torch.full((100, 100, 3), 0.3), name="wall")
    with pytest.warns(UserWarning, match="wall: nothing stands out in --mask box:20,30,60,70; all of the box is used"):
        found = object_mask(photo, "box:20,30,60,70")
    assert found.sum() == 40 * 40
    assert found[30:70, 20:60].all()


def test_a_mask_file_may_be_soft(tmp_path):
    photo, disc = disc_photo()
    codes = np.where(disc, 200, 60).astype(np.uint8)
    Image.fromarray(codes).save(tmp_path / "mask.png")
    found = cut_out(photo, str(tmp_path / "mask.png"))
    assert found.mask is not None and found.alpha is not None
    assert torch.equal(found.mask, disc)
    assert found.alpha[0, 0] == pytest.approx(60 / 255)


def test_the_soft_alpha_of_a_file_is_kept(tmp_path):
    codes = np.full((20, 20, 4), 255, np.uint8)
    codes[..., 3] = np.linspace(0, 255, 20).round()
    Image.fromarray(codes).save(tmp_path / "cut.png")
    photo = cut_out(read_photo(tmp_path / "cut.png"))
    assert photo.alpha is not None
    assert np.abs(photo.alpha.numpy() * 255 - codes[..., 3]).max() < 1e-3


def test_masks_that_cannot_be(tmp_path):
    photo, disc = disc_photo()
    Image.new("L", (240, 240)).save(tmp_path / "black.png")
    Image.new("L", (100, 90), 255).save(tmp_path / "small.png")
    cases = {
        "alpha": "disc: has no transparent pixels",
        str(tmp_path / "black.png"): "disc: its mask is empty",
        str(tmp_path / "small.png"): "the mask is 100x90, disc is 240x240",
        "alhpa": "no such file",
        "box:300,10,400,90": "--mask box:300,10,400,90: lies outside of disc, which is 240x240 pixels",
        "box:236,10,400,90": "lies outside",
        "point:240,10": "--mask point:240,10: lies outside of disc, which is 240x240 pixels",
        "point:-1,10": "lies outside",
    }
    for how, message in cases.items():
        with pytest.raises(InputError) as caught:
            object_mask(photo, how)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="disc: its mask is empty"):
        object_mask(photo.with_mask(torch.zeros_like(disc)), "auto")
    wall = Photo(torch.full((60, 60, 3), 0.3), name="wall")
    with warnings.catch_warnings(), pytest.raises(InputError, match="wall: nothing stands out at --mask point:30,30;"):
        object_mask(wall, "point:30,30")
