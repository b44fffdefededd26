"""Shading against closed forms: Lambert, energy, metals, falloff; photos that are finite and repeatable."""

from dataclasses import replace
from math import log, pi

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import DISTANT, POINT
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.environments import LEVELS
from maquette.synth.looks.materials import Material
from maquette.synth.looks.photo import Surfaces, _source, expose, photograph, reflect, shade


def material(albedo=0.5, roughness=0.5, metal=0.0, specular=0.0, size=1) -> Material:
    def full(value, channels=1):
        return torch.full((1, channels, size, size), float(value))

    return Material(full(albedo, 3), full(roughness), full(metal)[..., :1, :1], full(specular)[..., :1, :1])


def directions(count=64):
    """A grid over the upper hemisphere, (1, 3, count, 4 count), and the solid angle of every cell."""
    polar = (torch.arange(count) + 0.5) / count * pi / 2
    azimuth = (torch.arange(4 * count) + 0.5) / (4 * count) * 2 * pi
    sine, cosine = polar.sin()[:, None], polar.cos()[:, None].expand(-1, 4 * count)
    vectors = torch.stack([sine * azimuth.cos(), sine * azimuth.sin(), cosine])[None]
    return vectors, (sine * (pi / 2 / count) * (2 * pi / (4 * count)))[None, None]


def reflected_share(view_degrees, mat, count=64):
    """Of a white sky, what comes back towards a view: the integral of the BRDF and the cosine."""
    light, area = directions(count)
    angle = torch.tensor(view_degrees * pi / 180)
    view = torch.stack([angle.sin(), angle * 0, angle.cos()]).reshape(1, 3, 1, 1)
    normal = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    radiance = reflect(normal, view, light, mat)
    return float((radiance * area).sum((2, 3)).mean() / pi)


@pytest.fixture(scope="module")
def ball() -> Surfaces:
    """A unit ball in an orthographic frame, all of it lit by one distant light; analytic, 48 pixels."""
    axis = (torch.arange(48) + 0.5) / 24 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    z = (1 - x * x - y * y).clamp_min(0).sqrt()
    mask = (x * x + y * y < 0.99).float()[None, None]
    normal = torch.stack([x, y, z])[None] * mask
    light = torch.tensor([0.48, 0.6, 0.64])
    lights = torch.zeros(1, 8, 4)
    lights[..., :3], lights[..., 3] = light, DISTANT
    lights[:, 3, 3] = POINT
    lights[:, 3, :3] = torch.tensor([0.0, 0, -1.0])  # two units from the ball's centre
    offset = torch.tensor([0.0, 0, 3.0]).reshape(1, 3, 1, 1)
    return Surfaces(
        normal=normal,
        position=(normal - offset) * mask,
        local=normal,
        view=torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand(1, 3, 48, 48),
        mask=mask,
        lit=torch.ones(1, 8, 48, 48),
        openness=torch.ones(1, 1, 48, 48),
        lights=lights,
        opening=normal,
        part=mask,
    )


def test_a_matte_ball_under_one_light_is_lambert_s(ball):
    light = ball.lights[:, 0, :3, None, None]
    for roughness in (0.1, 0.5, 1.0):
        got = reflect(ball.normal, ball.view, light, material(0.7, roughness))
        expected = 0.7 * (ball.normal * light).sum(1, keepdim=True).clamp_min(0)
        assert torch.allclose(got, expected.expand_as(got), atol=1e-6)


