"""Relighting errors by hand, and samples under known lights that are what they say."""

from dataclasses import replace

import lit_photos as lit
import numpy as np
import pytest
import torch
from lit_photos import (
    LitSample,
    lit_samples,
    relighting_error,
    relit_map_error,
    relit_splat_error,
    unchanged_error,
)

from maquette.bench.normals.datasets import Sample
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.methods.clone.surface import camera_of, gaussians_of, start
from maquette.shading.kernel import neutral_light
from maquette.shading.lambert import lambert
from maquette.types import NormalMap, Photo


def ball() -> LitSample:
    """White, 28 pixels across, in a frame that the working square of 32 is."""
    axis = (torch.arange(32) + 0.5 - 16) / 14
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    squared = 1 - x * x - y * y
    mask = squared > 0
    normals = unit(torch.stack([x, y, squared.clamp_min(0).sqrt()], -1)) * mask[..., None]
    lights = unit(torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [0.0, -0.6, 0.8]]))
    seen, *held = [lambert(normals, light, 0.5) for light in lights]
    sample = Sample("ball", "light 0", Photo(seen, mask, "ball"), NormalMap(normals, mask))
    return LitSample("drawn", sample, tuple(zip(held, lights[1:].unbind(), strict=True)))


def test_relighting_errors_by_hand():
    photo = torch.tensor([[[3.0, 4.0, 0.0]]])
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert relighting_error(2 * photo, photo, mask) == pytest.approx(0, abs=1e-7)  # exposure is free
    assert relighting_error(torch.zeros(1, 1, 3), photo, mask) == 1
    # (3, 0, 0) at its best exposure is (3, 0, 0): 4 of 5 are missed.
    assert relighting_error(torch.tensor([[[1.0, 0.0, 0.0]]]), photo, mask) == pytest.approx(0.8)
    two = torch.cat([photo, torch.ones(1, 1, 3)], 1)
    assert relighting_error(two.flip(-1), two, torch.tensor([[False, True]])) == pytest.approx(0)


def test_the_right_normals_relight_and_the_albedo_shortcut_does_not():
    case = ball()
    side = 32
    shortcut = unchanged_error(case, side)
    right = relit_map_error(case, case.sample.truth, side)
    mirrored = NormalMap(case.sample.truth.normals * torch.tensor([-1.0, -1.0, 1.0]), case.sample.truth.mask)
    wrong = relit_map_error(case, mirrored, side)
    assert right is not None
    assert shortcut is not None
    assert wrong is not None
    assert right < 0.35 * shortcut
    assert wrong > shortcut
    # As albedo on flat normals, the photo is the photo.
    flat = NormalMap(torch.tensor([0.0, 0.0, 1.0]).expand(32, 32, 3) * case.sample.truth.mask[..., None], mirrored.mask)
    assert relit_map_error(case, flat, side) == pytest.approx(shortcut, rel=0.05)


def test_gaussians_relight_by_their_albedo_and_their_axes():
    case = ball()
    truth = case.sample.truth
    facing = torch.where(truth.mask[..., None], truth.normals, torch.tensor([0.0, 0.0, 1.0]))
    asset = gaussians_of(start(facing, 14 * truth.normals[..., 2]), truth.mask, neutral_light(), encode=False)
    error = relit_splat_error(case, asset, camera_of(32))
    assert error is not None
    assert error < 0.1
    turned = replace(asset, rotation=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(len(asset), 4))
    flat = relit_splat_error(case, turned, camera_of(32))
    assert flat is not None
    assert flat > 2 * error


def test_without_held_out_lights_there_is_no_error():
    case = replace(ball(), held=())
    assert unchanged_error(case, 32) is None
    assert relit_map_error(case, case.sample.truth, 32) is None


def test_a_missing_set_is_told_when_it_is_asked_for(tmp_path):
    samples = lit_samples(tmp_path, tmp_path)
    assert [name for name in samples if name.startswith("diligent")] == [
        "diligent-ball-021", "diligent-ball-026", "diligent-bear-021", "diligent-bear-026"
    ]  # fmt: skip
    for name in ("diligent-ball-021", "luces-Cup", "scans-teapot"):
        with pytest.raises(InputError, match=str(tmp_path)):
            samples[name]()


def test_lights_of_diligent_explain_its_photos(shared_data, tmp_path):
    """The photo of each held-out light is brightest where the true normals face that light, and no other."""
    case = lit_samples(shared_data(), tmp_path)["diligent-ball-021"]()
    assert len(case.held) == len(lit.DILIGENT_HELD)
    mask = case.sample.truth.mask
    for rgb, light in case.held:
        grey = rgb.mean(-1)[mask]
        likeness = [
            float(torch.corrcoef(torch.stack([grey, (case.sample.truth.normals[mask] @ each).clamp_min(0)]))[0, 1])
            for _, each in case.held
        ]
        own = [bool(torch.equal(each, light)) for _, each in case.held].index(True)
        assert np.argmax(likeness) == own


def test_renders_under_known_lights_obey_lambert(tmp_path):
    """A ball rendered under two lights: each photo over its cosines is the same albedo."""
    pytest.importorskip("mitsuba")
    import trimesh

    from maquette.bench.normals.pathtrace import render_lights

    solid = trimesh.creation.icosphere(subdivisions=4)
    lights = np.array([[0.6, 0.0, 0.8], [0.0, 0.6, 0.8]])
    photos, truth = render_lights(np.asarray(solid.vertices), np.asarray(solid.faces), lights, 0, 32, 32)
    assert photos.shape == (2, 32, 32, 3)
    cosine = truth.normals @ torch.tensor(lights, dtype=torch.float32).T
    lit_well = truth.mask & (cosine > 0.4).all(-1) & (truth.normals[..., 2] > 0.4)
    assert lit_well.sum() > 100
    albedo = [photo[lit_well] / cosine[lit_well][:, k : k + 1] for k, photo in enumerate(photos)]
    assert ((albedo[0] - albedo[1]).abs() < 0.08 * albedo[1]).float().mean() > 0.95
    assert 0.1 < float(albedo[0].mean()) < 0.9
    # Behind the terminator it is dark: there is no other light.
    dark = truth.mask & (cosine[..., 0] < -0.1)
    assert photos[0][dark].max() < 0.02
