"""The learnable light modulation kernel (CLONE, arXiv 2508.05950): a continuous map from unit normals to radiance.

    radiance(n) = softplus(sum_k sh[k] Y_k(n)) * exp(sum_ij kernel[i, j] window_ij(u(n)))

Nine spherical harmonics hold the light as a matte surface sees it: they carry 98 % of what any distant light does to a
convex one (Basri and Jacobs 2003). The kernel, k x k log gains over the disc of the visible normals, modulates that: a
highlight, a lamp with an edge. Albedo stays apart; the colour of a pixel is albedo * radiance.

The paper's second version names the kernel and gives no equation. Ours to choose: the harmonics, the softplus that
keeps radiance positive and stands for the attached shadow, windows that sum to one, and the map u, in which equal areas
of the disc are equal solid angles of normals.

Every function takes a batch of lights as well: leading dimensions of `sh` and `kernel` are those of the normals.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.geometry.sh import sh_basis
from maquette.geometry.vectors import unit

_SHARPNESS = 20.0  # softplus leaves 0.035 at the terminator, where max(0, x) has 0; radiance of a white wall is about 1
_DARKEST = 1e-3  # target radiance isn't taken for less: its inverse softplus runs to minus infinity
_ROUNDNESS = (0.01, 1, 1, 1, 4, 4, 4, 4, 4)  # the ridge on each harmonic: little on the mean, most on the second degree
_COSINE_LOBE = (math.pi, 2 * math.pi / 3, math.pi / 4)  # a light's harmonics to those of max(0, n . l), by degree


@dataclass(frozen=True)
class LightKernel:
    """Light as surfaces of each normal receive it.

    Attributes:
        sh: coefficients of the harmonics up to degree 2 (`maquette.geometry.sh`), by colour, before the softplus.
        kernel: log gains at k x k points of the disc of visible normals; rows run downward, columns rightward,
            from -1 to 1. All zero is no modulation.
        spread: standard deviation of a gain's window, on the disc of radius 1.
    """

    sh: Float[Tensor, "*batch 9 3"]
    kernel: Float[Tensor, "*batch size size"]
    spread: float

    def detach(self) -> "LightKernel":
        """The same light, cut off from the graph."""
        return replace(self, sh=self.sh.detach(), kernel=self.kernel.detach())


def neutral_light(
    size: int = 5,
    direction: tuple[float, float, float] = (0.0, 0.4, 0.9),
    strength: float = 0.7,
    ambient: float = 0.3,
) -> LightKernel:
    """White light from the viewer's side and from above, and from everywhere; no modulation.

    Args:
        size: of the kernel, at least 2.
        direction: from the surface to the light, of any length.
        strength, ambient: radiance of a white surface that faces the light, and of one that doesn't.
    """
    toward = unit(torch.tensor([direction]))
    lobe = sh_basis(toward, 2)[0] * torch.tensor([_COSINE_LOBE[degree] for degree in (0, 1, 1, 1, 2, 2, 2, 2, 2)])
    sh = strength * lobe
    sh[0] += ambient * 2 * math.sqrt(math.pi)  # Y_0 is 1 / (2 sqrt(pi))
    # Windows that overlap as much as cubic splines do: no dents between the points, and no detail below them.
    return LightKernel(sh[:, None].expand(9, 3).clone(), torch.zeros(size, size), 1.3 / (size - 1))


def radiance(light: LightKernel, normals: Float[Tensor, "*pixels 3"]) -> Float[Tensor, "*pixels 3"]:
    """What a white surface of each normal shows, linear and positive; smooth in the normals and in the light.

    Args:
        light: one, or a batch whose dimensions are the first ones of `normals`.
        normals: unit. The zero vector (no surface) gets a number too, and a finite gradient.
    """
    lead = light.sh.shape[:-2]
    flat = normals.reshape(*lead, -1, 3)
    return (matte_radiance(light.sh, flat) * gain(light, flat)[..., None]).reshape(normals.shape)


def matte_radiance(
    sh: Float[Tensor, "*batch 9 colours"], normals: Float[Tensor, "*batch pixels 3"]
) -> Float[Tensor, "*batch pixels colours"]:
    """The radiance of a light without modulation, in any number of colours."""
    return F.softplus(sh_basis(normals, 2) @ sh, beta=_SHARPNESS)


def distant_light(direction: Float[Tensor, "*batch 3"], strength: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 9"]:
    """Harmonics of strength * (n . l): after the softplus, a hard distant light with its attached shadow.

    Args:
        direction: unit, from the surface to the light.
        strength: radiance of a white surface that faces it.
    """
    x, y, z = (direction * (strength * 2 * math.sqrt(math.pi / 3))[..., None]).unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -y, z, -x, zero, zero, zero, zero, zero], -1)


def gain(light: LightKernel, normals: Float[Tensor, "*batch pixels 3"]) -> Float[Tensor, "*batch pixels"]:
    """The kernel's factor at each normal, between the exponentials of its least and its largest entry.

    The windows are Gaussians about the points of the grid, divided by their sum. So equal entries are one exposure for
    all normals, and between the points the kernel interpolates.
    """
    size = light.kernel.shape[-1]
    ticks = torch.linspace(-1, 1, size).to(normals)
    # u = (x, y) / sqrt(1 + z) takes the half sphere to the disc of radius 1; beyond its rim, where no camera looks,
    # the bound keeps it finite.
    place = normals[..., :2] * (1 + normals[..., 2:]).clamp_min(0.1).rsqrt()
    x = -0.5 * ((place[..., :1] - ticks) / light.spread) ** 2
    y = -0.5 * ((place[..., 1:] + ticks) / light.spread) ** 2  # rows run downward, y upward
    return torch.einsum("...pi,...pj,...ij->...p", y.softmax(-1), x.softmax(-1), light.kernel).exp()


def fit_light(
    rgb: Float[Tensor, "*batch height width 3"],
    normals: Float[Tensor, "*batch height width 3"],
    mask: Bool[Tensor, "*batch height width"],
    albedo: float | Float[Tensor, "*batch height width 3"] = 1.0,
    weights: Float[Tensor, "*batch height width"] | None = None,
    ridge: float = 1e-3,
    start: LightKernel | None = None,
    rounds: int = 3,
) -> LightKernel:
    """The harmonics that explain a photo of known normals best, each round in closed form.

    The first round solves for the harmonics where the photo is undone to (the softplus is inverted), weighted as the
    softplus flattens; it is exact where the model is. Further rounds are Gauss-Newton steps on the residual itself,
    robust (Cauchy): a cast shadow or a highlight counts little. Differentiable in everything but those weights.

    Args:
        rgb: linear, in units in which the light is about 1.
        normals: unit where the mask is true.
        mask: what counts.
        albedo: one number, or a map.
        weights: of each pixel, at least 0; 1 if not given.
        ridge: pull to `start`, as a share of the data's weight; 0 leaves the least that a solution needs.
        start: light whose kernel is kept, and whose harmonics the ridge pulls to; `neutral_light`'s kernel and
            no light if not given.
        rounds: in all, at least 1.
    """
    lead = rgb.shape[:-3]
    design = sh_basis(normals.reshape(*lead, -1, 3), 2)
    if start is None:
        light = replace(neutral_light(), sh=torch.zeros(9, 3))
        start = LightKernel(light.sh.expand(*lead, 9, 3), light.kernel.expand(*lead, 5, 5), light.spread)
    start = replace(start, sh=start.sh.to(rgb), kernel=start.kernel.to(rgb))
    tint = torch.as_tensor(albedo).to(rgb).expand(rgb.shape).reshape(*lead, -1, 3)
    tint = tint * gain(start, normals.reshape(*lead, -1, 3))[..., None]
    seen = rgb.reshape(*lead, -1, 3)
    trust = mask.to(rgb) if weights is None else mask * weights
    trust = trust.reshape(*lead, -1, 1)
    target = (seen / tint.clamp_min(1e-6)).clamp_min(_DARKEST)
    x = target + torch.log(-torch.expm1(-_SHARPNESS * target)) / _SHARPNESS
    slope = 1 - torch.exp(-_SHARPNESS * target)
    sh = _solve(design, trust * (tint * slope) ** 2, x, start.sh, ridge)
    for _ in range(rounds - 1):
        x = design @ sh
        slope = tint * torch.sigmoid(_SHARPNESS * x)
        missed = seen - tint * F.softplus(x, beta=_SHARPNESS)
        size = (missed.detach().abs() * trust).sum((-2, -1), keepdim=True)
        size = (size / (3 * trust.sum((-2, -1), keepdim=True)).clamp_min(1e-9)).clamp_min(1e-4)
        robust = trust / (1 + (missed.detach().square().mean(-1, keepdim=True) / (2 * size) ** 2))
        # Where the model is black, no step explains what is missed: the bound keeps one from being tried.
        sh = _solve(design, robust * slope**2, x + missed / slope.clamp_min(0.05), start.sh, ridge)
    return replace(start, sh=sh)


def light_prior(light: LightKernel) -> Float[Tensor, "*batch"]:
    """How unlikely a light is: 0 for a white one without second harmonics and modulation. Exposure doesn't matter.

    The sum of the share of power in the second degree, ten times the share in colour, and the kernel's mean square and
    mean squared step between neighbours. Ours; relative weights were chosen by reason, not tuned.
    """
    power = light.sh.square().sum((-2, -1)).clamp_min(1e-12)
    second = light.sh[..., 4:, :].square().sum((-2, -1)) / power
    colour = (light.sh - light.sh.mean(-1, keepdim=True)).square().sum((-2, -1)) / power
    steps = light.kernel.diff(dim=-1).square().mean((-2, -1)) + light.kernel.diff(dim=-2).square().mean((-2, -1))
    return second + 10 * colour + light.kernel.square().mean((-2, -1)) + steps


def _solve(design: Tensor, weight: Tensor, wanted: Tensor, start: Tensor, ridge: float) -> Tensor:
    """Weighted ridge least squares for every colour: (..., pixels, 9) and (..., pixels, 3) to (..., 9, 3)."""
    gram = torch.einsum("...pk,...pc,...pl->...ckl", design, weight, design)
    right = torch.einsum("...pk,...pc->...ck", design, weight * wanted)
    total = weight.sum(-2)[..., None].clamp_min(1e-9)
    pull = (max(ridge, 1e-7) * total) * torch.tensor(_ROUNDNESS).to(design)
    solution = torch.linalg.solve(gram + torch.diag_embed(pull), right + pull * start.transpose(-1, -2))
    return solution.transpose(-1, -2)
