"""`maquette normals --method clone` through its real entry point, with a network that knows nothing."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app import predictors
from maquette.app.cli.main import main
from maquette.errors import InputError
from maquette.geometry.rotation import smallest_axis
from maquette.io.checkpoints import save_checkpoint
from maquette.io.normal_maps import read_normal_map, write_normal_map
from maquette.io.splats.files import read_splat
from maquette.methods.baselines import flat
from maquette.methods.clone.loop import Round
from maquette.methods.clone.method import CLONE
from maquette.nets.refiner import PRESETS, RefinerNet
from maquette.types import NormalMap, Photo, RenderOutput
from maquette.viz.clone_history import PANEL_PX, PANELS, History, curves

SIDE = 48


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    torch.manual_seed(0)
    save_checkpoint(folder, PRESETS["tiny"], RefinerNet(PRESETS["tiny"]).state_dict())
    return folder


@pytest.fixture
def photo(tmp_path):
    """A disc, lit from the right; 42 pixels across."""
    axis = (np.arange(SIDE) + 0.5 - SIDE / 2) / 21
    x, y = np.meshgrid(axis, -axis)
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    shade = np.clip(0.6 * x + 0.8 * z, 0, 1) ** (1 / 2.2) * 255 * (z > 0)
    path = tmp_path / "cup.png"
    Image.fromarray(np.dstack([shade, shade * 0.9, shade * 0.8, 255 * (z > 0)]).astype(np.uint8)).save(path)
    return path


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["normals", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_all_that_it_writes(photo, weights, tmp_path, capfd):
    out = tmp_path / "out"
    code, lines, errors = run(
        capfd, photo, "-o", out, "--method", "clone", "--refiner", weights, "--iterations", "5",
        "--history", "--splat", "--confidence", "--json",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert report["first"] == "neutral"
    assert 0 <= report["iterations"] <= 5
    assert 0 < report["held_out_error"] < 0.5
    assert 0 <= report["moved_deg"] < 40
    names = {"normals.png", "confidence.png", "sheet.png", "history.png", "history.mp4", "splat.ply"}
    assert {path.name for path in out.iterdir()} == {f"cup.{name}" for name in names}
    assert [report[key] for key in ("history", "film", "splat")] == [
        str(out / f"cup.{name}") for name in ("history.png", "history.mp4", "splat.ply")
    ]
    film = cv2.VideoCapture(report["film"])
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 2  # of the turns 0 to 5, every third
    assert film.get(cv2.CAP_PROP_FRAME_WIDTH) == PANEL_PX * len(PANELS)
    assert np.asarray(Image.open(report["history"])).std() > 5

    # The splat is the normal map: in maquette's frame, x right, y up, a Gaussian for each pixel of the square.
    gaussians = read_splat(report["splat"])
    normal_map = read_normal_map(report["normals"])
    assert gaussians.albedo is not None
    axis = smallest_axis(gaussians.scale, gaussians.rotation)
    axis = torch.where(axis[:, 2:] < 0, -axis, axis)
    right = axis[(gaussians.mean[:, 0] > 0.6)].mean(0)
    top = axis[(gaussians.mean[:, 1] > 0.6)].mean(0)
    map_right, map_top = normal_map.normals[24, 40], normal_map.normals[7, 24]
    for gaussian, pixel, along in ((right, map_right, 0), (top, map_top, 1)):
        assert gaussian[along] > 0.4
        assert pixel[along] > 0.4

    picture = out / "relit.png"
    assert main(["relight", report["splat"], "--azimuth", "0", "--elevation", "20", "-o", str(picture)]) == 0
    shown = np.asarray(Image.open(picture)).astype(float)
    half = shown.shape[1] // 2
    assert shown[:, half:, :3].sum() > 1.5 * shown[:, :half, :3].sum()


def test_it_starts_from_any_method_and_from_a_map_in_any_frame(photo, weights, tmp_path, capfd):
    first = tmp_path / "first.py"
    first.write_text(
        "import torch\nfrom maquette.types import NormalMap\n\n"
        "def leaning(photo):\n"
        "    normals = torch.tensor([0.6, 0.0, 0.8]).expand(*photo.mask.shape, 3) * photo.mask[..., None]\n"
        "    return NormalMap(normals, photo.mask, torch.full(photo.mask.shape, 500.0))\n"
    )
    leaning = torch.tensor([0.6, 0.0, 0.8]).expand(SIDE, SIDE, 3).clone()
    drawn = tmp_path / "drawn.exr"
    write_normal_map(drawn, NormalMap(leaning, torch.ones(SIDE, SIDE, dtype=torch.bool)), "opencv", "exr")
    common = ("--method", "clone", "--refiner", weights, "--iterations", "1", "--json")
    found = {}
    for name, options in {
        "method": ["--init", f"{first}:leaning"],
        "map": ["--init", drawn, "--init-convention", "opencv"],
        "flat": ["--init", "flat"],
    }.items():
        code, lines, errors = run(capfd, photo, "-o", tmp_path / name, *common, *options)
        assert (code, errors) == (0, [])
        report = json.loads(lines[0])
        assert report["first"] == str(options[1])
        normal_map = read_normal_map(report["normals"])
        found[name] = normal_map.normals[normal_map.mask].mean(0)
    assert found["method"][0] > 0.5
    assert found["map"][0] > 0.5
    assert found["flat"][0].abs() < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--init", "guess"], "'guess'"),
        (["--init", "guess"], "or the file of a normal map"),
        (["--init", "clone"], "clone starts from another method"),
        (["--init", "missing.exr"], "missing.exr: no such file"),
        (["--init", "flat", "--init-convention", "opengl"], "--init-convention"),
        (["--init-convention", "maya"], "invalid choice: 'maya'"),
        (["--iterations", "0"], "'0' is not a whole number from 1"),
        (["--iterations", "-3"], "--iterations"),
        (["--refiner", "missing"], "missing: no such weights"),
        (["--device", "cuda"], "the loop itself runs on the CPU"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_nothing(photo, tmp_path, capfd, arguments, message):
    code, lines, errors = run(capfd, photo, "-o", tmp_path / "out", "--method", "clone", *arguments)
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("option", [["--history"], ["--splat"], ["--init", "flat"], ["--iterations", "3"]])
def test_its_options_belong_to_no_other_method(photo, tmp_path, capfd, option):
    code, _, errors = run(capfd, photo, "-o", tmp_path / "out", "--method", "flat", *option)
    assert code == 2
    assert errors == [f"maquette: {option[0]}: belongs to --method clone; the method here is flat"]
    assert not (tmp_path / "out").exists()


def test_a_map_of_another_size_or_for_two_photos(photo, weights, tmp_path, capfd):
    small = tmp_path / "small.npy"
    np.save(small, np.tile(np.array([0, 0, 1], np.float32), (20, 30, 1)))
    common = ("-o", tmp_path / "out", "--method", "clone", "--refiner", weights, "--init", small)
    code, _, errors = run(capfd, photo, *common, "--history", "--splat")
    assert code == 2
    assert len(errors) == 1
    assert "the first normals are 30x20, the photo 48x48; they must agree" in errors[0]
    assert not list((tmp_path / "out").iterdir())
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes())
    code, _, errors = run(capfd, photo, other, *common)
    assert code == 2
    assert errors == [f"maquette: --init {small}: is the map of one photo; 2 are given"]


def test_other_verbs_know_it_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr(CLONE, "from_pretrained", classmethod(lambda cls, *given: asked.append(given) or flat))
    assert predictors.build_predictor("clone", "nirne-small", "auto", 256) is flat
    assert asked == [()]
    with pytest.raises(InputError, match="--device cuda: the loop of clone runs on the CPU"):
        predictors.build_predictor("clone", "nirne-small", "cuda", 256)


def test_curves_of_a_loop_by_hand():
    """Two terms that fall by factors of ten: straight lines, the held-out error in black."""
    history = History(Photo(torch.ones(32, 32, 3), None, "wall"))
    history.turns = [{"fused": 10.0**-k} | ({"held_out": 0.5} if k % 2 == 0 else {}) for k in range(3)]
    picture = curves(history).numpy()
    black = (picture[100:400, 60:770] == 40).all(-1)
    # The axis goes from 0.01 to 1: 0.5 lies 15 % below the top of 460 pixels, which stands at 56.
    assert set(np.nonzero(black.any(1))[0]) <= set(range(20, 34))
    blue = (picture[56:517, 57:776] == (31, 90, 180)).all(-1)
    rows, columns = np.nonzero(blue)
    assert np.abs(rows - np.polyval(np.polyfit(columns, rows, 1), columns)).max() < 3
    assert (rows.min() < 5) & (rows.max() > 455)


def test_the_film_begins_anew_where_the_square_grows():
    def seen(side: int) -> Round:
        image, share = torch.ones(side, side, 3), torch.ones(side, side)
        facing = torch.tensor([0.0, 0.0, 1.0]).expand(side, side, 3)
        nothing = torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool)
        rendered = RenderOutput(image, share, share, share, facing, image, share, *nothing)
        return Round(rendered, facing, facing, facing, 0.5 * share, facing, 0.25 * image)

    history = History(Photo(torch.full((40, 40, 3), 0.5), None, "wall"))
    for turn, side in enumerate([16, 16, 16, 16, 16, 32, 32]):
        history.record(turn, {"fused": 1.0}, seen(side))
    assert history.finer == [5]
    assert len(history.frames) == 4  # turns 0, 3, 5 (a finer square) and 6
    panels = history.frames[-1][PANEL_PX // 2].reshape(len(PANELS), PANEL_PX, 3)[:, 100]
    assert panels[1].tolist() == [64, 64, 64]
    assert panels[2].tolist() == [128, 128, 255]
    assert panels[3].tolist() == [128, 128, 128]
    assert panels[4].tolist() == [255, 255, 255]
