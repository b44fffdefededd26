"""The surface that CLONE fits: one Gaussian a pixel of the object, as images of raw parameters.

Object frame: the working square spans [-1, 1] in x and y, seen by an orthographic camera along -z; pixel units are
2 / side. A Gaussian stays on the ray of its pixel; its height along the ray, shape, opacity and albedo are free.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from maquette.geometry.rotation import facing_rotation, smallest_axis
from maquette.geometry.sh import DC
from maquette.methods.tiles import resize
from maquette.shading.exposure import encode
from maquette.shading.kernel import LightKernel, radiance
from maquette.types import Camera, Gaussians

_ALONG, _ACROSS = 0.3, 0.1  # first scales in the surface and along its normal, in pixels: thin, and not wider than
# the rasterizer's filter makes them, or the nearer side of a slope hides the pixels behind it
_OPACITY = 0.95
_LEAST_SCALE_PX, _MOST_SCALE_PX = 0.05, 2.0


@dataclass(frozen=True)
class RawSurface:
    """Raw parameters on a square of pixels; those outside of the mask don't count.

    Attributes:
        height: towards the viewer, in pixels of this square.
        log_scale: in pixels.
        rotation: quaternions (w, x, y, z).
        opacity_logit: as it says.
        log_albedo: linear albedo in units of the photo's exposure.
    """

    height: Float[Tensor, "side side"]
    log_scale: Float[Tensor, "side side 3"]
    rotation: Float[Tensor, "side side 4"]
    opacity_logit: Float[Tensor, "side side"]
    log_albedo: Float[Tensor, "side side 3"]

    def parameters(self) -> dict[str, Tensor]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def start(normals: Float[Tensor, "side side 3"], height: Float[Tensor, "side side"]) -> RawSurface:
    """Discs along given normals at given heights (pixels), of albedo one."""
    side = normals.shape[0]
    thin = torch.tensor([_ALONG, _ALONG, _ACROSS]).log()
    return RawSurface(
        height=height.clone(),
        log_scale=thin.expand(side, side, 3).clone(),
        rotation=facing_rotation(normals),
        opacity_logit=torch.full((side, side), math.log(_OPACITY / (1 - _OPACITY))),
        log_albedo=torch.zeros(side, side, 3),
    )


def finer(surface: RawSurface, mask: Bool[Tensor, "coarse coarse"], side: int) -> RawSurface:
    """The same surface on more pixels. Shapes of Gaussians start anew, along the resampled normals.

    What lies outside the mask was never fitted: there, the nearest pixel of the mask stands in, so that nothing else
    gets mixed into the rim.
    """
    nearest = distance_transform_edt(~mask.numpy(), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(np.asarray(nearest)).long()

    def resampled(image: Tensor) -> Tensor:
        return pixels(resize(channels(image.detach()[row, column]), side))

    again = start(
        torch.nn.functional.normalize(resampled(normals_of(surface)), dim=-1),
        resampled(surface.height[..., None])[..., 0] * (side / len(surface.height)),
    )
    return RawSurface(
        again.height, again.log_scale, again.rotation, again.opacity_logit, resampled(surface.log_albedo).contiguous()
    )


def normals_of(surface: RawSurface) -> Float[Tensor, "side side 3"]:
    """Every Gaussian's thinnest axis, on the viewer's side."""
    axis = smallest_axis(surface.log_scale, surface.rotation)
    return torch.where(axis[..., 2:].detach() < 0, -axis, axis)


def camera_of(side: int) -> Camera:
    """The camera that sees the square pixel for pixel."""
    return Camera(side, side, side / 2, (side / 2, side / 2), torch.eye(4), orthographic=True)


def gaussians_of(
    surface: RawSurface, mask: Bool[Tensor, "side side"], light: LightKernel, encode: bool = True
) -> Gaussians:
    """The Gaussians inside the mask, in the colour that the light gives their albedo along their normals.

    Args:
        surface: what is fitted.
        mask: where the object is.
        light: as seen in the object's frame, which is the camera's.
        encode: colour in display values, in which the photo is compared, and albedo as `features`, to be rasterized;
            else linear, and albedo as such.
    """
    side = len(mask)
    pixel = 2 / side
    row, column = mask.nonzero(as_tuple=True)
    x = (column + 0.5) * pixel - 1
    y = 1 - (row + 0.5) * pixel
    albedo = surface.log_albedo[mask].exp()
    color = albedo * radiance(light, normals_of(surface)[mask])
    if encode:
        color = displayed(color)
    scale = surface.log_scale[mask].exp().clamp(_LEAST_SCALE_PX, _MOST_SCALE_PX) * pixel
    return Gaussians(
        mean=torch.stack([x, y, surface.height[mask] * pixel], -1),
        scale=scale,
        rotation=surface.rotation[mask],
        opacity=torch.sigmoid(surface.opacity_logit[mask]),
        sh=((color - 0.5) / DC)[:, None],
        albedo=None if encode else albedo,
        features=albedo if encode else None,
        encoding="srgb" if encode else "linear",
    )


def displayed(linear: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Linear colour as `maquette.shading.exposure.normalise_exposure` encodes it, its slope in the dark finite."""
    return encode(linear.clamp_min(1e-4))


def channels(image: Float[Tensor, "side side channels"]) -> Float[Tensor, "1 channels side side"]:
    """An image as networks take it."""
    return image.permute(2, 0, 1)[None]


def pixels(image: Float[Tensor, "1 channels side side"]) -> Float[Tensor, "side side channels"]:
    """An image as a network gives it, back."""
    return image[0].permute(1, 2, 0)
