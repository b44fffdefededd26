"""The cameras of ShapeNet-SRN (Sitzmann et al. 2019), and how its files hold them.

World of the files: right-handed, z up, the object's middle at the origin. A pose is camera_to_world with OpenCV's
camera axes, x right, y down, z forward. In memory a camera's axes are x right, y up, z back; the world stays as it is.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.decode import require_file
from maquette.io.poses import rigid_pose

FOCAL_OF_WIDTH = 525 / 512  # 131.25 pixels of 128; a field of view of 51.99 degrees
TRAIN_VIEWS, SPIRAL_VIEWS, CONDITION_VIEW = 50, 251, 64
RADIUS = 1.3  # of the sphere that the cameras stand on; 1.3 for SRN's cars, 2.0 for its chairs
_TURN_RAD = 40.0  # of the whole sphere's spiral; its upper half is used, azimuths of 20 to 40 radians
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes and maquette's: its own inverse


def sphere_places(rng: np.random.Generator, count: int, radius: float) -> np.ndarray:
    """(count, 3) places of cameras, uniform on a sphere."""
    directions = rng.normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def spiral_places(count: int, radius: float) -> np.ndarray:
    """(count, 3) places on the upper half of a spherical spiral, from the equator to the pole (z).

    Azimuth and height above the equator grow evenly: 20 radians and a quarter circle.
    """
    azimuth = _TURN_RAD / 2 * (1 + np.linspace(0, 1, count))
    polar = azimuth / _TURN_RAD * math.pi
    places = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), -np.cos(polar)]
    return radius * np.stack(places, 1)


def condition_view(count: int) -> int:
    """The number of the view that a method is shown: 64 of 251, and the one at its place along another spiral."""
    return round(CONDITION_VIEW / (SPIRAL_VIEWS - 1) * (count - 1))


def look_at_origin(places: np.ndarray) -> np.ndarray:
    """Upright (n, 4, 4) camera_to_world, camera axes x right, y up, z back; at a pole, right is by the azimuth."""
    back = places / np.linalg.norm(places, axis=1, keepdims=True)
    azimuth = np.arctan2(places[:, 1], places[:, 0])
    right = np.stack([-np.sin(azimuth), np.cos(azimuth), np.zeros(len(places))], 1)
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, :3] = np.stack([right, np.cross(back, right), back, places], 2)
    return poses


def pose_text(camera_to_world: np.ndarray) -> str:
    """The content of a pose file: 16 numbers, row by row, in OpenCV's camera axes."""
    return " ".join(repr(float(x)) for x in (camera_to_world @ _FLIP).ravel()) + "\n"


def intrinsics_text(size_px: int) -> str:
    """The content of `intrinsics.txt`: focal length and principal point, two lines without use, height and width."""
    half = size_px / 2
    return f"{FOCAL_OF_WIDTH * size_px:.6f} {half:.6f} {half:.6f} 0.\n0. 0. 0.\n1.\n{size_px} {size_px}\n"


def read_pose(path: Path) -> Float[Tensor, "4 4"]:
    """A pose file's camera_to_world with maquette's camera axes; float64.

    Raises:
        InputError: the file is missing, or doesn't hold 16 numbers of a rigid pose.
    """
    values = _numbers(path, path.read_text().split() if _is_file(path) else [])
    if len(values) != 16:
        raise InputError(f"{path}: holds {len(values)} numbers; a pose has 16, camera_to_world row by row")
    return rigid_pose(path, np.reshape(values, (4, 4))) @ torch.from_numpy(_FLIP)


def read_intrinsics(path: Path) -> tuple[float, tuple[float, float], int, int]:
    """Focal length and principal point in pixels, width, height.

    Raises:
        InputError: the file is missing, or isn't as `intrinsics_text` says.
    """
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()] if _is_file(path) else []
    values = _numbers(path, lines[0][:3] + lines[-1]) if len(lines) >= 2 else []
    if len(values) != 5 or not (values[0] > 0 and min(values[3:]) >= 1):
        raise InputError(f"{path}: must begin with `focal cx cy 0.` and end with `height width`, in pixels")
    focal, x, y, height, width = values
    return focal, (x, y), int(width), int(height)


def relative_to(poses: Float[Tensor, "views 4 4"], view: int) -> Float[Tensor, "views 4 4"]:
    """Poses in the frame of one of the cameras (x right, y up, z back), whose own pose becomes the identity."""
    rotation, place = poses[view, :3, :3], poses[view, :3, 3]
    inverse = torch.eye(4, dtype=poses.dtype, device=poses.device)
    inverse[:3, :3] = rotation.T
    inverse[:3, 3] = -rotation.T @ place
    return inverse @ poses


def in_axes_of(poses: Float[Tensor, "views 4 4"], view: int) -> Float[Tensor, "views 4 4"]:
    """Poses in the axes of one of the cameras (x right, y up, z back); the origin stays where it is."""
    turn = torch.eye(4, dtype=poses.dtype, device=poses.device)
    turn[:3, :3] = poses[view, :3, :3].T
    return turn @ poses


def _is_file(path: Path) -> bool:
    require_file(path)
    return True


def _numbers(path: Path, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{path}: holds something else than finite numbers")
    return values
