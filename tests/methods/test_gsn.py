"""GSN as a method: what the network is shown, the camera that belongs to it, what is warned of and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.errors import InputError
from maquette.geometry.camera import project
from maquette.geometry.rotation import facing_rotation, smallest_axis
from maquette.io.checkpoints import save_checkpoint
from maquette.io.images import read_photo
from maquette.methods.gsn import GSN, LEAST_OPACITY, confidence_of, in_camera, outward_normals
from maquette.methods.gsn_framing import SIDE_PX, TYPICAL_EXTENT
from maquette.nets.gsn import FOV_DEG, PRESETS, GSNNet, camera_of
from maquette.render.splat.rasterize import rasterize
from maquette.types import Camera, Gaussians

RED = (200, 40, 30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny"
    save_checkpoint(path, PRESETS["tiny"], GSNNet(PRESETS["tiny"]).state_dict(), torch.float32)
    return path


@pytest.fixture(scope="module")
def gsn(folder):
    return GSN.from_pretrained(folder)


@pytest.fixture
def fed(gsn):
    """What reaches the network."""
    seen = []
    hook = gsn.net.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    yield seen
    hook.remove()


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def picture(mask: np.ndarray, ground: int | np.ndarray = 255) -> np.ndarray:
    """A red, unevenly lit object before a grey, or a ground of its own."""
    rows, columns = np.indices(mask.shape)
    shade = 0.75 + 0.25 * np.sin(rows / 9) * np.cos(columns / 7)
    behind = np.broadcast_to(np.asarray(ground, np.uint8).reshape(*np.shape(ground), 1), (*mask.shape, 3))
    return np.where(mask[..., None], (np.array(RED) * shade[..., None]).astype(np.uint8), behind)


@pytest.mark.parametrize("side", [64, 128])
def test_a_framed_picture_on_white_reaches_the_network_bit_for_bit(gsn, fed, tmp_path, side):
    rgb = picture(disc(side, side, side * 0.52, side * 0.47, side * 0.33))
    Image.fromarray(rgb).save(tmp_path / "ball.png")
    of_codes = gsn(rgb)
    of_floats = gsn((rgb / np.float32(255)).astype(np.float64))
    of_file = gsn.splat(read_photo(tmp_path / "ball.png"))
    wanted = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
    assert len(fed) == 3
    assert all(torch.equal(given, wanted) for given in fed)
    for gaussians in (of_floats, of_file.gaussians):
        assert torch.equal(gaussians.mean, of_codes.mean) and torch.equal(gaussians.sh, of_codes.sh)
    assert of_file.warnings == ()
    assert of_file.camera.center_px == (side / 2, side / 2)
    assert of_file.camera.focal_px == pytest.approx(side / 2 / math.tan(math.radians(FOV_DEG / 2)))


def test_an_object_is_cut_out_onto_white_at_the_extent_of_the_training_images(gsn, fed):
    """A 100 x 60 block at the left border of a grey picture: the square leaves the picture."""
    mask = np.zeros((180, 260), bool)
    mask[70:130, 5:105] = True
    rgb = np.full((180, 260, 3), 90, np.uint8)
    rgb[mask] = RED
    gsn(rgb, mask)
    gsn(rgb, mask.astype(np.uint8) * 255)
    gsn(np.dstack([rgb, mask * np.uint8(255)]))
    assert torch.equal(fed[0], fed[1]) and torch.equal(fed[0], fed[2])
    (shown,) = fed[0].permute(0, 2, 3, 1).numpy()
    assert shown.shape == (SIDE_PX, SIDE_PX, 3)
    white = (shown == 1).all(-1)
    rows, columns = np.flatnonzero(~white.all(1)), np.flatnonzero(~white.all(0))
    assert len(columns) == pytest.approx(TYPICAL_EXTENT * SIDE_PX, abs=1.5)
    assert len(rows) == pytest.approx(0.6 * TYPICAL_EXTENT * SIDE_PX, abs=1.5)
    for found in (rows, columns):
        assert found[0] + found[-1] == pytest.approx(SIDE_PX - 1, abs=1)
    inside = shown[rows[2] : rows[-2], columns[2] : columns[-2]]
    assert np.abs(inside - np.array(RED) / 255).max() < 1e-5
    # The rim holds red and white alone: nothing of the grey bleeds in.
    share = (1 - shown) / (1 - np.array(RED) / 255)
    assert np.ptp(share, axis=-1).max() < 1e-4


def test_on_white_what_is_not_white_is_the_object(gsn, fed):
    mask = disc(120, 200, 140, 60, 30)
    rgb = picture(mask)
    gsn(rgb)
    gsn(rgb, mask)
    assert torch.allclose(fed[0], fed[1], atol=1e-6)


def test_a_mask_of_everything_takes_the_picture_as_it_is_made_square_with_white(gsn, fed):
    rgb = picture(disc(80, 120, 20, 30, 15))
    gsn(rgb, np.ones((80, 120), bool))
    given = fed[0][0].permute(1, 2, 0)
    assert given.shape == (120, 120, 3)
    assert torch.equal(given[20:100], torch.from_numpy(rgb.astype(np.float32) / 255))
    assert bool((given[:20] == 1).all()) and bool((given[100:] == 1).all())


def test_a_thread_thinner_than_the_networks_pixels_still_has_a_confidence(gsn):
    mask = np.zeros((900, 900), bool)
    mask[100:800, 450] = True
    shown = gsn.show(picture(mask, 120), mask)
    assert bool(shown.mask.any())
    assert 0 <= gsn.result(shown).confidence < 0.5


@pytest.mark.parametrize("bias", [-30.0, math.nan])
def test_weights_that_make_nothing_are_told_in_one_line(folder, bias):
    """Faint everywhere, or no numbers at all."""
    gsn = GSN.from_pretrained(folder)
    gsn.net.heads["opacity"][-1].bias.fill_(bias)  # pyright: ignore[reportIndexIssue]
    with pytest.raises(InputError, match=r"^the weights make nothing of the picture[^\n]*$"):
        gsn.result(gsn.show(picture(disc(64, 64, 32, 32, 20))))


@pytest.mark.parametrize("center", [(40, 50), (150, 90)])
def test_the_camera_sees_in_the_picture_what_the_networks_camera_sees_in_the_square(gsn, center):
    mask = disc(160, 220, *center, 28)
    shown = gsn.show(picture(mask, 120), mask)
    camera, square = gsn.camera(shown), camera_of(gsn.net.config, SIDE_PX)
    assert (camera.width, camera.height) == (220, 160)
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    in_square = project(square, points) * (shown.window.width / SIDE_PX)
    corner = torch.tensor([shown.window.left, shown.window.top])
    assert torch.allclose(project(camera, points), in_square + corner, atol=1e-3)
    assert torch.allclose(project(camera, torch.zeros(3)), torch.tensor(center, dtype=torch.float32), atol=1)


def test_what_cannot_be_seen_is_dropped_and_nothing_else(folder):
    gsn = GSN.from_pretrained(folder)
    last = gsn.net.heads["opacity"][2]
    with torch.no_grad():
        last.bias[::2] = -9.0
    rgb = picture(disc(64, 64, 32, 32, 20))
    found = gsn(rgb)
    image = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
    whole = gsn.net(image).gaussians(0)
    kept = whole.opacity >= LEAST_OPACITY
    assert 0 < int(kept.sum()) == len(found) < len(whole)
    assert torch.equal(found.mean, whole.mean[kept])
    assert found.encoding == "srgb"
    assert not found.mean.is_inference()  # to be fitted further


CLEAN = disc(96, 96, 48, 48, 28)
TWO = disc(96, 160, 45, 48, 25) | disc(96, 160, 115, 48, 22)
EVEN = np.full((96, 96), 110)
NEARLY_WHITE = np.where(CLEAN[..., None], 251, 255).repeat(3, axis=2).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 160, (96, 96))


@pytest.mark.parametrize(
    ("rgb", "mask", "wanted"),
    [
        (picture(CLEAN), None, []),
        (picture(CLEAN, 110), None, []),
        (picture(CLEAN, 110), CLEAN, []),
        (picture(CLEAN, NOISE), CLEAN, []),
        (picture(TWO), None, ["2 pieces of comparable size"]),
        (picture(TWO, 110), TWO, ["2 pieces of comparable size"]),
        (picture(TWO, 110), None, ["2 objects of comparable size; the largest is taken"]),
        (picture(CLEAN, NOISE), None, ["the background isn't even"]),
        (picture(CLEAN, NOISE), np.ones((96, 96), bool), ["its background isn't white"]),
        (picture(disc(96, 96, 5, 48, 28)), None, ["reaches the picture's border"]),
        (picture(disc(96, 96, 5, 48, 28), 110), None, ["reaches the picture's border"]),
        (picture(disc(96, 96, 5, 48, 28)), disc(96, 96, 5, 48, 28), ["reaches the picture's border"]),
        (picture(disc(96, 96, 48, 48, 6)), None, ["the object is 12 px across"]),
        (np.dstack([np.tile(np.arange(96, dtype=np.uint8), (96, 1))] * 3), None, ["no object stands out"]),
    ],
    ids=[
        "on white", "on grey", "masked", "masked on noise", "two on white", "two masked", "two on grey", "noise",
        "noise as it is", "cut on white", "cut on grey", "cut masked", "small", "nothing",
    ],
)  # fmt: skip
def test_what_speaks_against_a_picture_is_a_plain_line(gsn, rgb, mask, wanted):
    shown = gsn.show(rgb, mask)
    assert len(shown.warnings) == len(wanted)
    for said, part in zip(shown.warnings, wanted, strict=True):
        assert part in said
        assert "\n" not in said
    result = gsn.result(shown)
    assert 0 <= result.confidence <= 1
    assert len(result.gaussians) > 0


@pytest.mark.parametrize(
    ("rgb", "mask", "message"),
    [
        (np.full((64, 64, 3), 255, np.uint8), None, "all of it has one colour"),
        (np.full((64, 64, 3), 120, np.uint8), None, "all of it has one colour"),
        (np.full((64, 64, 3), 120, np.uint8), np.ones((64, 64), bool), "all of it has one colour"),
        (NEARLY_WHITE, None, "all of it is white, or nearly"),
        (NEARLY_WHITE, np.ones((96, 96), bool), "all of it is white, or nearly"),
        (picture(CLEAN), np.zeros((96, 96), bool), "the mask is empty"),
        (picture(CLEAN), disc(96, 96, 48, 48, 2), "the object is 4 px across"),
        (np.zeros((1, 1, 3), np.uint8), None, "is 1x1"),
        (np.zeros((64, 64), np.uint8), None, "(height, width, 3 or 4) is needed"),
        (np.zeros((64, 64, 3), np.int32), None, "uint8, or floats from 0 to 1"),
        (picture(CLEAN).astype(np.float32), None, "display values 0 to 1"),
        (np.full((64, 64, 3), np.nan), None, "are NaN or not from 0 to 1"),
        (picture(CLEAN), CLEAN[:50], "its mask is an array of bool (50, 96)"),
        (picture(CLEAN), CLEAN.astype(float), "its mask is an array of float64"),
    ],
)
def test_what_holds_no_object_is_refused_in_one_line(gsn, rgb, mask, message):
    with pytest.raises(InputError) as caught:
        gsn(rgb, mask)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def ball(count: int = 400, radius: float = 0.3) -> Gaussians:
    """Opaque discs on a sphere, red; their quaternions turn +z, the thin axis, outward or inward by turns."""
    k = torch.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, k * math.pi * (3 - math.sqrt(5))
    across = (1 - z * z).sqrt()
    out = torch.stack([across * angle.cos(), across * angle.sin(), z], -1)
    sides = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0)[:, None]
    spread = 1.2 * radius * math.sqrt(4 * math.pi / count) / 2
    sh = ((torch.tensor(RED) / 255 - 0.5) / 0.28209479177387814).expand(count, 1, 3).contiguous()
    scale = torch.tensor([spread, spread, spread / 10]).expand(count, 3).contiguous()
    return Gaussians(out * radius, scale, facing_rotation(out * sides), torch.full((count,), 0.95), sh, encoding="srgb")


def test_agreement_is_that_of_silhouettes_and_colours(gsn):
    """A splat agrees with its own picture, and with a disc of half the width in a quarter of its area."""
    given = ball()
    seen = rasterize(given, camera_of(gsn.net.config, 128), background=torch.ones(3))
    own = gsn.show((seen.color.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), (seen.alpha > 0.5).numpy())
    # The cut frames it anew; as it was is what the camera saw.
    overlap, psnr = gsn.agreement(_as_seen(own, seen), given)
    assert overlap == 1
    assert psnr > 50
    radius = 128 * 0.3 / math.sqrt(1.3**2 - 0.3**2) / (2 * math.tan(math.radians(FOV_DEG / 2)))
    half = torch.from_numpy(disc(128, 128, 64, 64, radius / 2))
    blue = torch.where(half[..., None], torch.tensor([0.0, 0.0, 1.0]), torch.ones(3))
    overlap, psnr = gsn.agreement(_as_seen(own, seen, blue, half), given)
    assert overlap == pytest.approx(int(half.sum()) / int((seen.alpha > 0.5).sum()))
    assert overlap == pytest.approx(0.25, abs=0.03)  # the discs reach a little beyond the ball
    error = (np.array(RED) / 255 - np.array([0, 0, 1])) ** 2
    assert psnr == pytest.approx(-10 * np.log10(error.mean()), abs=0.1)


def _as_seen(shown, seen, image=None, mask=None):
    image = seen.color.clamp(0, 1) if image is None else image
    mask = seen.alpha > 0.5 if mask is None else mask
    return replace(shown, image=image.permute(2, 0, 1), mask=mask)


def test_normals_point_outward_whatever_side_their_quaternions_name():
    given = ball()
    assert not bool(((smallest_axis(given.scale, given.rotation) * given.mean).sum(-1) > 0).all())
    cosine = (outward_normals(given) * given.mean).sum(-1) / given.mean.norm(dim=-1)
    assert bool((cosine > 0.999).all())


@pytest.mark.parametrize("center", [(110.0, 80.0), (40.0, 130.0)])
def test_a_splat_placed_before_a_real_camera_looks_as_in_the_picture(gsn, center):
    """Its middle is where it was; it is as wide; what faced the picture's camera faces the real one."""
    pose = torch.eye(4)
    pose[2, 3] = 1.3
    seen = Camera(220, 160, 150.0, center, pose)
    real = Camera(220, 160, 400.0, (112.0, 78.0), torch.eye(4))
    depth = 0.75
    given = ball()
    placed = in_camera(given, seen, real, depth)
    middle = placed.mean.mean(0)
    assert middle[2] == pytest.approx(-depth, abs=1e-2)
    assert project(real, middle).tolist() == pytest.approx(center, abs=0.5)
    factor = 150 / 1.3 * depth / 400
    assert torch.allclose(placed.scale, given.scale * factor)
    assert torch.allclose(torch.pdist(placed.mean), torch.pdist(given.mean) * factor, atol=1e-6)
    nearest = placed.mean[given.mean[:, 2].argmax()] - middle
    ray = torch.tensor([(center[0] - 112) / 400, -(center[1] - 78) / 400, -1.0])
    assert torch.cosine_similarity(nearest, -ray, dim=0) > 0.995
    # The Gaussians turned with their places.
    turned = smallest_axis(placed.scale, placed.rotation)
    assert ((turned * (placed.mean - middle)).sum(-1).abs() / (0.3 * factor)).min() > 0.99


