"""The verb through its real entry point, and `maquette normals --height`."""

import json

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from maquette.app.cli.inputs import expand
from maquette.app.cli.main import main
from maquette.io.images import write_exr
from maquette.io.normal_maps import write_normal_map
from maquette.types import NormalMap

SIDE = 48


def picture() -> np.ndarray:
    """An RGBA disc: inflating its silhouette gives a hemisphere."""
    axis = np.linspace(-1, 1, SIDE)
    disc = np.add.outer(axis**2, axis**2) < 0.8
    colour = np.broadcast_to(np.linspace(40, 220, SIDE).astype(np.uint8)[None, :, None], (SIDE, SIDE, 3))
    return np.dstack([colour, disc.astype(np.uint8) * 255])


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "cup.png")
    return tmp_path / "cup.png"


def run(capfd, *arguments, verb="mesh") -> tuple[int, list[str], list[str]]:
    code = main([verb, *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
def test_every_format(photo, tmp_path, capfd, suffix):
    out = tmp_path / "out" / f"cup.{suffix}"
    code, lines, errors = run(capfd, photo, "-o", out, "--method", "inflate", "--json")
    assert (code, errors) == (0, [])
    report = json.loads(lines[0])
    assert 0 < report["mask_share"] < 1
    assert report["mesh"] == str(out)
    assert sorted(report["files"]) == sorted(str(path) for path in out.parent.iterdir())
    assert report["solid"] == (suffix == "stl")
    assert report["settled"]
    mesh = trimesh.load(out, force="mesh")
    assert len(mesh.faces) == report["faces"]
    assert mesh.is_watertight == (suffix == "stl")
    assert mesh.extents == pytest.approx(report["extent"], rel=1e-4)
    if suffix == "glb":
        assert mesh.visual.material.baseColorTexture.size == (SIDE, SIDE)


@pytest.mark.parametrize("suffix", ["glb", "stl"])
def test_a_size_makes_a_watertight_solid(photo, tmp_path, capfd, suffix):
    out = tmp_path / f"cup.{suffix}"
    sizes = ("--size-mm", 60, "--depth-mm", 8, "--base-mm", 2)
    code, _, errors = run(capfd, photo, "-o", out, "--method", "inflate", *sizes)
    assert (code, errors) == (0, [])
    mesh = trimesh.load(out, force="mesh")
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
    unit = 1000 if suffix == "glb" else 1
    assert mesh.extents * unit == pytest.approx([60, 60, 10], rel=1e-3)


@pytest.mark.parametrize("convention", ["opengl", "directx", "opencv"])
@pytest.mark.parametrize("focal", [(), ("--focal-px", 900)])
def test_a_normal_map_in_any_convention_gives_the_same_relief(tmp_path, capfd, convention, focal):
    normals = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 1.0]), dim=0).expand(20, 30, 3)
    given = NormalMap(normals, torch.ones(20, 30, dtype=torch.bool))
    write_normal_map(tmp_path / "slope.normals.png", given, convention)
    code, _, errors = run(
        capfd, tmp_path / "slope.normals.png", "-o", tmp_path / "a.ply", "--convention", convention, *focal
    )
    assert (code, errors) == (0, [])
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.allclose(mesh.vertex_normals, normals[0, 0], atol=1e-3)
    tilt = mesh.face_normals.mean(0)
    assert np.allclose(tilt / np.linalg.norm(tilt), normals[0, 0], atol=0.02)


def test_a_photo_named_like_any_other_needs_to_be_told_for_a_map(tmp_path, capfd):
    normals = torch.tensor([0.0, 0.6, 0.8]).expand(20, 30, 3)
    write_normal_map(tmp_path / "wall.png", NormalMap(normals, torch.ones(20, 30, dtype=torch.bool)))
    common = (tmp_path / "wall.png", "-o", tmp_path / "a.ply", "--mask", "none", "--method", "flat")
    assert run(capfd, *common)[0] == 0
    assert np.ptp(trimesh.load(tmp_path / "a.ply").vertices[:, 2]) < 1e-6
    assert run(capfd, *common, "--normals")[0] == 0
    assert np.ptp(trimesh.load(tmp_path / "a.ply").vertices[:, 2]) > 0.3


def test_a_grid_of_at_most_so_many_pixels(photo, tmp_path, capfd):
    common = (photo, "--method", "inflate", "--json")
    small = json.loads(run(capfd, *common, "-o", tmp_path / "a.glb", "--grid-px", 24)[1][0])
    large = json.loads(run(capfd, *common, "-o", tmp_path / "b.glb")[1][0])
    assert small["vertices"] == pytest.approx(large["vertices"] / 4, rel=0.15)


@pytest.mark.parametrize("size", [0.01, 1e4])
@pytest.mark.parametrize("base", [0.01, 1e4])
def test_the_relief_survives_the_file_at_the_ends_of_the_range(photo, tmp_path, capfd, size, base):
    out = tmp_path / "cup.stl"
    sizes = ("--size-mm", size, "--depth-mm", size, "--base-mm", base)
    assert run(capfd, photo, "-o", out, "--method", "inflate", *sizes)[0] == 0
    mesh = trimesh.load(out, force="mesh")
    assert mesh.is_watertight
    assert mesh.extents[[0, 2]] == pytest.approx([size, size + base], rel=1e-3)


