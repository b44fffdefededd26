"""Gaussians under another light: Lambert's law on discs worked out by hand, and a light taken out again of a ball."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.geometry.camera import pixel_centers
from maquette.geometry.sh import DC
from maquette.io.splats.colors import to_srgb
from maquette.shading.lambert import light_direction
from maquette.tools.relight_splat import flatness, guess_albedo, normals_towards, relit
from maquette.types import Camera, Gaussians

FRONT = torch.eye(4, dtype=torch.float64)
FRONT[2, 3] = 10.0
CAMERA = Camera(80, 80, 32.0, (40.0, 40.0), FRONT, orthographic=True)


def discs(normals: torch.Tensor, mean: torch.Tensor | None = None) -> Gaussians:
    """Discs with these normals: their quaternions turn z there, the short way."""
    n = len(normals)
    x, y, z = normals.unbind(-1)
    rotation = torch.nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros(n)], -1), dim=-1)
    mean = torch.zeros(n, 3) if mean is None else mean
    return Gaussians(
        mean, torch.tensor([[0.05, 0.05, 0.0025]]).expand(n, 3), rotation, torch.ones(n), torch.zeros(n, 1, 3)
    )


def ball(count: int = 4000) -> tuple[Gaussians, torch.Tensor]:
    """A Fibonacci ball of discs, and its outward normals."""
    k = torch.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, k * math.pi * (3 - math.sqrt(5))
    normals = torch.stack([(1 - z**2).sqrt() * turn.cos(), (1 - z**2).sqrt() * turn.sin(), z], -1)
    return discs(normals, normals), normals


def test_lamberts_law_on_tilted_discs():
    """Tilted by 0, 60 and 120 degrees about y; the last one shows the camera its other side."""
    angles = torch.deg2rad(torch.tensor([0.0, 60.0, 120.0]))
    given = discs(torch.stack([angles.sin(), torch.zeros(3), angles.cos()], -1))
    normals = normals_towards(given, CAMERA)
    torch.testing.assert_close(normals[2], torch.tensor([-math.sin(math.radians(120)), 0, 0.5]))
    albedo = torch.tensor([[0.8, 0.4, 0.2]]).expand(3, 3)
    found = relit(given, albedo, normals, light_direction(0.0, 30.0), 0.25)
    light = [math.sin(math.radians(30)), math.cos(math.radians(30 - 30)), 0.0]  # the third turns away from it
    wanted = albedo * torch.tensor([[(0.25 + share) / 1.25] for share in light])
    torch.testing.assert_close(0.5 + DC * found.sh[:, 0], wanted)
    assert found.encoding == "linear"
    assert found.mean is given.mean


def test_what_it_was_lit_by_before_does_not_matter_where_there_is_an_albedo():
    given, normals = ball(50)
    dark = replace(given, sh=given.sh - 1, encoding="srgb")
    arguments = torch.rand(50, 3), normals, light_direction(90.0, 10.0), 0.1
    assert torch.equal(relit(given, *arguments).sh, relit(dark, *arguments).sh)


@pytest.mark.parametrize("encoding", ["linear", "srgb"])
def test_a_guessed_albedo_has_the_light_taken_out(encoding):
    given, normals = ball()
    light = light_direction(130.0, 50.0)
    # A light that also wraps around, as the sky's does, so that the fit can be exact.
    shading = 0.6 + 0.35 * (normals @ light)
    albedo = torch.tensor([0.5, 0.3, 0.1])
    lit = replace(given, sh=((albedo * shading[:, None] - 0.5) / DC)[:, None], encoding="linear")
    lit = lit if encoding == "linear" else to_srgb(lit)
    found = guess_albedo(lit, normals)
    torch.testing.assert_close(found, (albedo / 0.5).expand_as(found), atol=1e-3, rtol=1e-3)


def test_flatness():
    assert flatness(ball(10)[0]) == pytest.approx(0.05)
    assert flatness(replace(ball(10)[0], scale=torch.full((10, 3), 0.3))) == 1


def test_a_relit_ball_is_bright_where_the_light_comes_from():
    from maquette.render.splat.rasterize import rasterize

    given, _ = ball()
    normals = normals_towards(given, CAMERA)
    for azimuth in (0.0, 90.0):
        lit = relit(given, torch.full_like(normals, 0.8), normals, light_direction(azimuth, 0.0), 0.0)
        picture = rasterize(lit, CAMERA, backend="torch").color[..., 0]
        # The light's share is the place across the ball, whose radius is 32 pixels.
        offset = (pixel_centers(CAMERA).float() - 40) / 32
        along = offset[..., 0] if azimuth == 0 else -offset[..., 1]
        wanted = 0.8 * along.clamp_min(0)
        assert (picture - wanted)[offset.norm(dim=-1) < 0.8].abs().mean() < 0.02
