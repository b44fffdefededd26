"""Normal maps of a moving picture, through the verb: from a video file and from frames, and bad input."""

import json
from inspect import signature
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.io.films import frame_rate, read_frames
from maquette.io.normal_maps import read_normal_map
from maquette.viz.films import write_film

SIZE = 48


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["normals", "--video", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def picture(shift: int) -> np.ndarray:
    """An RGBA disc with a texture, `shift` pixels to the right."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = (x - 18 - shift) ** 2 + (y - 24) ** 2 < 14**2
    grain = (127 + 90 * np.sin((x - shift) * 0.9) * np.cos(y * 0.8)).astype(np.uint8)
    return np.dstack([grain, grain, grain, inside.astype(np.uint8) * 255])


@pytest.fixture
def frames(tmp_path) -> Path:
    folder = tmp_path / "walk"
    folder.mkdir()
    for k in range(11):
        Image.fromarray(picture(k)).save(folder / f"f{k}.png")  # f10 comes after f9, not after f1
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    write_film(path, [torch.from_numpy(picture(k)[..., :3].copy()) for k in range(5)], 12)
    return path


def test_a_folder_of_frames(frames, tmp_path, capfd):
    code, lines, errors = run(capfd, frames, "-o", tmp_path / "out", "--method", "inflate", "--json")
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert 0 < report["mask_share"] < 1
    assert report["frames"] == len(report["normals"]) == 11
    assert Path(report["normals"][3]).name == "walk.000003.normals.png"
    assert 0 <= report["flicker_deg"] <= report["raw_flicker_deg"]
    for number in (1, 10):  # in the order of their numbers: the disc has moved by as much
        mask = read_normal_map(Path(report["normals"][number])).mask
        columns = torch.nonzero(mask.any(0)).flatten()
        assert float(columns.float().mean()) + 0.5 == pytest.approx(18 + number, abs=0.6)
    film = cv2.VideoCapture(report["film"])
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 11


def test_a_video_file(clip, tmp_path, capfd):
    code, lines, errors = run(
        capfd, clip, "-o", tmp_path / "out", "--method", "flat", "--mask", "none", "--format", "npy", "--json"
    )
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert report["frames"] == 5
    assert np.load(report["normals"][4]).shape == (SIZE, SIZE, 3)
    assert frame_rate(Path(report["film"])) == pytest.approx(12)


def test_frames_come_as_they_were_written(clip):
    photos = list(read_frames(clip))
    assert [photo.name for photo in photos] == [f"clip.mp4 frame {k}" for k in range(5)]
    assert photos[0].rgb.shape == (SIZE, SIZE, 3)
    codes = photos[2].rgb.clamp(0, 1) ** (1 / 2.2) * 255
    assert float((codes - torch.from_numpy(picture(2)[..., :3].astype(np.float32))).abs().mean()) < 12


def test_without_smoothing_both_flickers_are_one(frames, tmp_path, capfd):
    _, lines, _ = run(capfd, frames, "-o", tmp_path / "out", "--method", "inflate", "--smoothing", "0", "--json")
    report = json.loads(lines[0])
    assert report["flicker_deg"] == pytest.approx(report["raw_flicker_deg"], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.mp4", None, "no such video file"),
        ("empty.mp4", b"", "video"),
        ("junk.mp4", b"not a film at all" * 50, "video"),
        ("junk.webm", b"\x1aE\xdf\xa3" + b"0" * 200, "video"),
    ],
)
def test_bad_videos_are_one_line(tmp_path, capfd, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, lines, errors = run(capfd, path, "-o", tmp_path / "out", "--method", "flat")
    assert (code, lines, len(errors)) == (2, [], 1)
    assert name in errors[0]
    assert words in errors[0]
    assert not list(tmp_path.glob("out/*"))


def test_a_cut_off_video_is_one_line(clip, tmp_path, capfd):
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    code, _, errors = run(capfd, clip, "-o", tmp_path / "out", "--method", "flat", "--mask", "none")
    assert (code, len(errors)) == (2, 1)
    assert "clip.mp4" in errors[0]


@pytest.mark.parametrize("options", [["--smoothing", "1"], ["--smoothing", "x"], ["--frame-rate", "0"]])
def test_bad_options_are_one_line(clip, tmp_path, capfd, options):
    code, _, errors = run(capfd, clip, "-o", tmp_path / "out", *options)
    assert (code, len(errors)) == (2, 1)


def test_a_second_input_beside_a_video(clip, frames, tmp_path, capfd):
    code, _, errors = run(capfd, clip, frames, "-o", tmp_path / "out")
    assert (code, len(errors)) == (2, 1)
    assert "one video at a time" in errors[0]


def test_the_defaults_on_the_command_line_are_the_methods_own():
    from maquette.app.cli.video import _parse
    from maquette.tools.steady import steady

    options = _parse(["--video", "clip.mp4", "-o", "out"])
    assert (options.smoothing, options.detail_px) == (signature(steady).parameters["strength"].default, None)


def test_the_verb_of_its_own_is_the_same(frames, tmp_path, capfd):
    options = ["--method", "inflate", "--smoothing", "0.5"]
    assert run(capfd, frames, "-o", tmp_path / "old", *options)[0] == 0
    assert main(["video", str(frames), "-o", str(tmp_path / "new"), *options]) == 0
    names = sorted(path.name for path in (tmp_path / "old").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "new").iterdir())
    maps = [name for name in names if name.endswith(".png")]
    assert len(maps) == 11
    assert all((tmp_path / "old" / name).read_bytes() == (tmp_path / "new" / name).read_bytes() for name in maps)
    capfd.readouterr()
    assert main(["video", str(frames), "-o", str(tmp_path / "new"), "--tile"]) == 2
    assert capfd.readouterr().err.startswith("maquette: video --tile: is for single photos")
