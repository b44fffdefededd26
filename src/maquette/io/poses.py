"""Camera poses from files: `camera_to_world` matrices, in the axes of maquette's camera (x right, y up, z back)."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.decode import require_file

_RIGID = 1e-3  # how far a rotation may be from orthonormal: poses are often printed with few digits
_KEYS = ("camera_to_world", "transform_matrix")


def read_camera_to_world(path: Path | str, image: str) -> Float[Tensor, "4 4"]:
    """The pose of the camera that took an image.

    Read are nerfstudio's `transforms.json` (the frame whose `file_path` has the image's stem, or the only
    one), a JSON object with `camera_to_world` or `transform_matrix`, a JSON list of four rows, a text file of four
    rows, and NPY. The camera's own axes are x right, y up, z backwards, as nerfstudio and Blender have them.

    Args:
        path: the file.
        image: name of the image or map; `cup.normals.png` and `cup.png` both belong to `images/cup.jpg`.

    Returns:
        float64, its rotation made exactly orthonormal.

    Raises:
        InputError: no such file, no such format or frame, or no rigid pose.
    """
    path = Path(path)
    require_file(path)
    return rigid_pose(path, _matrix(path, image))


def rigid_pose(path: Path, matrix: object) -> Float[Tensor, "4 4"]:
    """A `camera_to_world` that a file holds, its rotation made exactly orthonormal; float64.

    Raises:
        InputError: no 4x4 matrix of finite numbers, or no rotation and translation.
    """
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: must hold a 4x4 camera_to_world matrix of finite numbers") from error
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError(f"{path}: must hold a 4x4 camera_to_world matrix of finite numbers")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or not np.allclose(pose[3], (0, 0, 0, 1), atol=1e-6):
        raise InputError(f"{path}: camera_to_world is not rigid; its 3x3 part must be a rotation, its last row 0 0 0 1")
    if np.linalg.det(rotation) < 0:
        raise InputError(f"{path}: camera_to_world is a mirror image (determinant -1); a rotation is needed")
    left, _, right = np.linalg.svd(rotation)
    pose[:3, :3] = left @ right  # the nearest rotation
    return torch.from_numpy(pose)


def _matrix(path: Path, image: str) -> object:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix.lower() != ".json":
            return np.loadtxt(path, ndmin=2)
        content = json.loads(path.read_text())
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise InputError(
            f"{path}: not a whole file of a kind that poses are read from (json, npy, 4x4 text)"
        ) from error
    if isinstance(content, dict) and "frames" in content:
        return _rows(path, _frame(path, content["frames"], image))
    return _rows(path, content)


def _rows(path: Path, content: object) -> object:
    if isinstance(content, dict):
        found = [content[key] for key in _KEYS if key in content]
        if len(found) != 1:
            raise InputError(f"{path}: must hold one of {', '.join(_KEYS)}, or frames that do")
        return found[0]
    return content


def _frame(path: Path, frames: object, image: str) -> dict:
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path}: its frames must be a list of objects")
    if len(frames) == 1:
        return frames[0]
    wanted = image.split(".")[0]
    found = [frame for frame in frames if Path(str(frame.get("file_path", ""))).name.split(".")[0] == wanted]
    if len(found) != 1:
        raise InputError(f"{path}: {len(found)} of its {len(frames)} frames are of {wanted!r}; exactly one is needed")
    return found[0]
