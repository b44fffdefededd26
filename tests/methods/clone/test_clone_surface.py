"""Gaussians on the rays of pixels: what stands where, what is kept at a finer resolution, and what a camera sees."""

from dataclasses import replace

import torch

from maquette.geometry.rotation import quaternion_to_matrix, smallest_axis
from maquette.methods.clone.surface import camera_of, displayed, finer, gaussians_of, normals_of, start
from maquette.metrics import angle_between_deg
from maquette.render.splat.rasterize import rasterize
from maquette.shading.kernel import radiance


def test_a_start_stands_on_its_normals(truth, surface, target):
    assert torch.allclose(normals_of(surface)[truth.mask], target.first[truth.mask], atol=1e-6)
    matrix = quaternion_to_matrix(surface.rotation[truth.mask])
    # The thinnest axis is the third: its column, and not its row, is the normal.
    assert torch.allclose(matrix[..., 2], normals_of(surface)[truth.mask], atol=1e-6)
    assert (surface.log_scale[truth.mask].argmin(-1) == 2).all()


def test_normals_face_the_viewer_whatever_the_axis_does(surface):
    half_turn = torch.tensor([0.0, 1.0, 0.0, 0.0])  # about x: the thinnest axis points away
    turned = replace(surface, rotation=half_turn.expand(surface.rotation.shape))
    assert torch.equal(normals_of(turned)[..., 2], torch.ones(surface.height.shape))


def test_gaussians_stand_where_their_pixels_are(truth, surface, light):
    """x to the right, y up; a height of one pixel is one pixel in x; colours are albedo times radiance."""
    marked = replace(surface, height=surface.height + 3.0)
    mask = torch.zeros_like(truth.mask)
    mask[8, 20] = True
    one = gaussians_of(marked, mask, light, encode=False)
    pixel = 2 / 32
    expected = [20.5 * pixel - 1, 1 - 8.5 * pixel, 3 * pixel]
    assert torch.allclose(one.mean[0], torch.tensor(expected), atol=1e-6)
    normal = normals_of(marked)[8, 20]
    assert torch.allclose(smallest_axis(one.scale, one.rotation)[0].abs(), normal.abs(), atol=1e-6)
    shown = 0.28209479177387814 * one.sh[0, 0] + 0.5
    assert torch.allclose(shown, radiance(light, normal[None])[0], atol=1e-5)
    assert one.albedo is not None
    assert torch.allclose(one.albedo, torch.ones(1, 3))
    encoded = gaussians_of(marked, mask, light)
    assert encoded.encoding == "srgb"
    assert torch.allclose(0.28209479177387814 * encoded.sh[0, 0] + 0.5, displayed(shown), atol=1e-5)


def test_the_camera_sees_the_square_pixel_for_pixel(truth, light):
    facing = torch.where(truth.mask[..., None], truth.normals, torch.tensor([0.0, 0.0, 1.0]))
    ball = start(facing, 14 * truth.normals[..., 2])
    seen = rasterize(gaussians_of(ball, truth.mask, light), camera_of(32))
    inner = truth.mask & (truth.normals[..., 2] > 0.5)
    assert seen.alpha[inner].min() > 0.8
    # Whoever is nearer covers a part of its neighbours: a ball's normals come from up to 1.5 pixels further in.
    turn_per_pixel = 1 / (14 * truth.normals[..., 2][inner])
    assert (torch.deg2rad(angle_between_deg(seen.normals[inner], truth.normals[inner])) < 1.5 * turn_per_pixel).all()


def test_a_finer_surface_is_the_same_one(truth, surface):
    """Normals, albedo and proportions stay, and what lies outside the mask stays out."""
    bumpy = replace(
        surface,
        height=torch.where(truth.mask, 5 * truth.normals[..., 2], torch.tensor(1e4)),
        log_albedo=torch.where(truth.mask[..., None], torch.tensor(-0.7), torch.tensor(50.0)).expand(32, 32, 3),
    )
    large = finer(bumpy, truth.mask, 64)
    inside = torch.nn.functional.interpolate(truth.mask[None, None].float(), 64)[0, 0] > 0
    assert torch.allclose(large.log_albedo[inside], torch.tensor(-0.7), atol=1e-4)
    assert large.height[inside].min() > -1
    assert large.height[inside].max() < 11
    back = torch.nn.functional.avg_pool2d(normals_of(large).permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    apart = angle_between_deg(back[truth.mask], normals_of(bumpy)[truth.mask])
    assert apart.mean() < 1.5
    assert apart.max() < 8
    middle = large.height[31:33, 31:33].mean()
    assert torch.allclose(middle, 2 * bumpy.height[15:17, 15:17].mean(), atol=0.05)
