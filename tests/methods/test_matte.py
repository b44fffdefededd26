"""From coarse to fine: the guided filter by its defining property, GrabCut's band on a disc that is known."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from mask_photos import disc_photo, overlap

from maquette.methods import matte as module
from maquette.methods.framing import display
from maquette.methods.matte import affine, guided, matte, pieces

RNG = np.random.default_rng(0)


def blurred(mask: np.ndarray, side: int = 40) -> np.ndarray:
    """What a network of `side` pixels could say of a mask, at best."""
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)


def test_guided_by_colours_that_explain_the_values_it_gives_them_back():
    """Values that are affine in the guide's colours pass as they are, up to epsilon; a constant passes exactly."""
    guide = RNG.random((60, 50, 3), np.float32)
    values = 0.2 + guide @ np.array([0.3, 0.1, 0.2], np.float32)
    assert np.abs(guided(guide, values, 4) - values).max() < 5e-3
    assert np.abs(guided(guide, np.full((60, 50), 0.7, np.float32), 4) - 0.7).max() < 1e-5


def test_guided_by_nothing_it_is_the_mean_of_the_means():
    values = RNG.random((40, 40), np.float32)
    mean = cv2.blur(cv2.blur(values, (5, 5)), (5, 5))
    assert np.abs(guided(np.full((40, 40, 3), 0.5, np.float32), values, 2) - mean)[6:-6, 6:-6].max() < 1e-4


def test_a_pixels_function_by_a_loop_over_its_windows():
    """The ridge regression of the values on the colours in each window, solved by NumPy in float64, and their mean."""
    guide, values = RNG.random((15, 15, 3)), RNG.random((15, 15))
    slopes, offsets = [], []
    for row, column in itertools.product(range(5, 10), range(5, 10)):
        window = slice(row - 2, row + 3), slice(column - 2, column + 3)
        colours, wanted = guide[window].reshape(-1, 3), values[window].ravel()
        centred = colours - colours.mean(0)
        ridge = centred.T @ centred / 25 + 1e-4 * np.eye(3)
        slopes.append(np.linalg.solve(ridge, centred.T @ (wanted - wanted.mean()) / 25))
        offsets.append(wanted.mean() - slopes[-1] @ colours.mean(0))
    slope, offset = affine(guide.astype(np.float32), values.astype(np.float32), 2)
    assert np.abs(slope[7, 7] - np.mean(slopes, 0)).max() < 1e-4
    assert offset[7, 7] == pytest.approx(np.mean(offsets), abs=1e-4)


@pytest.mark.parametrize("size", [240, 1700])
def test_a_blurred_disc_becomes_the_disc(size):
    photo, disc = disc_photo(size)
    coarse = blurred(disc.numpy(), 60)
    found = torch.from_numpy(matte(display(photo).numpy(), coarse)) > 0.5
    before = torch.from_numpy(cv2.resize(coarse, (size, size)) > 0.5)
    assert overlap(found, disc) > 0.99
    assert 1 - overlap(found, disc) < 0.5 * (1 - overlap(before, disc))


def test_a_soft_edge_stays_soft():
    """Alpha of a disc that fades over eight pixels, before another colour: found to within a tenth where it fades."""
    y, x = np.mgrid[:200, :200].astype(np.float32)
    alpha = np.clip((70 - np.hypot(x - 99.5, y - 99.5)) / 8 + 0.5, 0, 1)
    colours = [np.array(colour, np.float32) for colour in ([0.8, 0.3, 0.1], [0.2, 0.3, 0.5])]
    picture = alpha[..., None] * colours[0] + (1 - alpha[..., None]) * colours[1]
    found = matte(picture, blurred(alpha, 50))
    fades = (alpha > 0) & (alpha < 1)
    hard = (alpha > 0.5).astype(np.float32)
    assert np.abs(found - alpha)[fades].mean() < 0.5 * np.abs(hard - alpha)[fades].mean()
    assert ((found > 0) & (found < 1)).sum() > 0.5 * fades.sum()


def test_what_is_sure_is_not_asked_again():
    """A patch of the background's colour in the middle of the object stays the object's."""
    photo, disc = disc_photo()
    picture = display(photo).numpy().copy()
    picture[110:130, 110:130] = picture[5, 5]
    found = matte(picture, blurred(disc.numpy(), 80))
    assert (found[105:135, 105:135] == 1).all()


def test_tiles_are_as_the_whole(monkeypatch):
    photo, disc = disc_photo(400)
    picture, coarse = display(photo).numpy(), blurred(disc.numpy())
    small = matte(picture, coarse)
    monkeypatch.setattr(module, "_TILE_PX", 4096)
    assert np.abs(small - matte(picture, coarse)).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_nothing_to_decide(value):
    """No sure object, no sure background, or neither: no failure of OpenCV."""
    found = matte(RNG.random((50, 70, 3), np.float32), np.full((20, 20), value, np.float32))
    assert found.shape == (50, 70)
    assert (found > 0.5).all() == (value == 1)


def test_pieces_by_hand():
    mask = np.zeros((10, 20), np.bool_)
    mask[1:5, 1:6], mask[1:3, 10:15], mask[8, 18] = True, True, True  # 20, 10 and 1
    assert pieces(mask, 1.0).sum() == 20
    assert pieces(mask, 0.5).sum() == 30
    assert pieces(mask, 0.0).sum() == 31
    assert not pieces(np.zeros((5, 5), np.bool_), 0.1).any()
