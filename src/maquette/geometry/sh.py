"""Real spherical harmonics, in the order and with the signs that splat files have.

Degree after degree, in each the order m from -degree to degree, with the Condon-Shortley sign (-1)^m: the first
four are 0.2821, -0.4886 y, 0.4886 z, -0.4886 x. They are orthonormal over the sphere.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.types import SH_COUNTS

DC = 0.5 / math.sqrt(math.pi)  # the constant harmonic: a coefficient c adds DC * c to the colour


def sh_degree(count: int) -> int:
    """The degree that has this many coefficients (1, 4, 9, 16, 25)."""
    return SH_COUNTS.index(count)


def sh_basis(directions: Float[Tensor, "*batch 3"], degree: int) -> Float[Tensor, "*batch coefficients"]:
    """All harmonics up to a degree.

    Y_lm = (-1)^m N_lm Q_lm(z) Re (x + iy)^m for m >= 0, and with the imaginary part of (x + iy)^|m| for m < 0; Q_lm
    is the associated Legendre function without its (1 - z^2)^(m/2), by its three-term recurrence in l.

    Args:
        directions: unit vectors.
        degree: 0 or more.
    """
    x, y, z = directions.unbind(-1)
    values: dict[tuple[int, int], Tensor] = {}
    cosine, sine, diagonal = torch.ones_like(z), torch.zeros_like(z), 1.0
    for m in range(degree + 1):
        before, legendre = torch.zeros_like(z), torch.full_like(z, diagonal)
        for l in range(m, degree + 1):
            factor = (-1) ** m * _normalisation(l, m)
            values[l, m] = factor * legendre * cosine
            if m:
                values[l, -m] = factor * legendre * sine
            before, legendre = legendre, ((2 * l + 1) * z * legendre - (l + m) * before) / (l - m + 1)
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
        diagonal *= 2 * m + 1
    return torch.stack([values[l, m] for l in range(degree + 1) for m in range(-l, l + 1)], dim=-1)


def sh_color(
    sh: Float[Tensor, "*#batch coefficients 3"], directions: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*#batch 3"]:
    """The colour that `maquette.types.Gaussians` shows along unit directions from the camera: max(0, 0.5 + sum)."""
    basis = sh_basis(directions, sh_degree(sh.shape[-2]))
    return (0.5 + (basis[..., None] * sh).sum(-2)).clamp_min(0)


def flip_signs(degree: int, signs: tuple[int, int, int]) -> list[int]:
    """What every coefficient is multiplied by when the axes flip: Y(M d) = sign * Y(d), with M = diag(signs)."""
    factors = []
    for l in range(degree + 1):
        for m in range(-l, l + 1):
            odd_x = m % 2 if m >= 0 else (-m - 1) % 2
            odd_y = 0 if m >= 0 else 1
            odd_z = (l - abs(m)) % 2
            factors.append(signs[0] ** odd_x * signs[1] ** odd_y * signs[2] ** odd_z)
    return factors


def _normalisation(l: int, m: int) -> float:
    share = (2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m)
    return math.sqrt(share * (2 if m else 1))
