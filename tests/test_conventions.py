"""One test for each line of docs/conventions.md, under the line's name."""

import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.catalogue import Format
from maquette.gaussians.covariance import covariance, face_camera
from maquette.geometry.camera import pixel_centers, pixel_rays, project
from maquette.geometry.directional import confidence_from_concentration, expected_angle
from maquette.geometry.frames import CAMERA_FRAMES, describe
from maquette.geometry.integrate import integrate
from maquette.geometry.maps import depth_to_points, points_to_normals
from maquette.geometry.rotation import smallest_axis
from maquette.geometry.tangent import object_to_tangent, tangent_basis, tangent_to_object
from maquette.io.cameras import read_camera
from maquette.io.height_maps import write_height_map
from maquette.io.images import linear_to_srgb, read_photo, write_exr, write_srgb
from maquette.io.normal_maps import read_normal_map, write_confidence, write_normal_map
from maquette.io.splats.files import read_splat, write_splat
from maquette.methods.relief import heights_px
from maquette.shading.lambert import lambert, light_direction
from maquette.tools.frame_check import CAN_TELL, check_frame
from maquette.types import Camera, Gaussians, NormalMap

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"
TILTED = (0.48, 0.6, 0.64)  # a unit vector with three different parts


def camera(orthographic: bool = False) -> Camera:
    return Camera(8, 6, 4.0, (4.0, 3.0), torch.eye(4), orthographic)


def tilted_map(mask: torch.Tensor | None = None) -> NormalMap:
    mask = torch.ones(16, 16, dtype=torch.bool) if mask is None else mask
    return NormalMap(torch.where(mask[..., None], torch.tensor(TILTED), 0.0), mask)


def hole() -> torch.Tensor:
    mask = torch.ones(16, 16, dtype=torch.bool)
    mask[0, 0] = False
    return mask


def test_every_line_has_its_test_and_every_test_its_line():
    lines = set(re.findall(r"^- \*\*(\w+)\*\*: ", PAGE.read_text(), flags=re.MULTILINE))
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert tests - {"every_line_has_its_test_and_every_test_its_line"} == lines


def test_frame():
    origins, directions = pixel_rays(camera())
    right, up = directions[3, 7] - directions[3, 0], directions[0, 4] - directions[5, 4]
    assert right[0] > 0
    assert up[1] > 0
    towards_viewer = torch.linalg.cross(right, up)
    assert towards_viewer[2] > 0
    assert (origins - directions)[3, 4] @ towards_viewer > 0


def test_wall():
    points = depth_to_points(torch.full((6, 8), 2.0), camera())
    normals, valid = points_to_normals(points, torch.ones(6, 8, dtype=torch.bool))
    assert valid.all()
    assert torch.allclose(normals, torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)


def test_rows(tmp_path):
    codes = np.zeros((16, 20, 3), np.uint8)
    codes[0, 0] = 255
    Image.fromarray(codes).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.rgb.shape == (16, 20, 3)
    assert photo.rgb[0, 0].tolist() == [1, 1, 1]
    top = pixel_rays(camera())[1][0]
    assert (top[:, 1] > 0).all()
    assert (top[:, 0].diff() > 0).all()


def test_pixel_center():
    assert pixel_centers(camera())[0, 0].tolist() == [0.5, 0.5]
    assert pixel_centers(camera())[5, 7].tolist() == [7.5, 5.5]


def test_principal_point():
    for orthographic in (False, True):
        on_axis = project(camera(orthographic), torch.tensor([0.0, 0.0, -3.0]))
        assert on_axis.tolist() == [8 / 2, 6 / 2]
        directions = pixel_rays(camera())[1]
        assert torch.allclose(directions, directions.flip(0, 1) * torch.tensor([-1.0, -1.0, 1.0]))


def test_camera_to_world():
    pose = torch.tensor(  # turned to look along the world's +x, and moved
        [[0.0, 0.0, -1.0, 5.0], [0.0, 1.0, 0.0, 6.0], [1.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]]
    )
    moved = Camera(8, 6, 4.0, (4.0, 3.0), pose)
    assert project(moved, torch.tensor([8.0, 6.0, 7.0])).tolist() == [4, 3]
    origins, directions = pixel_rays(moved)
    assert torch.equal(origins, torch.tensor([5.0, 6.0, 7.0]).expand(6, 8, 3))
    assert directions.mean(dim=(0, 1))[0] > 0.5


