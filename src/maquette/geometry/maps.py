"""Depth maps, point maps and normal maps of one camera, into each other.

Points and normals are in camera axes (x right, y up, z towards the viewer), not in world axes.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from maquette.geometry.camera import image_plane
from maquette.types import Camera

_SMALLEST_LENGTH = 1e-30


def depth_to_points(depth: Float[Tensor, "height width"], camera: Camera) -> Float[Tensor, "height width 3"]:
    """The point that every pixel sees.

    Args:
        depth: distance in front of the camera, measured along its -z axis (not along the ray).
        camera: its intrinsics are used, its `camera_to_world` isn't.
    """
    plane = image_plane(camera).to(depth)
    if not camera.orthographic:
        plane = plane * depth[..., None]
    return torch.cat([plane, -depth[..., None]], dim=-1)


def points_to_normals(
    points: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"]
) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"]]:
    """Unit normals of a point map by finite differences, facing the camera.

    Differences are central inside the mask and one-sided at its rim.

    Args:
        points: what every pixel sees, in camera axes.
        mask: true where there is a point.

    Returns:
        The normals, zero where there is none, and where there is one: pixels of the mask with a neighbour
        in the mask along both image axes.
    """
    along_x, valid_x = _difference_rightward(points, mask)
    along_rows, valid_rows = _difference_rightward(points.transpose(0, 1), mask.T)
    along_y, valid_y = -along_rows.transpose(0, 1), valid_rows.T  # rows run downward, y runs upward
    # Whatever a camera sees, its image keeps the order of right and up, so this cross product faces it.
    normals = torch.linalg.cross(along_x, along_y)
    length = normals.norm(dim=-1)
    valid = mask & valid_x & valid_y & (length > _SMALLEST_LENGTH)
    unit = normals / length.clamp_min(_SMALLEST_LENGTH)[..., None]
    return torch.where(valid[..., None], unit, 0.0), valid


def _difference_rightward(
    points: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"]
) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"]]:
    step = torch.where((mask[:, 1:] & mask[:, :-1])[..., None], points[:, 1:] - points[:, :-1], 0.0)
    has_step = mask[:, 1:] & mask[:, :-1]
    both = pad(step, (0, 0, 0, 1)) + pad(step, (0, 0, 1, 0))
    return both, pad(has_step, (0, 1)) | pad(has_step, (1, 0))
