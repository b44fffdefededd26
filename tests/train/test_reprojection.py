"""What the refiner learns from: true normals explain the images best, and no loss ever sees one."""

import math

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import DISTANT
from maquette.shading.kernel import distant_light
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.materials import Material, sample_material
from maquette.synth.looks.photo import Surfaces
from maquette.train.refiner.reprojection import (
    SOURCES,
    LitImages,
    albedo_of,
    contour,
    curl,
    fit_lights,
    render_views,
    reprojection,
    shading,
    unlikeness,
    weight_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ball() -> Surfaces:
    """A ball of radius 0.9 in a square of 2, seen from afar, under four lights without shadows; 48 pixels."""
    axis = ((torch.arange(48) + 0.5) / 24 - 1) / 0.9
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    z = (1 - x * x - y * y).clamp_min(0).sqrt()
    mask = (x * x + y * y < 1).float()[None, None]
    normal = unit(torch.stack([x, y, z])[None], 1) * mask
    towards = torch.tensor([[0.6, 0.3, 0.74], [-0.5, 0.5, 0.7], [0, 0.1, 1], [0, 0, 1], *[[0.2, -0.7, 0.68]] * 4])
    lights = torch.cat([unit(towards), torch.full((8, 1), float(DISTANT))], 1)[None]
    back = torch.tensor([0.0, 0, 3.0]).reshape(1, 3, 1, 1)
    view = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand_as(normal)
    one = torch.ones(1, 8, 48, 48)
    return Surfaces(normal, (normal - back) * mask, normal, view, mask, one, one[:, :1], lights, normal, mask)


def plaster(surfaces: Surfaces, albedo=0.7) -> Material:
    n, _, height, width = surfaces.normal.shape
    single = torch.ones(n, 1, 1, 1)
    return Material(torch.full((n, 3, height, width), albedo), torch.ones(n, 1, height, width), 0 * single, 0 * single)


def views_of(surfaces: Surfaces) -> LitImages:
    return render_views(surfaces, plaster(surfaces))


def relief(surfaces: Surfaces, slant=0.0, depth=1.0) -> torch.Tensor:
    """The normals of the surface flattened or deepened, and slanted."""
    x, y, z = surfaces.normal.split(1, 1)
    return unit(torch.cat([x + slant * z, y, depth * z], 1), 1) * surfaces.mask


def error(surfaces: Surfaces, normals: torch.Tensor, trust: float | None = None) -> float:
    views = views_of(surfaces)
    lights = views.lights if trust is None else fit_lights(normals, surfaces.mask, views, trust)
    return float(reprojection(normals, surfaces.mask, views.images, lights)[0])


def test_views_are_lambert_under_their_lights(ball):
    """A ball has no hollows, so nothing bounces; the softplus is what differs."""
    views = views_of(ball)
    assert views.images.shape == (1, len(SOURCES), 48, 48)
    wanted = 0.7 * shading(ball.normal, views.lights) * ball.mask
    assert float((views.images - wanted).abs().max()) < 0.7 * math.log(2) / 20 + 1e-4


def test_true_normals_explain_the_images_best(ball):
    """Better than flattened, deepened, slanted, noisy, flat or inverted ones, in error and in structure."""
    rng = torch.Generator().manual_seed(0)
    noisy = unit(ball.normal + 0.1 * torch.randn(ball.normal.shape, generator=rng), 1) * ball.mask
    flat = torch.zeros_like(ball.normal)
    flat[:, 2] = 1
    inverted = ball.normal * torch.tensor([-1.0, -1, 1]).reshape(1, 3, 1, 1)
    bent = [relief(ball, depth=0.7), relief(ball, depth=1.4), relief(ball, slant=0.3)]
    views, scores = views_of(ball), []
    for normals in (ball.normal, *bent, noisy, flat * ball.mask, inverted):
        missed, made = reprojection(normals, ball.mask, views.images, views.lights)
        scores.append((float(missed), float(unlikeness(made, views.images, ball.mask))))
    for true, *others in zip(*scores, strict=True):
        assert min(others) > 1.5 * true


def test_a_dark_object_counts_as_much_as_a_bright_one(ball):
    normals = relief(ball, slant=0.3)
    errors = []
    for albedo in (0.1, 0.9):
        views = render_views(ball, plaster(ball, albedo))
        errors.append(float(reprojection(normals, ball.mask, views.images, views.lights)[0]))
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_free_lights_forgive_a_bas_relief_and_known_ones_do_not(ball):
    true, bent = ball.normal, relief(ball, slant=0.3)
    free = error(ball, bent, 1e-4) - error(ball, true, 1e-4)
    held = error(ball, bent, 1e3) - error(ball, true, 1e3)
    known = error(ball, bent) - error(ball, true)
    assert held > 3 * free
    assert held == pytest.approx(known, rel=0.05)


def test_downhill_is_towards_the_truth(ball):
    """Gradient descent on the reprojection alone takes a wrong map to within two degrees of the normals."""
    views = views_of(ball)
    wrong = relief(ball, slant=-0.4, depth=0.6)
    free = wrong.clone().requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.06)
    for _ in range(30):
        normals = unit(free, 1) * ball.mask
        loss, _ = reprojection(normals, ball.mask, views.images, views.lights)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    inner = (ball.mask > 0) & (ball.normal[:, 2:] > 0.5)

    def degrees(normals: torch.Tensor) -> float:
        cosine = (unit(normals, 1) * ball.normal).sum(1, keepdim=True)[inner].clamp(-1, 1)
        return math.degrees(float(torch.acos(cosine).mean()))

    assert degrees(wrong) > 12
    assert degrees(free.detach()) < 3


