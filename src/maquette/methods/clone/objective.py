"""What CLONE minimises: the photo must come back; everything else is what one photo leaves open, and is a prior.

    L = reprojection(fused) + share * reprojection(Gaussians) + silhouette + thin + albedo + height + smooth + anchor
        + light

No term knows a true normal. Weights are per pixel of the object, in display values or radians; the paper gives none.
They were chosen on held-out renders of our own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.losses import ssim
from maquette.methods.clone.surface import RawSurface, channels
from maquette.types import RenderOutput

_SETTLING = 80  # steps
_ROUND = 1e-2  # where |x| becomes x^2: a corner at zero would stop Adam from settling


@dataclass(frozen=True)
class Weights:
    """Of the terms of the objective.

    Attributes:
        gaussians: of the Gaussians' own reprojection, beside the fused normals'.
        dissimilar: of 1 - SSIM in either.
        silhouette: of alpha against the mask.
        thin: of Gaussians less thin than `thinness` of their middle axis.
        albedo: of steps of log albedo where the photo's colour doesn't change.
        albedo_level: of squared log albedo about its mean: one colour is more likely than many.
        height: of normals that disagree with the slopes of the heights.
        smooth: of steps between normals.
        anchor: of turning away from the first normals, times what is known of them (1 at a concentration of 10).
        light: of unlikely light.
    """

    gaussians: float = 0.5
    dissimilar: float = 0.2
    silhouette: float = 0.1
    thin: float = 0.1
    albedo: float = 1.0
    albedo_level: float = 0.0
    height: float = 3.0
    smooth: float = 0.05
    anchor: float = 1.0
    light: float = 0.02


THINNESS = 0.3  # of the smallest scale to the middle one: beyond it, the direction of the normal would be uncertain
CHROMA_EDGE = 8.0  # a step of 1 / 8 in chromaticity is as much an edge of the albedo as it is none


@dataclass(frozen=True)
class PhotoTarget:
    """The photo in the working square.

    Attributes:
        photo: display values, zero outside the mask. A held-out pixel shows its neighbours' colour, so that neither
            the objective nor the network sees its own.
        whole: the same with every pixel's own colour, to be judged by.
        mask: where the object is.
        kept: pixels whose colour the loop may see; the others of the mask are held out.
        first: the normals that the loop starts from.
        trust: of them, 1 at a concentration of 10; 0 if they are a guess.
    """

    photo: Float[Tensor, "side side 3"]
    whole: Float[Tensor, "side side 3"]
    mask: Bool[Tensor, "side side"]
    kept: Bool[Tensor, "side side"]
    first: Float[Tensor, "side side 3"]
    trust: Float[Tensor, "side side"]


def reprojection(image: Float[Tensor, "side side 3"], target: PhotoTarget, dissimilar: float) -> Float[Tensor, ""]:
    """Mean absolute difference over the pixels that may be seen, plus the share of structure that is missed."""
    # A held-out pixel shows its own prediction: nothing of the photo gets through SSIM's windows.
    seen = torch.where(target.kept[..., None], target.photo, image.detach())
    difference = (image - target.photo).abs().mean(-1)[target.kept].mean()
    unlike = 1 - ssim(channels(image), channels(seen))[0, 0]
    return difference + dissimilar * unlike[target.kept].mean()


def held_out_error(image: Float[Tensor, "side side 3"], target: PhotoTarget) -> float:
    """Mean absolute difference, in display values, over pixels that the loop never saw.

    An object too small to hold any pixel out is judged as a whole.
    """
    hidden = target.mask & ~target.kept
    hidden = hidden if bool(hidden.any()) else target.mask
    return float((image.detach() - target.whole).abs().mean(-1)[hidden].mean())


def objective(
    surface: RawSurface,
    own: Float[Tensor, "side side 3"],
    rendered: RenderOutput,
    fused: Float[Tensor, "side side 3"],
    shaded: Float[Tensor, "side side 3"],
    unlikely_light: Float[Tensor, ""],
    target: PhotoTarget,
    weights: Weights,
) -> dict[str, Tensor]:
    """The weighted terms by name; their sum is minimised.

    Args:
        surface: the raw parameters.
        own: every Gaussian's normal.
        rendered: the Gaussians as the camera sees them, in display values.
        fused: the loop's normals.
        shaded: the photo as these and the rendered albedo explain it.
        unlikely_light: `maquette.shading.kernel.light_prior`.
        target: the photo.
        weights: of the terms.
    """
    inside = target.mask
    return {
        "fused": reprojection(shaded, target, weights.dissimilar),
        "gaussians": weights.gaussians * reprojection(rendered.color, target, weights.dissimilar),
        "silhouette": weights.silhouette * (rendered.alpha - inside.to(rendered.alpha)).abs().sum() / inside.sum(),
        "thin": weights.thin * _thick(surface, inside),
        "albedo": weights.albedo * _albedo_steps(surface.log_albedo, target)
        + weights.albedo_level * _albedo_level(surface.log_albedo, inside),
        "height": 0.5
        * weights.height
        * (_slopes(surface.height, own, inside) + _slopes(surface.height, fused, inside)),
        "smooth": weights.smooth * _steps(fused, inside),
        "anchor": weights.anchor * ((1 - (fused * target.first).sum(-1)) * target.trust)[inside].mean(),
        "light": weights.light * unlikely_light,
    }


def _thick(surface: RawSurface, inside: Tensor) -> Tensor:
    smallest, middle, _ = surface.log_scale[inside].sort(-1).values.unbind(-1)
    return ((smallest - middle).exp() - THINNESS).clamp_min(0).mean()


def _albedo_steps(log_albedo: Tensor, target: PhotoTarget) -> Tensor:
    """Retinex (Land and McCann 1971): shading is grey, so a step without a change of colour isn't the albedo's."""
    color = target.photo / target.photo.mean(-1, keepdim=True).clamp_min(0.02)
    total = log_albedo.new_zeros(())
    for axis in (0, 1):
        both = _pairs(target.mask, axis)
        same = (-CHROMA_EDGE * color.diff(dim=axis).abs().sum(-1)).exp()
        total = total + (_rounded(log_albedo.diff(dim=axis)).sum(-1) * same)[both].sum()
    return total / target.mask.sum()


def _albedo_level(log_albedo: Tensor, inside: Tensor) -> Tensor:
    values = log_albedo[inside]
    return (values - values.mean(0)).square().sum(-1).mean()


def settled(
    height: Float[Tensor, "side side"], normals: Float[Tensor, "side side 3"], inside: Bool[Tensor, "side side"]
) -> Float[Tensor, "side side"]:
    """Heights that suit the objective's own measure of slopes; no map of normals is exactly a surface's.

    Or the first turns of the loop would turn the normals to the heights, against all that the photo says.
    """
    height = height.clone().requires_grad_()
    optimiser = torch.optim.Adam([height], lr=0.1, betas=(0.9, 0.99))
    for _ in range(_SETTLING):
        optimiser.zero_grad()
        _slopes(height, normals, inside).backward()
        optimiser.step()
    return height.detach()


def _slopes(height: Tensor, normals: Tensor, inside: Tensor) -> Tensor:
    """How far the tangents of neighbouring pixels are from the step between them: n . (step along x, height) = 0."""
    x, y, z = normals.unbind(-1)
    total = height.new_zeros(())
    for axis, along in ((1, x), (0, -y)):  # rows run downward, y upward
        both = _pairs(inside, axis)
        total = (
            total
            + _rounded(height.diff(dim=axis) * _between(z.clamp_min(0.05), axis) + _between(along, axis))[both].sum()
        )
    return total / inside.sum()


def _steps(normals: Tensor, inside: Tensor) -> Tensor:
    total = normals.new_zeros(())
    for axis in (0, 1):
        total = total + _rounded(normals.diff(dim=axis)).sum(-1)[_pairs(inside, axis)].sum()
    return total / inside.sum()


def _pairs(inside: Tensor, axis: int) -> Tensor:
    length = inside.shape[axis] - 1
    return inside.narrow(axis, 0, length) & inside.narrow(axis, 1, length)


def _between(values: Tensor, axis: int) -> Tensor:
    length = values.shape[axis] - 1
    return (values.narrow(axis, 0, length) + values.narrow(axis, 1, length)) / 2


def _rounded(values: Tensor) -> Tensor:
    return (values * values + _ROUND * _ROUND).sqrt() - _ROUND
