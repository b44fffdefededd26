"""Cameras from files: there and back in full, as nerfstudio writes them, and every lens that can't be expressed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from maquette.errors import InputError
from maquette.geometry.camera import project
from maquette.io.cameras import read_camera, read_cameras, write_cameras
from maquette.types import Camera


def camera(seed: int, orthographic: bool = False) -> Camera:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_rotvec(np.random.default_rng(seed).normal(0, 2, 3)).as_matrix())
    pose[:3, 3] = torch.tensor([1.0, -2.0, 3.0]) * seed
    return Camera(640 + seed, 480, 555.123456789 + seed, (319.7, 241.2), pose, orthographic)


@pytest.mark.parametrize("kinds", [(False, False), (True,), (False, True)])
def test_there_and_back_nothing_changes(tmp_path, kinds):
    made = {f"images/{k}.png": camera(k + 1, kind) for k, kind in enumerate(kinds)}
    write_cameras(tmp_path / "transforms.json", made)
    found = read_cameras(tmp_path / "transforms.json")
    assert list(found) == list(made)
    for name, wanted in made.items():
        assert replace(found[name], camera_to_world=wanted.camera_to_world) == replace(wanted)
        torch.testing.assert_close(found[name].camera_to_world, wanted.camera_to_world, atol=1e-14, rtol=0)


NERFSTUDIO = {
    "camera_model": "OPENCV",
    "w": 200, "h": 100, "fl_x": 150.0, "fl_y": 150.0, "cx": 100.0, "cy": 50.0,
    "k1": 0, "k2": 0.0, "p1": 0, "p2": 0,
    "frames": [
        {"file_path": "images/front.jpg", "transform_matrix": np.eye(4).tolist()},
        {"file_path": "images/above.jpg",
         "transform_matrix": [[1, 0, 0, 0], [0, 0, 1, 4], [0, -1, 0, 0], [0, 0, 0, 1]]},
    ],
}  # fmt: skip


def written(tmp_path, **changes):
    path = tmp_path / "transforms.json"
    content = {key: value for key, value in (NERFSTUDIO | changes).items() if value is not None}
    path.write_text(json.dumps(content))
    return path


def test_axes_are_opengls(tmp_path):
    """One camera stands in the origin and looks along -z; the other one above, looking down, its top towards -z."""
    path = written(tmp_path)
    front, above = read_camera(path, "front"), read_camera(path, "images/above.jpg")
    point = torch.tensor([1.0, 0.5, -3.0], dtype=torch.float64)
    assert project(front, point).tolist() == pytest.approx([100 + 150 / 3, 50 - 150 * 0.5 / 3])
    point = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    assert project(above, point).tolist() == pytest.approx([100 + 150 / 2, 50 - 150 * 0.5 / 2])


def test_numbers_of_a_frame_go_before_those_of_all(tmp_path):
    frame = NERFSTUDIO["frames"][0] | {"fl_x": 300, "fl_y": 300, "w": 400, "h": 300, "cx": 10, "cy": 20}
    found = read_camera(written(tmp_path, frames=[frame]))
    assert (found.width, found.height, found.focal_px, found.center_px) == (400, 300, 300.0, (10.0, 20.0))


def test_an_angle_and_the_middle_where_focal_length_and_centre_are_not_said(tmp_path):
    path = written(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, camera_model=None, camera_angle_x=math.pi / 2)
    found = read_camera(path, "front")
    assert found.focal_px == pytest.approx(100)
    assert found.center_px == (100, 50)


def test_one_camera_without_frames(tmp_path):
    path = written(tmp_path, frames=None, camera_to_world=np.eye(4).tolist())
    assert torch.equal(read_camera(path).camera_to_world, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, "'OPENCV_FISHEYE' is no pinhole; undistort"),
        ({"camera_model": "EQUIRECTANGULAR"}, "'EQUIRECTANGULAR' is no pinhole"),
        ({"camera_model": None, "is_fisheye": True}, "is_fisheye, no pinhole; undistort"),
        ({"camera_model": ["PINHOLE"]}, "no pinhole"),
        (
            {"k1": 0.1, "p2": -1e-3},
            r"OPENCV camera is distorted \(k1 = 0.1, p2 = -0.001\); a pinhole is needed: undistort",
        ),
        ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1}, "SIMPLE_RADIAL camera is distorted"),
        ({"camera_model": "ORTHOGRAPHIC", "k1": 0.1}, "ORTHOGRAPHIC camera is distorted"),
        ({"camera_model": "FULL_OPENCV"}, "no pinhole"),
        ({"k1": "much"}, "k1 is 'much'; a finite number"),
        ({"fl_y": 155}, "aren't square .*scale the images' height, h, fl_y and cy by 0.96774"),
        ({"fl_x": None}, "has no fl_x"),
        ({"fl_x": -150, "fl_y": -150}, "above 0"),
        ({"fl_x": math.nan}, "fl_x is 'nan'"),
        ({"w": None}, "has no w"),
        ({"w": 10**9}, "w is 1e.09; a whole number of pixels"),
        ({"h": 99.5}, "h is 99.5"),
        ({"h": True}, "h is 'True'"),
        ({"fl_x": None, "camera_angle_x": 4}, "camera_angle_x is 4; an angle"),
        ({"frames": []}, "list of objects"),
        ({"frames": NERFSTUDIO["frames"][:1] * 2}, "two of its frames are 'images/front.jpg'"),
        ({"frames": [{"file_path": "a"}]}, "must hold one of transform_matrix"),
        ({"frames": [{"transform_matrix": [[1]]}]}, "4x4"),
        ({"frames": [{"transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()}]}, "mirror image"),
        ({"frames": [{"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}]}, "not rigid"),
    ],
)
def test_cameras_that_cannot_be_expressed_are_told_in_one_line(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_cameras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "holds 2 cameras; name one of its frames: images/front.jpg, images/above.jpg"),
        ("side", "0 of its frames are 'side'"),
    ],
)
def test_which_frame_must_be_certain(tmp_path, frame, message):
    with pytest.raises(InputError, match=message):
        read_camera(written(tmp_path), frame)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 200_000, bytes(range(256))])
def test_files_that_hold_no_json_object(tmp_path, content):
    path = tmp_path / "transforms.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"transforms\.json: ") as caught:
        read_cameras(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_cameras(tmp_path / "none.json")
