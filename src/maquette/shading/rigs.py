"""Rigs of distant lights around an object, and the shading frames that a matte white surface shows under them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError

RING_LIGHTS, RING_ELEVATION_DEG = 9, 45.0  # RoSE's (Han et al. 2026, arXiv 2602.09929)


def ring_lights(count: int = RING_LIGHTS, elevation_deg: float = RING_ELEVATION_DEG) -> Float[Tensor, "count 3"]:
    """Unit vectors to lights on a circle about the viewer's axis, RoSE's path: the first from above, then clockwise.

    l_i = (cos e sin a_i, cos e cos a_i, sin e) with a_i = 2 pi i / count: from +y towards +x, as the viewer sees it.
    At 45 degrees, six or more light every normal that faces the viewer at least thrice (the paper's lemma 1).

    Args:
        count: at least 3, or no normal could be told.
        elevation_deg: from the image plane (0) towards the viewer (90), both excluded.

    Raises:
        InputError: too few lights, or an elevation that makes them coplanar.
    """
    if count < 3:
        raise InputError(f"ring of lights: {count} of them; at least 3 are needed")
    if not 0 < elevation_deg < 90:
        raise InputError(f"ring of lights: an elevation of {elevation_deg} degrees; it must lie between 0 and 90")
    azimuth = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    elevation = math.radians(elevation_deg)
    across = math.cos(elevation)
    up = torch.full_like(azimuth, math.sin(elevation))
    return torch.stack([across * azimuth.sin(), across * azimuth.cos(), up], dim=-1)


def shading_frames(
    normals: Float[Tensor, "*pixels 3"], lights: Float[Tensor, "count 3"]
) -> Float[Tensor, " count *pixels"]:
    """max(n . l, 0) for every light: attached shadow, but no albedo and no cast shadow.

    Args:
        normals: unit; zero vectors (no surface) are black.
        lights: from the surface to the light, in the frame of the normals.
    """
    return torch.movedim(normals @ lights.to(normals).T, -1, 0).clamp_min(0)
