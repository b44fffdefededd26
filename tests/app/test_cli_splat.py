"""`maquette splat` through its real entry point: what it writes, what it warns of, and every mistake in one line."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli import splat
from maquette.app.cli.main import main
from maquette.catalogue import SPLAT_FORMATS, SPLAT_WRITE_SUFFIXES
from maquette.io.checkpoints import save_checkpoint
from maquette.io.images import write_exr
from maquette.io.splats.files import read_splat
from maquette.methods.gsn import GSN
from maquette.nets.gsn import PRESETS, GSNNet
from maquette.nets.refiner import PRESETS as REFINERS
from maquette.nets.refiner import RefinerNet


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_checkpoint(folder, PRESETS["tiny"], GSNNet(PRESETS["tiny"]).state_dict())
    return folder


def cup(size: int = 64, ground: int = 255) -> np.ndarray:
    """A brown disc before an even ground."""
    axis = np.linspace(-1, 1, size)
    inside = np.add.outer(axis**2, axis**2) < 0.5
    return np.where(inside[..., None], np.array([150, 90, 40]), ground).astype(np.uint8)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cup.png"
    Image.fromarray(cup()).save(path)
    return path


@pytest.fixture
def short_film(monkeypatch):
    monkeypatch.setattr(splat, "_FILM_FRAMES", 4)
    monkeypatch.setattr(splat, "_FILM_PX", 64)


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["splat", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_the_suffixes_that_are_offered_are_those_that_are_written_in_the_axes_that_are_told():
    wanted = {".ply": "rdf", ".spz": "rub", ".glb": "rub"}
    assert wanted == {suffix: SPLAT_FORMATS[suffix].axes for suffix in SPLAT_WRITE_SUFFIXES}


@pytest.mark.parametrize("suffix", [".ply", ".spz", ".glb"])
def test_the_file_holds_what_the_method_gives_and_json_tells_of_it(picture, weights, tmp_path, capfd, suffix):
    out = tmp_path / "new" / f"cup{suffix}"
    code, lines, errors = run(capfd, picture, "-o", out, "--weights", weights, "--json")
    assert (code, errors) == (0, [])
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert 0 < report["mask_share"] < 1
    wanted = GSN.from_pretrained(weights)(cup())
    assert report["gaussians"] == len(wanted)
    assert report["bytes"] == out.stat().st_size
    assert (report["splat"], report["film"], report["method"]) == (str(out), None, "gsn")
    assert 0 <= report["confidence"] <= 1
    assert report["warnings"] == []
    assert 0 < report["model_seconds"] < report["seconds"]
    assert report["frame"].startswith("x right, y up, z towards the viewer")
    assert report["camera"]["size_px"] == [64, 64]
    assert report["camera"]["center_px"] == [32, 32]
    assert list(out.parent.iterdir()) == [out]
    if suffix != ".glb":
        found = read_splat(out)
        within = 1e-6 if suffix == ".ply" else 1e-3
        assert torch.allclose(found.mean, wanted.mean, atol=within)
        assert torch.allclose(found.opacity, wanted.opacity, atol=1e-5 if suffix == ".ply" else 3e-3)
    if suffix == ".ply":
        assert {"nx", "ny", "nz"} <= set(out.read_bytes()[:2000].decode(errors="ignore").split())


def test_the_film_goes_around_on_white(picture, weights, tmp_path, capfd, short_film):
    film = tmp_path / "turn.mp4"
    code, lines, errors = run(capfd, picture, "-o", tmp_path / "a.ply", "--orbit", film, "--weights", weights)
    assert (code, errors) == (0, [])
    assert lines[0].startswith(f"{picture} -> {tmp_path / 'a.ply'} and {film} (64 Gaussians, confidence 0.")
    reader = cv2.VideoCapture(str(film))
    frames = [frame for ok, frame in iter(reader.read, (False, None)) if ok]
    assert len(frames) == 4
    assert all(frame[:4].min() > 240 and frame.min() < 200 for frame in frames)


@pytest.mark.parametrize(("how", "warned"), [("auto", True), ("alpha", False), ("mask.png", False), ("none", True)])
def test_masks_as_normals_takes_them(weights, tmp_path, capfd, monkeypatch, how, warned):
    """Before noise, only a mask says which is the object; what is warned of names the picture."""
    monkeypatch.chdir(tmp_path)
    inside = cup()[..., 0] != 255
    noise = np.random.default_rng(0).integers(0, 120, (64, 64, 3), dtype=np.uint8)
    rgb = np.where(inside[..., None], cup(), noise)
    Image.fromarray(np.uint8(inside) * 255).save("mask.png")
    Image.fromarray(np.dstack([rgb, np.uint8(inside) * 255]) if how == "alpha" else rgb).save("cup.png")
    code, lines, errors = run(capfd, "cup.png", "-o", "a.ply", "--weights", weights, "--mask", how, "--json")
    assert code == 0
    told = json.loads(lines[0])["warnings"]
    assert errors == [f"maquette: warning: cup.png: {line}" for line in told]
    assert len(told) == warned


def test_clone(picture, tmp_path, capfd, short_film):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "tiny", REFINERS["tiny"], RefinerNet(REFINERS["tiny"]).state_dict())
    out, film = tmp_path / "cup.ply", tmp_path / "cup.gif"
    code, lines, errors = run(
        capfd, picture, "-o", out, "--method", "clone", "--weights", tmp_path / "tiny", "--orbit", film, "--json",
        "--iterations", "2",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert report["gaussians"] == len(read_splat(out)) > 100
    assert report["confidence"] is None
    assert "-1 to 1" in report["frame"]
    with Image.open(film) as turning:
        assert getattr(turning, "n_frames", 1) == 4


def write_nan(path) -> None:
    values = torch.rand(32, 32, 3)
    values[0, 0] = torch.nan
    write_exr(path, values)


BAD_PICTURES = {  # what writes them, and what is said of them
    "missing.png": (lambda path: None, "no such file"),
    "text.png": (lambda path: path.write_text("no picture"), "not a whole image"),
    "zero.png": (lambda path: path.touch(), "is empty"),
    "dot.png": (lambda path: Image.new("RGB", (1, 1)).save(path), "at least 16x16"),
    "nan.exr": (write_nan, "NaN or infinite"),
    "empty_mask.png": (
        lambda path: Image.fromarray(np.dstack([cup(), np.zeros((64, 64), np.uint8)])).save(path),
        "mask is empty",
    ),
    "blank.png": (lambda path: Image.new("RGB", (64, 64), (255, 255, 255)).save(path), "shows no object"),
    "grey.png": (lambda path: Image.new("RGB", (64, 64), (90, 90, 90)).save(path), "shows no object"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_one_line_and_leave_nothing(weights, tmp_path, capfd, name):
    write, message = BAD_PICTURES[name]
    write(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "a.ply", tmp_path / "a.mp4"
    code, lines, errors = run(capfd, tmp_path / name, "-o", out[0], "--orbit", out[1], "--weights", weights)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert name in errors[0]
    assert message in errors[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.obj"], "-o a.obj: a splat ends in one of .ply, .spz, .glb"),
        (["-o", "a.splat"], "a splat ends in"),
        (["-o", "a.ply", "--orbit", "a.txt"], "a film must end in .mp4 or .gif"),
        (["-o", "a.ply", "--orbit", "a.ply"], "a film must end in"),
        (["-o", "a.mp4", "--orbit", "a.mp4"], "a splat ends in"),
        (["-o", "photo.ply"], "-o photo.ply: would overwrite the picture"),
        (["-o", "folder.ply"], "-o folder.ply: it is a folder"),
        (["-o", "a.ply", "--orbit", "folder.mp4"], "--orbit folder.mp4: it is a folder"),
        (["-o", "FILE/a.ply"], "-o FILE"),
        (["-o", "a.ply", "--orbit", "FILE/a.mp4"], "--orbit FILE"),
        (["-o", "a.ply", "--weights", "nobody"], "nobody: no such weights"),
        (["-o", "a.ply", "--weights", ""], "no such weights: the name is empty"),
        (["-o", "a.ply", "--weights", "nirne-small"], "nirne-small"),
        (["-o", "a.ply", "--mask", "other.png"], "other.png: the mask is 32x32, photo.ply is 64x64"),
        (["-o", "a.ply", "--mask", "black.png"], "its mask is empty"),
        (["-o", "a.ply", "--mask", "nowhere.png"], "nowhere.png: no such file"),
        (["-o", "a.ply", "--mask", "alpha"], "has no transparent pixels"),
        (["-o", "a.ply", "--device", "cuda:77"], "--device cuda:77: no such CUDA GPU"),
        (["-o", "a.ply", "--device", "toaster"], "--device toaster: unknown"),
        (["-o", "a.ply", "--device", "cuda", "--method", "clone"], "--device cuda: the loop of clone runs on the CPU"),
        (["-o", "a.ply", "--method", "rose"], "invalid choice: 'rose'"),
        (["-o", "a.ply", "--shiny"], "unrecognized arguments: --shiny"),
        ([], "-o/--output"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(weights, tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("in the way")
    for name in ("folder.ply", "folder.mp4"):
        (tmp_path / name).mkdir()
    Image.fromarray(cup()).save("photo.ply", format="PNG")  # what a file is, its content says
    Image.new("L", (32, 32), 255).save("other.png")
    Image.new("L", (64, 64), 0).save("black.png")
    before = sorted(tmp_path.rglob("*"))
    given = arguments if "--weights" in arguments else [*arguments, "--weights", weights]
    code, lines, errors = run(capfd, "photo.ply", *given)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_film_that_fails_takes_the_splat_with_it(picture, weights, tmp_path, capfd, monkeypatch):
    from maquette.errors import InputError

    def full(*_):
        raise InputError("cannot write a.mp4: No space left on device; give a folder that can be written")

    monkeypatch.setattr("maquette.viz.films.write_film", full)
    (tmp_path / "a.ply").write_text("was here before")
    code, _, errors = run(capfd, picture, "-o", tmp_path / "a.ply", "--orbit", tmp_path / "a.mp4", "--weights", weights)
    assert (code, len(errors)) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply", "cup.png"]
    assert (tmp_path / "a.ply").read_text() == "was here before"


def test_interrupted_in_its_film_it_leaves_nothing(picture, weights, tmp_path, capfd, monkeypatch):
    out = tmp_path / "out"
    begun = []

    def frames(*_):
        yield torch.zeros(64, 64, 3, dtype=torch.uint8)
        begun.extend(path.suffix for path in out.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("maquette.viz.splat_pictures.film", frames)
    code, lines, errors = run(capfd, picture, "-o", out / "a.ply", "--orbit", out / "a.mp4", "--weights", weights)
    assert sorted(set(begun)) == [".mp4", ".ply"]
    assert (code, lines) == (2, [])
    assert errors == ["maquette: interrupted; the files that are there are whole"]
    assert list(out.iterdir()) == []
