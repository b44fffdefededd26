"""Every measure against a number worked out by hand, or a statement that holds for all inputs."""

from functools import partial
from math import pi

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from maquette import metrics
from maquette.errors import InputError

SEED = 7


def facing(height: int = 4, width: int = 6) -> torch.Tensor:
    normals = torch.zeros(height, width, 3)
    normals[..., 2] = 1
    return normals


@pytest.mark.parametrize("angle_deg", [0.0, 1e-7, 1e-3, 5.0, 90.0, 179.9999999, 180.0])
def test_angles_are_exact_near_zero_and_straight(angle_deg):
    angle = np.deg2rad(angle_deg)
    a = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    b = torch.tensor([np.sin(angle), 0.0, np.cos(angle)], dtype=torch.float64) * 3
    assert float(metrics.angle_between_deg(a, b)) == pytest.approx(angle_deg, rel=1e-7, abs=1e-12)


def test_a_missing_prediction_counts_as_ninety_degrees():
    predicted = facing()
    predicted[0, 0] = 0
    predicted[0, 1] = float("nan")
    error = metrics.angular_error_deg(predicted, facing(), torch.ones(4, 6, dtype=torch.bool))
    assert error.tolist() == [90.0, 90.0] + [0.0] * 22


def test_only_the_mask_counts():
    predicted, mask = facing(), torch.zeros(4, 6, dtype=torch.bool)
    predicted[0] = torch.tensor([1.0, 0.0, 0.0])
    mask[0, 2] = mask[3, 1] = True
    assert metrics.angular_error_deg(predicted, facing(), mask).tolist() == [90.0, 0.0]


def test_an_empty_mask_and_a_wrong_size_are_refused_in_one_line():
    everywhere = torch.ones(4, 6, dtype=torch.bool)
    for predicted, mask in ((facing(), ~everywhere), (facing(4, 5), everywhere)):
        with pytest.raises(InputError, match=r"^angular error: .*must") as caught:
            metrics.angular_error_deg(predicted, facing(), mask)
        assert "\n" not in str(caught.value)


def test_summary_by_hand():
    summary = metrics.summarise(torch.tensor([0.0, 10.0, 20.0, 50.0]))
    assert summary == metrics.AngularSummary(20.0, 15.0, 50.0, 75.0, 75.0, 4)


def test_erosion_by_ten_takes_five_pixels_on_one_side_and_four_on_the_other():
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[10:30, 10:30] = True
    inner = metrics.eroded(mask)
    assert int(inner.sum()) == 11 * 11
    rows = torch.nonzero(inner)[:, 0]
    assert (int(rows.min()), int(rows.max())) == (15, 25)
    assert int(metrics.eroded(torch.ones(40, 40, dtype=torch.bool)).sum()) == 31 * 31


def test_sne_counts_the_crease_and_nothing_else():
    true = facing(60, 80)
    true[:, 40:] = torch.tensor([0.0, 0.8, 0.6])
    predicted = facing(60, 80)
    mask = torch.ones(60, 80, dtype=torch.bool)
    inner = metrics.eroded(mask)
    tilt_deg = float(metrics.angle_between_deg(true[0, -1], predicted[0, -1]))
    sharp = metrics.sharp_region(metrics.grey_picture(true)) & inner
    columns = torch.nonzero(sharp)[:, 1]
    assert int(columns.min()) >= 37
    assert int(columns.max()) <= 42
    ne, sne = metrics.ne_sne_deg(predicted, true, mask)
    assert ne == pytest.approx(tilt_deg * float((torch.nonzero(inner)[:, 1] >= 40).double().mean()), rel=1e-6)
    assert sne == pytest.approx(tilt_deg * float((columns >= 40).double().mean()), rel=1e-6)


def test_sne_of_a_flat_wall_is_nan():
    ne, sne = metrics.ne_sne_deg(facing(40, 40), facing(40, 40), torch.ones(40, 40, dtype=torch.bool))
    assert ne == 0.0 and np.isnan(sne)


def test_grey_picture_of_the_axes():
    normals = torch.eye(3)[None]
    colours = np.array([[[255, 128, 128], [128, 255, 128], [128, 128, 255]]], np.uint8)
    expected = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))
    assert metrics.grey_picture(normals).numpy().tolist() == expected.tolist()


