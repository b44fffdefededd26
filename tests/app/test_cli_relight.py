import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.io.normal_maps import write_normal_map
from maquette.types import NormalMap


@pytest.fixture
def hemisphere(tmp_path):
    axis = torch.linspace(-1.1, 1.1, 65)
    x, y = torch.meshgrid(axis, -axis, indexing="xy")
    mask = x**2 + y**2 < 1
    z = (1 - x**2 - y**2).clamp_min(0).sqrt()
    normals = torch.where(mask[..., None], torch.stack([x, y, z], -1), 0.0)
    path = tmp_path / "ball.normals.png"
    write_normal_map(path, NormalMap(normals, mask))
    return path


def relit(tmp_path, *arguments) -> np.ndarray:
    assert main(["relight", *map(str, arguments), "-o", str(tmp_path / "relit.png")]) == 0
    return np.asarray(Image.open(tmp_path / "relit.png")).astype(int)


@pytest.mark.parametrize(("azimuth", "y", "x"), [(0, 32, 58), (90, 6, 32), (180, 32, 6), (270, 58, 32)])
def test_light_comes_from_where_it_was_told_to(hemisphere, tmp_path, azimuth, y, x):
    picture = relit(tmp_path, hemisphere, "--azimuth", azimuth, "--elevation", 10)
    brightest = np.unravel_index(picture[..., 0].argmax(), (65, 65))
    assert np.hypot(brightest[0] - y, brightest[1] - x) < 5
    assert picture[..., 3].min() == 0  # transparent where there is no surface
    assert picture[64 - y, 64 - x, 0] < 0.5 * picture[y, x, 0]


def test_a_directx_map_is_read_as_one(hemisphere, tmp_path):
    plain = relit(tmp_path, hemisphere, "--azimuth", 90)
    flipped = relit(tmp_path, hemisphere, "--azimuth", 270, "--convention", "directx")
    inside = plain[..., 3] > 0
    assert np.abs(plain - flipped)[inside].max() <= 1


def test_a_photo_is_predicted_first_and_keeps_its_colour(tmp_path):
    axis = np.linspace(-1, 1, 64)
    disc = np.add.outer(axis**2, axis**2) < 0.8
    rgba = np.dstack([np.full((64, 64, 3), (200, 60, 30), np.uint8), disc.astype(np.uint8) * 255])
    Image.fromarray(rgba).save(tmp_path / "red.png")
    picture = relit(tmp_path, tmp_path / "red.png", "--method", "inflate", "--azimuth", 0)
    right, left = picture[32, 52], picture[32, 11]
    assert right[0] > 1.5 * left[0]
    assert right[0] > 2.5 * right[1] > 2.5 * right[2]


def test_the_soft_rim_of_a_photo_is_that_of_the_picture(tmp_path):
    """Alpha as it was, and under it the object's colour, not the dark ground's."""
    axis = np.linspace(-1, 1, 64)
    alpha = np.clip((0.8 - np.hypot.outer(axis, axis)) / 0.12 + 0.5, 0, 1)
    codes = np.round(alpha * 255).astype(np.uint8)
    Image.fromarray(np.dstack([np.full((64, 64, 3), 200, np.uint8), codes])).save(tmp_path / "soft.png")
    picture = relit(tmp_path, tmp_path / "soft.png", "--method", "flat", "--elevation", 90)
    assert np.array_equal(picture[..., 3], codes)
    rim = (codes > 0) & (codes < 128)
    assert rim.sum() > 50
    assert np.abs(picture[rim][:, :3] - picture[32, 32, :3]).max() <= 1


def test_npy_and_flagged_maps_are_normals(hemisphere, tmp_path):
    renamed = tmp_path / "map.png"
    renamed.write_bytes(hemisphere.read_bytes())
    expected = relit(tmp_path, hemisphere)
    assert np.array_equal(relit(tmp_path, renamed, "--normals"), expected)


def test_orbit_mp4_has_every_frame_in_turn(hemisphere, tmp_path):
    film = tmp_path / "orbit.mp4"
    assert main(["relight", str(hemisphere), "--orbit", str(film), "--elevation", "15"]) == 0
    reader = cv2.VideoCapture(str(film))
    frames = [frame for ok, frame in iter(reader.read, (False, None)) if ok]
    assert len(frames) == 72
    assert frames[0].shape == (64, 64, 3)  # 65 pixels, made even
    first, quarter = (frame.astype(int).sum(-1) for frame in (frames[0], frames[18]))
    assert first[32, 55] > 2 * first[32, 10]
    assert quarter[10, 32] > 2 * quarter[55, 32]


def test_orbit_gif_repeats(hemisphere, tmp_path):
    assert main(["relight", str(hemisphere), "--orbit", str(tmp_path / "orbit.gif")]) == 0
    film = Image.open(tmp_path / "orbit.gif")
    assert getattr(film, "n_frames", 1) == 72
    assert film.info["loop"] == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write"),
        (["-o", "picture.jpg"], "must end in .png"),
        (["--orbit", "film.avi"], "must end in .mp4 or .gif"),
        (["-o", "a.png", "--azimuth", "north"], "invalid float value: 'north'"),
        (["-o", "a.png", "--azimuth", "nan"], "azimuth"),
        (["-o", "FILE/a.png"], "cannot write"),
        (["--orbit", "FILE/a.mp4"], "cannot write"),
        (["--orbit", "FILE/a.gif"], "cannot write"),
        (["-o", "a.png", "--axes", "rdf"], "--axes rdf: is that of a splat"),
    ],
)
def test_mistakes_are_one_line(hemisphere, tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("in the way")
    before = sorted(tmp_path.iterdir())
    assert main(["relight", str(hemisphere), *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_input_is_never_overwritten(hemisphere, tmp_path, capfd, monkeypatch):
    """By its own name, by another spelling of it, or through a link; as a picture or as a film."""
    monkeypatch.chdir(tmp_path)
    before = hemisphere.read_bytes()
    (tmp_path / "link.png").symlink_to(hemisphere)
    (tmp_path / "film.gif").symlink_to(hemisphere)
    for option, output in (("-o", hemisphere), ("-o", hemisphere.name), ("-o", "link.png"), ("--orbit", "film.gif")):
        assert main(["relight", str(hemisphere), option, str(output)]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err == f"maquette: {option} {output}: is the input itself, which would be lost; give another name\n"
        assert hemisphere.read_bytes() == before


def test_an_input_that_is_not_there(tmp_path, capfd):
    for name in ("a.png", "a.normals.png", "a.npy"):
        assert main(["relight", str(tmp_path / name), "-o", str(tmp_path / "x.png"), "--method", "flat"]) == 2
        assert capfd.readouterr().err == f"maquette: {tmp_path / name}: no such file\n"