def test_focal():
    assert project(camera(), torch.tensor([1.0, 0.0, -1.0])).tolist() == [4 + 4, 3]
    assert project(camera(orthographic=True), torch.tensor([1.0, 0.0, -9.0])).tolist() == [4 + 4, 3]


def test_depth():
    points = depth_to_points(torch.full((6, 8), 2.0), camera())
    assert torch.equal(points[..., 2], torch.full((6, 8), -2.0))
    assert points[0, 0].norm() > 2


def test_linear(tmp_path):
    Image.new("RGB", (16, 16), (128, 128, 128)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").rgb[0, 0, 0].item() == pytest.approx(0.2158605, abs=1e-6)
    assert linear_to_srgb(torch.tensor(0.2158605)).item() == pytest.approx(128 / 255, abs=1e-5)
    write_exr(tmp_path / "a.exr", torch.full((16, 16, 3), 0.5))
    assert read_photo(tmp_path / "a.exr").rgb[0, 0, 0] == 0.5


def test_alpha_mask(tmp_path):
    codes = np.full((16, 16, 4), 255, np.uint8)
    Image.fromarray(codes).save(tmp_path / "opaque.png")
    assert read_photo(tmp_path / "opaque.png").mask is None
    codes[0, 0, 3], codes[0, 1, 3] = 127, 128
    Image.fromarray(codes).save(tmp_path / "cut.png")
    mask = read_photo(tmp_path / "cut.png").mask
    assert mask is not None
    assert mask[0, :2].tolist() == [False, True]


def test_light():
    towards_us = torch.tensor([[[0.0, 0.0, 1.0]]])
    assert lambert(towards_us, torch.tensor([0.0, 0.0, 1.0])).tolist() == [[[1, 1, 1]]]
    assert lambert(towards_us, torch.tensor([0.0, 0.0, -1.0])).tolist() == [[[0, 0, 0]]]
    assert light_direction(20.0, 50.0).norm().item() == pytest.approx(1)


def test_azimuth_elevation():
    for azimuth, elevation, axis in [
        (0.0, 0.0, (1, 0, 0)),
        (90.0, 0.0, (0, 1, 0)),
        (0.0, 90.0, (0, 0, 1)),
    ]:
        assert light_direction(azimuth, elevation).tolist() == pytest.approx(axis, abs=1e-6)


def test_gaussians():
    half = math.radians(30) / 2  # about x, so that z turns towards -y
    rotation = torch.tensor([[math.cos(half), math.sin(half), 0.0, 0.0]])
    scale = torch.tensor([[2.0, 1.0, 0.1]])
    z = torch.tensor([0.0, -math.sin(math.radians(30)), math.cos(math.radians(30))])
    torch.testing.assert_close(covariance(scale, rotation)[0] @ z, 0.01 * z)
    torch.testing.assert_close(covariance(scale, rotation)[0] @ torch.tensor([1.0, 0, 0]), torch.tensor([4.0, 0, 0]))
    torch.testing.assert_close(smallest_axis(scale, rotation)[0], z)
    behind = torch.tensor([[0.0, 0.0, 5.0]])
    torch.testing.assert_close(face_camera(z[None], behind, camera()), -z[None])


def test_no_normal(tmp_path):
    write_normal_map(tmp_path / "a.png", tilted_map(hole()))
    assert read_normal_map(tmp_path / "a.png").normals[0, 0].tolist() == [0, 0, 0]


def test_confidence():
    kappa = torch.tensor([0.5, 3.0, 40.0], dtype=torch.float64)
    confidence = confidence_from_concentration(kappa)
    assert torch.allclose(confidence, torch.exp(-torch.rad2deg(expected_angle(kappa)) / 30))
    assert math.exp(-1) == pytest.approx(0.37, abs=0.005)
    assert confidence_from_concentration(torch.tensor(1e6)).item() == pytest.approx(1, abs=1e-5)


def stored(tmp_path, convention) -> list[float]:
    write_normal_map(tmp_path / "a.npy", tilted_map(), convention, "npy")
    return np.load(tmp_path / "a.npy")[3, 3].tolist()


def test_opengl(tmp_path):
    assert stored(tmp_path, "opengl") == pytest.approx(TILTED)
    write_normal_map(tmp_path / "default.npy", tilted_map(), format="npy")
    assert np.load(tmp_path / "default.npy")[3, 3].tolist() == pytest.approx(TILTED)


def test_directx(tmp_path):
    x, y, z = TILTED
    assert stored(tmp_path, "directx") == pytest.approx((x, -y, z))


def test_opencv(tmp_path):
    x, y, z = TILTED
    assert stored(tmp_path, "opencv") == pytest.approx((x, -y, -z))


def test_dsine(tmp_path):
    assert stored(tmp_path, "dsine") == pytest.approx([-n for n in stored(tmp_path, "opencv")])
    x, y, z = TILTED
    assert stored(tmp_path, "dsine") == pytest.approx((-x, y, z))


def test_hypersim_camera(tmp_path):
    assert stored(tmp_path, "hypersim-camera") == pytest.approx(TILTED)


def test_frames():
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE
    )
    expected = []
    for name, frame in CAMERA_FRAMES.items():
        axes = [axis.split(" ", 1)[1] for axis in describe(frame.matrix).split(", ")]
        expected.append((name, *axes, str(tuple(row[2] for row in frame.matrix)), frame.used_by))
    assert rows == expected


