"""Training losses against their definitions."""

from math import acos, pi

import pytest
import torch
from skimage.metrics import structural_similarity

from maquette.losses import angle, angular_von_mises_fisher, masked_mean, ssim


@pytest.mark.parametrize("kappa", [0.0, 0.2, 1.0, 5.0, 40.0, 300.0])
def test_the_likelihood_integrates_to_one_over_the_sphere(kappa):
    theta = torch.linspace(0, pi, 200_001, dtype=torch.float64)
    density = torch.exp(-angular_von_mises_fisher(theta, torch.full_like(theta, kappa))) / (2 * pi)
    integral = torch.trapezoid(density * 2 * pi * torch.sin(theta), theta)
    assert float(integral) == pytest.approx(1, abs=1e-5)


def test_the_likelihood_is_best_where_the_concentration_fits_the_angle():
    """Its minimum over kappa solves d/dkappa = 0, found here by bisection on the closed-form derivative."""
    for theta in (0.05, 0.3, 1.0):
        low, high = 1e-3, 1e3
        for _ in range(80):
            kappa = (low + high) / 2
            e = float(torch.exp(torch.tensor(-kappa * pi, dtype=torch.float64)))
            slope = theta - 2 * kappa / (1 + kappa**2) - pi * e / (1 + e)
            low, high = (kappa, high) if slope < 0 else (low, kappa)
        around = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64) * low
        values = angular_von_mises_fisher(torch.full_like(around, theta), around)
        assert int(values.argmin()) == 1


def test_angles_between_known_vectors_and_their_gradients():
    def vector(*values):
        return torch.tensor(values).reshape(3, 1, 1)

    up, right, half = vector(0.0, 0, 1), vector(1.0, 0, 0), vector(0.6, 0, 0.8)
    assert float(angle(up, right)) == pytest.approx(pi / 2)
    assert float(angle(up, half)) == pytest.approx(acos(0.8), abs=1e-6)
    for other in (up, -up):  # at 0 and pi the arc cosine itself has an infinite slope
        predicted = up.clone().requires_grad_()
        angle(predicted, other).sum().backward()
        assert predicted.grad is not None
        assert bool(torch.isfinite(predicted.grad).all())
    predicted = half.clone().requires_grad_()
    angle(predicted, up).sum().backward()
    assert predicted.grad is not None
    assert float(predicted.grad[2]) == pytest.approx(-1 / 0.6, rel=1e-5)  # d acos(z) / dz


def test_large_objects_count_no_more_than_small_ones():
    values = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 3.0)])
    weight = torch.zeros(2, 1, 4, 4)
    weight[0], weight[1, 0, 0, 0] = 1, 1
    assert float(masked_mean(values, weight)) == pytest.approx(2)
    assert float(masked_mean(values, torch.zeros_like(weight))) == 0


def test_structural_similarity_is_scikit_images():
    """Away from the frame, with the same window and constants and without Bessel's correction."""
    rng = torch.Generator().manual_seed(0)
    one = torch.rand(2, 3, 24, 30, generator=rng, dtype=torch.float64)
    other = (one + 0.2 * torch.rand(one.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)
    for a, b, found in zip(one, other, ssim(one, other), strict=True):
        _, wanted = structural_similarity(
            a.numpy(), b.numpy(), win_size=7, data_range=1.0, channel_axis=0, full=True, use_sample_covariance=False
        )
        inner = (slice(3, -3), slice(3, -3))
        assert torch.allclose(found[0][inner], torch.from_numpy(wanted).mean(0)[inner], atol=1e-9)


def test_only_the_same_image_is_wholly_alike():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.allclose(ssim(image, image.detach()), torch.ones(1), atol=1e-5)
    alike = ssim(image, image.detach().flip(3)).mean()
    alike.backward()
    assert float(alike.detach()) < 0.5
    assert image.grad is not None and bool(torch.isfinite(image.grad).all())
