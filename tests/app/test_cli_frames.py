"""`--tile` and `--level` through the verb, and what it says of files that aren't photos."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli import bench
from maquette.app.cli.main import main
from maquette.geometry.vectors import unit
from maquette.io.images import read_photo
from maquette.io.normal_maps import read_normal_map, write_normal_map
from maquette.methods.whole_frame import seam_ratio, tilt_deg
from maquette.types import NormalMap, Photo

METHOD = '''
import torch
from maquette.types import NormalMap

def lean(photo):
    """Colours as slopes, 20 degrees off, and a border taken for a silhouette."""
    height, width = photo.rgb.shape[:2]
    x = torch.linspace(-1, 1, width).expand(height, width)
    slopes = photo.rgb[..., :2] - 0.5 + 3 * torch.stack([x ** 9, torch.zeros_like(x)], -1) - torch.tensor([0.36, 0.0])
    normals = torch.cat([slopes, torch.ones(height, width, 1)], -1)
    return NormalMap(normals / normals.norm(dim=-1, keepdim=True), torch.ones(height, width, dtype=torch.bool))
'''


@pytest.fixture
def wall(tmp_path):
    """A photo that repeats, wider than high, and a foreign method that leans at its frame's border."""
    axis = np.arange(64) / 64
    code = np.uint8(128 + 60 * np.sin(2 * np.pi * (2 * axis[None, :] + 3 * axis[:48, None] * 64 / 48)))
    Image.fromarray(np.stack([code] * 3, -1)).save(tmp_path / "wall.png")
    (tmp_path / "mine.py").write_text(METHOD)
    return tmp_path / "wall.png"


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main([*map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_tile_and_level(wall, tmp_path, capfd):
    method = f"{tmp_path / 'mine.py'}:lean"
    maps, reports = {}, {}
    for name, given in {"plain": [], "tile": ["--tile"], "both": ["--tile", "--level"]}.items():
        arguments = ["normals", wall, "-o", tmp_path / name, "--method", method, "--json", "--format", "npy", *given]
        code, out, err = run(capfd, *arguments, *([] if given else ["--mask", "none"]))
        assert (code, err) == (0, [])
        reports[name] = json.loads(out[0])
        maps[name] = read_normal_map(reports[name]["normals"])
        assert maps[name].normals.shape == (48, 64, 3)
    assert seam_ratio(maps["plain"]) > 4
    assert "seam_ratio" not in reports["plain"]
    assert seam_ratio(maps["tile"]) < 1.5
    assert reports["tile"]["seam_ratio"] == pytest.approx(seam_ratio(maps["tile"]), abs=1e-2)
    mean = float(read_photo(wall).rgb.mean())  # of a wave; what it adds to the slope is the wall's own tilt
    assert tilt_deg(maps["tile"]) == pytest.approx(np.degrees(np.arctan(np.hypot(mean - 0.86, mean - 0.5))), abs=0.7)
    assert reports["both"]["tilt_deg"] == pytest.approx(tilt_deg(maps["tile"]), abs=1e-2)
    assert tilt_deg(maps["both"]) < 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--mask", "alpha"], r"--tile --mask alpha: .*leave --mask out"),
        (["--mask", "cup.png"], r"--tile --mask cup.png: "),
        (["--method", "clone"], r"--tile --method clone: "),
        (["--video"], r"--video --tile: is for single photos"),
    ],
)
def test_what_tile_is_not_for_is_said_in_one_line(wall, tmp_path, capfd, given, said):
    code, out, err = run(capfd, "normals", wall, "-o", tmp_path / "out", "--tile", *given)
    assert (code, out, len(err)) == (2, [], 1)
    assert re.search(said, err[0])
    assert not (tmp_path / "out").exists()


