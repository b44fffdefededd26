"""What a surface makes of light from one direction: Lambert, GGX, brushed metal, varnish, softness."""

from math import pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.synth.looks.materials import Material

COAT_ROUGHNESS = 0.12
_STRETCH = 0.9  # of a fully brushed metal: its lobe is 1 / (1 - 0.9) times as long as wide
_SPREAD = (1.0, 0.5, 0.35)  # red light goes further below a surface than blue


def reflect(normal: Tensor, view: Tensor, light: Tensor, material: Material) -> Tensor:
    """Outgoing radiance for a light of irradiance pi at normal incidence: Lambert plus GGX (Walter 2007).

    All (batch, 3, height, width), unit; includes the cosine. Smith's shadowing in Hammon's approximation,
    Fresnel by Schlick. What a dielectric's gloss takes is lacking below it (Shirley 1997).
    """
    nl = dot(normal, light).clamp_min(0)
    diffuse = (1 - material.metal) * material.albedo
    if not bool((material.metal + material.specular).any()):  # nothing here has a highlight
        return nl * diffuse
    half = unit(light + view, 1)
    nv = dot(normal, view).clamp_min(1e-3)
    nh = dot(normal, half).clamp(0, 1)
    grazing = fifth(1 - dot(view, half).clamp(0, 1))
    alpha = material.roughness**2
    lobe = alpha * alpha / (pi * ((nh * nh * (alpha * alpha - 1)) + 1) ** 2)
    if material.brushed is not None:
        lobe = _brushed_lobe(lobe, normal, half, nh, alpha, material.brushed)
    shine = (material.specular > 0) | (material.metal > 0)
    base = base_reflectance(material)
    fresnel = base + (1 - base) * grazing * shine
    gloss = pi * lobe * _shadowing(nl, nv, alpha) * fresnel
    left = _entering(nl, nv, material.specular)
    total = nl * (diffuse * left + gloss)
    return total if material.coat is None else _coated(total, nl, nv, nh, grazing, material.coat)


def _entering(nl: Tensor, nv: Tensor, specular: Tensor) -> Tensor:
    """What of the diffuse part the gloss leaves: reciprocal, and scaled so that a white surface loses nothing."""
    base = (0.04 * specular).clamp_max(1)
    mean = base + (1 - base) / 21  # of Schlick's reflectance over the cosine
    left = (1 - base) ** 2 * (1 - fifth(1 - nl)) * (1 - fifth(1 - nv)) / (1 - mean)
    return torch.where(specular > 0, left, 1.0)


def base_reflectance(material: Material) -> Float[Tensor, "batch channels height width"]:
    """What is reflected head-on."""
    dielectric = (0.04 * material.specular).expand_as(material.metal)
    return torch.lerp(dielectric.expand_as(material.albedo), material.albedo, material.metal.expand_as(material.albedo))


