"""GSN's network: it starts as the cube, its splats are sound whatever its weights, its camera is the data's."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.rotation import quaternion_to_matrix
from maquette.nets.gsn import PRESETS, GSNConfig, GSNNet, Splats, camera_of, canonical_cube
from maquette.render.gbuffer import Solid
from maquette.render.splat.rasterize import rasterize
from maquette.synth.datasets.multiview.cameras import (
    FOCAL_OF_WIDTH,
    RADIUS,
    intrinsics_text,
    look_at_origin,
    spiral_places,
)
from maquette.synth.datasets.multiview.making import TO_WORLD, draw, place_thing
from maquette.synth.solids.categories import sample_thing
from maquette.synth.solids.shapes import grid_mesh
from maquette.types import Gaussians

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PRESETS["tiny"]


def made(seed: int = 0, config: GSNConfig = TINY) -> GSNNet:
    torch.manual_seed(seed)
    return GSNNet(config)


def images(n: int = 2, side: int = 32, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [1, 4, 5])
def test_the_cube_is_a_centred_lattice_that_fills_the_unit_cube(side):
    """A Gaussian in the middle of each cell, its standard deviation half the spacing; slots run along x, y, z."""
    config = replace(TINY, side=side)
    cube = canonical_cube(config)
    assert len(cube) == config.count == side**3
    assert config.spacing == 1 / side
    torch.testing.assert_close(cube.mean.mean(0), torch.zeros(3))
    torch.testing.assert_close(cube.mean.amax(0), torch.full((3,), 0.5 - config.spacing / 2))
    torch.testing.assert_close(-cube.mean.amin(0), cube.mean.amax(0))
    lattice = cube.mean.reshape(side, side, side, 3)
    for axis in range(3):
        steps = lattice.diff(dim=axis)
        wanted = config.spacing * torch.eye(3)[axis].expand_as(steps)
        torch.testing.assert_close(steps, wanted)
    assert bool((cube.scale == config.spacing / 2).all())
    assert quaternion_to_matrix(cube.rotation).equal(torch.eye(3).expand(len(cube), 3, 3))
    assert cube.encoding == "srgb"


@torch.no_grad()
def test_before_any_training_a_splat_is_the_cube_but_for_a_little():
    """Each Gaussian within its cell, hardly stretched, turned or coloured."""
    for config in (TINY, replace(TINY, side=8, width=64)):
        splats, cube = made(config=config)(images()), canonical_cube(config)
        assert float((splats.mean - cube.mean).abs().max()) < 0.5 * config.spacing
        assert float((splats.log_scale.exp() / cube.scale).log().abs().max()) < 0.2
        assert float(splats.rotation[..., 0].min()) > math.cos(math.radians(10))
        assert float((splats.color - 0.5).abs().max()) < 0.05
        assert float((splats.opacity - cube.opacity).abs().max()) < 0.04
        assert not torch.equal(splats.mean[0], splats.mean[1])  # it looks at the image


@torch.no_grad()
def test_heads_that_say_nothing_give_the_cube_itself_and_without_it_the_origin():
    for config in (TINY, replace(TINY, cube=False)):
        net = made(config=config)
        for head in net.heads.values():
            last = head[-1]  # pyright: ignore[reportIndexIssue]
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
        found, cube = net(images()).gaussians(0), canonical_cube(config)
        torch.testing.assert_close(found.mean, cube.mean if config.cube else torch.zeros_like(cube.mean))
        for name in ("scale", "rotation", "opacity", "sh"):
            torch.testing.assert_close(getattr(found, name), getattr(cube, name))


@torch.no_grad()
@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_splats_are_sound_whatever_the_weights(factor):
    """Unit quaternions, scales within `most_scale` of the cube's, colours and opacities in 0..1; they can be drawn."""
    net = made().train()
    for parameter in net.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter)))
        parameter *= factor
    splats = net(images(3))
    n = TINY.count
    shapes = {"mean": (3, n, 3), "log_scale": (3, n, 3), "rotation": (3, n, 4), "color": (3, n, 3), "opacity": (3, n)}
    assert {name: tuple(value.shape) for name, value in vars(splats).items()} == shapes
    assert all(bool(torch.isfinite(value).all()) for value in vars(splats).values())
    torch.testing.assert_close(splats.rotation.norm(dim=-1), torch.ones(3, n))
    base, most = math.log(TINY.spacing / 2), math.log(TINY.most_scale)
    assert float((splats.log_scale - base).abs().max()) <= most + 1e-5
    assert (float((splats.log_scale - base).abs().max()) > 0.99 * most) == (factor > 1)  # large weights reach the bound
    for shares in (splats.color, splats.opacity):
        assert float(shares.min()) >= 0 and float(shares.max()) <= 1
    picture = rasterize(splats.gaussians(1), camera_of(TINY, 32))
    assert bool(torch.isfinite(picture.color).all())


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY, replace(TINY, hidden=(16, 32, 32, 64))])
def test_images_of_a_batch_do_not_see_each_other_not_even_in_training(config):
    """Whichever images stand beside it, now or before, an image has its splat."""
    net, batch = made(config=config).train(), images(4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    whole = net(batch)
    for index in range(4):
        alone = net(batch[index : index + 1])
        for name, value in vars(whole).items():
            torch.testing.assert_close(getattr(alone, name)[0], value[index], atol=1e-5, rtol=1e-5)
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert net.eval()(batch).mean.equal(whole.mean)
    assert len(whole[1:3]) == 2
    assert whole[1:3].mean.equal(whole.mean[1:3])
    assert not torch.allclose(whole.mean[0], whole.mean[1], atol=1e-4)


@torch.no_grad()
def test_images_of_any_size_are_resampled_and_flat_ones_are_the_same_at_any():
    net = made().eval()
    grey = torch.full((1, 3, 32, 32), 0.7)
    torch.testing.assert_close(net(grey).mean, net(torch.full((1, 3, 80, 80), 0.7)).mean)
    large = images(1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert not torch.equal(net(large).mean, net(grey).mean)


def test_every_parameter_learns():
    net = made().train()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter)))
    splats, rng = net(images(4)), torch.Generator().manual_seed(2)
    sum((value * torch.randn(value.shape, generator=rng)).sum() for value in vars(splats).values()).backward()
    dead = {name for name, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0}
    assert dead == set()