def test_a_transparent_tile_is_warned_of_and_done_whole(wall, tmp_path, capfd):
    pixels = np.dstack([np.asarray(Image.open(wall)), np.zeros((48, 64), np.uint8)])
    pixels[:20, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "holed.png")
    arguments = ["normals", tmp_path / "holed.png", "-o", tmp_path / "out", "--tile", "--method", "flat", "--json"]
    code, out, err = run(capfd, *arguments)
    assert (code, len(err)) == (0, 1)
    assert "what is transparent is taken for surface" in err[0]
    assert bool(read_normal_map(json.loads(out[0])["normals"]).mask.all())


def bumps(side: int = 64) -> NormalMap:
    axis = torch.linspace(-3, 3, side)
    slopes = torch.stack([axis.sin().expand(side, side), axis.cos()[:, None].expand(side, side)], -1) * 0.6
    normals = unit(torch.cat([slopes, torch.ones(side, side, 1)], -1))
    return NormalMap(normals, torch.ones(side, side, dtype=torch.bool))


@pytest.mark.parametrize("convention", ["opengl", "directx"])
@pytest.mark.parametrize("format", ["png8", "png16"])
def test_a_normal_map_among_photos_is_hinted_at(tmp_path, capfd, convention, format):
    write_normal_map(tmp_path / "bricks_n.png", bumps(), convention, format)
    arguments = ["-o", tmp_path / "out", "--method", "flat", "--mask", "none"]
    code, _, err = run(capfd, "normals", tmp_path / "bricks_n.png", *arguments)
    assert (code, len(err)) == (0, 1)
    assert "looks like a normal map" in err[0]
    for verb, output in (("mesh", "out.stl"), ("relight", "out.png")):
        arguments = ["-o", tmp_path / output, "--method", "flat", "--mask", "none"]
        code, _, err = run(capfd, verb, tmp_path / "bricks_n.png", *arguments)
        assert (code, len(err)) == (0, 1)
        assert err[0].endswith("looks like a normal map, and is taken for a photo; give --normals")


def test_photos_of_every_colour_are_not_taken_for_normal_maps():
    from maquette.io.images import srgb_to_linear
    from maquette.methods.mistaken import looks_like_normals

    side = 48
    rng = torch.Generator().manual_seed(0)
    sky = torch.tensor([135, 190, 235]) / 255 + 0.02 * torch.randn(side, side, 3, generator=rng)
    photos = {
        "sky": sky,
        "grey": torch.full((side, side, 3), 0.5),
        "noise": torch.rand(side, side, 3, generator=rng),
        "blue cloth": torch.tensor([0.3, 0.35, 0.8]) * torch.rand(side, side, 1, generator=rng),
        "black": torch.zeros(side, side, 3),
    }
    for name, codes in photos.items():
        assert not looks_like_normals(Photo(srgb_to_linear(codes.clamp(0, 1)))), name
    codes = bumps(side).normals * 0.5 + 0.5
    assert looks_like_normals(Photo(srgb_to_linear(codes)))
    ball = codes * (torch.rand(side, side, 1, generator=rng) > 0.5)  # black beside an object
    assert looks_like_normals(Photo(srgb_to_linear(ball)))
    assert looks_like_normals(Photo(srgb_to_linear(torch.tensor([128, 128, 255]).expand(side, side, 3) / 255)))


def test_real_photos_are_not_taken_for_normal_maps(shared_data):
    from maquette.methods.mistaken import looks_like_normals

    folder = shared_data() / "photos"
    for path in sorted(folder.iterdir()):
        if path.suffix in (".png", ".jpg"):
            assert not looks_like_normals(read_photo(path)), path.name


