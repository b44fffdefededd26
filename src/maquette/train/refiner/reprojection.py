"""What the refiner learns from: the same object under several lights, and the normals that explain all of them.

No normal enters any loss. A renderer draws an object's matte colour under several single lights; the predicted normals
must reproduce these images with one albedo. Light and albedo are found in closed form, from the prediction itself.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.losses import masked_mean, ssim
from maquette.shading.kernel import LightKernel, distant_light, fit_light, matte_radiance
from maquette.synth.looks.materials import Material, without_gloss
from maquette.synth.looks.photo import Surfaces, bounce, direct_light
from maquette.synth.views import AREA_SAMPLES

SOURCES = (0, 1, 2, 4)  # of a view's lights: two distant, the frontal, the area light; the near lamp is no distant one
_BEST = 0.02  # relative error of a pixel below which it hardly matters
_FIT_SIDE = 32  # a light of nine numbers needs no more pixels than this squared


@dataclass(frozen=True)
class LitImages:
    """Images of one view of objects under one light each: linear brightness, about 1 where white faces the light.

    Lights are white here, so that colours would tell the same thrice.

    Attributes:
        images: zero outside the mask.
        lights: harmonics of the distant light that each was rendered under; bounced light isn't in them.
    """

    images: Float[Tensor, "batch views height width"]
    lights: Float[Tensor, "batch views 9"]

    def to(self, device: torch.device | str) -> "LitImages":
        """The same images on another device."""
        return LitImages(self.images.to(device), self.lights.to(device))


def render_views(surfaces: Surfaces, material: Material) -> LitImages:
    """The material's colour, matte, in a dark room under each of `SOURCES`, with shadows and one bounce."""
    n, device = len(surfaces.normal), surfaces.normal.device
    matte = without_gloss(replace(material, albedo=material.albedo.clamp_min(0.03)))
    one = torch.ones(n, 1, 1, 1, device=device)
    images = []
    for source in SOURCES:
        total = direct_light(surfaces, matte, torch.full((n,), source, device=device), one)
        images.append(((total + bounce(surfaces, matte, total)) * surfaces.mask).mean(1))
    first = surfaces.lights.shape[1] - AREA_SAMPLES
    directions = [surfaces.lights[:, s, :3] if s < 4 else surfaces.lights[:, first:, :3].mean(1) for s in SOURCES]
    toward = unit(torch.stack(directions, 1))
    return LitImages(torch.stack(images, 1), distant_light(toward, torch.ones_like(toward[..., 0])))


def weight_of(
    images: Float[Tensor, "batch views height width"], shaded: float
) -> Float[Tensor, "batch 1 height width"]:
    """1 where all images are lit, `shaded` where one is dark beside the others: perhaps in a cast shadow.

    A whole pixel counts less, then. To leave out its dark images alone would favour flattened normals: that a light
    doesn't reach a slope is what tells that it is steep.
    """
    least = images.amin(1, keepdim=True) / images.amax(1, keepdim=True).clamp_min(1e-4)
    return torch.where(least > 0.1, 1.0, shaded)


