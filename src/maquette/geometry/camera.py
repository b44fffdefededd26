"""Pixels to rays and points to pixels, for pinhole and orthographic cameras.

Pixel coordinates are (x right, y down) from the top-left corner of the image, so the centre of the first
pixel is (0.5, 0.5). The camera looks along its own -z, with x right and y up.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.types import Camera


def pixel_centers(camera: Camera) -> Float[Tensor, "height width 2"]:
    """The coordinates (x, y) of the centre of every pixel."""
    like = camera.camera_to_world
    x = torch.arange(camera.width, dtype=like.dtype, device=like.device) + 0.5
    y = torch.arange(camera.height, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def image_plane(camera: Camera) -> Float[Tensor, "height width 2"]:
    """Every pixel centre as (x right, y up) at distance one, or in scene units if orthographic."""
    like = camera.camera_to_world
    center = torch.tensor(camera.center_px, dtype=like.dtype, device=like.device)
    flip_y = torch.tensor([1.0, -1.0], dtype=like.dtype, device=like.device)
    return (pixel_centers(camera) - center) / camera.focal_px * flip_y


def pixel_rays(camera: Camera) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 3"]]:
    """The ray through every pixel centre.

    Returns:
        Origins (on the plane z = 0 of an orthographic camera) and unit directions, both in world
        coordinates.
    """
    plane = image_plane(camera)
    zero = torch.zeros_like(plane[..., :1])
    if camera.orthographic:
        origins = torch.cat([plane, zero], dim=-1)
        directions = torch.cat([zero, zero, zero - 1], dim=-1)
    else:
        origins = torch.cat([zero, zero, zero], dim=-1)
        directions = torch.nn.functional.normalize(torch.cat([plane, zero - 1], dim=-1), dim=-1)
    rotation, position = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
    return origins @ rotation.T + position, directions @ rotation.T


def project(camera: Camera, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
    """Where points of the world appear in the image.

    Args:
        camera: the camera.
        points: world coordinates.

    Returns:
        Pixel coordinates (x, y); NaN for points that are not in front of a pinhole camera.
    """
    rotation, position = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
    # The inverse of a rigid pose is its transpose: x_camera = R^T (x_world - t), here for row vectors.
    local = (points - position) @ rotation
    plane = local[..., :2]
    if not camera.orthographic:
        depth = -local[..., 2:]
        plane = torch.where(depth > 0, plane / depth, torch.nan)
    center = torch.tensor(camera.center_px, dtype=points.dtype, device=points.device)
    flip_y = torch.tensor([1.0, -1.0], dtype=points.dtype, device=points.device)
    return center + camera.focal_px * plane * flip_y