def converted(tmp_path, source, target, *options) -> list[float]:
    write_normal_map(tmp_path / "a.npy", tilted_map(), format="npy")
    arguments = ["-o", str(tmp_path / "b.npy"), "--from", source, "--to", target, *options]
    assert main(["convert", str(tmp_path / "a.npy"), *arguments]) == 0
    return np.load(tmp_path / "b.npy")[3, 3].tolist()


def test_world(tmp_path):
    np.save(tmp_path / "pose.npy", [[0, 0, -1, 5], [0, 1, 0, 6], [1, 0, 0, 7], [0, 0, 0, 1]])  # looks along world's +x
    x, y, z = TILTED
    camera = ("--camera", str(tmp_path / "pose.npy"))
    assert converted(tmp_path, "opengl", "world", *camera) == pytest.approx((-z, y, x))


def floor_basis(mirrored: bool = False) -> torch.Tensor:
    """Of a floor whose u runs along x and v away from the viewer."""
    floor, along_u = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.3, 0.0])
    return tangent_basis(floor, along_u, torch.tensor(mirrored))


def test_tangent():
    t, b, n = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, -1]), torch.tensor([0.0, 1, 0])
    assert torch.allclose(floor_basis(), torch.stack([t, b, n], -1))
    assert torch.allclose(floor_basis(mirrored=True), torch.stack([t, -b, n], -1))
    assert torch.allclose(object_to_tangent(n, floor_basis()), torch.tensor([0.0, 0, 1]))


def test_tangent_directx(tmp_path):
    x, y, z = TILTED
    assert converted(tmp_path, "tangent", "tangent-directx") == pytest.approx((x, -y, z))


def test_object():
    x, y, z = TILTED
    assert tangent_to_object(torch.tensor(TILTED), floor_basis()).tolist() == pytest.approx((x, z, -y))


