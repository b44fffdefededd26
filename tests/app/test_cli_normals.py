"""The verb through its real entry point: what it writes, and what it says of bad input."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from mask_photos import disc_photo, overlap, two_discs
from PIL import Image

from maquette.app.cli.main import main
from maquette.catalogue import FORMAT_SUFFIXES
from maquette.io.images import to_srgb8, write_exr
from maquette.io.normal_maps import read_normal_map
from maquette.types import NormalMap, Photo


def ball(size: int = 48) -> np.ndarray:
    """An RGBA disc; inflating its silhouette gives a hemisphere."""
    axis = np.linspace(-1, 1, size)
    disc = np.add.outer(axis**2, axis**2) < 0.8
    return np.dstack([np.full((size, size, 3), 180, np.uint8), disc.astype(np.uint8) * 255])


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "cup.png"
    Image.fromarray(ball()).save(path)
    return path


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["normals", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


@pytest.mark.parametrize("convention", ["opengl", "directx", "opencv"])
@pytest.mark.parametrize("format", FORMAT_SUFFIXES)
def test_every_convention_and_format_says_the_same(photo, tmp_path, capfd, convention, format):
    out = tmp_path / "out"
    code, lines, errors = run(
        capfd,
        photo,
        "-o",
        out,
        "--method",
        "inflate",
        "--convention",
        convention,
        "--format",
        format,
        "--json",
    )
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert len(lines) == 1
    assert report["photo"] == str(photo)
    assert report["normals"] == str(out / f"cup.normals{FORMAT_SUFFIXES[format]}")
    assert report["convention"] == convention
    assert report["confidence"] is None
    assert report["seconds"] > 0
    normal_map = read_normal_map(report["normals"], convention)
    assert np.array_equal(normal_map.mask.numpy(), ball()[..., 3] > 0)
    right, up = normal_map.normals[24, 40], normal_map.normals[8, 24]
    assert right[0] > 0.5
    assert up[1] > 0.5
    assert normal_map.normals[24, 24, 2] > 0.99
    sheet = np.asarray(Image.open(report["sheet"]))
    assert sheet.shape == (2 * 48 + 8, 3 * 48 + 16, 3)
    # The third panel is lit from the right, the fifth (row two, middle) from the left.
    lit_right, lit_left = sheet[:48, 112:160, 0].astype(int), sheet[56:104, 56:104, 0].astype(int)
    assert lit_right[24, 40] > 2 * lit_right[24, 7]
    assert np.abs(lit_left - lit_right[:, ::-1]).max() <= 2


def test_confidence(photo, tmp_path, capfd, monkeypatch):
    def knowing(given: Photo) -> NormalMap:
        assert given.mask is not None
        normals = torch.zeros_like(given.rgb)
        normals[..., 2] = given.mask.float()
        return NormalMap(normals, given.mask, torch.full(given.mask.shape, 1e4))

    monkeypatch.setattr("maquette.app.predictors.build_predictor", lambda *_: knowing)
    code, lines, _ = run(capfd, photo, "-o", tmp_path / "out", "--confidence", "--json")
    assert code == 0
    path = json.loads(lines[0])["confidence"]
    assert path == str(tmp_path / "out" / "cup.confidence.png")
    codes = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    assert codes is not None
    assert codes.dtype == np.uint16
    assert codes[24, 24] / 65535 > 0.999
    assert codes[0, 0] == 0


def test_confidence_of_a_baseline_is_refused(photo, tmp_path, capfd):
    code, _, errors = run(capfd, photo, "-o", tmp_path / "out", "--method", "flat", "--confidence")
    assert code == 2
    assert "--confidence" in errors[0]
    assert not (tmp_path / "out").exists()


def test_files_folders_and_globs_without_doubles_or_own_output(tmp_path, capfd):
    for name in ("b/one.png", "b/two.PNG", "c/three.png", "c/three.normals.png", "c/readme.png.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(ball()).save(tmp_path / name, format="PNG")
    code, lines, errors = run(
        capfd,
        tmp_path / "b",
        tmp_path / "b" / "one.png",
        tmp_path / "c" / "*.*",
        *("-o", tmp_path / "c", "--method", "flat"),
    )
    assert (code, errors) == (0, [])
    assert len(lines) == 3
    written = {path.name for path in (tmp_path / "c").iterdir() if "normals" in path.name}
    assert written == {"one.normals.png", "two.normals.png", "three.normals.png"}


def test_two_photos_of_one_name_are_refused_before_work_starts(photo, tmp_path, capfd):
    other = tmp_path / "cup.jpg"
    Image.new("RGB", (32, 32)).save(other)
    code, _, errors = run(capfd, photo, other, "-o", tmp_path / "out", "--method", "flat")
    assert code == 2
    assert len(errors) == 1
    assert str(photo) in errors[0]
    assert str(other) in errors[0]
    assert not (tmp_path / "out").exists()


def bad_files(folder) -> dict[str, tuple[str, str]]:
    """Every kind of bad photo: what its name is, what is said of it."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:2000])
    (folder / "zero.png").touch()
    (folder / "text.png").write_text("no picture")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    buffer = io.BytesIO()
    Image.new("RGB", (30_000, 1)).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    tag = (257).to_bytes(2, "little")  # ImageLength
    at = content.find(tag + (4).to_bytes(2, "little"))
    at = at if at >= 0 else content.find(tag + (3).to_bytes(2, "little"))
    content[at + 8 : at + 10] = (30_000).to_bytes(2, "little")
    (folder / "bomb.tiff").write_bytes(content)
    values = torch.rand(32, 32, 3)
    values[0, 0] = torch.nan
    write_exr(folder / "nan.exr", values)
    clear = ball()
    clear[..., 3] = 0
    Image.fromarray(clear).save(folder / "empty_mask.png")
    return {
        "truncated": ("cut.jpg", "cut off or damaged"),
        "zero bytes": ("zero.png", "is empty"),
        "wrong type": ("text.png", "not a whole image"),
        "1x1": ("dot.png", "at least 16x16"),
        "bomb": ("bomb.tiff", "100 megapixels"),
        "nan": ("nan.exr", "NaN or infinite"),
        "empty mask": ("empty_mask.png", "mask is empty"),
        "missing": ("missing.png", "no such file"),
    }


