"""`maquette relight SPLAT`: light comes from where it was told to, whatever the splat was lit by before."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.app.viewer import read_shown
from maquette.catalogue import SPLAT_SUFFIXES
from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.splats.files import write_splat
from maquette.types import Gaussians


def ball(count: int = 1500) -> Gaussians:
    """A ball of reddish discs, lit from below on the left, as display values."""
    k = torch.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, k * math.pi * (3 - math.sqrt(5))
    normals = torch.stack([(1 - z**2).sqrt() * turn.cos(), (1 - z**2).sqrt() * turn.sin(), z], -1)
    x, y, z = normals.unbind(-1)
    rotation = torch.nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros(count)], -1), dim=-1)
    albedo = torch.tensor([[0.7, 0.3, 0.2]]).expand(count, 3).contiguous()
    light = albedo * (0.3 + 0.7 * (normals @ torch.tensor([-0.7071, -0.7071, 0.0])).clamp_min(0))[:, None]
    return Gaussians(
        mean=normals,
        scale=torch.tensor([[0.07, 0.07, 0.005]]).expand(count, 3).contiguous(),
        rotation=rotation,
        opacity=torch.full((count,), 0.95),
        sh=((1.055 * light ** (1 / 2.4) - 0.055 - 0.5) / DC)[:, None],
        albedo=albedo,
        encoding="srgb",
    )


@pytest.fixture(scope="module")
def ply(tmp_path_factory) -> Path:
    return write_splat(tmp_path_factory.mktemp("splats") / "ball.ply", ball())


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("maquette.app.cli.relight._SPLAT_PX", 96)
    monkeypatch.setattr("maquette.app.cli.relight._FILM_PX", 64)


def relit(path: Path, tmp_path, *arguments) -> np.ndarray:
    assert main(["relight", str(path), "-o", str(tmp_path / "a.png"), *map(str, arguments)]) == 0
    return np.asarray(Image.open(tmp_path / "a.png")).astype(int)


@pytest.mark.parametrize(("azimuth", "x", "y"), [(0, 1, 0), (90, 0, 1), (180, -1, 0), (225, -0.7, -0.7)])
def test_light_comes_from_where_it_was_told_to(ply, tmp_path, capfd, azimuth, x, y):
    picture = relit(ply, tmp_path, "--azimuth", azimuth, "--elevation", 0)
    assert picture.shape == (96, 96, 4)
    assert picture[0, 0, 3] == 0
    lit, dark = (picture[round(48 - s * 28 * y), round(48 + s * 28 * x)] for s in (1, -1))
    assert lit[0] > 2 * dark[0]
    assert lit[0] > 1.3 * lit[1] > 1.3 * lit[2]
    assert capfd.readouterr().err == ""


def test_a_headlight_shows_the_albedo(ply, tmp_path):
    found = relit(ply, tmp_path, "--elevation", 90)[48, 48]
    wanted = [255 * (1.055 * share ** (1 / 2.4) - 0.055) for share in (0.7, 0.3, 0.2)]
    assert found[:3].tolist() == pytest.approx(wanted, abs=4)


def test_without_albedo_it_is_guessed_and_that_is_said(tmp_path, capfd):
    path = write_splat(tmp_path / "ball.spz", ball())
    picture = relit(path, tmp_path, "--azimuth", 45, "--elevation", 10)
    assert picture[28, 68, 0] > 1.4 * picture[68, 28, 0]  # its own light came from the other side
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"maquette: warning: {path}: has no albedo; it is guessed")


def test_round_gaussians_are_told(tmp_path, capfd):
    path = write_splat(tmp_path / "ball.ply", replace(ball(), scale=torch.full((1500, 3), 0.05)))
    relit(path, tmp_path)
    assert "nearly round (their smallest axis is 1.00 of the next" in capfd.readouterr().err


def test_the_film_of_a_turning_light(ply, tmp_path):
    film = tmp_path / "a.mp4"
    assert main(["relight", str(ply), "--orbit", str(film), "--elevation", "5"]) == 0
    reader = cv2.VideoCapture(str(film))
    frames = [frame.astype(int).sum(-1) for ok, frame in iter(reader.read, (False, None)) if ok]
    assert len(frames) == 72
    assert frames[0].shape == (64, 64)
    assert frames[0][32, 50] > 1.5 * frames[0][32, 14]
    assert frames[18][14, 32] > 1.5 * frames[18][50, 32]


@pytest.mark.parametrize("suffix", SPLAT_SUFFIXES)
def test_the_suffixes_that_are_taken_for_splats_are_those_that_are_read(tmp_path, capfd, suffix):
    """Each goes to the reader of its own kind, and none to that of photos."""
    path = tmp_path / f"meta{suffix}"
    path.write_bytes(b"no splat")
    answers = []
    for verb in ("relight", "render"):
        assert main([verb, str(path), "-o", str(tmp_path / "a.png")]) == 2
        answers.append(capfd.readouterr().err)
    assert answers[0] == answers[1]
    with pytest.raises(InputError) as error:
        read_shown(path)
    assert answers[0] == f"maquette: {error.value}\n"


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"ply\nnothing", ["-o", "a.png"], "header has no end_header"),
        (None, ["-o", "a.png"], "no such file"),
        (b"", ["-o", "a.png"], "empty"),
        (b"ply", ["-o", "a.jpg"], "must end in .png"),
        (b"ply", ["--orbit", "a.avi"], "must end in .mp4 or .gif"),
        (b"ply", ["-o", "a.png", "--elevation", "nan"], "elevation"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capfd, monkeypatch, content, arguments, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "x.ply").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert main(["relight", "x.ply", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_input_is_never_overwritten(ply, tmp_path, capfd):
    (tmp_path / "a.png").symlink_to(ply)
    before = ply.read_bytes()
    assert main(["relight", str(ply), "-o", str(tmp_path / "a.png")]) == 2
    assert "is the input itself" in capfd.readouterr().err
    assert ply.read_bytes() == before
