"""Pictures and films of Gaussians under a light of one's own, seen from the front."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.geometry.viewpoints import facing
from maquette.shading.lambert import light_direction
from maquette.tools.relight_splat import flatness, guess_albedo, normals_towards, relit
from maquette.types import Camera, Gaussians
from maquette.viz.pictures import AMBIENT
from maquette.viz.splat_pictures import codes, displayed, extent, seen_by

_ROUND = 0.7  # from here on, a smallest scale is hardly smaller than the next
_GROUND = (0.19, 0.19, 0.19)  # display values behind a film, as behind those of photos


@dataclass(frozen=True)
class Relightable:
    """Gaussians with what a new light needs: an albedo, and a normal on the side of the camera, for each."""

    gaussians: Gaussians
    albedo: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    camera: Camera


def relightable(gaussians: Gaussians, name: str, width: int, height: int) -> Relightable:
    """Gaussians as they will be seen from the front, their albedo guessed if they have none.

    Warns that it is guessed, and if they are so round that their normals are.
    """
    low, high = extent(gaussians)
    camera = facing(low, high, width, height)
    normals = normals_towards(gaussians, camera)
    albedo = gaussians.albedo
    if albedo is None:
        warnings.warn(
            f"{name}: has no albedo; it is guessed from the colours, as if one light had lit them (a PLY of maquette's"
            " holds albedo_0 to albedo_2)",
            stacklevel=2,
        )
        albedo = guess_albedo(gaussians, normals)
    if flatness(gaussians) > _ROUND:
        warnings.warn(
            f"{name}: its Gaussians are nearly round (their smallest axis is {flatness(gaussians):.2f} of the next, in"
            " the median), so their normals say little",
            stacklevel=2,
        )
    return Relightable(gaussians, albedo, normals, camera)


def picture(scene: Relightable, azimuth_deg: float, elevation_deg: float) -> UInt8[Tensor, "height width 4"]:
    """sRGB and alpha under one distant light and a little ambient."""
    lit = _lit(scene, azimuth_deg, elevation_deg)
    return codes(displayed(seen_by(lit, scene.camera), lit.encoding, transparent=True))


def orbit(scene: Relightable, elevation_deg: float, frames: int) -> Iterator[UInt8[Tensor, "height width 3"]]:
    """sRGB frames of a light that goes once around, counter-clockwise from the right."""
    for index in range(frames):
        lit = _lit(scene, 360.0 * index / frames, elevation_deg)
        yield codes(displayed(seen_by(lit, scene.camera, _GROUND), lit.encoding, transparent=False))


def _lit(scene: Relightable, azimuth_deg: float, elevation_deg: float) -> Gaussians:
    light = light_direction(azimuth_deg, elevation_deg).to(scene.albedo)
    turned = scene.camera.camera_to_world[:3, :3].to(light) @ light
    return relit(scene.gaussians, scene.albedo, scene.normals, torch.nn.functional.normalize(turned, dim=0), AMBIENT)
