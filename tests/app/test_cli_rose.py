"""`maquette normals --method rose` through the real entry point, with a tiny untrained network."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.catalogue import FORMAT_SUFFIXES
from maquette.io.checkpoints import save_checkpoint
from maquette.io.normal_maps import read_normal_map
from maquette.methods.auto import AutoConfig, fingerprint
from maquette.methods.fusion import Calibration, CorrelationLaw, ErrorCurve, ErrorLaw
from maquette.nets.rose import PRESETS, RoSENet
from maquette.shading.rigs import ring_lights, shading_frames

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = PRESETS["tiny"].size_px


def ball(size: int = 40) -> np.ndarray:
    """An RGBA disc."""
    axis = np.linspace(-1, 1, size)
    disc = np.add.outer(axis**2, axis**2) < 0.8
    return np.dstack([np.full((size, size, 3), 180, np.uint8), disc.astype(np.uint8) * 255])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = RoSENet(PRESETS["tiny"])
    folder = tmp_path_factory.mktemp("weights")
    save_checkpoint(folder, net.config, net.state_dict(), torch.float32)
    return folder


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "cup.png"
    Image.fromarray(ball()).save(path)
    return path


@pytest.fixture
def sees_a_ball(monkeypatch):
    """The network imagines a ball that fills its square, whatever the photo."""
    x = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    squared = x.square() + x.square()[:, None]
    normals = torch.stack([x.expand(SIDE, -1), -x[:, None].expand(-1, SIDE), (1 - squared).clamp_min(0).sqrt()], -1)
    frames = shading_frames(normals * (squared < 1)[..., None], ring_lights().float())
    sequence = (2 * frames - 1)[None, :, None].expand(1, -1, 3, -1, -1)
    monkeypatch.setattr(RoSENet, "decode", lambda self, latents: sequence)


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(list(map(str, arguments)))
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def rose(capfd, weights, *arguments):
    return run(capfd, "normals", *arguments, "--method", "rose", "--weights", weights)


@pytest.mark.parametrize("format", FORMAT_SUFFIXES)
def test_every_format_with_confidence(sees_a_ball, weights, photo, tmp_path, capfd, format):
    out = tmp_path / "out"
    code, lines, errors = rose(capfd, weights, photo, "-o", out, "--format", format, "--confidence", "--json")
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert len(lines) == 1
    assert (report["steps"], report["solver"], report["frames"]) == (1, "robust", None)
    found = read_normal_map(report["normals"], "opengl")
    assert np.array_equal(found.mask.numpy(), ball()[..., 3] > 0)
    assert found.normals[20, 34, 0] > 0.5
    assert found.normals[6, 20, 1] > 0.5
    assert (out / f"cup.confidence{FORMAT_SUFFIXES[format]}").is_file()


def test_the_film_has_a_frame_a_light_and_begins_from_above(sees_a_ball, weights, photo, tmp_path, capfd):
    film = tmp_path / "new" / "ring.gif"
    code, lines, errors = rose(
        capfd,
        weights,
        photo,
        "-o",
        tmp_path,
        "--frames",
        film,
        "--steps",
        2,
        "--guidance",
        1.5,
        "--solver",
        "paper",
        "--json",
    )
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert (report["steps"], report["guidance"], report["solver"]) == (2, 1.5, "paper")
    assert report["frames"] == str(film)
    with Image.open(film) as picture:
        assert picture.n_frames == 9  # pyright: ignore[reportAttributeAccessIssue]
        assert picture.size == (SIDE, SIDE)
        first = np.asarray(picture.convert("L")).astype(float)
    middle = SIDE // 2
    assert first[4:12, middle].mean() > 1.5 * first[-12:-4, middle].mean()  # of display values
    lit = int(255 * (1.055 * (0.5**0.5) ** (1 / 2.4) - 0.055))  # a wall under 45 degrees, as a screen shows it
    assert abs(first[middle, middle] - lit) < 8


@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_other_forms_of_the_frames(sees_a_ball, weights, photo, tmp_path, capfd, suffix):
    path = tmp_path / f"ring{suffix}"
    code, _, errors = rose(capfd, weights, photo, "-o", tmp_path, "--frames", path, "--steps", 1)
    assert (code, errors) == (0, [])
    if suffix == ".png":
        assert np.asarray(Image.open(path)).shape == (SIDE, 9 * SIDE, 3)
    else:
        assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 9


def test_a_folder_of_photos_with_masks_and_pages(weights, photo, tmp_path, capfd):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    out = tmp_path / "out"
    code, lines, errors = rose(
        capfd, weights, folder, "-o", out, "--steps", 1, "--mask", "none", "--report", "--height"
    )
    assert (code, errors, len(lines)) == (0, [], 2)
    names = {path.name for path in out.iterdir()}
    assert {"a.normals.png", "b.normals.png", "a.report.html", "b.height.png"} <= names
    assert bool(read_normal_map(out / "a.normals.png", "opengl").mask.all())
    assert f"rose ({weights})" in (out / "a.report.html").read_text()
    assert (out / "a.normals.png").read_bytes() == (out / "b.normals.png").read_bytes()


def test_other_verbs_take_it(sees_a_ball, weights, photo, tmp_path, capfd):
    given = ("--method", "rose", "--weights", weights)
    for verb, name in (("mesh", "cup.ply"), ("relight", "lit.png")):
        code, _, errors = run(capfd, verb, photo, "-o", tmp_path / name, *given)
        assert (code, errors) == (0, [])
        assert (tmp_path / name).is_file()
    clip = tmp_path / "clip"
    clip.mkdir()
    for number in range(2):
        (clip / f"{number}.png").write_bytes(photo.read_bytes())
    code, lines, errors = run(capfd, "normals", "--video", clip, "-o", tmp_path / "film", *given, "--json")
    assert (code, errors) == (0, [])
    assert json.loads(lines[0])["frames"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "argument --steps: '0' is not a whole number from 1 to 1000"),
        (["--steps", "1001"], "from 1 to 1000"),
        (["--steps", "two"], "from 1 to 1000"),
        (["--guidance", "nan"], "argument --guidance: 'nan' is not a number from 0 to 20"),
        (["--solver", "least-squares"], "argument --solver: invalid choice: 'least-squares'"),
        (["--frames", "ring.webm"], "--frames ring.webm: must end in one of .gif, .mp4, .png"),
        (["--weights", "nirne-small"], "RoseConfig"),
        (["--weights", "nobodys"], "nobodys: no such weights"),
        (["--method", "nirne", "--steps", "2"], "--steps: belongs to --method rose; the method here is nirne"),
        (
            ["--method", "auto", "--frames", "a.gif", "--solver", "paper"],
            "--solver, --frames: belongs to --method rose",
        ),
        (["--init", "flat"], "--init: belongs to --method clone; the method here is rose"),
    ],
)
def test_bad_values_are_one_line_and_write_nothing(photo, tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, lines, errors = run(capfd, "normals", photo, "-o", tmp_path / "out", "--method", "rose", *arguments)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
    assert {path.name for path in tmp_path.iterdir()} <= {"cup.png", "out"}


def test_the_frames_of_two_photos_need_two_files(weights, photo, tmp_path, capfd):
    other = tmp_path / "jug.png"
    other.write_bytes(photo.read_bytes())
    code, _, errors = rose(capfd, weights, photo, other, "-o", tmp_path / "out", "--frames", tmp_path / "a.gif")
    assert (code, len(errors)) == (2, 1)
    assert "is the file of one photo; 2 are given" in errors[0]


def test_auto_takes_both_and_says_what_is_missing(sees_a_ball, weights, photo, tmp_path, capfd):
    given = ["normals", photo, "-o", tmp_path / "out", "--method", "auto", "--detail-px", "0", "--weights"]
    code, _, errors = run(capfd, *given, weights)
    assert (code, len(errors)) == (2, 1)
    assert "fusion.json: not there; it is made by" in errors[0]
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in weights.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    laws, curve = (ErrorLaw(0.0, 1.0, 0.0), ErrorLaw(0.0, 0.0, 1.0)), ErrorCurve((1.0, 90.0), (1.0, 90.0))
    calibration = Calibration(*laws, (1.0, 90.0), (1.0, 90.0), CorrelationLaw(0.2, 0.0, 0.0), curve)
    hashes = fingerprint("nirne-small-1"), fingerprint(weights)
    config = AutoConfig(*hashes, 1, 1.0, "robust", 100, calibration)
    (folder / "fusion.json").write_text(json.dumps(asdict(config)))
    code, lines, errors = run(capfd, *given, folder, "--confidence", "--json")
    assert (code, errors) == (0, [])
    assert (tmp_path / "out" / "cup.confidence.png").is_file()
    found = read_normal_map(json.loads(lines[0])["normals"], "opengl")
    assert np.array_equal(found.mask.numpy(), ball()[..., 3] > 0)


def test_bench_refuses_weights_of_two_methods(tmp_path, capfd):
    code, _, errors = run(
        capfd, "bench", "normals", "--data", tmp_path, "--method", "nirne", "rose", "flat", "--weights", "nirne-small"
    )
    assert (code, len(errors)) == (2, 1)
    assert "are those of one method; nirne, rose each have their own" in errors[0]