def softened(
    normal: Float[Tensor, "batch 3 height width"],
    light: Float[Tensor, "batch 3 height width"],
    visible: Float[Tensor, "batch 1 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    softness: Float[Tensor, "batch 1 1 1"],
) -> Float[Tensor, "batch 3 height width"]:
    """Irradiance as it comes out of a body that scatters light below its surface, over pi.

    The cosine is wrapped around the terminator (red furthest; of the same sum over all directions) and what is left
    of detail and of shadows' edges is blurred over a few hundredths of the image.
    """
    wrap = softness * torch.tensor(_SPREAD, device=normal.device).reshape(1, 3, 1, 1)
    lit = (dot(normal, light) + wrap).clamp_min(0) / (1 + wrap) ** 2
    side = max(int(0.03 * normal.shape[-1]), 1) * 2 + 1
    blurred = masked_blur(torch.cat([lit, visible], 1), mask, side)
    lit = torch.lerp(lit, blurred[:, :3], 0.7 * softness)
    return lit * torch.lerp(visible, blurred[:, 3:], softness)


def masked_blur(
    images: Float[Tensor, "batch channels height width"], mask: Float[Tensor, "batch 1 height width"], side: int
) -> Float[Tensor, "batch channels height width"]:
    """Mean over the object's pixels in a window, nearly Gaussian; `side` is odd."""
    joined = torch.cat([images * mask, mask], 1)
    for kernel, pad in (((1, side), (0, side // 2)), ((side, 1), (side // 2, 0))) * 2:
        joined = F.avg_pool2d(joined, kernel, 1, pad)
    return joined[:, :-1] / joined[:, -1:].clamp_min(1e-6)


def brushed_normal(
    normal: Float[Tensor, "batch 3 height width"],
    view: Float[Tensor, "batch 3 height width"],
    brushed: Float[Tensor, "batch 3 1 1"],
) -> Float[Tensor, "batch 3 height width"]:
    """The normal about which a brushed metal mirrors its surroundings: bent towards the view, across the grooves."""
    groove = unit(torch.linalg.cross(brushed.expand_as(normal), normal, dim=1), 1)
    across = torch.linalg.cross(torch.linalg.cross(groove, view, dim=1), groove, dim=1)
    amount = 0.5 * _STRETCH * brushed.norm(dim=1, keepdim=True)
    return unit(torch.lerp(normal, unit(across, 1), amount), 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(batch, 3, ...) and (batch, 3, ...) to (batch, 1, ...)."""
    return (a * b).sum(1, keepdim=True)


def fifth(x: Tensor) -> Tensor:
    """x^5, of Schlick's approximation."""
    squared = x * x
    return squared * squared * x


def _shadowing(nl: Tensor, nv: Tensor, alpha: Tensor | float) -> Tensor:
    mixed = 2 * nl * nv * (1 - alpha) + (nl + nv) * alpha
    return 0.5 / mixed.clamp_min(1e-4)


def _brushed_lobe(lobe: Tensor, normal: Tensor, half: Tensor, nh: Tensor, alpha: Tensor, brushed: Tensor) -> Tensor:
    """GGX's lobe, stretched across the grooves where there are any (Burley 2012)."""
    rows = torch.nonzero(brushed.flatten(1).any(1)).flatten()
    if not len(rows):
        return lobe
    axis, turned, nh, alpha = brushed[rows], half[rows], nh[rows], alpha[rows]
    groove = unit(torch.linalg.cross(axis.expand_as(turned), normal[rows], dim=1), 1)
    aspect = (1 - _STRETCH * axis.norm(dim=1, keepdim=True)).sqrt()
    along, across = alpha * aspect, alpha / aspect
    ht = dot(turned, groove) ** 2
    hb = (1 - ht - nh * nh).clamp_min(0)
    spread = ht / along**2 + hb / across**2 + nh * nh
    return lobe.index_copy(0, rows, 1 / (pi * along * across * spread**2))


def _coated(total: Tensor, nl: Tensor, nv: Tensor, nh: Tensor, grazing: Tensor, coat: Tensor) -> Tensor:
    """The same below a clear varnish, where there is one: dimmed by what it reflects, its own highlight on top."""
    rows = torch.nonzero(coat.flatten()).flatten()
    if not len(rows):
        return total
    nl, nv, nh, grazing, coat = (value[rows] for value in (nl, nv, nh, grazing, coat))
    a2 = COAT_ROUGHNESS**4
    lobe = a2 / (pi * ((nh * nh * (a2 - 1)) + 1) ** 2)
    shine = pi * lobe * _shadowing(nl, nv, COAT_ROUGHNESS**2) * (0.04 + 0.96 * grazing)
    left = (1 - coat * (0.04 + 0.96 * fifth(1 - nl))) * (1 - coat * (0.04 + 0.96 * fifth(1 - nv)))
    return total.index_copy(0, rows, total[rows] * left + nl * coat * shine)
