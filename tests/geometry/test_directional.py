import math

import pytest
import torch
from scipy.integrate import quad

from maquette.geometry.directional import (
    concentration_from_angle,
    confidence_from_concentration,
    expected_angle,
)

CONCENTRATIONS = [0.0, 0.01, 0.3, 1.0, 2.5, 10.0, 80.0, 1000.0]


def density(angle: float, kappa: float) -> float:
    """Over the angle: the density over the sphere times the circumference of a ring."""
    normaliser = 2 * math.pi * (1 + math.exp(-kappa * math.pi)) / (kappa**2 + 1)
    return 2 * math.pi * math.sin(angle) * math.exp(-kappa * angle) / normaliser


@pytest.mark.parametrize("kappa", CONCENTRATIONS)
def test_expected_angle_is_the_integral(kappa):
    # The mass lies within a few 1 / kappa of zero: tell the integrator where to look.
    peaks = {"points": [min(p / (kappa + 1), 3.0) for p in (1, 5, 25)], "limit": 200}
    total, _ = quad(density, 0, math.pi, args=(kappa,), **peaks)
    mean, _ = quad(lambda angle: angle * density(angle, kappa), 0, math.pi, **peaks)
    assert total == pytest.approx(1, abs=1e-7)
    assert expected_angle(torch.tensor(kappa, dtype=torch.float64)).item() == pytest.approx(mean, rel=1e-6)


def test_confidence_runs_from_no_knowledge_to_certainty():
    kappa = torch.tensor([*CONCENTRATIONS, 1e6], dtype=torch.float64)
    confidence = confidence_from_concentration(kappa)
    assert (confidence.diff() > 0).all()
    assert confidence[0].item() == pytest.approx(math.exp(-3))  # 90 degrees on average
    assert confidence[-1].item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(confidence_from_concentration(torch.tensor([0.0, 1e30]))).all()


def test_confidence_of_thirty_degrees_is_one_over_e():
    low, high = torch.tensor(0.0, dtype=torch.float64), torch.tensor(100.0, dtype=torch.float64)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_angle(middle) > math.radians(30) else (low, middle)
    assert confidence_from_concentration(low).item() == pytest.approx(math.exp(-1))


def test_the_concentration_of_an_angle_is_the_inverse():
    kappa = torch.tensor([0.05, *CONCENTRATIONS[2:]], dtype=torch.float64)
    torch.testing.assert_close(concentration_from_angle(expected_angle(kappa)), kappa, rtol=1e-6, atol=1e-6)
    angles = torch.linspace(0.002, 1.55, 50, dtype=torch.float64)
    torch.testing.assert_close(expected_angle(concentration_from_angle(angles)), angles, rtol=1e-6, atol=1e-6)
    # Beyond what any concentration means: nothing is known, or all that it can say.
    ends = concentration_from_angle(torch.tensor([2.5, 0.0], dtype=torch.float64))
    assert ends[0] < 1e-9
    assert 1900 < ends[1] < 2048