def test_a_mesh_named_after_its_photo_leaves_the_photo_alone(photo, tmp_path, capfd):
    before = photo.read_bytes()
    code, lines, _ = run(capfd, photo, "-o", photo.with_suffix(".obj"), "--method", "inflate", "--json")
    assert code == 0
    assert photo.read_bytes() == before
    assert str(tmp_path / "cup.texture.png") in json.loads(lines[0])["files"]
    assert expand([str(tmp_path)]) == [photo]


def test_a_photo_named_like_the_texture_is_not_overwritten(photo, tmp_path, capfd):
    taken = photo.rename(tmp_path / "cup.texture.png")
    before = taken.read_bytes()
    code, lines, errors = run(capfd, taken, "-o", tmp_path / "cup.obj", "--method", "inflate")
    assert (code, lines, len(errors)) == (2, [], 1)
    assert "would overwrite" in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["cup.texture.png"]
    assert taken.read_bytes() == before


def nan_file(folder):
    write_exr(folder / "nan.exr", torch.full((32, 32, 3), torch.nan))
    return "nan.exr", "NaN or infinite"


def clear_file(folder):
    clear = picture()
    clear[..., 3] = 0
    Image.fromarray(clear).save(folder / "clear.png")
    return "clear.png", "mask is empty"


def cut_file(folder):
    content = (folder / "cup.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    return "cut.png", "cut off or damaged"


def line_file(folder):
    thin = picture()
    thin[..., 3] = 0
    thin[20, :, 3] = 255
    Image.fromarray(thin).save(folder / "line.png")
    return "line.png", "larger mask is needed"


def nan_map(folder):
    np.save(folder / "nan.npy", np.full((20, 30, 3), np.nan, np.float32))
    return "nan.npy", "NaN"


def infinite_map(folder):
    np.save(folder / "vast.npy", np.full((20, 30, 3), 1e300))  # finite, but not in float32
    return "vast.npy", "infinite"


def turned_map(folder):
    np.save(folder / "away.npy", np.full((20, 30, 3), (0.0, 0.6, -0.8), np.float32))
    return "away.npy", "100% of its normals face away from the viewer in the frame opengl"


MAKERS = [nan_file, clear_file, cut_file, line_file, nan_map, infinite_map, turned_map]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("suffix", ["glb", "stl"])
def test_bad_input_is_one_line_and_leaves_nothing(photo, tmp_path, capfd, make, suffix):
    name, message = make(tmp_path)
    code, lines, errors = run(capfd, tmp_path / name, "-o", tmp_path / "out" / f"a.{suffix}", "--method", "flat")
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.fbx"], "a mesh ends in one of .glb, .obj, .ply, .stl"),
        (["-o", "a.stl", "--size-mm", "0"], "--size-mm 0: must be a number from 0.01 to 10000"),
        (["-o", "a.stl", "--depth-mm", "-3"], "--depth-mm -3: must be a number"),
        (["-o", "a.stl", "--base-mm", "nan"], "--base-mm nan: must be a number"),
        (["-o", "a.glb", "--focal-px", "inf"], "--focal-px inf: must be a number from 1 to 1e+09"),
        (["-o", "a.stl", "--size-mm", "1e300"], "--size-mm 1e+300: must be a number"),
        (["-o", "a.stl", "--base-mm", "1e-300"], "--base-mm 1e-300: must be a number"),
        (["-o", "a.stl", "--focal-px", "1e300"], "--focal-px 1e+300: must be a number"),
        (["-o", "a.glb", "--grid-px", "3"], "--grid-px 3: must be at least 16"),
        ([], "the following arguments are required: -o"),
    ],
)
def test_a_wrong_option_is_one_line(photo, tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, lines, errors = run(capfd, photo, *arguments)
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cup.png"]


@pytest.mark.parametrize(("format", "suffix"), [("png16", "png"), ("png8", "png"), ("exr", "exr"), ("npy", "npy")])
def test_height_maps(photo, tmp_path, capfd, format, suffix):
    options = ("-o", tmp_path / "out", "--method", "inflate", "--height", "--format", format, "--json")
    code, lines, _ = run(capfd, photo, *options, verb="normals")
    assert code == 0
    report = json.loads(lines[0])
    assert report["height"] == str(tmp_path / "out" / f"cup.height.{suffix}")
    low, high = report["height_range_px"]
    assert low == 0
    assert high == pytest.approx(
        0.9 * SIDE / 2, rel=0.3
    )  # a hemisphere is as high as its radius, but for its last pixel
    if suffix == "png":
        codes = np.asarray(Image.open(report["height"]))
        assert codes.dtype == np.uint16 or codes.max() > 255
        assert codes.max() == 65535
        assert (codes[picture()[..., 3] == 0] == 0).all()
        assert len(np.unique(codes)) > 180  # of 1600 pixels with 8 symmetries


def test_no_height_unless_asked_for(photo, tmp_path, capfd):
    _, lines, _ = run(capfd, photo, "-o", tmp_path / "out", "--method", "flat", "--json", verb="normals")
    assert json.loads(lines[0])["height"] is None
    assert not list((tmp_path / "out").glob("*height*"))
