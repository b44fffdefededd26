"""Photometric stereo of rendered balls, lights told by balls, and the real sets where they are there."""

import math

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.io.images import read_mask
from maquette.methods.photometric import (
    Circle,
    circle_of_mask,
    lights_from_sphere,
    mean_photo,
    photometric_stereo,
    read_circle,
    sphere_normals,
)
from maquette.metrics import angle_between_deg
from maquette.types import Lights, Photo

SIZE = 96
CIRCLE = Circle(45.0, 50.0, 40.0)
COLOUR = torch.tensor([0.9, 0.6, 0.3])


def directions(count: int = 8, elevation_deg: float = 55.0) -> torch.Tensor:
    azimuth = torch.arange(count) * 2 * math.pi / count + 0.3
    across, up = math.cos(math.radians(elevation_deg)), math.sin(math.radians(elevation_deg))
    return torch.stack([across * azimuth.cos(), across * azimuth.sin(), torch.full((count,), up)], dim=-1)


def ball() -> tuple[torch.Tensor, torch.Tensor]:
    """Mask and normals of the ball in `CIRCLE`."""
    inside, normals = sphere_normals(CIRCLE, Photo(torch.zeros(SIZE, SIZE, 3)))
    full = torch.zeros(SIZE, SIZE, 3)
    full[inside] = normals.float()
    return inside, full


def shot(light: torch.Tensor, intensity: torch.Tensor, name: str = "shot") -> Photo:
    _, normals = ball()
    return Photo((normals @ light).clamp_min(0)[..., None] * COLOUR * intensity, name=name)


@pytest.fixture(scope="module")
def lights():
    strengths = torch.linspace(0.5, 2.0, 24).reshape(8, 3)
    return Lights(directions(), strengths)


@pytest.fixture(scope="module")
def photos(lights):
    pairs = zip(lights.directions, lights.intensities, strict=True)
    return [shot(light, strength, f"{k}.png") for k, (light, strength) in enumerate(pairs)]


def test_a_rendered_ball_comes_back_with_its_colour(photos, lights):
    inside, normals = ball()
    result = photometric_stereo(iter(photos), lights, inside)
    lit = inside & (normals[..., 2] > 0.2)  # every normal there has three lights
    assert float(angle_between_deg(result.normal_map.normals, normals)[lit].max()) < 1e-3
    # The rim has fewer lights in the frames that are bright enough to start from; most of it is exact too.
    assert float(angle_between_deg(result.normal_map.normals, normals)[inside].mean()) < 0.01
    assert torch.equal(result.normal_map.mask, inside)
    assert torch.count_nonzero(result.normal_map.normals[~inside]) == 0
    mean = result.albedo[lit].mean(dim=-1)
    assert torch.allclose(mean, COLOUR.mean().expand_as(mean), atol=1e-3)
    assert torch.allclose(result.albedo[48, 45] / result.albedo[48, 45].sum(), COLOUR / COLOUR.sum(), atol=1e-3)
    assert result.normal_map.concentration is not None
    assert float(result.normal_map.concentration[lit].min()) > 50
    assert torch.count_nonzero(result.normal_map.concentration[~inside]) == 0


def test_concentration_is_the_inverse_of_the_expected_angle():
    angle = torch.linspace(0.001, 1.55, 200, dtype=torch.float64)
    assert torch.allclose(expected_angle(concentration_from_angle(angle, 2e-4)), angle, rtol=1e-3, atol=1e-4)
    assert float(concentration_from_angle(torch.tensor(math.pi / 2))) < 0.02


def test_mean_photo_by_hand():
    lights = Lights(directions(2), torch.tensor([[1.0, 1, 1], [2, 4, 8]]))
    photos = [Photo(torch.full((2, 2, 3), 1.0), name="first"), Photo(torch.full((2, 2, 3), 8.0))]
    mean = mean_photo(photos, lights)
    assert mean.rgb[0, 0].tolist() == [2.5, 1.5, 1.0]
    assert mean.name == "first"
    assert mean_photo(photos).rgb[0, 0].tolist() == [4.5] * 3


def test_a_matte_ball_tells_its_lights(photos, lights):
    grey = lights.intensities @ COLOUR / COLOUR.sum()
    found = lights_from_sphere(iter(photos), "matte", CIRCLE)
    assert float(angle_between_deg(found.directions, lights.directions).max()) < 0.01
    assert torch.allclose(found.intensities[:, 0], grey / grey.mean(), rtol=1e-3)


def test_a_chrome_ball_tells_its_lights(lights):
    _, normals = ball()
    photos = []
    for light in lights.directions:
        mirrored = 2 * normals[..., 2:] * normals - torch.tensor([0.0, 0.0, 1.0])
        glint = torch.exp((mirrored @ light - 1) * 400)
        photos.append(Photo((0.05 + 4 * glint).clamp_max(1)[..., None].expand(-1, -1, 3)))
    found = lights_from_sphere(photos, "chrome", CIRCLE)
    assert float(angle_between_deg(found.directions, lights.directions).max()) < 1.0
    assert torch.equal(found.intensities, torch.ones(8, 3))


