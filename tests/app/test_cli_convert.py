"""The verb through its real entry point: every pair of frames and formats, what is left alone, bad input."""

import itertools
import json

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from maquette.app.cli.main import main
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.io.decode import read_pixels

SIZE = 24
CODES = {"png8": (np.uint8, 255), "png16": (np.uint16, 65535)}
ROTATION = Rotation.from_euler("xyz", [20, 130, -40], degrees=True).as_matrix()


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["convert", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def ball() -> tuple[np.ndarray, np.ndarray]:
    """A ball's normals in memory's frame, float64, zero outside; its mask."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2.2 - 1.1
    x, y = np.meshgrid(axis, -axis)
    mask = x * x + y * y < 0.98
    normals = np.stack([x, y, np.sqrt(np.clip(1 - x * x - y * y, 0, 1))], -1)
    return normals * mask[..., None], mask


def save(path, vectors: np.ndarray, format: str, background=None, alpha=None) -> None:
    if format in CODES:
        kind, largest = CODES[format]
        codes = np.round((vectors * 0.5 + 0.5) * largest).astype(kind)
        if background is not None:
            codes[~ball()[1]] = round(background * largest)
        if alpha is not None:
            codes = np.dstack([codes, np.round(alpha * largest).astype(kind)])
        cv2.imwrite(str(path), cv2.cvtColor(codes, cv2.COLOR_RGB2BGR if alpha is None else cv2.COLOR_RGBA2BGRA))
    elif format == "npy":
        np.save(path, vectors.astype(np.float32))
    else:
        import torch

        from maquette.io.images import write_exr

        write_exr(path, torch.from_numpy(vectors))


def load(path) -> np.ndarray:
    return np.load(path) if path.suffix == ".npy" else read_pixels(path)


@pytest.fixture
def pose(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = ROTATION, (4, 5, 6)
    path = tmp_path / "transforms.json"
    path.write_text(json.dumps({"frames": [{"file_path": "map.png", "transform_matrix": matrix.tolist()}]}))
    return path


def floor_mesh(path) -> None:
    """A square floor, y up, u along x, v along -z."""
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    vertices = np.stack([uv[:, 0], 0 * uv[:, 0], -uv[:, 1]], -1)
    visual = trimesh.visual.TextureVisuals(uv=uv, image=Image.new("RGB", (2, 2)))
    trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False).export(path)


SUFFIX = {"png8": ".png", "png16": ".png", "exr": ".exr", "npy": ".npy"}


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize(("source", "target"), itertools.permutations(CAMERA_FRAMES, 2))
def test_signs_and_axes_are_exact_and_come_back_the_same(tmp_path, capfd, source, target, format):
    before, there, back = (tmp_path / f"{name}{SUFFIX[format]}" for name in ("map", "there", "back"))
    normals, mask = ball()
    save(before, normals @ np.array(CAMERA_FRAMES[source].matrix).T, format, background=0.0)
    expected = tmp_path / f"expected{SUFFIX[format]}"
    save(expected, normals @ np.array(CAMERA_FRAMES[target].matrix).T, format, background=0.0)

    assert run(capfd, before, "-o", there, "--from", source, "--to", target)[0] == 0
    assert run(capfd, there, "-o", back, "--from", target, "--to", source)[0] == 0
    assert load(there).dtype == load(before).dtype
    assert np.array_equal(load(back), load(before))
    assert np.array_equal(load(there)[~mask], load(before)[~mask])
    # A code c becomes largest - c, so a zero that was rounded up is then rounded down.
    difference = np.abs(load(there).astype(float) - load(expected).astype(float)).max()
    assert difference <= (1 if format in CODES else 0)


@pytest.mark.parametrize("format", ["png16", "exr", "npy"])
def test_to_the_world_and_back(tmp_path, capfd, pose, format):
    before, there, back = (tmp_path / f"{name}{SUFFIX[format]}" for name in ("map", "there", "back"))
    normals, mask = ball()
    save(before, normals @ np.array(CAMERA_FRAMES["opencv"].matrix).T, format, background=0.0)
    options = ("--camera", pose, "--format", format)
    assert run(capfd, before, "-o", there, "--from", "opencv", "--to", "world", *options)[0] == 0
    assert run(capfd, there, "-o", back, "--from", "world", "--to", "opencv", *options)[0] == 0
    world, again = load(there).astype(float), load(back).astype(float)
    if format == "png16":
        # half a code for the rounding of the source, turned, and half for that of the result
        assert np.abs((world[mask] / 65535 * 2 - 1) - normals[mask] @ ROTATION.T).max() <= (3**0.5 + 1) / 65535
        assert np.abs(again - load(before).astype(float)).max() <= 1
    else:
        assert np.abs(world[mask] - normals[mask] @ ROTATION.T).max() < 2e-7
        assert np.abs(again - load(before)).max() < 2e-7
    assert np.array_equal(load(there)[~mask], load(before)[~mask])


@pytest.mark.parametrize("background", [0.0, 128 / 255, 1.0])
def test_black_grey_and_white_are_left_alone(tmp_path, capfd, background):
    normals, mask = ball()
    save(tmp_path / "a.png", normals, "png8", background)
    before = load(tmp_path / "a.png")
    for format, factor in (("png8", 1), ("png16", 257)):
        out = tmp_path / f"{format}.png"
        assert (
            run(capfd, tmp_path / "a.png", "-o", out, "--from", "opengl", "--to", "opencv", "--format", format)[0] == 0
        )
        assert np.array_equal(load(out)[~mask], before[~mask].astype(int) * factor)
        assert np.array_equal(load(out)[mask][:, 1:], (255 - before[mask][:, 1:].astype(int)) * factor)
    assert run(capfd, tmp_path / "a.png", "-o", tmp_path / "a.npy", "--from", "opengl", "--to", "opencv")[0] == 0
    assert (load(tmp_path / "a.npy")[~mask] == 0).all()
    assert (np.linalg.norm(load(tmp_path / "a.npy")[mask], axis=-1) > 0.98).all()


def test_alpha_is_kept_and_the_filling_is_the_target_s(tmp_path, capfd):
    normals, mask = ball()
    alpha = mask * 0.6 + 0.2 * mask * (normals[..., 2] > 0.5)
    filled = np.where(mask[..., None], normals, [0.0, 0, 1])
    for format, (_, largest) in CODES.items():
        save(tmp_path / "a.png", filled, format, alpha=alpha)
        assert run(capfd, tmp_path / "a.png", "-o", tmp_path / "b.png", "--from", "opengl", "--to", "opencv")[0] == 0
        before, after = load(tmp_path / "a.png"), load(tmp_path / "b.png")
        assert np.array_equal(before[..., 3], after[..., 3])
        half = (largest + 1) // 2
        assert before[0, 0].tolist() == [half, half, largest, 0]
        assert after[0, 0].tolist() == [half, half, 0, 0]
        assert run(capfd, tmp_path / "b.png", "-o", tmp_path / "c.png", "--from", "opencv", "--to", "opengl")[0] == 0
        assert np.array_equal(load(tmp_path / "c.png"), before)


def test_alpha_of_an_exr_and_floats_to_integers(tmp_path, capfd):
    normals, mask = ball()
    save(tmp_path / "a.exr", np.dstack([normals, mask * 0.75]), "exr")
    arguments = ("--from", "opengl", "--to", "directx")
    assert run(capfd, tmp_path / "a.exr", "-o", tmp_path / "b.exr", *arguments)[0] == 0
    assert np.array_equal(load(tmp_path / "b.exr"), load(tmp_path / "a.exr") * np.float32([1, -1, 1, 1]))
    save(tmp_path / "a.npy", normals, "npy")
    assert run(capfd, tmp_path / "a.npy", "-o", tmp_path / "b.png", *arguments)[0] == 0
    codes = load(tmp_path / "b.png")
    assert codes.dtype == np.uint16
    assert (codes[~mask] == [32768, 32768, 65535, 0]).all()
    assert (codes[mask][:, 3] == 65535).all()
    assert np.abs(codes[mask][:, :3] - (normals[mask] * [1, -1, 1] * 0.5 + 0.5) * 65535).max() <= 0.51


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_tangent_and_object_space_of_a_floor(tmp_path, capfd, suffix):
    floor_mesh(tmp_path / f"floor.{suffix}")
    angle = np.arange(SIZE) / SIZE * 2 * np.pi
    x, y = np.meshgrid(0.4 * np.sin(angle), 0.3 * np.cos(2 * angle))
    tangent = np.stack([x, y, np.sqrt(1 - x * x - y * y)], -1)
    save(tmp_path / "a.npy", tangent, "npy")
    mesh = ("--mesh", tmp_path / f"floor.{suffix}")
    arguments = ("--from", "tangent", "--to", "object", *mesh, "--json")
    code, lines, errors = run(capfd, tmp_path / "a.npy", "-o", tmp_path / "b.npy", *arguments)
    assert (code, errors) == (0, [])
    assert json.loads(lines[0])["to"] == "object"
    assert json.loads(lines[0])["normals"] == SIZE * SIZE
    # u is x, v is -z, the surface faces +y
    in_object = load(tmp_path / "b.npy")
    assert np.abs(in_object - np.stack([x, tangent[..., 2], -y], -1)).max() < 1e-6
    arguments = ("--from", "object", "--to", "tangent-directx", *mesh)
    assert run(capfd, tmp_path / "b.npy", "-o", tmp_path / "c.npy", *arguments)[0] == 0
    assert np.abs(load(tmp_path / "c.npy") - tangent * [1, -1, 1]).max() < 1e-6


def bad_maps(folder) -> dict[str, tuple[str, str]]:
    (folder / "zero.png").touch()
    (folder / "text.png").write_text("no picture")
    save(folder / "whole.png", ball()[0], "png16")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:700])
    save(folder / "nan.npy", ball()[0] * np.nan, "npy")
    save(folder / "one_nan.npy", np.where(np.arange(SIZE)[:, None, None] == 3, np.nan, ball()[0]), "npy")
    save(folder / "black.png", ball()[0] * 0 - 1, "png8")
    save(folder / "grey.png", ball()[0] * 0, "png8")
    np.save(folder / "flat.npy", np.zeros((SIZE, SIZE), np.float32))
    np.save(folder / "dot.npy", np.ones((1, 1, 3), np.float32))
    return {
        "missing": ("missing.png", "no such file"),
        "zero bytes": ("zero.png", "is empty"),
        "wrong type": ("text.png", "not a whole image"),
        "cut off": ("cut.png", "cut off or damaged"),
        "all NaN": ("nan.npy", "NaN"),
        "one row NaN": ("one_nan.npy", "NaN"),
        "black": ("black.png", "no normals"),
        "grey": ("grey.png", "no normals"),
        "one channel": ("flat.npy", "(height, width, 3)"),
        "1x1": ("dot.npy", "at least 16x16"),
    }


KINDS = [
    "missing",
    "zero bytes",
    "wrong type",
    "cut off",
    "all NaN",
    "one row NaN",
    "black",
    "grey",
    "one channel",
    "1x1",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_map_is_one_line_and_leaves_nothing(tmp_path, capfd, kind):
    name, message = bad_maps(tmp_path)[kind]
    out = tmp_path / "out" / "b.png"
    code, lines, errors = run(capfd, tmp_path / name, "-o", out, "--from", "opengl", "--to", "directx")
    assert (code, lines, len(errors)) == (2, [], 1)
    assert name in errors[0]
    assert message in errors[0]
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "opengl", "--to", "maya"], "invalid choice: 'maya'"),
        (["--from", "opengl"], "required: --to"),
        (["--from", "opengl", "--to", "world"], "--camera"),
        (["--from", "object", "--to", "tangent"], "--mesh"),
        (["--from", "opengl", "--to", "tangent"], "hold what a camera sees"),
        (["--from", "opengl", "--to", "directx", "--format", "exr"], "must end in .exr"),
        (["--from", "opengl", "--to", "directx", "--format", "bmp"], "invalid choice: 'bmp'"),
        (["--from", "opengl", "--to", "world", "--camera", "none.json"], "none.json: no such file"),
        (["--from", "object", "--to", "tangent", "--mesh", "none.glb"], "none.glb: no such file"),
        (["--from", "opengl", "--to", "directx", "--shiny"], "unrecognized arguments: --shiny"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capfd, arguments, message):
    save(tmp_path / "a.png", ball()[0], "png8")
    code, lines, errors = run(capfd, tmp_path / "a.png", "-o", tmp_path / "b.png", *arguments)
    assert (code, lines, len(errors)) == (2, [], 1)
    assert message in errors[0]
    assert not (tmp_path / "b.png").exists()


def test_names_and_places_that_cannot_be_written(tmp_path, capfd):
    save(tmp_path / "a.png", ball()[0], "png8")
    (tmp_path / "file").write_text("in the way")
    for out, message in (("b.jpg", "must end in"), ("b", "must end in"), ("file/b.png", "cannot write")):
        code, lines, errors = run(capfd, tmp_path / "a.png", "-o", tmp_path / out, "--from", "opengl", "--to", "dsine")
        assert (code, lines, len(errors)) == (2, [], 1)
        assert message in errors[0]


def test_meshes_that_do_not_serve(tmp_path, capfd):
    save(tmp_path / "a.npy", ball()[0], "npy")
    trimesh.creation.box().export(tmp_path / "bare.ply")
    (tmp_path / "broken.glb").write_bytes(b"glTF" + bytes(40))
    (tmp_path / "text.obj").write_text("nothing here")
    for name, message in (("bare.ply", "no texture coordinates"), ("broken.glb", "mesh"), ("text.obj", "triangles")):
        arguments = ("--from", "object", "--to", "tangent", "--mesh", tmp_path / name)
        code, lines, errors = run(capfd, tmp_path / "a.npy", "-o", tmp_path / "b.npy", *arguments)
        assert (code, lines, len(errors)) == (2, [], 1), errors
        assert name in errors[0]
        assert message in errors[0]
        assert not (tmp_path / "b.npy").exists()