def test_no_normal_of_the_surface_is_looked_at_after_rendering(tiny_shapes):
    """Poisoned afterwards, they change nothing; and the images are a constant to every gradient."""
    surfaces = ShapeData(tiny_shapes).batch([0, 5])
    views = render_views(surfaces, sample_material(surfaces.local, torch.Generator().manual_seed(0)))
    guess = torch.zeros_like(surfaces.normal)
    guess[:, 2] = 1
    guess = guess * surfaces.mask

    def losses() -> list[float]:
        lights = fit_lights(guess, surfaces.mask, views, 1.0)
        missed, made = reprojection(guess, surfaces.mask, views.images, lights)
        unlike = unlikeness(made, views.images, surfaces.mask)
        return [float(part) for part in (*missed, unlike, contour(guess, surfaces.mask), curl(guess, surfaces.mask))]

    before = losses()
    surfaces.normal.fill_(torch.nan)
    assert losses() == before
    assert all(math.isfinite(part) for part in before)


def test_albedo_is_found_whatever_it_is(ball):
    views = views_of(ball)
    pattern = 0.1 + 0.9 * torch.rand(1, 48, 48, generator=torch.Generator().manual_seed(0))
    shaded = shading(ball.normal, views.lights)
    lit = (shaded > 0.1).all(1) & (ball.mask[:, 0] > 0)
    assert torch.allclose(albedo_of(shaded, pattern[:, None] * shaded)[lit], pattern[lit], atol=1e-5)


def test_a_pixel_that_is_dark_in_one_image_counts_less():
    bright, dim = torch.full((1, 1, 1, 2), 0.8), torch.tensor([[[[0.5, 0.05]]]])
    assert weight_of(torch.cat([bright, dim], 1), 0.25).flatten().tolist() == [1.0, 0.25]


def test_errors_are_means_under_the_weights(ball):
    """The weighted error of the whole is the mean of those of its halves."""
    views, normals = views_of(ball), relief(ball, slant=0.3)
    left = ball.mask.clone()
    left[..., 24:] = 0
    parts = [reprojection(normals, mask, views.images, views.lights)[0] for mask in (left, ball.mask - left)]
    whole, _ = reprojection(normals, left + 0.25 * (ball.mask - left), views.images, views.lights)
    assert torch.allclose(whole, (parts[0] + 0.25 * parts[1]) / 1.25, rtol=1e-4)


def test_a_ball_has_the_contour_that_is_asked_for_and_a_wall_or_a_hollow_has_not(ball):
    wall = torch.zeros_like(ball.normal)
    wall[:, 2] = 1
    hollow = ball.normal * torch.tensor([-1.0, -1, 1]).reshape(1, 3, 1, 1)
    assert float(contour(ball.normal, ball.mask)) < 0.02
    assert float(contour(wall * ball.mask, ball.mask)) > 0.7
    assert float(contour(hollow, ball.mask)) > 2


def test_the_frame_is_no_contour():
    wall = torch.zeros(1, 3, 16, 16)
    wall[:, 2] = 1
    assert float(contour(wall, torch.ones(1, 1, 16, 16))) == 0


def test_surfaces_have_no_curl_and_swirls_have(ball):
    """Slopes (y, -x) belong to no surface; those of the ball do, but for the width of a pixel."""
    axis = (torch.arange(48) + 0.5) / 24 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    swirl = unit(torch.stack([5 * y, -5 * x, torch.ones_like(x)])[None], 1) * ball.mask
    inner = (ball.normal[:, 2:] > 0.4).float()
    assert float(curl(ball.normal, inner)) < 0.001
    assert float(curl(swirl, inner)) > 0.1


def test_the_light_of_a_view_is_that_of_the_renderer(ball):
    views = views_of(ball)
    assert torch.allclose(views.lights[:, 0], distant_light(ball.lights[:, 0, :3], torch.ones(1)))
    assert torch.allclose(views.lights[:, 3], distant_light(unit(ball.lights[:, 4:, :3].mean(1)), torch.ones(1)))