def test_converted(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    codes[:8, :, :3] = [[[0, 0, 0]], [[128, 128, 128]], [[200, 90, 220]], [[128, 128, 255]]] * 2
    Image.fromarray(codes).save(tmp_path / "a.png")
    for source, target, name in (("a", "b", "directx"), ("b", "c", "opengl")):
        other = "opengl" if name == "directx" else "directx"
        paths = [str(tmp_path / f"{source}.png"), "-o", str(tmp_path / f"{target}.png")]
        assert main(["convert", *paths, "--from", other, "--to", name]) == 0
    there, back = np.asarray(Image.open(tmp_path / "b.png")), np.asarray(Image.open(tmp_path / "c.png"))
    assert np.array_equal(back, codes)
    assert np.array_equal(there[..., 3], codes[..., 3])
    assert np.array_equal(there[[0, 1, 4, 5]], codes[[0, 1, 4, 5]])
    assert (there[2, :, :3] == [200, 255 - 90, 220]).all()


def test_certainty():
    x, y = torch.meshgrid(torch.linspace(-1.1, 1.1, 32), torch.linspace(1.1, -1.1, 32), indexing="xy")
    mask = x * x + y * y < 1
    ball = torch.where(mask[..., None], torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1), 0.0)
    told = check_frame(ball, mask)
    assert (told.best, told.can_tell) == (CAMERA_FRAMES["opengl"].matrix, True)
    open_still = check_frame(tilted_map().normals, tilted_map().mask)
    assert not open_still.can_tell
    assert open_still.certainty < CAN_TELL == 0.9


def test_png(tmp_path):
    formats: list[tuple[Format, int]] = [("png8", 255), ("png16", 65535)]
    for format, largest in formats:
        write_normal_map(tmp_path / "a.png", tilted_map(), "opengl", format)
        codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
        assert codes is not None
        assert codes[3, 3, ::-1].tolist() == [round((n * 0.5 + 0.5) * largest) for n in TILTED]


def test_exr(tmp_path):
    write_normal_map(tmp_path / "a.exr", tilted_map(), "directx", "exr")
    channels = OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True).channels()
    assert sorted(channels) == ["B", "G", "R"]
    assert channels["G"].pixels.dtype == np.float32
    assert channels["G"].pixels[3, 3] == np.float32(-0.6)


def test_npy(tmp_path):
    write_normal_map(tmp_path / "a.npy", tilted_map(), "opengl", "npy")
    array = np.load(tmp_path / "a.npy")
    assert (array.shape, array.dtype) == ((16, 16, 3), np.float32)


def test_outside_the_mask(tmp_path):
    write_normal_map(tmp_path / "a.png", tilted_map(hole()), "opengl", "png8")
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0].tolist() == [128, 128, 255, 0]
    write_normal_map(tmp_path / "a.npy", tilted_map(hole()), "opengl", "npy")
    assert np.load(tmp_path / "a.npy")[0, 0].tolist() == [0, 0, 0]
    write_normal_map(tmp_path / "a.exr", tilted_map(hole()), "opengl", "exr")
    assert OpenEXR.File(str(tmp_path / "a.exr")).channels()["RGB"].pixels[0, 0].tolist() == [0, 0, 0]
    write_normal_map(tmp_path / "a.png", tilted_map(), "opengl", "png8")
    assert Image.open(tmp_path / "a.png").mode == "RGB"


def test_soft_rim(tmp_path):
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:, :4] = True
    alpha = torch.zeros(16, 16)
    alpha[:, :4], alpha[:, 4], alpha[:, 15] = 0.6, 0.4, 0.4
    write_normal_map(tmp_path / "a.png", tilted_map(mask), "opengl", "png8", alpha)
    row = np.asarray(Image.open(tmp_path / "a.png"))[0]
    assert row[:5, 3].tolist() == [153] * 4 + [102]
    assert row[4, :3].tolist() == row[3, :3].tolist() != [128, 128, 255]
    assert row[5].tolist() == row[15].tolist() == [128, 128, 255, 0]
    write_srgb(tmp_path / "b.png", mask[..., None].float().expand(16, 16, 3), mask, alpha)
    row = np.asarray(Image.open(tmp_path / "b.png"))[0]
    assert row[3:6].tolist() == [[255] * 3 + [153], [255] * 3 + [102], [0] * 4]


def test_confidence_file(tmp_path):
    confidence = torch.tensor([[1.0, 0.5], [0.25, 0.0]])
    for format in ("png8", "png16"):
        write_confidence(tmp_path / "a.png", confidence, format)
        codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
        assert codes is not None
        assert codes.dtype == np.uint16
        assert codes.tolist() == [[65535, 32768], [16384, 0]]
    write_confidence(tmp_path / "a.npy", confidence, "npy")
    write_confidence(tmp_path / "a.exr", confidence, "exr")
    assert np.load(tmp_path / "a.npy").tolist() == confidence.tolist()
    assert OpenEXR.File(str(tmp_path / "a.exr")).channels()["Y"].pixels.tolist() == confidence.tolist()