@pytest.mark.parametrize(
    ("name", "million", "heads_million"), [("small", 10.83, 9.23), ("paper", 60.22, 35.44), ("tiny", 0.039, 0.032)]
)
def test_parameters_are_as_many_as_the_formula_says(name, million, heads_million):
    """Five heads of two layers; and what one layer to all parameters would have, which is why there are two."""
    config = PRESETS[name]
    with torch.device("meta"):
        net = GSNNet(config)
    heads = sum((config.latent + 1) * config.width + (config.width + 1) * config.count * k for k in (3, 3, 4, 3, 1))
    squeeze = sum(p.numel() for p in net.squeeze.parameters())
    body = sum(p.numel() for p in net.body.parameters())
    assert sum(p.numel() for p in net.heads.parameters()) == heads == pytest.approx(heads_million * 1e6, rel=0.01)
    assert sum(p.numel() for p in net.parameters()) == body + squeeze + heads == pytest.approx(million * 1e6, rel=0.01)
    if name != "tiny":
        assert config.latent == 2352 == 48 * 7 * 7
    if name == "paper":
        assert body == 23_508_032  # ResNet-50 without its classifier
        assert config.latent * config.count * 14 == pytest.approx(135e6, rel=0.01)


@torch.no_grad()
def test_the_latent_is_as_long_as_the_configuration_says_and_tells_the_image_s_colours():
    """Norms take an image's brightness away; the latent has it all the same."""
    net, image = made(), images(3)
    latent = net.latent(image)
    assert latent.shape == (3, TINY.latent)
    darker = net.latent(image / 2)
    assert float((darker - latent).norm() / latent.norm()) > 0.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size_px": 100}, "size_px is 100; it must be a multiple of 32"),
        ({"size_px": 0}, "size_px is 0"),
        ({"hidden": (8, 8)}, "four stages"),
        ({"depths": (1, 1, 1)}, "four stages"),
        ({"side": 0}, "must be positive"),
        ({"depths": (1, 1, 0, 1)}, "must be positive"),
        ({"distance": 0.5}, "distance is 0.5"),
        ({"distance": math.nan}, "distance is nan"),
        ({"most_scale": 1.0}, "most_scale 1.0"),
        ({"latent_channels": 3}, "latent_channels is 3; more than 3"),
    ],
)
def test_a_wrong_configuration_is_one_line(changes, said):
    with pytest.raises(InputError, match=rf"^[^\n]*{said}[^\n]*$"):
        replace(TINY, **changes)


