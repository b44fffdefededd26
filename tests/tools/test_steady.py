"""Video without flicker: a textured ball that slides by known steps, its normals known exactly."""

import math

import numpy as np
import pytest
import torch

from maquette.catalogue import SMOOTHING
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.tools.steady import flow_back, mean_angle_deg, steady
from maquette.types import NormalMap, Photo

SIZE, RADIUS, STEP_PX = 96, 30, 2


def texture(height: int, width: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).clamp(0.02, 1)


def frame(index: int, noise_deg: float = 0.0) -> tuple[Photo, NormalMap, torch.Tensor]:
    """Ball and background slide right together; the prediction is the truth with noise of its own."""
    centre = 36 + STEP_PX * index
    x = (torch.arange(SIZE) + 0.5 - centre) / RADIUS
    y = -(torch.arange(SIZE) + 0.5 - SIZE / 2) / RADIUS
    y, x = torch.meshgrid(y, x, indexing="ij")
    mask = x * x + y * y < 0.95
    true = torch.stack([x, y, (1 - x * x - y * y).clamp_min(0.05).sqrt()], -1)
    true = unit(true, -1) * mask[..., None]
    rng = torch.Generator().manual_seed(100 + index)
    noisy = unit(true + math.radians(noise_deg) * torch.randn(SIZE, SIZE, 3, generator=rng), -1) * mask[..., None]
    sliding = texture(SIZE, SIZE + 64)[:, 64 - STEP_PX * index : 64 - STEP_PX * index + SIZE]
    return Photo(sliding, mask, f"frame {index}"), NormalMap(noisy, mask), true


def error_deg(normal_map: NormalMap, true: torch.Tensor) -> float:
    return mean_angle_deg(normal_map.normals, true, normal_map.mask)


def test_the_flow_leads_to_where_a_pixel_was():
    now, before = ((frame(k)[0].rgb.mean(-1).numpy() * 255).astype(np.uint8) for k in (1, 0))
    flow, known = flow_back(now, before)
    inside = known.numpy()[8:-8, 8:-8]
    assert inside.mean() > 0.9
    assert np.median(flow[8:-8, 8:-8, 0][inside]) == pytest.approx(-STEP_PX, abs=0.1)
    assert np.median(flow[8:-8, 8:-8, 1][inside]) == pytest.approx(0, abs=0.1)


def test_noise_is_averaged_away_along_the_flow_and_the_error_with_it():
    frames = [frame(k, noise_deg=8.0) for k in range(10)]
    results = list(steady((photo, predicted) for photo, predicted, _ in frames))
    # Noise that is independent from frame to frame: an average with weight w has (1 - w) / (1 + w) of its variance.
    expected = math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
    settled = list(zip(frames, results, strict=True))[5:]
    before = np.mean([error_deg(predicted, true) for (_, predicted, true), _ in settled])
    after = np.mean([error_deg(result.normal_map, true) for (_, _, true), result in settled])
    assert after < (expected + 0.15) * before
    assert results[-1].flicker_deg < 0.5 * results[-1].raw_flicker_deg
    assert math.isnan(results[0].flicker_deg)
    assert torch.equal(results[0].normal_map.normals, frames[0][1].normals)
    assert all(torch.equal(result.normal_map.mask, predicted.mask) for (_, predicted, _), result in settled)


def test_without_strength_nothing_changes():
    frames = [frame(k, noise_deg=8.0) for k in range(3)]
    for (_, predicted, _), result in zip(frames, steady(((p, n) for p, n, _ in frames), strength=0.0), strict=True):
        assert torch.allclose(result.normal_map.normals, predicted.normals, atol=1e-6)
        assert result.flicker_deg == pytest.approx(result.raw_flicker_deg, nan_ok=True)


def test_a_surface_that_turned_is_not_averaged_with_what_it_was():
    """The picture stays, the prediction jumps by 40 degrees: the new one counts, with no ghost of the old."""
    photo, first, _ = frame(0)
    lean = torch.tensor([math.sin(math.radians(40)), 0.0, math.cos(math.radians(40))])
    flat = first.mask[..., None] * torch.tensor([0.0, 0.0, 1.0])
    leaning = first.mask[..., None] * lean
    results = list(steady([(photo, NormalMap(flat, first.mask)), (photo, NormalMap(leaning, first.mask))]))
    assert error_deg(results[1].normal_map, leaning) < 0.01


def test_frames_of_two_sizes_and_strengths_out_of_range():
    photo, predicted, _ = frame(0)
    other = Photo(torch.rand(20, 30, 3), name="clip frame 2")
    small = NormalMap(torch.tensor([0.0, 0, 1]).expand(20, 30, 3), torch.ones(20, 30, dtype=torch.bool))
    with pytest.raises(InputError, match="clip frame 2: 30x20, the frames before it 96x96"):
        list(steady([(photo, predicted), (other, small)]))
    for strength in (-0.1, 1.0):
        with pytest.raises(InputError, match="strength"):
            list(steady([(photo, predicted)], strength))
