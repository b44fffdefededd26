"""Gaussians under another light: the albedo and the normal of each, shaded as matte, in place of its own colour."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.gaussians.covariance import face_camera
from maquette.geometry.rotation import smallest_axis
from maquette.geometry.sh import DC
from maquette.io.splats.colors import to_linear
from maquette.shading.lambert import estimate_albedo, lambert
from maquette.types import Camera, Gaussians

_SEEN = 0.1  # opacity from which a Gaussian's colour says something about the light


def normals_towards(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "n 3"]:
    """Each Gaussian's thinnest axis, on the side of the camera; world axes."""
    return face_camera(smallest_axis(gaussians.scale, gaussians.rotation), gaussians.mean, camera)


def flatness(gaussians: Gaussians) -> float:
    """The median of each Gaussian's smallest scale over its middle one: 0 is a disc, which has a normal, 1 has none."""
    scales = gaussians.scale.sort(-1).values
    return float((scales[:, 0] / scales[:, 1].clamp_min(1e-30)).median())


def guess_albedo(gaussians: Gaussians, normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """A rough linear albedo: the constant colours divided by the ambient and the one light that explain them best.

    As `maquette.shading.lambert.estimate_albedo` does it for a photo, over the Gaussians that can be seen.
    """
    light = to_linear(replace(gaussians, sh=gaussians.sh[:, :1]))
    rgb = (0.5 + DC * light.sh[:, 0]).clamp_min(0)
    seen = gaussians.opacity >= _SEEN
    if not bool(seen.any()):
        seen = torch.ones_like(seen)
    return estimate_albedo(rgb[None], normals[None], seen[None])[0]


def relit(
    gaussians: Gaussians,
    albedo: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    light: Float[Tensor, "3"],
    ambient: float,
) -> Gaussians:
    """The same Gaussians with the linear colour albedo (ambient + max(0, n . l)) / (1 + ambient), from everywhere.

    Args:
        gaussians: whose places, shapes and opacities stay.
        albedo: linear.
        normals: unit, in world axes, on the side from which they will be seen.
        light: unit, from the surface to the light, in world axes.
        ambient: light from everywhere, relative to the light of strength one.
    """
    color = lambert(normals[None], light, albedo[None], ambient)[0] / (1 + ambient)
    return replace(gaussians, sh=((color - 0.5) / DC)[:, None], encoding="linear")