KINDS = ["truncated", "zero bytes", "wrong type", "1x1", "bomb", "nan", "empty mask", "missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capfd, kind):
    name, message = bad_files(tmp_path)[kind]
    code, lines, errors = run(capfd, tmp_path / name, "-o", tmp_path / "out", "--method", "flat")
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert errors[0].startswith("maquette: ")
    assert name in errors[0]
    assert message in errors[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_in_a_batch_the_others_finish_and_the_failed_are_named(photo, tmp_path, capfd):
    bad = [tmp_path / name for name, _ in bad_files(tmp_path).values()]
    last = tmp_path / "last.png"
    Image.fromarray(ball()).save(last)
    code, lines, errors = run(capfd, photo, *bad, last, "-o", tmp_path / "out", "--method", "flat", "--json")
    assert code == 2
    reports = [json.loads(line) for line in lines]
    assert [report["photo"] for report in reports] == [str(path) for path in (photo, *bad, last)]
    assert ["error" in report for report in reports] == [False, *[True] * len(bad), False]
    assert len(errors) == len(bad) + 1
    assert f"2 of {len(bad) + 2} photos done" in errors[-1]
    assert all(str(path) in errors[-1] for path in bad)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["cup.normals.png", "cup.sheet.png", "last.normals.png", "last.sheet.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask", "alhpa"], "alhpa: no such file"),
        (["--mask", "box:1,2,3"], "--mask: box:1,2,3: box:X0,Y0,X1,Y1 takes 4 numbers"),
        (["--mask", "box:90,90,130,130"], "--mask box:90,90,130,130: lies outside of cup.png, which is 48x48 pixels"),
        (["--mask", "point:99,9"], "--mask point:99,9: lies outside of cup.png"),
        (["--mask", "rembg:no-such-model"], "--mask rembg:no-such-model: "),
        (["--convention", "maya"], "invalid choice: 'maya'"),
        (["--format", "bmp"], "invalid choice: 'bmp'"),
        (["--method", "guess"], "invalid choice: 'guess'"),
        (["--shiny"], "unrecognized arguments: --shiny"),
        (["--conf"], "unrecognized arguments: --conf"),
    ],
)
def test_a_wrong_option_is_one_line(photo, tmp_path, capfd, arguments, message):
    code, lines, errors = run(capfd, photo, "-o", tmp_path / "out", "--method", "flat", *arguments)
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert message in errors[0]