@pytest.mark.parametrize("roughness", [0.2, 0.35, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("view_degrees", [0, 30, 60, 75])
def test_a_white_metal_reflects_no_more_than_it_gets(view_degrees, roughness):
    """Hammon's shadowing is an approximation and single scattering loses light: up to two percent over, less under."""
    share = reflected_share(view_degrees, material(1.0, roughness, metal=1, specular=1), 128)
    assert 0.3 < share < 1.02
    if roughness == 1 and view_degrees == 0:
        assert share == pytest.approx(1 - log(2), abs=1e-3)  # the integral of m / (1 + m) for m in 0..1


@pytest.mark.parametrize("roughness", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("view_degrees", [0, 30, 60, 75])
def test_the_gloss_of_a_white_dielectric_is_taken_from_what_is_below(view_degrees, roughness):
    """White and smooth, it gives back what it gets; a rough gloss scatters only once: it loses a fifth at 75."""
    matte = reflected_share(view_degrees, material(1, roughness), 128)
    glossy = reflected_share(view_degrees, material(1, roughness, specular=1), 128)
    assert matte == pytest.approx(1, abs=1e-3)
    assert 0.75 < glossy < 1.01
    if view_degrees <= 30 and roughness < 1:
        assert glossy == pytest.approx(1, abs=0.02)
    varnished = replace(material(0, roughness, specular=1), coat=torch.ones(1, 1, 1, 1))
    assert reflected_share(view_degrees, varnished, 128) < 0.45
    assert reflected_share(view_degrees, replace(varnished, albedo=torch.ones(1, 3, 1, 1)), 128) < 1.04


def test_what_is_seen_from_the_light_is_what_is_lit_from_the_view():
    """Helmholtz: the BRDF is symmetric in light and view."""
    rng = torch.Generator().manual_seed(0)
    up = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand(1, 3, 20, 20)
    a, b = (unit(torch.randn(1, 3, 20, 20, generator=rng), 1) for _ in range(2))
    a, b = unit(a.abs() + 0.1 * up, 1), unit(b.abs() + 0.1 * up, 1)
    for mat in (material(0.5, 0.4, 0, 1, 20), material(0.7, 0.6, 1, 1, 20)):
        there = reflect(up, a, b, mat) / b[:, 2:]
        back = reflect(up, b, a, mat) / a[:, 2:]
        assert torch.allclose(there, back, rtol=1e-3, atol=1e-5)


def test_a_metal_has_no_diffuse_part_and_its_gloss_is_coloured(ball):
    polished = material(0.6, 0.1, metal=1, specular=1)
    normal = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    side = unit(torch.tensor([0.8, 0.0, 0.6]), 0).reshape(1, 3, 1, 1)
    assert float(reflect(normal, normal, side, polished).max()) < 1e-3  # off the mirror's direction
    mirror = side * torch.tensor([-1.0, 1, 1]).reshape(1, 3, 1, 1)
    assert float(reflect(normal, side, mirror, polished).min()) > 1
    gold = replace(polished, albedo=torch.tensor([0.9, 0.6, 0.3]).reshape(1, 3, 1, 1))
    head_on = reflect(normal, normal, normal, gold).flatten()
    assert torch.allclose(head_on / head_on[0], torch.tensor([1, 2 / 3, 1 / 3]), rtol=1e-4)


def test_a_point_light_falls_off_by_the_square(ball):
    """The light is at (0, 0, -1), the ball's centre at (0, 0, -3): strength 1 is two units away, a square of four."""
    direction, strength = _source(ball, torch.tensor([3]))
    offset = ball.lights[:, 3, :3, None, None] - ball.position
    assert torch.allclose(direction, unit(offset, 1), atol=1e-6)
    inside = ball.mask > 0
    squared = (offset**2).sum(1, keepdim=True)
    assert torch.allclose(strength[inside], (4.0 / squared)[inside], rtol=1e-5)
    # The point of the ball that is nearest to the light is one unit from it: four times as bright as the centre.
    assert float(strength[0, 0, 23:25, 23:25].mean()) == pytest.approx(4, rel=5e-3)
    _, distant = _source(ball, torch.tensor([0]))
    assert torch.equal(distant, torch.ones_like(distant))


def test_a_point_light_is_as_strong_in_a_frame_that_the_object_does_not_fill(ball):
    """The same ball with an empty half beside it, and seen by nobody at all."""

    def wider(image):
        return torch.cat([image, torch.zeros_like(image)], 3)

    names = ("normal", "position", "local", "view", "mask", "lit", "openness", "opening", "part")
    padded = replace(ball, **{name: wider(getattr(ball, name)) for name in names})
    alone = _source(ball, torch.tensor([3]))[1]
    beside = _source(padded, torch.tensor([3]))[1][..., :48]
    inside = ball.mask > 0
    assert torch.allclose(beside[inside], alone[inside], rtol=1e-5)
    nobody = replace(ball, mask=torch.zeros_like(ball.mask))
    assert bool(torch.isfinite(_source(nobody, torch.tensor([3]))[1]).all())


def test_shadows_are_those_stored_and_the_area_light_averages_its_samples(ball):
    lit = torch.zeros_like(ball.lit)
    lit[:, 1, :24], lit[:, 4, :, :24] = 1, 1
    dark = replace(ball, lit=lit)
    assert torch.equal(_source(dark, torch.tensor([1]))[1], lit[:, 1:2])
    assert torch.equal(_source(dark, torch.tensor([0]))[1], lit[:, :1])
    direction, area = _source(dark, torch.tensor([4]))
    assert torch.equal(area, lit[:, 4:5] / 4)
    assert torch.allclose(direction, ball.lights[:, :1, :3].transpose(1, 2)[..., None].expand_as(direction), atol=1e-6)


def test_in_a_constant_environment_a_matte_ball_is_its_albedo(ball, monkeypatch):
    """No light but a white sky: radiance is the albedo times the openness, and a bounce fills the hollows."""
    from maquette.synth.looks import photo

    monkeypatch.setattr(photo, "bank", lambda: torch.ones(2, 3, LEVELS, 32, 64))
    matte = material(0.4, 0.9, size=48)
    got = photo._environment(ball, matte, torch.Generator().manual_seed(0))
    assert torch.allclose(got, torch.full_like(got, 0.4), atol=1e-6)
    half = photo._environment(replace(ball, openness=ball.openness / 2), matte, torch.Generator().manual_seed(0))
    assert torch.allclose(half, torch.full_like(half, 0.2), atol=1e-6)


def test_shading_is_scaled_by_albedo_and_never_negative(ball):
    dim, bright = material(0.2, 0.9, size=48), material(0.8, 0.9, size=48)
    for seed in range(8):
        low = shade(ball, dim, torch.Generator().manual_seed(seed))
        high = shade(ball, bright, torch.Generator().manual_seed(seed))
        assert float(low.min()) >= 0
        assert torch.allclose(low * 4 * ball.mask, high * ball.mask, rtol=1e-4, atol=1e-5)  # open: no bounce


def test_photos_are_finite_within_range_and_repeatable(tiny_shapes):
    surfaces = ShapeData(tiny_shapes).batch(list(range(20)))
    photos = photograph(surfaces, torch.Generator().manual_seed(5))
    assert photos.shape == (20, 3, 32, 32)
    assert bool(torch.isfinite(photos).all())
    assert float(photos.min()) >= 0
    assert float(photos.max()) <= 1
    assert torch.equal(photos, photograph(surfaces, torch.Generator().manual_seed(5)))
    assert not torch.equal(photos, photograph(surfaces, torch.Generator().manual_seed(6)))
    spread = torch.stack([p[:, m[0] > 0].std() for p, m in zip(photos, surfaces.mask, strict=True)])
    assert float((spread > 0.02).float().mean()) > 0.8  # they show something


def test_exposure_keeps_brighter_brighter():
    """Whatever the camera does, a ramp of radiance comes out as a ramp, up to noise, blur and compression."""
    radiance = torch.linspace(0.01, 1, 32).reshape(1, 1, 1, 32).expand(12, 3, 32, 32).contiguous()
    photos = expose(radiance, torch.ones(12, 1, 32, 32), torch.Generator().manual_seed(0))
    columns = photos.mean((1, 2))
    assert bool((columns[:, 4:] - columns[:, :-4] > -0.03).all())
    assert bool((columns[:, -1] > columns[:, 0] + 0.05).all())