def test_height_file(tmp_path):
    leaning = torch.nn.functional.normalize(torch.tensor([-0.5, 0.0, 1.0], dtype=torch.float64), dim=0)
    mask = hole()
    slope = NormalMap(torch.where(mask[..., None], leaning, 0.0), mask)  # towards the viewer by half a pixel a column
    heights = torch.from_numpy(heights_px(integrate(slope, tolerance=1e-8)))
    columns = torch.arange(16.0, dtype=torch.float64).expand(16, 16)
    offset = (heights - 0.5 * columns)[mask]
    assert float(offset.max() - offset.min()) < 1e-3
    formats: tuple[Format, ...] = ("png8", "png16")
    for format in formats:
        low, high = write_height_map(tmp_path / "a.png", heights, mask, format)
        assert high - low == pytest.approx(7.5, abs=1e-3)
        codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
        assert codes is not None
        assert codes.dtype == np.uint16
        assert codes[8, [0, 7, 15]].tolist() == pytest.approx([0, 65535 * 7 / 15, 65535], abs=20)
        assert codes[0, 0] == 0
        assert codes.max() == 65535
    write_height_map(tmp_path / "a.npy", heights, mask, "npy")
    write_height_map(tmp_path / "a.exr", heights, mask, "exr")
    expected = torch.where(mask, heights, 0).float().numpy()
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)
    assert np.array_equal(OpenEXR.File(str(tmp_path / "a.exr")).channels()["Y"].pixels, expected)


def test_splat_axes(tmp_path):
    made = Gaussians(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.ones(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.ones(1),
        torch.zeros(1, 1, 3),
    )
    for suffix, signs in ((".ply", (1, -1, -1)), (".spz", (1, 1, 1))):
        path = write_splat(tmp_path / f"a{suffix}", made)
        torch.testing.assert_close(read_splat(path).mean, made.mean)
        torch.testing.assert_close(read_splat(path, axes="rub").mean, made.mean * torch.tensor(signs))
    (tmp_path / "a.splat").write_bytes(
        np.array([1, 2, 3, 1, 1, 1], "<f4").tobytes() + bytes([9, 9, 9, 255, 255, 128, 128, 128])
    )
    assert read_splat(tmp_path / "a.splat").mean.tolist() == [[1, -2, -3]]


def test_cameras(tmp_path):
    content = {"w": 8, "h": 6, "fl_x": 4, "camera_model": "PINHOLE", "transform_matrix": torch.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    _, directions = pixel_rays(read_camera(tmp_path / "transforms.json"))
    right_and_up = directions[0, 7]
    assert right_and_up[0] > 0 and right_and_up[1] > 0 and right_and_up[2] < 0


def test_names(tmp_path, monkeypatch, capsys):
    def knowing(photo):
        mask = torch.zeros(photo.rgb.shape[:2], dtype=torch.bool)
        mask[4:, 4:] = True
        normals = torch.where(mask[..., None], torch.tensor(TILTED), 0.0)
        return NormalMap(normals, mask, torch.full(mask.shape, 9.0))

    monkeypatch.setattr("maquette.app.predictors.build_predictor", lambda *_: knowing)
    Image.new("RGB", (16, 16)).save(tmp_path / "cup.jpg")
    for format, suffix in [("png16", "png"), ("exr", "exr"), ("npy", "npy")]:
        out = tmp_path / format
        options = ["--mask", "none", "--confidence", "--height", "--report", "--format", format]
        assert main(["normals", str(tmp_path / "cup.jpg"), "-o", str(out), *options]) == 0
        names = {path.name for path in out.iterdir()}
        maps = {f"cup.{map}.{suffix}" for map in ("normals", "confidence", "height")}
        assert names == maps | {"cup.sheet.png", "cup.report.html"}
    assert np.load(tmp_path / "npy" / "cup.confidence.npy")[0, 0] == 0
