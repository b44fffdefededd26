"""Cameras for looking at something whose place and size are known: from the front, or once around it."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.types import Camera

FOCAL_OF_LONGER_SIDE = 1.25  # a field of view of 44 degrees across the longer side
_FILLED = 0.92  # of the image, by what is looked at
_LEFT_OUT = 0.01  # of the points, at each end of each axis: strays would make everything else small


def spread(points: Float[Tensor, "n 3"], radius: Float[Tensor, " n"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The corners of a box around balls; of a hundred or more, the outermost hundredth on each side doesn't count.

    Args:
        points: their centres, at least one.
        radius: how far each reaches.
    """
    kept = math.ceil((1 - _LEFT_OUT) * len(points))
    high = (points + radius[:, None]).kthvalue(kept, dim=0).values
    low = -(radius[:, None] - points).kthvalue(kept, dim=0).values
    # Of a few strays and little else, the lowest of what is kept can lie above the highest.
    return low.minimum(high), high.maximum(low)


def facing(low: Float[Tensor, "3"], high: Float[Tensor, "3"], width: int, height: int) -> Camera:
    """A pinhole camera on the side of +z, x right and y up, that sees a box whole and fills most of its image."""
    across, up, half = _measures(low, high, width, height)
    distance = max(float(half[0]) / across, float(half[1]) / up) + float(half[2])
    return _at(low, high, width, height, 0.0, distance)


def turntable(low: Float[Tensor, "3"], high: Float[Tensor, "3"], width: int, height: int, count: int) -> list[Camera]:
    """Cameras once around the vertical axis (y) through the middle of a box, which all of them see whole.

    The first is on the side of +z; seen from above they follow each other counter-clockwise, so the next is towards +x.
    """
    across, up, half = _measures(low, high, width, height)
    radius = math.hypot(float(half[0]), float(half[2]))
    distance = max(radius / math.sin(math.atan(across)), float(half[1]) / up + radius)
    return [_at(low, high, width, height, 2 * math.pi * k / count, distance) for k in range(count)]


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The same view with other pixels.

    Raises:
        InputError: the sides are in another proportion, by more than rounding to whole pixels makes.
    """
    scale = width / camera.width
    if abs(height - camera.height * scale) > 0.5 + 0.5 * camera.height / camera.width:
        raise InputError(
            f"a size of {width}x{height}: the camera's is {camera.width}x{camera.height}, which is"
            f" {width}x{round(camera.height * scale)} at that width"
        )
    center = (camera.center_px[0] * scale, camera.center_px[1] * scale)
    return replace(camera, width=width, height=height, focal_px=camera.focal_px * scale, center_px=center)


def _measures(low: Tensor, high: Tensor, width: int, height: int) -> tuple[float, float, Tensor]:
    """What of the image plane at distance 1 may be filled, right of the middle and above it; half of the box."""
    focal_px = FOCAL_OF_LONGER_SIDE * max(width, height)
    half = (high.double() - low.double()) / 2
    if float(half.max()) <= 0:  # a single point: as if it were a ball of radius 1
        half = torch.ones_like(half)
    return _FILLED * width / 2 / focal_px, _FILLED * height / 2 / focal_px, half


def _at(low: Tensor, high: Tensor, width: int, height: int, angle_rad: float, distance: float) -> Camera:
    sine, cosine = math.sin(angle_rad), math.cos(angle_rad)
    middle = (low.double() + high.double()) / 2
    back = torch.tensor([sine, 0.0, cosine], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 0] = torch.tensor([cosine, 0.0, -sine], dtype=torch.float64)
    pose[:3, 2] = back
    pose[:3, 3] = middle.cpu() + distance * back
    focal_px = FOCAL_OF_LONGER_SIDE * max(width, height)
    return Camera(width, height, focal_px, (width / 2, height / 2), pose)
