"""Pictures for people: normals in colour, objects under new lights, contact sheets, orbits of light."""

from collections.abc import Iterator

import cv2
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.io.images import to_srgb8
from maquette.shading.lambert import lambert, light_direction
from maquette.types import NormalMap, Photo

CLAY = 0.8
AMBIENT = 0.08
_BACKGROUND = 0.03
_DIMMED = 0.25
_PANEL_PX = 480
_GAP_PX = 8
_SHEET_AZIMUTHS_DEG = (0.0, 90.0, 180.0, 270.0)
_SHEET_ELEVATION_DEG = 30.0


def relit(
    normal_map: NormalMap,
    azimuth_deg: float,
    elevation_deg: float,
    albedo: float | Float[Tensor, "height width 3"] = CLAY,
) -> Float[Tensor, "height width 3"]:
    """Linear colour of a matte object under one distant light and a little ambient, on a dark ground.

    Exposed so that a surface that faces the light shows its albedo.
    """
    light = light_direction(azimuth_deg, elevation_deg)
    colour = lambert(normal_map.normals, light, albedo, AMBIENT) / (1 + AMBIENT)
    return torch.where(normal_map.mask[..., None], colour, _BACKGROUND)


def shrink_normals(normal_map: NormalMap, longest_px: int) -> NormalMap:
    """A copy of at most `longest_px` on its long side, its normals averaged and of unit length again."""
    normals = shrink_image(torch.where(normal_map.mask[..., None], normal_map.normals, 0.0), longest_px)
    mask = shrink_image(normal_map.mask[..., None].float().expand_as(normal_map.normals), longest_px)[..., 0] > 0.5
    unit = torch.nn.functional.normalize(normals, dim=-1)
    return NormalMap(torch.where(mask[..., None], unit, 0.0), mask)


def contact_sheet(photo: Photo, normal_map: NormalMap) -> UInt8[Tensor, "height width 3"]:
    """Six panels in sRGB: photo, normals, and clay lit from the right, above, the left and below.

    In the first panel what lies outside the mask is dimmed, as softly as the photo's alpha has it.
    """
    small = shrink_normals(normal_map, _PANEL_PX)
    rgb = shrink_image(photo.rgb, _PANEL_PX)
    if photo.alpha is None:
        inside = small.mask[..., None].float()
    else:
        inside = shrink_image(photo.alpha[..., None].expand_as(photo.rgb), _PANEL_PX)
    panels = [to_srgb8(rgb * (_DIMMED + (1 - _DIMMED) * inside)), normals_in_colour(small)]
    panels += [to_srgb8(relit(small, azimuth, _SHEET_ELEVATION_DEG)) for azimuth in _SHEET_AZIMUTHS_DEG]
    framed = [torch.nn.functional.pad(panel, (0, 0, 0, _GAP_PX, 0, _GAP_PX), value=255) for panel in panels]
    rows = [torch.cat(framed[:3], dim=1), torch.cat(framed[3:], dim=1)]
    return torch.cat(rows, dim=0)[:-_GAP_PX, :-_GAP_PX]


def normals_in_colour(normal_map: NormalMap) -> UInt8[Tensor, "height width 3"]:
    """Normals as the colours of an OpenGL normal map, on the neutral colour."""
    neutral = torch.tensor([0.0, 0.0, 1.0])
    shown = torch.where(normal_map.mask[..., None], normal_map.normals, neutral)
    return ((shown * 0.5 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)


def orbit(
    normal_map: NormalMap,
    elevation_deg: float,
    frames: int,
    albedo: float | Float[Tensor, "height width 3"] = CLAY,
) -> Iterator[UInt8[Tensor, "height width 3"]]:
    """sRGB frames of a light that goes once around the object, counter-clockwise from the right."""
    for index in range(frames):
        yield to_srgb8(relit(normal_map, 360.0 * index / frames, elevation_deg, albedo))


def shrink_image(image: Float[Tensor, "height width 3"], longest_px: int) -> Float[Tensor, "h w 3"]:
    """A copy of at most `longest_px` on its long side, each pixel the mean of those that it covers."""
    height, width = image.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return torch.from_numpy(cv2.resize(image.cpu().contiguous().numpy(), size, interpolation=cv2.INTER_AREA))
