"""`maquette normals --method photometric` through its real entry point."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.inputs import in_order
from maquette.app.cli.main import main
from maquette.app.cli.photometric import is_asked_for
from maquette.catalogue import FORMAT_SUFFIXES
from maquette.io.images import write_exr
from maquette.io.normal_maps import read_normal_map
from maquette.metrics import angle_between_deg

SIZE, COUNT = 64, 11


def ball() -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(SIZE) + 0.5 - SIZE / 2) / 28
    x, y = np.meshgrid(axis, -axis)
    inside = x**2 + y**2 < 1
    return inside, np.stack([x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))], -1) * inside[..., None]


def lights() -> np.ndarray:
    """No two alike, and in no order that another could stand for."""
    azimuth = np.arange(COUNT) * 2.399
    elevation = np.radians(45 + 3 * np.arange(COUNT))
    return np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1)


@pytest.fixture
def scene(tmp_path):
    """A folder `cup` with 16-bit linear photos `p.0.png` ... `p.10.png` and `mask.png`; lights beside it."""
    folder = tmp_path / "cup"
    folder.mkdir()
    inside, normals = ball()
    for k, light in enumerate(lights()):
        codes = np.round(np.clip(normals @ light, 0, 1) * 50_000).astype(np.uint16)
        cv2.imwrite(str(folder / f"p.{k}.png"), np.repeat(codes[..., None], 3, -1))
    Image.fromarray(inside.astype(np.uint8) * 255).save(folder / "mask.png")
    np.savetxt(tmp_path / "lights.txt", lights())
    return tmp_path


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["normals", "--method", "photometric", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def error_deg(path: str, convention="opengl") -> torch.Tensor:
    inside, normals = ball()
    found = read_normal_map(path, convention)
    assert np.array_equal(found.mask.numpy(), inside)
    return angle_between_deg(found.normals, torch.from_numpy(normals))[torch.from_numpy(inside)]


@pytest.mark.parametrize(("format", "convention"), [("png16", "opengl"), ("exr", "opencv"), ("npy", "directx")])
def test_a_folder_of_photos_is_one_map(scene, capfd, format, convention):
    code, lines, errors = run(
        capfd,
        *(scene / "cup", "-o", scene / "out", "--lights", scene / "lights.txt", "--mask", scene / "cup" / "mask.png"),
        *("--format", format, "--convention", convention, "--confidence", "--json"),
    )
    assert (code, errors) == (0, [])
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert 0 < report["mask_share"] < 1
    assert report["photos"] == [str(scene / "cup" / f"p.{k}.png") for k in range(COUNT)]  # 2 before 10
    suffix = FORMAT_SUFFIXES[format]
    assert report["normals"] == str(scene / "out" / f"cup.normals{suffix}")
    assert report["confidence"] == str(scene / "out" / f"cup.confidence{suffix}")
    assert (report["solver"], report["pixels"]) == ("robust", int(ball()[0].sum()))
    assert report["median_residual"] < 1e-3
    assert float(error_deg(report["normals"], convention).mean()) < 0.05
    assert np.asarray(Image.open(report["sheet"])).shape == (2 * SIZE + 8, 3 * SIZE + 16, 3)
    written = {path.name for path in (scene / "out").iterdir()}
    assert written == {f"cup.normals{suffix}", f"cup.confidence{suffix}", "cup.sheet.png"}


def test_an_order_that_is_not_alphabetical_is_kept(scene, capfd):
    order = [3, 0, 10, 1, 2, 4, 5, 6, 7, 8, 9]
    np.savetxt(scene / "lights.txt", lights()[order])
    photos = [scene / "cup" / f"p.{k}.png" for k in order]
    mask = ("--mask", scene / "cup" / "mask.png")
    code, lines, _ = run(capfd, *photos, "-o", scene / "out", "--lights", scene / "lights.txt", *mask, "--json")
    assert code == 0
    report = json.loads(lines[0])
    assert Path(report["normals"]).name == "p.3.normals.png"
    assert float(error_deg(report["normals"]).mean()) < 0.05
    names = [Path(f"p.{k}.png") for k in (0, 1, 10, 2)]
    assert [path.name for path in in_order(names)] == ["p.0.png", "p.1.png", "p.2.png", "p.10.png"]
    assert in_order(names[::-1]) == names[::-1]


def test_light_intensities_and_frames_of_the_lights(scene, capfd):
    strength = 0.3 + 0.06 * np.arange(COUNT)
    for k in range(COUNT):
        path = str(scene / "cup" / f"p.{k}.png")
        codes = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        assert codes is not None
        cv2.imwrite(path, np.round(codes * strength[k]).astype(np.uint16))
    np.savetxt(scene / "strength.txt", strength)
    np.savetxt(scene / "lights.txt", lights() * (1, -1, -1))
    common = (scene / "cup", "-o", scene / "out", "--lights", scene / "lights.txt", "--mask")
    common += (scene / "cup" / "mask.png", "--json", "--lights-convention", "opencv")
    code, lines, _ = run(capfd, *common, "--intensities", scene / "strength.txt")
    assert code == 0
    assert float(error_deg(json.loads(lines[0])["normals"]).mean()) < 0.05
    code, lines, _ = run(capfd, *common)
    assert code == 0
    assert float(error_deg(json.loads(lines[0])["normals"]).mean()) > 2


@pytest.mark.parametrize("region", ["32,32,28", "mask"])
def test_a_matte_ball_instead_of_a_file(scene, capfd, region):
    mask = scene / "cup" / "mask.png"
    region = mask if region == "mask" else region
    sphere = ("--sphere", "matte", "--sphere-region", region)
    code, lines, errors = run(capfd, scene / "cup", "-o", scene / "out", "--mask", mask, *sphere, "--json")
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert np.abs(np.array(report["lights"]) - lights()).max() < 0.01
    assert float(error_deg(report["normals"]).mean()) < 0.3


def test_solvers_and_encodings_are_told_apart(scene, capfd):
    found = {}
    for solver in ("robust", "paper", "least-squares"):
        for encoding in ("auto", "srgb"):
            code, lines, _ = run(
                capfd,
                *(scene / "cup", "-o", scene / "out", "--lights", scene / "lights.txt", "--json"),
                *("--mask", scene / "cup" / "mask.png", "--solver", solver, "--encoding", encoding),
            )
            assert code == 0
            found[solver, encoding] = float(error_deg(json.loads(lines[0])["normals"]).mean())
    assert found["robust", "auto"] < 0.05
    assert found["paper", "auto"] < 0.05
    assert found["least-squares", "auto"] > 1
    assert found["robust", "srgb"] > 3


def damage(scene, kind: str) -> tuple[list, str]:
    """Spoil the scene; returns the arguments and what must be said."""
    photos = [scene / "cup" / f"p.{k}.png" for k in range(COUNT)]
    file, mask = scene / "lights.txt", scene / "cup" / "mask.png"
    rows = lights()
    arguments = [*photos, "--lights", file, "--mask", mask]
    if kind == "wrong count":
        np.savetxt(file, rows[:-1])
        return arguments, "lights.txt: holds 10 lights for 11 photos"
    if kind == "parallel":
        np.savetxt(file, np.repeat(rows[:1], COUNT, 0))
        return arguments, "are parallel (rank 1)"
    if kind == "in a plane":
        rows[:, 1] = 0
        np.savetxt(file, rows)
        return arguments, "lie in one plane (rank 2)"
    if kind == "below":
        rows[4, 2] = -0.2
        np.savetxt(file, rows)
        return arguments, "line 5: the light"
    if kind == "two photos":
        return [*photos[:2], "--lights", file], "2 photos; at least 3"
    if kind == "no lights":
        return photos, "give either --lights FILE or --sphere"
    if kind == "sphere without region":
        return [*photos, "--sphere", "chrome"], "belong together"
    if kind == "sphere elsewhere":
        return [*photos, "--sphere", "matte", "--sphere-region", "32,32,99"], "must lie in"
    if kind == "mask counted as a photo":
        return [scene / "cup", "--lights", file], "11 lights for 12 photos"
    return _damage_files(scene, kind, photos, arguments)


def _damage_files(scene, kind: str, photos: list, arguments: list) -> tuple[list, str]:
    mask = scene / "cup" / "mask.png"
    if kind == "other size":
        Image.new("RGB", (32, 48)).save(photos[6])
        return arguments, "p.6.png: is 32x48, p.0.png 64x64"
    if kind == "empty mask":
        Image.new("L", (SIZE, SIZE)).save(mask)
        return arguments, "mask is empty"
    if kind == "mask of another size":
        Image.new("L", (20, 20), 255).save(mask)
        return arguments, "the mask is 20x20"
    if kind == "nan":
        values = torch.rand(SIZE, SIZE, 3)
        values[9, 9] = math.nan
        write_exr(photos[2], values)
        return arguments, "p.2.png: 1 pixels are NaN or infinite"
    if kind == "truncated":
        photos[3].write_bytes(photos[3].read_bytes()[:900])
        return arguments, "p.3.png: is cut off or damaged"
    if kind == "zero bytes":
        photos[3].write_bytes(b"")
        return arguments, "p.3.png: is empty"
    if kind == "wrong type":
        photos[3].write_text("no picture")
        return arguments, "p.3.png: not a whole image"
    if kind == "1x1":
        Image.new("RGB", (1, 1)).save(photos[3])
        return arguments, "p.3.png: is 1x1"
    if kind == "missing":
        photos[3].unlink()
        return arguments, "p.3.png: no such file"
    for path in photos:
        Image.new("RGB", (SIZE, SIZE)).save(path)
    if kind == "black and no mask":
        return arguments[:-2], "every other photo is black"
    return arguments, "every photo is black"


KINDS = (
    "wrong count", "parallel", "in a plane", "below", "two photos", "no lights", "sphere without region",
    "sphere elsewhere", "mask counted as a photo", "other size", "empty mask", "mask of another size", "nan",
    "truncated", "zero bytes", "wrong type", "1x1", "missing", "black",
    "black and no mask",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_line_and_leaves_nothing(scene, capfd, kind):
    arguments, message = damage(scene, kind)
    code, lines, errors = run(capfd, *arguments, "-o", scene / "out")
    assert (code, lines) == (2, [])
    assert len(errors) == 1, errors
    assert message in errors[0]
    assert not (scene / "out").exists()


def test_an_output_that_cannot_be_written(scene, capfd):
    (scene / "file").write_text("in the way")
    arguments = (scene / "cup", "--lights", scene / "lights.txt", "--mask", scene / "cup" / "mask.png")
    code, lines, errors = run(capfd, *arguments, "-o", scene / "file")
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert str(scene / "file") in errors[0]


def test_which_arguments_ask_for_it():
    assert is_asked_for(["a.png", "--method", "photometric"])
    assert is_asked_for(["--method=photometric"])
    assert not is_asked_for(["photometric", "--method", "nirne"])


def test_the_verb_of_its_own_is_the_same(scene, capfd):
    arguments = [scene / "cup", "--lights", scene / "lights.txt", "--mask", scene / "cup" / "mask.png"]
    assert run(capfd, *arguments, "-o", scene / "old")[0] == 0
    assert main(["photometric", *map(str, arguments), "-o", str(scene / "new")]) == 0
    old, new = ({path.name: path.read_bytes() for path in (scene / at).iterdir()} for at in ("old", "new"))
    assert old == new
    assert set(new) == {"cup.normals.png", "cup.sheet.png"}
