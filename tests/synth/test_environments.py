"""Environments: lobes in closed form, constants stay constant, looked-up values are those stored."""

from math import pi

import numpy as np
import pytest
import torch

from maquette.synth.looks.environments import (
    EXPONENTS,
    LEVELS,
    bank,
    look_up,
    panorama_directions,
    prefilter,
    specular_level,
)


def test_a_constant_environment_is_one_at_every_level():
    assert torch.allclose(prefilter(torch.full((1, 16, 32, 3), 7.0)), torch.ones(1), atol=1e-5)


def test_the_colour_of_an_environment_survives_its_normalisation():
    panorama = torch.tensor([1.0, 2.0, 3.0]).expand(1, 16, 32, 3)
    levels = prefilter(panorama)
    assert torch.allclose(levels.mean((0, 2, 3, 4)), torch.tensor([0.5, 1.0, 1.5]), atol=1e-5)


def test_a_delta_becomes_its_lobe():
    """A single bright pixel is seen, at level k, as cos^s of the angle to it, over the lobe's sum; by loops."""
    rows, columns = 8, 16
    panorama = torch.zeros(1, rows, columns, 3)
    panorama[0, 3, 5] = 1.0
    levels = prefilter(panorama)[0, 0]
    directions = panorama_directions(rows, columns).double()
    area = torch.sqrt(1 - directions[..., 1] ** 2)
    bright = float(area.sum() / area[3, 5])  # once the mean radiance is 1
    assert float(levels[0, 3, 5]) == pytest.approx(bright, rel=1e-5)
    for level, exponent in enumerate(EXPONENTS, 1):
        for row, column in ((3, 5), (3, 6), (2, 5), (7, 0), (4, 13)):
            total, weight = 0.0, 0.0
            for i in range(rows):
                for j in range(columns):
                    cosine = max(float(directions[row, column] @ directions[i, j]), 0.0)
                    total += cosine**exponent * float(area[i, j])
                    if (i, j) == (3, 5):
                        weight = cosine**exponent * float(area[i, j])
            expected = bright * weight / total
            assert float(levels[level, row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_last_level_is_irradiance_over_pi():
    """Under a sky that is 1 above and 0 below, a surface tilted by t sees (1 + cos t) / 2 of it."""
    directions = panorama_directions(32, 64)
    sky = (directions[..., 1:2] > 0).float().expand(-1, -1, 3)[None]
    last = prefilter(sky)[0, 0, -1] / 2  # its mean was scaled from a half to 1
    expected = (1 + directions[..., 1]) / 2
    assert float((last - expected).abs().max()) < 0.01


def test_directions_are_unit_and_start_straight_up():
    directions = panorama_directions(32, 64)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(1), atol=1e-6)
    assert (directions[0, :, 1] > 0.99).all()
    assert (directions[16, 31:33, 2] > 0.99).all()  # +z in the centre
    assert (directions[16, 48] @ torch.tensor([1.0, 0, 0])) > 0.99  # +x to its right


def test_looking_at_a_pixel_gives_that_pixel_of_every_level():
    environments = torch.rand(2, 3, LEVELS, 32, 64, generator=torch.Generator().manual_seed(0))
    directions = panorama_directions(32, 64).permute(2, 0, 1).expand(2, -1, -1, -1)
    for level in range(LEVELS):
        seen = look_up(environments, directions, torch.full((2, 1, 32, 64), float(level)))
        assert torch.allclose(seen, environments[:, :, level], atol=2e-5)


def test_between_two_levels_it_is_their_blend():
    """A panorama whose every level holds its own number gives back the level that was asked for."""
    stairs = torch.arange(float(LEVELS)).reshape(1, 1, LEVELS, 1, 1).expand(2, 3, LEVELS, 32, 64)
    directions = panorama_directions(32, 64).permute(2, 0, 1).expand(2, -1, -1, -1)
    for level in torch.linspace(0, LEVELS - 1, 21).tolist():
        seen = look_up(stairs, directions, torch.full((2, 1, 32, 64), level))
        assert torch.allclose(seen, torch.tensor(level), atol=1e-5)


def test_there_is_no_seam_behind_the_viewer():
    """Straight back, at azimuths of +pi and -pi, the first and the last column meet half and half."""
    environments = torch.rand(1, 3, LEVELS, 32, 64, generator=torch.Generator().manual_seed(1))
    polar = (torch.arange(32) + 0.5) / 32 * pi
    for turn in (1e-4, 0.01, 0.4 * 2 * pi / 64):  # up to within a column of the seam
        azimuth = torch.tensor([pi - turn, -pi + turn])
        sideways = polar.sin()[:, None]
        directions = torch.stack(
            [sideways * azimuth.sin(), polar.cos()[:, None].expand(-1, 2), sideways * azimuth.cos()]
        )[None]
        seen = look_up(environments, directions, torch.zeros(1, 1, 32, 2))
        first, last = environments[:, :, 0, :, 0], environments[:, :, 0, :, -1]
        share = turn / (2 * pi / 64)  # of a column's width, on this side of the seam
        left = (0.5 + share) * last + (0.5 - share) * first
        right = (0.5 + share) * first + (0.5 - share) * last
        assert torch.allclose(seen[..., 0], left, atol=1e-4)
        assert torch.allclose(seen[..., 1], right, atol=1e-4)


def test_rough_surfaces_look_at_blurred_levels():
    roughness = torch.linspace(0, 1, 50)
    level = specular_level(roughness)
    assert (level.diff() >= 0).all()
    assert float(level[0]) == 0
    assert float(level[-1]) <= LEVELS - 1
    # Exactly a stored lobe where the exponents agree: s = 1 / (2 roughness^4).
    for index, exponent in enumerate(EXPONENTS, 1):
        exact = specular_level(torch.tensor((0.5 / exponent) ** 0.25))
        assert float(exact) == pytest.approx(index, abs=1e-4)


def test_the_bank_is_finite_normalised_and_the_same_every_time():
    environments = bank()
    assert environments.shape[1:] == (3, LEVELS, 32, 64)
    assert bool(torch.isfinite(environments).all())
    assert float(environments.min()) >= 0
    directions = panorama_directions(32, 64)
    area = torch.sqrt(1 - directions[..., 1] ** 2)
    mean = (environments[:, :, 0] * area).sum((2, 3)) / area.sum()
    np.testing.assert_allclose(mean.mean(1), 1, atol=1e-4)
    again = bank.__wrapped__()
    assert torch.equal(again, environments)