def test_its_camera_is_the_data_s():
    """128 pixels, focal length 131.25, from 1.3; the eye on the axis z, the axes the world's."""
    camera = camera_of(PRESETS["paper"], 128)
    focal, x, y, _ = map(float, intrinsics_text(128).splitlines()[0].split())
    assert camera.focal_px == pytest.approx(focal, abs=1e-9) == pytest.approx(131.25, abs=1e-9)
    assert camera.center_px == (x, y)
    assert (camera.width, camera.height, camera.orthographic) == (128, 128, False)
    assert camera.camera_to_world.tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, pytest.approx(RADIUS)],
        [0, 0, 0, 1],
    ]
    for size in (32, 224):
        assert camera_of(TINY, size).focal_px == pytest.approx(FOCAL_OF_WIDTH * size)


@pytest.mark.parametrize("category", ["cup", "chair"])
def test_an_object_s_points_in_the_axes_of_its_photo_cover_its_mask(category):
    """Gaussians on its surface, seen by `camera_of`, fall where the drawn photo has the object, and all over it."""
    side = 64
    placed = place_thing(sample_thing(category, np.random.default_rng(5)), 64)
    pose = look_at_origin(spiral_places(9, RADIUS))[3]
    _, _, coverage = draw(placed, pose, side)
    assert isinstance(placed.tracer, Solid)
    points, _ = grid_mesh(placed.tracer.grid)
    world = placed.scale * (points - placed.middle) @ TO_WORLD.T
    mean = torch.from_numpy(world @ pose[:3, :3]).float()
    n = len(mean)
    quaternions = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(n, 4)
    splat = Gaussians(mean, torch.full((n, 3), 1e-3), quaternions, torch.full((n,), 0.5), torch.zeros(n, 1, 3))
    x, y = rasterize(splat, camera_of(PRESETS["small"], side)).mean_px.floor().int().numpy().T
    found, true = np.zeros((side, side), bool), coverage > 127
    found[y, x] = True

    def overlap(one: np.ndarray, other: np.ndarray) -> float:
        return (one & other).sum() / (one | other).sum()

    grown = cv2.dilate(coverage, np.ones((3, 3), np.uint8)) > 0
    assert overlap(found & grown, found) == 1  # nothing falls beside it
    assert overlap(found & true, true) > 0.98
    assert overlap(found, true) > 0.85  # pixels that are covered by less than half are found, too
    assert overlap(found[:, ::-1], true) < 0.75


def test_a_splat_keeps_its_numbers_as_gaussians():
    rng = torch.Generator().manual_seed(0)
    splats = Splats(
        torch.randn(2, 5, 3, generator=rng),
        torch.randn(2, 5, 3, generator=rng),
        torch.randn(2, 5, 4, generator=rng),
        torch.rand(2, 5, 3, generator=rng),
        torch.rand(2, 5, generator=rng),
    )
    one = splats.gaussians(1)
    torch.testing.assert_close(one.scale.log(), splats.log_scale[1])
    torch.testing.assert_close(0.5 + 0.28209479177387814 * one.sh[:, 0], splats.color[1])
    assert (one.encoding, one.mean.equal(splats.mean[1]), one.opacity.equal(splats.opacity[1])) == ("srgb", True, True)
