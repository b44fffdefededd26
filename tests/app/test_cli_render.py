"""`maquette render`: colours where they belong, from the camera that was given, and every mistake in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.catalogue import AXES, Axes
from maquette.geometry.sh import DC
from maquette.io.cameras import write_cameras
from maquette.io.normal_maps import read_normal_map
from maquette.io.splats.files import write_splat
from maquette.types import Camera, Gaussians

RED, GREEN, BLUE, GREY = (0.8, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.1, 0.9), (0.5, 0.5, 0.5)


def splats() -> Gaussians:
    """Seen from +z: red on the left, green on the right, blue above, a large grey disc behind them; opaque."""
    colors = torch.tensor([RED, GREEN, BLUE, GREY])
    return Gaussians(
        mean=torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -0.5]]),
        scale=torch.tensor([[0.2, 0.2, 0.02]] * 3 + [[1.0, 1, 0.02]]),
        rotation=torch.tensor([[1.0, 0, 0, 0]]).expand(4, 4).contiguous(),
        opacity=torch.tensor([1.0, 1, 1, 0.9]),
        sh=((colors - 0.5) / DC)[:, None],
        encoding="srgb",
    )


@pytest.fixture(scope="module")
def ply(tmp_path_factory) -> Path:
    return write_splat(tmp_path_factory.mktemp("splats") / "four.ply", splats())


def run(capfd, *arguments) -> tuple[int, str, list[str]]:
    code = main(["render", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out, err.splitlines()


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def near(found: np.ndarray, wanted: tuple[float, float, float], within: int = 3) -> bool:
    return bool(np.abs(found[:3] - np.array(wanted) * 255).max() <= within)


def centre_px(width: int, height: int, x: float, y: float, camera: Camera) -> tuple[int, int]:
    from maquette.geometry.camera import project

    at = project(camera, torch.tensor([x, y, 0.0], dtype=torch.float64))
    return int(at[1]), int(at[0])


def front(width: int, height: int) -> Camera:
    from maquette.geometry.viewpoints import facing
    from maquette.viz.splat_pictures import extent

    low, high = extent(splats())
    return facing(low, high, width, height)


def test_from_the_front_colours_are_written_as_they_are_and_the_rest_is_clear(ply, tmp_path, capfd):
    code, out, errors = run(capfd, ply, "-o", tmp_path / "a.png", "--size", "200x160", "--json")
    assert (code, errors) == (0, [])
    assert json.loads(out)["gaussians"] == 4
    picture = pixels(tmp_path / "a.png")
    assert picture.shape == (160, 200, 4)
    for x, y, color in ((-1, 0, RED), (1, 0, GREEN), (0, 1, BLUE)):
        at = centre_px(200, 160, x, y, front(200, 160))
        assert near(picture[at], color)
        assert picture[at][3] >= 254
    assert picture[0, 0, 3] == 0
    below = picture[centre_px(200, 160, 0, -1.5, front(200, 160))]
    assert 0 < below[3] < 200  # the rim of the disc: its colour isn't darkened by its transparency
    assert near(below, GREY)


def test_linear_colours_are_encoded_and_blended_as_light(ply, tmp_path, capfd, monkeypatch):
    given = splats()
    light = torch.where(torch.tensor([GREY]) <= 0.04045, torch.tensor([GREY]) / 12.92, 0.2140)
    linear = replace(given, sh=((light - 0.5) / DC)[None].expand(4, 1, 3).contiguous(), encoding="linear")
    monkeypatch.setattr("maquette.io.splats.files.read_splat", lambda *_: linear)
    code, _, _ = run(capfd, ply, "-o", tmp_path / "a.png", "--size", "200x160", "--background", "1,1,1")
    assert code == 0
    picture = pixels(tmp_path / "a.png")
    assert picture.shape == (160, 200, 3)
    assert near(picture[centre_px(200, 160, -1, 0, front(200, 160))], GREY)
    assert picture[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_half_a_background_is_half_of_it_in_the_splats_own_sort_of_colour(tmp_path, capfd, monkeypatch, encoding):
    """One wide disc of opacity 0.5, black, before white: 0.5 as a display value, or 0.5 as light, which is 0.735."""
    disc = Gaussians(
        torch.zeros(1, 3),
        torch.tensor([[50.0, 50.0, 0.01]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([0.5]),
        torch.full((1, 1, 3), -0.5 / DC),
        encoding=encoding,
    )
    monkeypatch.setattr("maquette.io.splats.files.read_splat", lambda *_: disc)
    assert run(capfd, "x.ply", "-o", tmp_path / "a.png", "--size", "32x32", "--background", "1,1,1")[0] == 0
    wanted = {"srgb": 0.5, "linear": 0.7354}[encoding]
    assert pixels(tmp_path / "a.png")[16, 16].tolist() == pytest.approx([255 * wanted] * 3, abs=2)


def test_a_camera_file_says_from_where(ply, tmp_path, capfd):
    """From behind, red is on the right; the grey disc, which is in front now, hides most of all three."""
    pose = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    pose[2, 3] = -5.0
    side = torch.tensor([[0.0, 0, 1, 6], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    cameras = {name: Camera(120, 90, 100.0, (60.0, 45.0), at) for name, at in (("back.png", pose), ("right.png", side))}
    write_cameras(tmp_path / "transforms.json", cameras)
    given = (ply, "-o", tmp_path / "a.png", "--camera", tmp_path / "transforms.json")
    assert run(capfd, *given, "--frame", "back")[0] == 0
    picture = pixels(tmp_path / "a.png")
    assert picture.shape == (90, 120, 4)
    right, left = picture[45, 60 + 100 // 5], picture[45, 60 - 100 // 5]
    assert right[0] > right[1] + 20 and left[1] > left[0] + 20
    assert run(capfd, *given, "--frame", "right", "--size", "240x180")[0] == 0
    picture = pixels(tmp_path / "a.png")
    assert picture.shape == (180, 240, 4)
    nearest = picture[90, 120]  # of the discs that stand in a row, edge-on
    assert nearest[1] > nearest[0] + 100


def test_normals_depth_and_alpha(ply, tmp_path, capfd):
    for what, name in (("normals", "a.exr"), ("depth", "b.npy"), ("alpha", "c.png")):
        code, _, errors = run(capfd, ply, "-o", tmp_path / name, "--what", what, "--size", "200x160")
        assert (code, errors) == (0, [])
    found = read_normal_map(tmp_path / "a.exr")
    assert found.mask.any()
    assert (found.normals[found.mask] @ torch.tensor([0.0, 0, 1]) > 0.999).all()
    heights, alpha = np.load(tmp_path / "b.npy"), pixels(tmp_path / "c.png")
    red, middle = centre_px(200, 160, -1, 0, front(200, 160)), centre_px(200, 160, 0, 0, front(200, 160))
    assert heights[red] - heights[middle] == pytest.approx(0.5, abs=0.02)  # a height: more is nearer
    assert alpha[red] >= 254
    assert alpha[0, 0] == 0


@pytest.mark.parametrize("what", ["color", "normals", "depth", "alpha"])
def test_the_film_goes_once_around(ply, tmp_path, capfd, what):
    film = tmp_path / "turn.mp4"
    code, _, errors = run(capfd, ply, "--orbit", film, "--frames", 4, "--size", "96x96", "--what", what)
    assert (code, errors) == (0, [])
    reader = cv2.VideoCapture(str(film))
    frames = [frame[..., ::-1].astype(int) for ok, frame in iter(reader.read, (False, None)) if ok]
    assert len(frames) == 4
    assert frames[0].shape == (96, 96, 3)
    assert all(frame.max() > 60 for frame in frames)
    if what == "color":  # x is to the right from the front, to the left from behind
        leanings = [(frame[..., 0] - frame[..., 1]) * (np.ptp(frame, axis=-1) > 30) for frame in frames]
        assert leanings[0][:, :48].sum() > 0 > leanings[0][:, 48:].sum()
        assert leanings[2][:, 48:].sum() > 0 > leanings[2][:, :48].sum()
        assert leanings[1].sum() < 0 < leanings[3].sum()  # from +x green is in front of red


def test_the_axes_that_are_offered_are_those_that_are_read():
    assert get_args(Axes) == AXES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write"),
        (["-o", "a.jpg"], "must end in .png"),
        (["-o", "a.exr"], "must end in .png"),
        (["-o", "a.bmp", "--what", "depth"], "must end in .png or .exr or .npy"),
        (["--orbit", "a.avi"], "must end in .mp4 or .gif"),
        (["--orbit", "a.mp4", "--frames", "0"], "'0' is not a whole number from 1"),
        (["--orbit", "a.mp4", "--frames", "1e9"], "not a whole number"),
        (["--orbit", "a.mp4", "--camera", "c.json"], "--camera: is for a picture"),
        (["-o", "a.png", "--frame", "x"], "--frame: names a frame"),
        (["-o", "a.png", "--size", "640"], "'640' is no size"),
        (["-o", "a.png", "--size", "0x5"], "no size"),
        (["-o", "a.png", "--size", "99999x5"], "no size"),
        (["-o", "a.png", "--background", "1,1"], "no colour"),
        (["-o", "a.png", "--background", "255,255,255"], "no colour"),
        (["-o", "a.png", "--background", "nan,0,0"], "no colour"),
        (["-o", "a.png", "--background", "1,1,1", "--what", "depth"], "--background: depth has no background"),
        (["-o", "a.png", "--what", "smell"], "invalid choice: 'smell'"),
        (["-o", "a.png", "--axes", "xyz"], "invalid choice: 'xyz'"),
        (["-o", "a.png", "--camera", "none.json"], "none.json: no such file"),
        (["-o", "a.png", "--camera", "fish.json"], "'OPENCV_FISHEYE' is no pinhole"),
        (["-o", "a.png", "--camera", "away.json"], "a.png: would be empty"),
        (["-o", "a.png", "--camera", "away.json", "--size", "10x99"], "the camera's is 16x16"),
        (["-o", "FILE/a.png"], "cannot write"),
        (["--orbit", "FILE/a.mp4"], "cannot write"),
        (["-o", "a.png", "--device", "toaster"], "--device toaster"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(ply, tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("in the way")
    away = torch.eye(4, dtype=torch.float64)
    away[2, 3] = -100.0
    write_cameras(tmp_path / "away.json", {"a": Camera(16, 16, 16.0, (8.0, 8.0), away)})
    fish = json.loads((tmp_path / "away.json").read_text()) | {"camera_model": "OPENCV_FISHEYE"}
    (tmp_path / "fish.json").write_text(json.dumps(fish))
    before = sorted(tmp_path.iterdir())
    code, out, errors = run(capfd, ply, *arguments)
    assert (code, out) == (2, "")
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(tmp_path.iterdir()) == before


def test_files_that_are_no_splats(tmp_path, capfd):
    for name, content in (("a.ply", b"ply\nlies"), ("a.obj", b"v 0 0 0"), ("a.ksplat", b"\0" * 5000), ("b.spz", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        code, out, errors = run(capfd, tmp_path / name, "-o", tmp_path / "a.png")
        assert (code, out, len(errors)) == (2, "", 1)
        assert name in errors[0]
    assert not (tmp_path / "a.png").exists()