def test_circles(tmp_path):
    inside, _ = ball()
    circle = circle_of_mask(inside)
    assert (circle.x_px, circle.y_px) == pytest.approx((45, 50), abs=1e-6)
    assert circle.radius_px == pytest.approx(40, abs=0.05)
    assert read_circle("45,50.5,40") == Circle(45.0, 50.5, 40.0)
    square = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    with pytest.raises(InputError, match="is empty"):
        circle_of_mask(square)
    square[10:60, 10:60] = True
    with pytest.raises(InputError, match="doesn't show one whole disc"):
        circle_of_mask(square)
    for text in ("1,2,x", "1,2,nan"):
        with pytest.raises(InputError, match="is no circle"):
            read_circle(text)
    with pytest.raises(InputError, match="no such file"):
        read_circle(str(tmp_path / "ball.png"))


def test_balls_that_tell_nothing(photos):
    with pytest.raises(InputError, match="no highlight in the chrome ball"):
        lights_from_sphere([Photo(torch.full((SIZE, SIZE, 3), 0.3), name="dull.png")], "chrome", CIRCLE)
    with pytest.raises(InputError, match=r"dark.png: the ball is black"):
        lights_from_sphere([Photo(torch.zeros(SIZE, SIZE, 3), name="dark.png")], "matte", CIRCLE)
    spots = torch.full((SIZE, SIZE, 3), 0.1)
    spots[50, 30] = spots[50, 60] = 1.0
    with pytest.raises(InputError, match="bright spots far apart"):
        lights_from_sphere([Photo(spots)], "chrome", CIRCLE)
    rim = torch.full((SIZE, SIZE, 3), 0.1)
    rim[50, 80] = 1.0
    with pytest.raises(InputError, match="from behind the ball"):
        lights_from_sphere([Photo(rim)], "chrome", CIRCLE)
    with pytest.raises(InputError, match=r"circle 45,50,60 must lie in 0.png \(96x96\)"):
        lights_from_sphere(photos, "matte", Circle(45.0, 50.0, 60.0))


def test_wrong_photos_and_masks(photos, lights):
    inside, _ = ball()
    small = Photo(torch.zeros(40, 50, 3), name="small.png")
    with pytest.raises(InputError, match=r"small.png: is 50x40, 0.png 96x96; photos of one view have one size"):
        photometric_stereo([*photos[:-1], small], lights, inside)
    with pytest.raises(InputError, match="holds 8 lights for 7 photos"):
        photometric_stereo(photos[:-1], lights, inside)
    with pytest.raises(InputError, match="holds 8 lights for 9 photos"):
        photometric_stereo([*photos, photos[0]], lights, inside)
    with pytest.raises(InputError, match="the mask is empty"):
        photometric_stereo(photos, lights, torch.zeros_like(inside))
    with pytest.raises(InputError, match=r"0.png: is 96x96, the mask 50x40"):
        photometric_stereo(photos, lights, torch.ones(40, 50, dtype=torch.bool))
    with pytest.raises(InputError, match="every photo is black"):
        photometric_stereo([Photo(0 * photo.rgb) for photo in photos], lights, inside)
    broken = photos[3].rgb.clone()
    broken[50, 45] = math.nan
    with pytest.raises(InputError, match=r"3.png: holds NaN or infinity"):
        photometric_stereo([*photos[:3], Photo(broken, name="3.png"), *photos[4:]], lights, inside)
    flat = Lights(torch.tensor([[0.6, 0, 0.8], [0, 0, 1], [-0.6, 0, 0.8]]), torch.ones(3, 3), "flat.txt")
    with pytest.raises(InputError, match=r"flat.txt: its 3 lights lie in one plane \(rank 2\)"):
        photometric_stereo(photos[:3], flat, inside)


def test_grey_sphere_against_its_analytic_normals(load_benchmark, shared_data):
    folder = shared_data("photometric/gray")
    found = load_benchmark("photometric_solver").grey_sphere(folder.parents[1], "linear")
    assert found["robust"] < 5
    assert found["robust"] < found["paper"] < found["least-squares"]
    circle = circle_of_mask(read_mask(folder / "gray.mask.png"))
    assert 100 < circle.radius_px < 120


def test_diligent_ball(load_benchmark, shared_data):
    folder = shared_data("diligent/ballPNG")
    found = load_benchmark("photometric_solver").diligent(folder.parents[1], "ball", 10)
    assert found["least-squares"] == pytest.approx(4.29, abs=0.05)
    assert found["robust"] < 0.7 * found["paper"]
