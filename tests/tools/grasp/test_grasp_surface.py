"""A splat's surface: which side is out, what can be touched, and what is left out."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from grasp_discs import ball, box, cup, cylinder, discs, joined

from maquette.errors import InputError
from maquette.render.splat.rasterize import rasterize
from maquette.tools.grasp.surface import GraspSurface, surface_of_gaussians, surface_of_points
from maquette.types import Camera, Gaussians

pytestmark = pytest.mark.usefixtures("one_thread")


BODIES = {"box": box((0.4, 0.6, 0.8)), "cylinder": cylinder(0.2, 1.0), "ball": ball(0.3), "cup": cup(0.35, 0.6, 0.08)}


@cache
def surface_of(name: str) -> GraspSurface:
    return surface_of_gaussians(discs(*BODIES[name], 0.03))


@pytest.mark.parametrize("name", BODIES)
def test_normals_get_the_side_that_is_out(name):
    _, normals = BODIES[name]
    surface = surface_of(name)
    right = (surface.normals * normals).sum(1)
    assert np.abs(right).min() > 0.97
    # All of it, but where two faces of an edge lie within a pixel of each other.
    assert (right[surface.exposed] > 0).mean() > 0.995
    assert surface.exposed.mean() > 0.9


def test_inside_walls_of_a_cup_look_at_its_axis():
    points, normals = BODIES["cup"]
    inside = np.linalg.norm(points[:, [0, 2]], axis=1) < 0.28
    surface = surface_of("cup")
    walls = inside & (np.abs(normals[:, 1]) < 0.5)
    assert surface.exposed[walls].mean() > 0.8  # the lowest of it is seen from few sides
    walls &= surface.exposed
    assert (surface.normals[walls] * points[walls]).sum(1).max() < 0


def test_what_lies_inside_cannot_be_touched():
    shell, core = box((0.6, 0.6, 0.6)), box((0.2, 0.2, 0.2))
    surface = surface_of_gaussians(discs(*joined(shell, core), 0.03))
    assert surface.exposed[: len(shell[0])].all()
    assert not surface.exposed[len(shell[0]) :].any()


def clouds(points: np.ndarray, radius: float, opacity: float) -> Gaussians:
    """Nearly round, faint, and turned at random: no axis of theirs means anything."""
    n, generator = len(points), torch.Generator().manual_seed(0)
    scale = radius * (0.95 + 0.1 * torch.rand(n, 3, generator=generator))
    turns = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=1)
    return Gaussians(torch.from_numpy(points).float(), scale, turns, torch.full((n,), opacity), torch.zeros(n, 1, 3))


@pytest.mark.parametrize("opacity", [0.12, 0.8])
def test_many_faint_gaussians_have_the_surface_that_pictures_show(opacity):
    """Within the rendered outline, whose pixels see the body's edge through several Gaussians, and close to it."""
    points, normals = ball(0.3)
    gaussians = clouds(points, 0.03, opacity)
    surface = surface_of_gaussians(gaussians)
    assert (surface.faint, surface.strays) == (0, 0)
    pose = torch.eye(4)
    pose[2, 3] = 2.0
    alpha = rasterize(gaussians, Camera(96, 96, 96.0, (48.0, 48.0), pose, orthographic=True)).alpha
    outline = math.sqrt(float((alpha > 0.5).sum()) / math.pi) / 96
    radius = np.linalg.norm(surface.points, axis=1)
    assert outline - 0.025 < np.median(radius) < outline
    assert np.ptp(np.quantile(radius, [0.05, 0.95])) < 0.01
    angle = np.degrees(np.arccos(np.clip((surface.normals * normals).sum(1), -1, 1)))
    assert np.median(angle) < 3
    assert angle.max() < 15
    frame = np.concatenate([surface.normals[:, None], surface.axes], 1)
    assert frame @ frame.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (len(points), 1, 1)), abs=1e-6)


def test_walls_of_a_faint_cup_look_at_its_axis():
    """They are seen through its mouth alone, so that where they are seen from tells little of where they face."""
    points, normals = cup(0.35, 0.6, 0.1)
    surface = surface_of_gaussians(clouds(points, 0.03, 0.25))
    inside = (np.linalg.norm(points[:, [0, 2]], axis=1) < 0.26) & (np.abs(normals[:, 1]) < 0.5)
    inside &= surface.exposed & (np.abs(points[:, 1]) < 0.2)
    assert inside.sum() > 50
    angle = np.degrees(np.arccos(np.clip((surface.normals * normals).sum(1)[inside], -1, 1)))
    assert np.median(angle) < 10


def test_round_gaussians_get_the_normals_of_what_they_fill():
    """Balls have no axis that is thinnest; the sides from where they are seen tell what theirs can't."""
    points, normals = box((0.5, 0.5, 0.5), step=0.05)
    balls = discs(points, normals, 0.035)
    turns = torch.nn.functional.normalize(
        torch.randn(len(points), 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    scale = balls.scale[:, :1] * torch.tensor([1.0, 0.99, 0.98])
    surface = surface_of_gaussians(replace(balls, scale=scale.contiguous(), rotation=turns))
    inner = (np.abs(points) < 0.17).sum(1) == 2  # away from edges
    angle = np.degrees(np.arccos(np.clip((surface.normals * normals).sum(1)[inner], -1, 1)))
    assert np.median(angle) < 6
    assert angle.max() < 25


def test_strays_and_faint_ones_are_left_out_and_counted():
    points, normals = box((0.4, 0.6, 0.8))
    haze = (np.array([[0.5, 0.1 * k, 0.1] for k in range(-3, 4)]), np.tile([1.0, 0, 0], (7, 1)))
    gaussians = discs(*joined(haze, (points, normals), (np.array([[3.0, 0, 0], [0, -4.0, 0]]), normals[:2])), 0.03)
    opacity = gaussians.opacity.clone()
    opacity[:10] = 0.1  # three of these lie among others, which make up for it
    surface = surface_of_gaussians(replace(gaussians, opacity=opacity))
    assert (surface.strays, surface.faint, len(surface.points)) == (2, 7, len(points))
    assert surface.diagonal == pytest.approx(np.linalg.norm([0.4, 0.6, 0.8]), rel=0.05)


def test_large_splats_are_thinned_without_holes(monkeypatch):
    monkeypatch.setattr("maquette.tools.grasp.surface.MOST_POINTS", 400)
    points, normals = box((0.4, 0.6, 0.8))
    surface = surface_of_gaussians(discs(points, normals, 0.03))
    assert len(surface.points) == 400 < len(points)
    distance = np.linalg.norm(points[:, None] - surface.points[None], axis=-1)
    assert (distance / surface.reach.min(1)).min(1).max() < 1.5


def test_no_surface():
    points, normals = box((0.4, 0.6, 0.8))
    gaussians = discs(points, normals, 0.03)
    with pytest.raises(InputError, match=r"0 Gaussians where its opacity is 0\.3"):
        surface_of_gaussians(replace(gaussians, opacity=gaussians.opacity * 0.02))
    few = discs(points[:20], normals[:20], 0.03)
    with pytest.raises(InputError, match="one place"):
        surface_of_gaussians(replace(few, mean=few.mean * 0))
    with pytest.raises(InputError, match="16 points"):
        surface_of_points(points[:3], normals[:3])
    fields = ("mean", "scale", "rotation", "opacity", "sh")
    nothing = Gaussians(**{name: getattr(gaussians, name)[:0] for name in fields})
    with pytest.raises(InputError, match="0 Gaussians"):
        surface_of_gaussians(nothing)
