"""What the report's file holds, without a browser."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.app.report.embed import depth_codes, octahedral_codes
from maquette.app.report.report import relief_depth, write_report
from maquette.errors import InputError
from maquette.types import NormalMap, Photo


def unpacked(codes: np.ndarray) -> np.ndarray:
    """The normals of `octahedral_codes`, worked out once more from the definition of the octahedral map."""
    r, g, b = np.moveaxis(codes.astype(int), -1, 0)
    x, y = ((r * 16 + b // 16) - 2048) / 2047, ((g * 16 + b % 16) - 2048) / 2047
    z = 1 - abs(x) - abs(y)
    folded = z < 0
    x, y = (
        np.where(folded, (1 - abs(y)) * np.copysign(1, x), x),
        np.where(folded, (1 - abs(x)) * np.copysign(1, y), y),
    )
    vectors = np.stack([x, y, z], axis=-1)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_normals_of_every_direction_survive(seed):
    vectors = np.random.default_rng(seed).normal(size=(16, 16, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    given_map = NormalMap(torch.from_numpy(vectors).float(), torch.ones(16, 16, dtype=torch.bool))
    codes = octahedral_codes(given_map).numpy()
    angles = np.linalg.norm(unpacked(codes) - vectors, axis=-1)
    assert np.rad2deg(angles.max()) < 0.06
    assert codes.any(axis=-1).all()  # the code of "no normal" is never used


def test_a_wall_is_exact_and_no_normal_is_zero():
    normals = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    codes = octahedral_codes(NormalMap(normals, torch.tensor([[True, False]]))).numpy()
    assert np.array_equal(unpacked(codes[:, :1]), [[[0, 0, 1]]])
    assert np.array_equal(codes[0, 1], [0, 0, 0])


def test_depth_survives_and_a_step_stays_a_step():
    depth = torch.full((40, 60), 100.0)
    depth[:, 30:] = 200.0
    depth[:, 50:] = torch.nan
    depth[:10] = -torch.inf
    codes, nearest, farthest = depth_codes(depth, 30)
    assert codes.shape == (20, 30)
    assert (nearest, farthest) == (100.0, 200.0)
    assert np.unique(codes).tolist() == [0, 1, 65535]
    assert (codes[5:, :15] == 1).all()
    assert (codes[5:, 15:25] == 65535).all()
    assert not codes[:5].any()
    assert not codes[:, 25:].any()


def test_depth_on_a_ramp_is_within_half_a_code():
    depth = torch.linspace(3.0, 7.0, 50)[None].expand(20, 50)
    codes, nearest, farthest = depth_codes(depth, 50)
    back = nearest + (codes.astype(float) - 1) / 65534 * (farthest - nearest)
    assert np.abs(back - depth.numpy()).max() < 0.51 * 4 / 65534


def photo_and_normals(height: int, width: int, name: str = "cup.png") -> tuple[Photo, NormalMap]:
    generator = torch.Generator().manual_seed(0)
    normals = torch.zeros(height, width, 3)
    normals[..., 0] = torch.linspace(-0.7, 0.7, width)
    normals[..., 1] = 0.02 * torch.randn(height, width, generator=generator)
    normals[..., 2] = 0.7
    coarse = torch.rand(1, 3, max(1, height // 4), max(1, width // 4), generator=generator)
    rgb = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    mask = torch.ones(height, width, dtype=torch.bool)
    normal_map = NormalMap(torch.nn.functional.normalize(normals, dim=-1), mask, torch.full((height, width), 3.0))
    return Photo(rgb.contiguous(), mask, name), normal_map


def test_a_megapixel_fits_in_five_megabytes_and_names_no_address(tmp_path):
    photo, normal_map = photo_and_normals(1024, 1024)
    depth = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(1))
    write_report(tmp_path / "cup.report.html", photo, normal_map, depth)
    assert [path.name for path in tmp_path.iterdir()] == ["cup.report.html"]
    page = (tmp_path / "cup.report.html").read_text("utf-8")
    assert len(page) < 5e6
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", re.sub(r"base64,[\w+/=]+|\"codes\": \"[\w+/=]+\"", "", page))
    assert "1024 × 1024 pixels" in page
    assert "shown at" not in page


def test_a_larger_photo_is_shown_smaller_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.app.report.report._MOST_PIXELS", 64 * 64)
    photo, normal_map = photo_and_normals(120, 100)
    write_report(tmp_path / "a.html", photo, normal_map)
    assert "100 × 120 pixels, shown at 58 × 70" in (tmp_path / "a.html").read_text("utf-8")  # 58 x 70 < 64 x 64


def test_depth_for_the_relief_is_that_of_the_ball():
    x, y = torch.meshgrid(torch.linspace(-1, 1, 501), torch.linspace(1, -1, 501), indexing="xy")
    z = (1 - x**2 - y**2).clamp_min(0).sqrt()
    mask = x**2 + y**2 < 0.8**2  # a cap: every normal within 53 degrees
    normals = torch.where(mask[..., None], torch.stack([x, y, z], -1), 0.0)
    depth = relief_depth(NormalMap(normals, mask))
    assert depth.shape == (384, 384)
    true = torch.nn.functional.interpolate(z[None, None], (384, 384), mode="area")[0, 0] * 384 / 2
    inside = depth.isfinite()
    assert abs(inside.float().mean() - math.pi * 0.8**2 / 4) < 0.01
    off = (depth + true)[inside]
    assert (off - off.mean()).abs().max() < 0.8


def test_words_of_a_user_stay_words(tmp_path):
    photo, normal_map = photo_and_normals(16, 24, "<b>$x & </script>.png")
    write_report(tmp_path / "a.html", photo, normal_map, facts={"<i>": '"</dd>'})
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "<h1>&lt;b&gt;$x &amp; &lt;/script&gt;.png</h1>" in page
    assert "<dt>&lt;i&gt;</dt><dd>&quot;&lt;/dd&gt;</dd>" in page


def test_what_is_not_known_is_not_shown(tmp_path):
    photo, normal_map = photo_and_normals(16, 24)
    write_report(tmp_path / "all.html", photo, normal_map, torch.zeros(16, 24))
    write_report(tmp_path / "bare.html", photo, NormalMap(normal_map.normals, normal_map.mask))
    everything, bare = ((tmp_path / name).read_text("utf-8") for name in ("all.html", "bare.html"))
    angle = math.degrees(2 * 3 / 10 + math.pi / (1 + math.exp(3 * math.pi)))  # of concentration 3
    assert f"median error of {angle:.0f}°" in everything
    for mark in ("<strong>Confidence</strong>", 'id="relief"'):
        assert mark in everything
        assert mark not in bare


def test_sizes_that_differ_and_empty_maps_are_refused(tmp_path):
    photo, normal_map = photo_and_normals(16, 24)
    _, other = photo_and_normals(24, 16)
    nothing = NormalMap(torch.zeros(16, 24, 3), torch.zeros(16, 24, dtype=torch.bool))
    with pytest.raises(InputError, match=r"cup.png: the normal map is 16 × 24, the photo 24 × 16"):
        write_report(tmp_path / "a.html", photo, other)
    with pytest.raises(InputError, match=r"the depth is 3 × 3, the photo 24 × 16"):
        write_report(tmp_path / "a.html", photo, normal_map, torch.zeros(3, 3))
    with pytest.raises(InputError, match=r"cup.png: no depth is finite"):
        write_report(tmp_path / "a.html", photo, normal_map, torch.full((16, 24), torch.nan))
    with pytest.raises(InputError, match="no normal"):
        write_report(tmp_path / "a.html", photo, nothing)
    assert list(tmp_path.iterdir()) == []