def test_psnr_and_ssim_by_hand():
    reference = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(SEED))
    assert metrics.psnr_db(reference + 0.1, reference) == pytest.approx(20.0, abs=1e-5)
    assert metrics.psnr_db(reference, reference) == float("inf")
    image = reference.double().permute(2, 0, 1)[None]
    assert metrics.ssim(image, image).item() == pytest.approx(1.0, abs=1e-12)
    # Two constant pictures have no structure: only the luminance term is left.
    dark, light, c1 = 0.2, 0.6, 0.01**2
    expected = (2 * dark * light + c1) / (dark**2 + light**2 + c1)
    found = metrics.ssim(*(torch.full((1, 3, 32, 32), grey, dtype=torch.float64) for grey in (dark, light)))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_ssim_of_many_is_that_of_each():
    rng = torch.Generator().manual_seed(0)
    true = torch.rand(3, 3, 20, 31, generator=rng)
    images = (true + 0.2 * torch.randn(true.shape, generator=rng)).clamp(0, 1)
    images[1], true[2] = true[1], 1.0
    official = partial(
        structural_similarity, data_range=1.0, channel_axis=0, gaussian_weights=True, use_sample_covariance=False
    )
    each = [official(a.double().numpy(), b.double().numpy()) for a, b in zip(images, true, strict=True)]
    assert metrics.ssim(images, true).tolist() == pytest.approx(each, abs=2e-5)
    with pytest.raises(InputError, match="10 px"):
        metrics.ssim(true[..., :10], true[..., :10])


def sampled_angles(kappa: torch.Tensor) -> torch.Tensor:
    """Angles in degrees drawn from the density by inverting its cumulative sum."""
    generator = torch.Generator().manual_seed(SEED)
    theta = torch.linspace(0, pi, 4001, dtype=torch.float64)
    angles = torch.empty_like(kappa)
    for value in kappa.unique():
        cumulative = (torch.exp(-value * theta) * theta.sin()).cumsum(0)
        chosen = kappa == value
        draws = torch.rand(int(chosen.sum()), generator=generator, dtype=torch.float64) * cumulative[-1]
        angles[chosen] = torch.rad2deg(theta[torch.searchsorted(cumulative, draws).clamp(max=4000)])
    return angles


def test_errors_drawn_from_the_predicted_density_are_calibrated():
    kappa = torch.tensor([1.0, 3.0, 10.0, 30.0, 100.0], dtype=torch.float64).repeat_interleave(20000)
    angles = sampled_angles(kappa)
    honest, curve = metrics.calibration(kappa, angles, bins=5)
    assert honest.expected_calibration_error_deg < 0.5
    assert sum(honest.share) == pytest.approx(1)
    boastful, same_curve = metrics.calibration(kappa * 4, angles, bins=5)
    assert boastful.expected_calibration_error_deg > 10
    assert same_curve == curve  # an ordering does not care about the scale
    assert 0 < curve.ause_deg < 0.5 * curve.random_ause_deg


@given(st.lists(st.floats(0, 180), min_size=50, max_size=80), st.randoms(use_true_random=False))
def test_no_ordering_beats_the_oracle(errors, random):
    measured = torch.tensor(errors, dtype=torch.float64)
    uncertainty = torch.tensor([random.random() for _ in errors], dtype=torch.float64)
    curve = metrics.sparsification(uncertainty, measured)
    slack = 1e-9 * (1 + max(errors))
    assert all(p >= o - slack for p, o in zip(curve.predicted_deg, curve.oracle_deg, strict=True))
    assert metrics.sparsification(measured, measured).ause_deg == pytest.approx(0, abs=slack)


def test_the_oracle_of_four_pixels_by_hand():
    curve = metrics.sparsification(torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([10.0, 20.0, 30.0, 40.0]), steps=4)
    assert curve.dropped == (0.0, 0.25, 0.5, 0.75)
    assert curve.oracle_deg == (25.0, 20.0, 15.0, 10.0)
    assert curve.predicted_deg == (25.0, 30.0, 35.0, 40.0)
    assert curve.random_deg == (25.0,) * 4


def test_too_few_pixels_to_calibrate():
    with pytest.raises(InputError, match="at least 15"):
        metrics.reliability(torch.ones(3), torch.ones(3))