def test_the_masks_share_and_its_soft_rim(tmp_path, capfd):
    """Two discs on grey: both, one by a point, one by a box, all; alpha in the file, and more of it than two values."""
    photo, left, right = two_discs()
    Image.fromarray(cv2.GaussianBlur(to_srgb8(photo.rgb).numpy(), (0, 0), 1)).save(tmp_path / "discs.png")
    shares = {
        "auto": left | right,
        "point:240,100": right,
        "box:20,30,160,170": left,
        "none": torch.ones_like(left),
    }
    for how, truth in shares.items():
        code, lines, errors = run(
            capfd, tmp_path / "discs.png", "-o", tmp_path / "out", "--method", "flat", "--json", "--mask", how
        )
        assert (code, errors) == (0, [])
        report = json.loads(lines[0])
        assert report["mask_share"] == pytest.approx(float(truth.float().mean()), rel=0.02)
        codes = cv2.imread(report["normals"], cv2.IMREAD_UNCHANGED)
        assert codes is not None
        if how == "none":
            assert codes.shape[-1] == 3
        else:
            assert overlap(torch.from_numpy(codes[..., 3] > 32767), truth) > 0.97
            assert ((codes[..., 3] > 0) & (codes[..., 3] < 65535)).any()


def test_a_strip_in_a_batch_is_the_whole_frame_and_a_tiny_object_is_told(tmp_path, capfd):
    """What was a traceback of OpenCV, and a silence."""
    strip = np.random.default_rng(0).integers(90, 110, (32, 1024, 1), np.uint8).repeat(3, 2)
    Image.fromarray(strip).save(tmp_path / "a_strip.png")
    Image.fromarray(to_srgb8(disc_photo(radius=0.09)[0].rgb).numpy()).save(tmp_path / "b_dot.png")
    for how in ("auto", "grabcut"):
        code, lines, errors = run(capfd, tmp_path, "-o", tmp_path / "out", "--method", "flat", "--json", "--mask", how)
        assert code == 0
        assert json.loads(lines[0])["mask_share"] == 1
        assert json.loads(lines[1])["mask_share"] < 0.03
        assert "a_strip.png: no object stands out from the background; the whole frame is used" in errors[0]
        assert "b_dot.png: the object is 2." in errors[1]


@pytest.mark.parametrize("device", ["toaster", "cuda:77", "meta"])
def test_a_device_that_is_not_there(photo, tmp_path, capfd, device):
    from maquette.app.predictors import resolve_device
    from maquette.errors import InputError

    with pytest.raises(InputError, match=f"--device {device}"):
        resolve_device(device)


def test_an_output_that_cannot_be_written(photo, tmp_path, capfd):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, lines, errors = run(capfd, photo, "-o", out, "--method", "flat")
        assert (code, lines) == (2, [])
        assert len(errors) == 1
        assert str(out) in errors[0]
    # One file of the output is in the way: what is written beside it is whole.
    (tmp_path / "out" / "cup.sheet.png").mkdir(parents=True)
    code, lines, errors = run(capfd, photo, "-o", tmp_path / "out", "--method", "flat")
    assert code == 2
    assert len(errors) == 1
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("argument", ["empty", "*.tif"])
def test_folders_and_globs_without_a_photo(tmp_path, capfd, argument):
    (tmp_path / "empty").mkdir()
    code, _, errors = run(capfd, tmp_path / argument, "-o", tmp_path / "out", "--method", "flat")
    assert code == 2
    assert len(errors) == 1
    assert "no photo" in errors[0]


def test_interrupted_in_a_batch(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(ball(128)).save(tmp_path / "ball.png")
    count = 500  # their reports are more than a pipe holds: unread, the batch can't end too early
    for index in range(count):
        (photos / f"{index:03}.png").hardlink_to(tmp_path / "ball.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "maquette.app.cli.main"]
        + ["normals", str(photos), "-o", str(tmp_path / "out"), "--json", "--method", "flat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    reported = [json.loads(process.stdout.readline()) for _ in range(3)]
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    reported += [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 2
    assert err.splitlines() == ["maquette: interrupted; the files that are there are whole"]
    assert 3 <= len(reported) < count
    written = list((tmp_path / "out").iterdir())
    assert not [path for path in written if path.name.startswith(".")]
    for path in written:
        Image.open(path).load()
    assert {report["normals"] for report in reported} <= {str(path) for path in written}
