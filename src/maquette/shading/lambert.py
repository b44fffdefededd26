"""Matte shading under one distant light, and its inverse up to scale."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_LEAST_SHADING = 0.25
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def light_direction(azimuth_deg: float, elevation_deg: float) -> Float[Tensor, "3"]:
    """The unit vector from the surface to a distant light.

    Args:
        azimuth_deg: counter-clockwise as the viewer sees it, from +x: 0 is light from the right, 90 from
            above, 180 from the left, 270 from below.
        elevation_deg: from the image plane (0, grazing) towards the viewer (90, a headlight).
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    across = math.cos(elevation)
    return torch.tensor([across * math.cos(azimuth), across * math.sin(azimuth), math.sin(elevation)])


def lambert(
    normals: Float[Tensor, "*batch height width 3"],
    light: Float[Tensor, "3"],
    albedo: float | Float[Tensor, "*batch height width 3"] = 1.0,
    ambient: float = 0.0,
) -> Float[Tensor, "*batch height width 3"]:
    """Linear colour of a matte surface: albedo (ambient + max(0, n . l)), without cast shadows.

    Args:
        normals: unit normals; zero vectors (no surface) get the ambient light alone.
        light: from the surface to the light, in the frame of the normals.
        albedo: reflected share per channel, one number or a map.
        ambient: light from everywhere, relative to the light of strength one.
    """
    facing = (normals @ light.to(normals)).clamp_min(0.0)
    return albedo * (ambient + facing)[..., None].expand_as(normals)


def estimate_albedo(
    rgb: Float[Tensor, "height width 3"],
    normals: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> Float[Tensor, "height width 3"]:
    """A rough albedo: the photo divided by the ambient and the one distant light that explain it best.

    Luminance is fitted by a + b . n in least squares over the mask. The fit goes negative in attached
    shadow, so it isn't let below a quarter of its mean: shadow is brightened fourfold at the most. The
    result is scaled so that its 99th percentile is one. All of this is our choice: enough to keep a
    photo's own light from fighting the new one.

    Args:
        rgb: linear colour.
        normals: unit where the mask is true.
        mask: where the object is; at least one pixel.

    Returns:
        Albedo in 0..1; outside the mask the photo's colour on the same scale.
    """
    luminance = rgb @ torch.tensor(_LUMINANCE).to(rgb)
    design = torch.cat([torch.ones_like(normals[..., :1]), normals], dim=-1)
    inside = design[mask]
    # Normal equations with a whisper of ridge: a flat map has no gradient of light to find.
    gram = inside.T @ inside / len(inside) + 1e-6 * torch.eye(4).to(inside)
    weights = torch.linalg.solve(gram, inside.T @ luminance[mask] / len(inside))
    shading = design @ weights
    mean = shading[mask].mean().clamp_min(1e-8)
    albedo = rgb / shading.clamp_min(_LEAST_SHADING * mean)[..., None]
    brightest = albedo[mask].max(dim=-1).values
    white = brightest.kthvalue(max(1, math.ceil(0.99 * len(brightest)))).values
    return (albedo / white.clamp_min(1e-8)).clamp(0.0, 1.0)
