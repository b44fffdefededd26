"""The verb through its real entry point: what it says of known maps, and of bad input."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.io.normal_maps import write_normal_map
from maquette.types import NormalMap

SIZE = 48


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["check-normals", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def axes() -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return np.meshgrid(axis, -axis)


def egg() -> NormalMap:
    """An ellipsoid half as high as it is wide."""
    x, y = axes()
    inside = (x / 0.9) ** 2 + (y / 0.5) ** 2
    normals = np.stack([x / 0.81, y / 0.25, np.sqrt(np.clip(1 - inside, 0, 1)) / 0.6], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = torch.from_numpy(inside < 1)
    return NormalMap(torch.where(mask[..., None], torch.from_numpy(normals).float(), 0.0), mask)


def tile() -> NormalMap:
    """A full frame of sin(5 x + 3 y) + sin(4 y) / 4, an eighth as high."""
    x, y = axes()
    slopes = np.stack([5 * np.cos(5 * x + 3 * y), 3 * np.cos(5 * x + 3 * y) + np.cos(4 * y)], -1) / 8
    normals = np.concatenate([-slopes, np.ones((SIZE, SIZE, 1))], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return NormalMap(torch.from_numpy(normals).float(), torch.ones(SIZE, SIZE, dtype=torch.bool))


@pytest.mark.parametrize("suffix", ["png", "npy"])
@pytest.mark.parametrize("name", CAMERA_FRAMES)
def test_an_object_in_every_named_frame(tmp_path, capfd, name, suffix):
    path = tmp_path / f"a.{suffix}"
    write_normal_map(path, egg(), name, "npy" if suffix == "npy" else "png16")
    code, lines, errors = run(capfd, path, "--json")
    assert (code, errors, len(lines)) == (0, [], 1)
    report = json.loads(lines[0])
    assert report["can_tell"]
    assert name in report["frames"]
    assert report["certainty"] > 0.99
    assert report["alternatives"] == []
    assert not report["none_fits"]
    assert set(report["cues"]) == {"visibility", "silhouette", "integrability"}
    lines = run(capfd, path)[1]
    assert name in lines[0]
    assert "> 0.99" in lines[0]
    assert "not there to judge by: light" in lines[-1]


def test_a_tile_is_said_to_be_open_and_what_would_settle_it(tmp_path, capfd):
    write_normal_map(tmp_path / "a.png", tile(), "directx")
    report = json.loads(run(capfd, tmp_path / "a.png", "--json")[1][0])
    assert not report["can_tell"]
    pair = [report["axes"], *(other["axes"] for other in report["alternatives"])]
    assert sorted(pair) == ["x left, y up, z towards the viewer", "x right, y down, z towards the viewer"]
    assert report["if_x_is_right"]["frames"] == ["directx"]
    assert report["if_x_is_right"]["certainty"] > 0.99
    text = run(capfd, tmp_path / "a.png")[1]
    assert "can't tell" in text[0]
    assert any(line.startswith("if its x points right: directx") for line in text)
    assert text[-1] == "not there to judge by: silhouette, light"


def test_a_photo_and_a_mask_are_heard(tmp_path, capfd):
    write_normal_map(tmp_path / "a.npy", tile(), "opengl", "npy")
    light = (tile().normals.numpy() @ [0, 0.6, 0.8]).clip(0)
    Image.fromarray(np.repeat((light**0.4545 * 255).astype(np.uint8)[..., None], 3, -1)).save(tmp_path / "photo.png")
    report = json.loads(run(capfd, tmp_path / "a.npy", "--photo", tmp_path / "photo.png", "--json")[1][0])
    assert "opengl" in report["frames"]
    assert 0.55 < report["certainty"] < 0.8
    assert report["shading_fit"] > 0.9
    egg_map = egg()
    filled = NormalMap(
        torch.where(egg_map.mask[..., None], egg_map.normals, torch.tensor([0.0, 0, 1])), egg_map.mask | True
    )
    write_normal_map(tmp_path / "b.npy", filled, "opengl", "npy")
    Image.fromarray(egg_map.mask.numpy().astype(np.uint8) * 255).save(tmp_path / "mask.png")
    report = json.loads(run(capfd, tmp_path / "b.npy", "--mask", tmp_path / "mask.png", "--json")[1][0])
    assert "silhouette" in report["cues"]
    assert report["can_tell"]
    # the photo's alpha serves as well
    Image.fromarray(
        np.dstack([np.full((SIZE, SIZE, 3), 90, np.uint8), egg_map.mask.numpy().astype(np.uint8) * 255])
    ).save(tmp_path / "cut.png")
    report = json.loads(run(capfd, tmp_path / "b.npy", "--photo", tmp_path / "cut.png", "--json")[1][0])
    assert "silhouette" in report["cues"]
    assert report["can_tell"]


def test_a_flat_map_is_open_in_all_signs_of_x_and_y(tmp_path, capfd):
    wall = NormalMap(torch.tensor([0.0, 0, 1]).expand(SIZE, SIZE, 3), torch.ones(SIZE, SIZE, dtype=torch.bool))
    write_normal_map(tmp_path / "a.png", wall)
    report = json.loads(run(capfd, tmp_path / "a.png", "--json")[1][0])
    assert not report["can_tell"]
    assert report["certainty"] < 0.26
    assert report["axes"].endswith("z towards the viewer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["zero.png"], "is empty"),
        (["text.png"], "not a whole image"),
        (["nan.npy"], "NaN"),
        (["black.png"], "no normals"),
        (["speck.npy"], "only 9 pixels"),
        (["whole.png", "--photo", "small.png"], "small.png: is 32x20"),
        (["whole.png", "--mask", "small.png"], "small.png: is 32x20"),
        (["whole.png", "--photo", "none.png"], "none.png: no such file"),
        (["whole.png", "--mask", "nothing.png"], "no pixel of the mask"),
        (["whole.png", "--shiny"], "unrecognized arguments: --shiny"),
        ([], "required: MAP"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    write_normal_map(tmp_path / "whole.png", egg())
    np.save(tmp_path / "nan.npy", np.full((SIZE, SIZE, 3), np.nan, np.float32))
    speck = np.zeros((SIZE, SIZE, 3), np.float32)
    speck[10:13, 10:13, 2] = 1
    np.save(tmp_path / "speck.npy", speck)
    for name, size in (("black.png", (SIZE, SIZE)), ("small.png", (32, 20)), ("nothing.png", (SIZE, SIZE))):
        Image.new("RGB", size).save(tmp_path / name)
    code, lines, errors = run(capfd, *arguments)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]
