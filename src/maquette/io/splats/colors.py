"""Spherical-harmonic colour between light and display values.

Splat files hold harmonics that sum to display values (sRGB). The curve between the two isn't linear, so a colour that
depends on the direction can only be converted up to its degree: it is evaluated on a quadrature of the sphere, put
through the curve, and projected back. A colour of degree 0 is converted exactly.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.geometry.sh import sh_basis, sh_degree
from maquette.io.images import srgb_to_linear
from maquette.types import Gaussians

_AT_ONCE = 65536


def to_srgb(gaussians: Gaussians) -> Gaussians:
    """The same Gaussians with display values in `sh`; those that have them already are returned as they are."""
    return gaussians if gaussians.encoding == "srgb" else _converted(gaussians, "srgb")


def to_linear(gaussians: Gaussians) -> Gaussians:
    """The same Gaussians with light in `sh`; those that have it already are returned as they are."""
    return gaussians if gaussians.encoding == "linear" else _converted(gaussians, "linear")


def _converted(gaussians: Gaussians, encoding: str) -> Gaussians:
    curve = _unclamped_srgb if encoding == "srgb" else srgb_to_linear
    directions, weights = _quadrature(sh_degree(gaussians.sh.shape[1]))
    basis = sh_basis(directions, sh_degree(gaussians.sh.shape[1])).to(gaussians.sh)
    back = (basis * weights.to(basis)[:, None]).T
    parts = [back @ (curve(0.5 + basis @ sh) - 0.5) for sh in gaussians.sh.split(_AT_ONCE)]
    return replace(gaussians, sh=torch.cat(parts), encoding=encoding)


def _unclamped_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The inverse of `srgb_to_linear` on all numbers: harmonics overshoot 0 and 1, and must come back."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


@cache
def _quadrature(degree: int) -> tuple[Tensor, Tensor]:
    """Directions and weights, exact for polynomials of degree 4 * degree: Gauss in z, even steps in azimuth."""
    heights, weights = np.polynomial.legendre.leggauss(2 * degree + 1)
    azimuths = np.arange(4 * degree + 1) * 2 * np.pi / (4 * degree + 1)
    radius = np.sqrt(1 - heights**2)[:, None]
    z = np.broadcast_to(heights[:, None], (len(heights), len(azimuths)))
    directions = np.stack([radius * np.cos(azimuths), radius * np.sin(azimuths), z], axis=-1).reshape(-1, 3)
    shares = np.repeat(weights * 2 * np.pi / len(azimuths), len(azimuths))
    return torch.from_numpy(directions), torch.from_numpy(shares)