def fit_lights(
    normals: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    views: LitImages,
    light_trust: float,
) -> Float[Tensor, "batch views 9"]:
    """The light of every image that suits these normals best, near the one that the renderer used.

    Albedo by the renderer's lights first, then the harmonics by `fit_light`: they take up what is no distant light.

    Args:
        normals: unit inside the mask; no gradient reaches them from here.
        mask: where the objects are.
        views: their images.
        light_trust: ridge that pulls to the renderer's lights. With little of it, slanting or flattening a surface
            costs nothing: the fitted lights do the opposite (the bas-relief ambiguity).
    """
    n, count, height, _ = views.images.shape
    few = slice(max(height // _FIT_SIDE, 1) // 2, None, max(height // _FIT_SIDE, 1))
    here, inside = normals[:, :, few, few].detach(), mask[:, 0, few, few] > 0.5
    images = views.images[..., few, few]
    albedo = albedo_of(shading(here, views.lights), images)
    each = (n, count, *here.shape[2:], 3)
    known = LightKernel(views.lights[..., None].expand(-1, -1, -1, 3), torch.zeros(n, count, 2, 2).to(albedo), 1.0)
    light = fit_light(
        images[..., None].expand(each),
        here.permute(0, 2, 3, 1)[:, None].expand(each),
        inside[:, None].expand(each[:-1]),
        albedo[:, None, ..., None].expand(each),
        ridge=light_trust,
        start=known,
        rounds=2,
    )
    return light.sh[..., 0]


def shading(
    normals: Float[Tensor, "batch 3 height width"], lights: Float[Tensor, "batch views 9"]
) -> Float[Tensor, "batch views height width"]:
    """What white surfaces of these normals show under each light."""
    flat = normals.permute(0, 2, 3, 1).flatten(1, 2)
    return matte_radiance(lights.transpose(1, 2), flat).transpose(1, 2).unflatten(2, normals.shape[2:])


def albedo_of(
    shaded: Float[Tensor, "batch views height width"], images: Float[Tensor, "batch views height width"]
) -> Float[Tensor, "batch height width"]:
    """Per pixel, the albedo for which albedo * shading is closest to the images."""
    return (shaded * images).sum(1) / shaded.square().sum(1).clamp_min(1e-4)


def reprojection(
    normals: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    images: Float[Tensor, "batch views height width"],
    lights: Float[Tensor, "batch views 9"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch views height width"]]:
    """How far the images of each object are from what the normals make of them, and what they make of them.

    Per pixel, the length of the vector of what is missed in every image, as a share of that of the images: linear
    light, so that dark colours count as much as bright ones, and the length and not its square, so that a cast shadow
    is forgiven. Albedo is in closed form, and the gradient passes through it.

    Args:
        normals: unit inside the mask.
        mask: where the objects are, or how much each pixel counts.
        images: linear brightness.
        lights: one an image.
    """
    shaded = shading(normals, lights)
    made = albedo_of(shaded, images)[:, None] * shaded
    missed = (made - images).square().sum(1, keepdim=True) / images.square().sum(1, keepdim=True).clamp_min(1e-4)
    error = ((missed + _BEST**2).sqrt() - _BEST) * mask
    return error.sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1e-6), made


def unlikeness(
    made: Float[Tensor, "batch views height width"],
    images: Float[Tensor, "batch views height width"],
    mask: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """Mean 1 - SSIM in display values, the brightest image of each object exposed as for the network.

    `mask` as in `reprojection`.
    """
    solid = (mask > 0).to(made)
    white = torch.quantile((images.amax(1, keepdim=True) * solid).flatten(1), 0.97, 1).clamp_min(1e-3)
    # The offset bounds the slope of the encoding where it is black.
    shown, wanted = (
        ((image / white.reshape(-1, 1, 1, 1)).clamp(0, 1.5) + 0.005) ** (1 / 2.2) * solid for image in (made, images)
    )
    return masked_mean(1 - ssim(shown, wanted), mask)


def contour(
    normals: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, ""]:
    """How far normals at the silhouette are from pointing outward in the image plane; 0 is all of them do.

    A smooth solid turns away from the viewer where it ends; a crease there may face the viewer but not inward, so the
    square of what lacks is damped for small angles: up to 30 degrees cost nothing, as pixels have a width.
    """
    blurred = F.avg_pool2d(F.pad(mask, (3, 3, 3, 3), mode="replicate"), 7, 1)
    right = F.pad(blurred[..., 2:] - blurred[..., :-2], (1, 1, 0, 0), mode="replicate")
    down = F.pad(blurred[..., 2:, :] - blurred[..., :-2, :], (0, 0, 1, 1), mode="replicate")
    outward = unit(torch.cat([-right, down], 1), 1)
    # The frame of the image is no silhouette: the object goes on behind it.
    rim = mask + F.max_pool2d(-F.pad(mask, (1, 1, 1, 1), mode="replicate"), 3, 1)
    lacking = (0.87 - (normals[:, :2] * outward).sum(1, keepdim=True)).clamp_min(0)
    return masked_mean(lacking.square(), rim)


def curl(normals: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]) -> Tensor:
    """How far the normals are from those of a surface, saturating: at a depth edge no surface is known.

    Of the slopes p = -n_x / n_z and q = -n_y / n_z, dp/dy - dq/dx, times n_z squared, so that it stays finite at
    the silhouette.
    """
    here = normals[:, :, :-1, :-1]
    to_right = normals[:, :, :-1, 1:] - here
    to_up = here - normals[:, :, 1:, :-1]
    nx, ny, nz = here.unbind(1)
    turn = nz * (to_right[:, 1] - to_up[:, 0]) - ny * to_right[:, 2] + nx * to_up[:, 2]
    solid = mask[:, :, :-1, :-1] * mask[:, :, :-1, 1:] * mask[:, :, 1:, :-1]
    squared = turn.square()[:, None]
    return masked_mean(squared / (squared + 0.04), solid)
