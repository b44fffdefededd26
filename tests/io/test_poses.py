"""Poses from every kind of file, and every way that one can be wrong."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from maquette.errors import InputError
from maquette.io.poses import read_camera_to_world

POSE = np.eye(4)
POSE[:3, :3] = Rotation.from_euler("xyz", [20, 130, -40], degrees=True).as_matrix()
POSE[:3, 3] = (1, 2, 3)


def frames(*stems, key="transform_matrix"):
    return {"frames": [{"file_path": f"./images/{stem}.jpg", key: (POSE * (1 + i)).tolist()} for i, stem in stems]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(POSE.tolist())),
        ("b.json", json.dumps({"camera_to_world": POSE.tolist()})),
        ("c.json", json.dumps({"fl_x": 3, "transform_matrix": POSE.tolist()})),
        ("d.json", json.dumps(frames((0, "anything")))),
        ("e.json", json.dumps(frames((0, "cup"), (1, "mug")))),
        ("f.txt", "\n".join(" ".join(f"{x:.5f}" for x in row) for row in POSE)),
    ],
)
def test_kinds_of_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    pose = read_camera_to_world(tmp_path / name, "cup.normals.png")
    assert pose.dtype == torch.float64
    assert np.abs(pose.numpy() - POSE).max() < 1e-5
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - torch.eye(3)).max() < 1e-14


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", POSE)
    assert np.allclose(read_camera_to_world(tmp_path / "a.npy", "cup.png"), POSE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", "not a whole file"),
        ("[[1, 0], [0, 1]]", "4x4"),
        ("{}", "one of camera_to_world, transform_matrix"),
        ('"cup"', "4x4"),
        ('[["a", 0, 0, 0]]', "4x4"),
        (json.dumps((np.eye(4) * np.nan).tolist()), "finite"),
        (json.dumps(np.diag([2.0, 2, 2, 1]).tolist()), "not rigid"),
        (json.dumps(np.diag([-1.0, 1, 1, 1]).tolist()), "mirror image"),
        (json.dumps(frames((0, "mug"), (1, "jug"))), "0 of its 2 frames are of 'cup'"),
        (json.dumps(frames((0, "cup"), (1, "cup"))), "2 of its 2 frames"),
        (json.dumps({"frames": []}), "list of objects"),
        (json.dumps({"frames": [1]}), "list of objects"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, message):
    path = tmp_path / "pose.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        read_camera_to_world(path, "cup.png")
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_and_binary(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_camera_to_world(tmp_path / "none.json", "cup.png")
    for name in ("a.npy", "a.txt", "a.json"):
        (tmp_path / name).write_bytes(bytes(range(256)))
        with pytest.raises(InputError, match="not a whole file"):
            read_camera_to_world(tmp_path / name, "cup.png")
