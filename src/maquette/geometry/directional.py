"""The angular von Mises-Fisher distribution: what a concentration says about the error of a normal.

The density over the sphere at an angle theta from the mean is, after Bae et al., "Estimating and Exploiting
the Aleatoric Uncertainty in Surface Normal Estimation" (ICCV 2021), equation 6:

    p(theta) = (kappa^2 + 1) exp(-kappa theta) / (2 pi (1 + exp(-kappa pi)))
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

CONFIDENCE_ANGLE_RAD = math.radians(30.0)
_BISECTIONS = 40


def expected_angle(concentration: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The mean angle, in radians, between a normal and its estimate.

    The integral of theta sin(theta) exp(-kappa theta) over 0..pi in closed form, normalised:
    2 kappa / (kappa^2 + 1) + pi / (1 + exp(kappa pi)). It is pi / 2 where nothing is known (kappa = 0).

    Args:
        concentration: kappa >= 0.
    """
    tail = math.pi * torch.sigmoid(-math.pi * concentration)
    return 2 * concentration / (concentration.square() + 1) + tail


def concentration_from_angle(angle_rad: Float[Tensor, "*batch"], least_rad: float = 1e-3) -> Float[Tensor, "*batch"]:
    """The concentration whose expected angle this is, by bisection; the inverse of `expected_angle`.

    Args:
        angle_rad: radians; below `least_rad` and above pi / 2 it counts as those.
        least_rad: where kappa is 2 / `least_rad`, 2000 by default.
    """
    angle_rad = angle_rad.clamp(least_rad, math.pi / 2)
    low, high = torch.zeros_like(angle_rad), torch.full_like(angle_rad, 2.048 / least_rad)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        too_wide = expected_angle(middle) > angle_rad
        low, high = torch.where(too_wide, middle, low), torch.where(too_wide, high, middle)
    return (low + high) / 2


def confidence_from_angle(angle_rad: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """A number in 0..1 that says how far a normal can be trusted: exp(-expected angle / 30 degrees).

    1 is certain, 0.37 is an error of 30 degrees on average, 0.05 is no knowledge at all. The scale is our
    choice; 30 degrees is the loosest threshold at which normals are counted as right in benchmarks.

    Args:
        angle_rad: the expected angle, radians.
    """
    return torch.exp(-angle_rad / CONFIDENCE_ANGLE_RAD)


def confidence_from_concentration(concentration: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The same of a concentration.

    Args:
        concentration: kappa >= 0.
    """
    return confidence_from_angle(expected_angle(concentration))
