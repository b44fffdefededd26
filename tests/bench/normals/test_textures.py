"""Textures against their own height maps, which say in which frame they are, and against lighting done by hand."""

import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette import metrics
from maquette.bench.normals import textures as module
from maquette.bench.normals.evaluate import score
from maquette.bench.normals.textures import LIGHTS, MADE, Texture, made, photograph, read_texture, textures
from maquette.errors import InputError
from maquette.io.decode import read_pixels
from maquette.methods.baselines import flat
from maquette.methods.whole_frame import seam_ratio
from maquette.types import NormalMap


@pytest.mark.parametrize(("name", "least"), [("rock", 0.9), ("gold", 0.4), ("marble", 0.15), ("wood", 0.7)])
def test_normals_slope_as_the_height_map_beside_them(shared_data, name, least):
    """Direct3D's maps: read as our frame, x would agree with the heights and y disagree."""
    folder = shared_data() / "materials"
    normals = read_texture(folder, name).normals.double().numpy()
    path = next((folder / module.FOLDERS.get(name, name)).glob("*_Displacement.jpg"))
    heights = cv2.GaussianBlur(read_pixels(path)[..., 0].astype(float), (0, 0), 1.0)
    up = -np.gradient(heights, axis=0)
    assert np.corrcoef(up.ravel(), (-normals[..., 1] / normals[..., 2]).ravel())[0, 1] > least
    if name != "wood":  # its boards are as flat as its heights are coarse, from end to end
        right = np.gradient(heights, axis=1)
        assert np.corrcoef(right.ravel(), (-normals[..., 0] / normals[..., 2]).ravel())[0, 1] > least


def test_all_samples_fill_their_frames_and_repeat(shared_data, tmp_path):
    samples = list(textures(shared_data(), tmp_path))
    assert [sample.group for sample in samples[:: len(LIGHTS)]] == [*module.MATERIALS, *MADE]
    for sample in samples:
        assert sample.fills_frame
        assert sample.photo.mask is None
        assert bool(sample.truth.mask.all())
        assert sample.truth.normals.shape[1] == module.SIDE_PX
        length = sample.truth.normals.norm(dim=-1)
        assert float((length - 1).abs().max()) < 1e-4
        if sample.group != "wood":  # a gap between two boards lies at its seam
            assert seam_ratio(sample.truth) < 2
        assert 0.1 < float(sample.photo.rgb.mean()) < 0.9


def test_a_wall_is_lit_as_worked_out_by_hand():
    """n = (0, 0, 1) under a light at 30 degrees: the cosine is a half, and at full roughness GGX is 1 / pi."""
    side = 8
    normals = torch.zeros(side, side, 3)
    normals[..., 2] = 1
    albedo = torch.full((side, side, 3), 0.4)
    albedo[:, : side // 2] = 0.2
    lit = photograph(Texture(albedo, normals, torch.ones(side, side)), 90.0, 30.0)
    # alpha = 1: D = 1 / pi, each side of Smith's is c / (1 + c) * 2 / (2 c); G / (4 nl nv) = 1 / ((nl + 1) (nv + 1))
    cosine = math.sin(math.radians(30))
    half_angle = math.cos(math.radians(30))
    fresnel = 0.04 + 0.96 * (1 - half_angle) ** 5
    expected = [cosine * (a + fresnel / ((cosine + 1) * 2)) + module.AMBIENT * (a + 0.04) for a in (0.2, 0.4)]
    assert float(lit[0, 0, 0] / lit[0, -1, 0]) == pytest.approx(expected[0] / expected[1], rel=1e-5)
    assert float(lit[0, -1, 0]) == pytest.approx(1.0)


def test_light_comes_from_where_it_is_said_to(shared_data):
    """Lit from the right, what leans right is bright; from above, what leans up."""
    brick = made("bricks")
    lean = torch.nn.functional.avg_pool2d(brick.normals.permute(2, 0, 1)[None], 2)[0]
    grey = Texture(torch.full_like(brick.albedo, 0.5), brick.normals, brick.roughness)
    for azimuth, axis in ((0.0, 0), (90.0, 1)):
        lit = photograph(grey, azimuth, 45.0).mean(-1)
        assert np.corrcoef(lit.flatten().numpy(), lean[axis].flatten().numpy())[0, 1] > 0.7


@pytest.mark.parametrize("kind", MADE.values())
def test_made_textures_are_the_same_every_time_and_steep_enough(kind):
    first, again = made(kind), made(kind)
    assert torch.equal(first.albedo, again.albedo)
    assert torch.equal(first.normals, again.normals)
    tilt = torch.rad2deg(torch.acos(first.normals[..., 2].clamp(-1, 1)))
    assert 8 < float(tilt.mean()) < 16  # the mean of the slope is that of 14 degrees


def test_levelled_error_forgets_the_mean_tilt_alone(shared_data, tmp_path):
    sample = next(textures(shared_data(), tmp_path))
    lean = torch.tensor([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])
    leaning = NormalMap(sample.truth.normals @ lean, sample.truth.mask)
    assert score(leaning, sample)["mean"] > 20
    # Slopes are cut at a tenth, which the leaning map exceeds here and there.
    assert score(leaning, sample)["levelled"] < 6
    of_flat = score(flat(sample.photo), sample)
    upright = torch.tensor([0.0, 0.0, 1.0]).expand_as(sample.truth.normals)
    assert of_flat["mean"] == pytest.approx(
        float(metrics.angular_error_deg(upright, sample.truth.normals, sample.truth.mask).mean())
    )
    assert of_flat["levelled"] == pytest.approx(of_flat["mean"], abs=0.1)


def test_maps_that_do_not_fit_each_other_are_named(tmp_path):
    folder = tmp_path / "materials" / "rock"
    folder.mkdir(parents=True)
    for name, side in (("Color", 32), ("Roughness", 32), ("Normal", 16)):
        Image.new("RGB", (side, side), (128, 128, 255)).save(folder / f"Rock020_1K_{name}.jpg")
    with pytest.raises(InputError, match="Rock020_1K: colour, roughness and normals differ in size"):
        next(textures(tmp_path, tmp_path))
    (folder / "Rock020_1K_Normal.jpg").unlink()
    with pytest.raises(InputError, match=r"Rock020_1K_Normal.jpg: no such file"):
        next(textures(tmp_path, tmp_path))
    with pytest.raises(InputError, match="materials: no such folder"):
        next(textures(tmp_path / "nowhere", tmp_path))