@pytest.mark.parametrize("depth", [0.0, -1.0, math.nan, math.inf])
def test_no_depth_and_no_pinhole_is_refused(depth):
    seen = Camera(64, 64, 60.0, (32.0, 32.0), torch.eye(4))
    with pytest.raises(InputError, match="a depth of"):
        in_camera(ball(8), seen, seen, depth)
    for other in (
        Camera(32, 64, 60.0, (32.0, 32.0), torch.eye(4)),
        Camera(64, 64, 1.0, (32.0, 32.0), torch.eye(4), True),
    ):
        with pytest.raises(InputError, match="the real camera is"):
            in_camera(ball(8), seen, other, 1.0)


def test_confidence_grows_with_agreement_from_0_to_1():
    values = [
        [confidence_of(overlap, psnr) for psnr in (0.0, 10.0, 15.0, 20.0, 25.0, 60.0)]
        for overlap in (0.0, 0.3, 0.7, 0.9, 1.0)
    ]
    found = np.array(values)
    assert found.min() >= 0 and found.max() <= 1
    assert (np.diff(found, axis=0) >= 0).all() and (np.diff(found, axis=1) >= 0).all()
    assert found[0, 0] == 0
    assert found[-1, 3] == pytest.approx(0.9)  # all of the silhouette, at 20 dB: colours are off by a tenth
    assert found[-1, -1] == pytest.approx(0.999)