def test_pictures_of_other_kinds_in_a_folder_are_counted(wall, tmp_path, capfd):
    folder = tmp_path / "phone"
    folder.mkdir()
    Image.open(wall).save(folder / "a.png")
    Image.open(wall).convert("RGB").save(folder / "b.HEIC", format="JPEG")  # as some phones' exports are
    (folder / "c.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    (folder / "notes.txt").write_text("no picture")
    code, out, err = run(capfd, "normals", folder, "-o", tmp_path / "out", "--method", "flat", "--mask", "none")
    assert (code, len(out)) == (0, 1)
    assert err == [
        f"maquette: {folder}: 2 files not read: .heic; convert to png or jpg; b.HEIC is JPEG by content: name the file"
        " itself"
    ]
    # Named, the one is read, and of the other its kind is told.
    code, out, err = run(
        capfd, "normals", folder / "b.HEIC", folder / "c.heic", "-o", tmp_path / "two", "--method", "flat"
    )
    assert (code, len(out)) == (2, 1)
    assert f"{folder / 'c.heic'}: is a HEIC picture, which isn't read; convert it to png or jpg" in err[-2]
    (folder / "a.png").unlink()
    code, _, err = run(capfd, "normals", folder, "-o", tmp_path / "none")
    assert (code, len(err)) == (2, 1)
    assert "no photo in this folder" in err[0]
    assert "2 files not read: .heic" in err[0]


def test_the_bench_puts_a_method_without_the_mask_beside_itself(tmp_path, capsys, monkeypatch):
    from maquette.bench.normals import sets
    from maquette.bench.normals.datasets import Sample

    seen = []

    def method(photo: Photo) -> NormalMap:
        seen.append(photo.mask is None)
        mask = torch.ones(32, 32, dtype=torch.bool) if photo.mask is None else photo.mask
        return NormalMap(torch.tensor([0.0, 0.0, 1.0]) * mask[..., None], mask)

    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    truth = NormalMap(torch.tensor([0.0, 0.6, 0.8]) * mask[..., None], mask)
    sample = Sample("cup", "0", Photo(torch.rand(32, 32, 3), mask), truth)
    monkeypatch.setitem(sets.SETS, "luces", lambda *_: iter([sample]))
    monkeypatch.setitem(sets.SETS, "textures", lambda *_: iter([sample]))
    monkeypatch.setattr("maquette.app.predictors.build_predictor", lambda *_: method)
    arguments = ["normals", "--data", str(tmp_path), "--method", "flat", "-o", str(tmp_path / "out"), "--json"]
    for masks, rows, told in (
        ("both", ["flat", "flat, no mask"], [False, True]),
        ("none", ["flat, no mask"], [True]),
        ("given", ["flat"], [False]),
    ):
        seen.clear()
        assert bench.main([*arguments, "--sets", "luces", "textures", "--masks", masks]) == 0
        found = json.loads(capsys.readouterr().out)["sets"]
        assert list(found["luces"]["objects"]["cup"]) == rows
        for scores in found["luces"]["mean"].values():  # the object's pixels alone are scored
            assert scores["mean"] == pytest.approx(np.degrees(np.arccos(0.8)), abs=1e-3)
        assert list(found["textures"]["mean"]) == ["flat"]
        assert seen == [*told, False]


def test_a_tiff_in_planes_is_refused_or_read_right(tmp_path, capfd):
    import tifffile

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65535, (40, 60, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "planes.tif", pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "pixels.tif", pixels, photometric="rgb")
    small = (pixels >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "small.tif", small.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    from maquette.io.decode import read_pixels

    assert np.array_equal(read_pixels(tmp_path / "pixels.tif"), pixels)
    assert np.array_equal(read_pixels(tmp_path / "small.tif"), small)
    code, _, err = run(capfd, "normals", tmp_path / "planes.tif", "-o", tmp_path / "out", "--method", "flat")
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("planes.tif: holds its colours in separate planes of 16 bits; save it interleaved")


@pytest.mark.parametrize(
    ("name", "kind"), [("a.gif", "GIF"), ("a.bmp", "BMP"), ("a.tga", "TGA"), ("a.avif", "AVIF"), ("a.png", "BMP")]
)
def test_pictures_of_other_kinds_are_named(tmp_path, capfd, name, kind):
    if kind == "AVIF":
        (tmp_path / name).write_bytes(b"\x00\x00\x00\x1cftypavif" + bytes(64))
    else:
        Image.new("RGB", (20, 20)).save(tmp_path / name, format=kind)
    code, _, err = run(capfd, "normals", tmp_path / name, "-o", tmp_path / "out", "--method", "flat")
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith(f"{name}: is a {kind} picture, which isn't read; convert it to png or jpg")
