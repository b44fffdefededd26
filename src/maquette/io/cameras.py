"""Cameras from files and into files: nerfstudio's `transforms.json`, or a JSON object with one camera.

    camera_model      PINHOLE, OPENCV and the like, if all of their distortion is zero; ORTHOGRAPHIC is maquette's own
    w, h              pixels
    fl_x, fl_y        focal length in pixels (pixels per scene unit if ORTHOGRAPHIC), or camera_angle_x in radians
    cx, cy            principal point from the top-left corner; by default the middle
    transform_matrix  camera_to_world, 4x4; the camera's axes are x right, y up, z back, which are maquette's

Each may stand at the top, for all `frames`, or in a frame. `maquette.types.Camera` is a pinhole with square pixels:
files of cameras that aren't are refused, naming what would be right.
"""

import json
import math
from pathlib import Path
from typing import Any

from maquette.errors import InputError
from maquette.io.decode import require_file
from maquette.io.files import write_bytes
from maquette.io.poses import rigid_pose
from maquette.types import Camera

_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
_ORTHOGRAPHIC = "ORTHOGRAPHIC"
_DISTORTIONS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_POSES = ("transform_matrix", "camera_to_world")
_SQUARE = 1e-3  # how far fl_y may be from fl_x: half a pixel at the border of 1000
_MOST_BYTES = 200_000_000
_MOST_SIDE_PX = 16384


def read_cameras(path: Path | str) -> dict[str, Camera]:
    """All cameras of a file, by the `file_path` of their frames, in the file's order.

    Raises:
        InputError: no such file, not JSON, a number is missing or absurd, a pose isn't rigid, or a lens is one that
            `Camera` can't express: distorted, fisheye, panoramic, or with pixels that aren't square.
    """
    path = Path(path)
    content = _json(path)
    frames = content.get("frames", [content])
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path}: its frames must be a list of objects")
    cameras: dict[str, Camera] = {}
    for k, frame in enumerate(frames):
        name = str(frame.get("file_path", f"frame {k}"))
        if name in cameras:
            raise InputError(f"{path}: two of its frames are {name!r}; each needs a file_path of its own")
        where = f"{path}: {name}" if "frames" in content else str(path)
        cameras[name] = _camera(path, where, {**content, **frame})
    return cameras


def read_camera(path: Path | str, frame: str | None = None) -> Camera:
    """One camera of a file.

    Args:
        path: the file.
        frame: the `file_path` of its frame, or what that ends in, with or without its suffix; needn't be given if
            there is one alone.

    Raises:
        InputError: as `read_cameras`, or not exactly one frame has that name.
    """
    cameras = read_cameras(path)
    if frame is None and len(cameras) == 1:
        return next(iter(cameras.values()))
    some = ", ".join(list(cameras)[:3]) + (", ..." if len(cameras) > 3 else "")
    if frame is None:
        raise InputError(f"{path}: holds {len(cameras)} cameras; name one of its frames: {some}")
    found = [camera for name, camera in cameras.items() if frame in (name, Path(name).name, Path(name).stem)]
    if len(found) != 1:
        raise InputError(f"{path}: {len(found)} of its frames are {frame!r}; it holds {some}")
    return found[0]


def write_cameras(path: Path, cameras: dict[str, Camera]) -> None:
    """Write a `transforms.json` that holds all numbers in full, those of the lens in every frame.

    Args:
        path: the file.
        cameras: by the `file_path` of the image that each took.

    Raises:
        InputError: the file can't be written.
    """
    models = {_model(camera) for camera in cameras.values()}
    frames = [
        {
            "file_path": name,
            **({"camera_model": _model(camera)} if len(models) > 1 else {}),
            "w": camera.width,
            "h": camera.height,
            "fl_x": camera.focal_px,
            "fl_y": camera.focal_px,
            "cx": camera.center_px[0],
            "cy": camera.center_px[1],
            "transform_matrix": camera.camera_to_world.detach().cpu().double().tolist(),
        }
        for name, camera in cameras.items()
    ]
    content = {"camera_model": models.pop(), "frames": frames} if len(models) == 1 else {"frames": frames}
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def _model(camera: Camera) -> str:
    return _ORTHOGRAPHIC if camera.orthographic else "PINHOLE"


def _json(path: Path) -> dict[str, Any]:
    require_file(path)
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: has {path.stat().st_size} bytes; a file of cameras is smaller")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path}: is no whole JSON file; cameras are read from nerfstudio's transforms.json"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold a JSON object with frames, or with one camera")
    return content


def _camera(path: Path, where: str, values: dict[str, Any]) -> Camera:
    orthographic = _require_pinhole(where, values)
    width, height = (_side(where, values, key) for key in ("w", "h"))
    focal_px = _focal(where, values, width)
    center = tuple(
        _number(where, values, key) if key in values else half / 2 for key, half in (("cx", width), ("cy", height))
    )
    found = [values[key] for key in _POSES if key in values]
    if len(found) != 1:
        raise InputError(f"{where}: must hold one of {', '.join(_POSES)}")
    return Camera(width, height, focal_px, (center[0], center[1]), rigid_pose(path, found[0]), orthographic)


def _require_pinhole(where: str, values: dict[str, Any]) -> bool:
    """Whether the camera is orthographic; raises unless it is that or a pinhole."""
    model = values.get("camera_model", "PINHOLE")
    right = "undistort the images first (COLMAP's image_undistorter gives PINHOLE cameras)"
    if values.get("is_fisheye"):  # how instant-ngp's files say it
        raise InputError(f"{where}: the camera is_fisheye, no pinhole; {right}")
    if model not in (*_PINHOLES, _ORTHOGRAPHIC):
        raise InputError(f"{where}: the camera_model {model!r} is no pinhole; {right}")
    bent = [f"{key} = {_number(where, values, key):g}" for key in _DISTORTIONS if values.get(key)]
    if bent:
        raise InputError(f"{where}: the {model} camera is distorted ({', '.join(bent)}); a pinhole is needed: {right}")
    return model == _ORTHOGRAPHIC


def _focal(where: str, values: dict[str, Any], width: int) -> float:
    if "fl_x" not in values and "camera_angle_x" in values:
        angle = _number(where, values, "camera_angle_x")
        if not 0 < angle < math.pi:
            raise InputError(f"{where}: camera_angle_x is {angle:g}; an angle in radians between 0 and pi is needed")
        return width / 2 / math.tan(angle / 2)
    across = _number(where, values, "fl_x")
    down = _number(where, values, "fl_y") if "fl_y" in values else across
    if not (across > 0 and down > 0):
        raise InputError(f"{where}: focal lengths of {across:g} and {down:g} px; both must be above 0")
    if abs(down / across - 1) > _SQUARE:
        raise InputError(
            f"{where}: pixels aren't square (fl_x {across:g}, fl_y {down:g}); scale the images' height, h, fl_y and cy"
            f" by {across / down:.5g}"
        )
    return math.sqrt(across * down)


def _side(where: str, values: dict[str, Any], key: str) -> int:
    side = _number(where, values, key)
    if side != int(side) or not 1 <= side <= _MOST_SIDE_PX:
        raise InputError(f"{where}: {key} is {side:g}; a whole number of pixels from 1 to {_MOST_SIDE_PX} is needed")
    return int(side)


def _number(where: str, values: dict[str, Any], key: str) -> float:
    if key not in values:
        raise InputError(f"{where}: has no {key}; a camera needs w, h, fl_x and transform_matrix")
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:  # NaN compares false
        raise InputError(f"{where}: {key} is {str(value)[:40]!r}; a finite number is needed")
    return float(value)
