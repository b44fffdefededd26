"""Batches for GSN: cameras about the first view, what is shrunk, what turning an image turns, what is refused."""

import math
import shutil

import numpy as np
import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.camera import project
from maquette.nets.gsn import PRESETS, Splats, camera_of
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.train.gsn.data import ViewBatch, ViewCache, distance_of, draw_batch, turned_images, views_of
from maquette.train.gsn.loss import cloud, rendered

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def train(tiny_views) -> ViewsDataset:
    return ViewsDataset(tiny_views, split="train")


@pytest.fixture(scope="module")
def published(write_srn, tmp_path_factory):
    """Two objects as ShapeNet-SRN has them: a dark square on white."""
    folder = tmp_path_factory.mktemp("srn") / "cars_train"
    image = np.full((16, 16, 3), 255, np.uint8)
    image[4:12, 5:11] = (10, 20, 200)
    for name in ("a", "b"):
        write_srn(folder / name, image, [2 * np.pi * view / 4 for view in range(4)])
    return folder.parent


def splat(seed: int = 0, n: int = 30) -> Splats:
    """Of no symmetry, off the middle, within the picture's disc however it is turned."""
    rng = torch.Generator().manual_seed(seed)
    mean = torch.rand(1, n, 3, generator=rng) * 0.5 - 0.25 + torch.tensor([0.1, 0.0, 0.0])
    return Splats(
        mean,
        (torch.rand(1, n, 3, generator=rng) * 0.05 + 0.01).log(),
        torch.nn.functional.normalize(torch.randn(1, n, 4, generator=rng), dim=-1),
        torch.rand(1, n, 3, generator=rng),
        torch.rand(1, n, generator=rng) * 0.8 + 0.1,
    )


def turned_splat(splats: Splats, angle: float) -> Splats:
    turn = torch.tensor([math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)])
    return Splats(*(value[None] for value in cloud(splats, 0).turned(turn)))


def same(one: ViewBatch, other: ViewBatch) -> bool:
    assert one.mask is not None and other.mask is not None and one.normals is not None and other.normals is not None
    poses = [
        torch.stack([camera.camera_to_world for views in batch.cameras for camera in views]) for batch in (one, other)
    ]
    return all(
        a.equal(b) for a, b in ((one.rgb, other.rgb), (one.mask, other.mask), (one.normals, other.normals))
    ) and (poses[0].equal(poses[1]))


def test_cameras_see_the_turned_world_as_they_saw_the_world(train):
    """Known points fall on the same pixels, and view 0's camera is the network's own."""
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    for index, chosen in ((0, [3, 0, 4]), (2, [1, 2])):
        seen = train.object(index)
        rgb, cameras, _, _ = views_of(ViewCache(train).stored(index), chosen, 32)
        turned = points @ seen.camera_to_world[chosen[0], :3, :3]  # R^T x, for rows
        for camera, view in zip(cameras, chosen, strict=True):
            torch.testing.assert_close(project(camera, turned), project(seen.camera(view), points), atol=1e-3, rtol=0)
        wanted = camera_of(PRESETS["tiny"], 32)
        assert (cameras[0].width, cameras[0].height, cameras[0].center_px) == (32, 32, wanted.center_px)
        assert cameras[0].focal_px == pytest.approx(wanted.focal_px, abs=1e-4)
        torch.testing.assert_close(cameras[0].camera_to_world, wanted.camera_to_world, atol=1e-5, rtol=0)
        assert len(rgb) == len(chosen)


def test_views_are_shrunk_by_averaging_and_their_cameras_with_them(train):
    seen, chosen = train.object(1), [2, 0]
    assert seen.mask is not None
    rgb, cameras, mask, normals = views_of(ViewCache(train).stored(1), chosen, 16)
    blocks = seen.rgb[chosen].unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    torch.testing.assert_close(rgb, blocks, atol=1e-6, rtol=0)
    assert mask is not None and normals is not None
    torch.testing.assert_close(mask, seen.mask[chosen].unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5)))
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    _, whole, _, _ = views_of(ViewCache(train).stored(1), chosen, 32)
    for small, large in zip(cameras, whole, strict=True):
        torch.testing.assert_close(project(small, points), project(large, points) / 2, atol=1e-4, rtol=0)
    assert normals.shape == (2, 3, 16, 16)


def test_normals_are_unit_or_nothing_and_as_read_but_for_their_bytes(train):
    """Also where four are averaged: none, or of length one."""
    cache = ViewCache(train)
    for index in range(len(train)):
        read = train.object(index).normals
        assert read is not None
        views = list(range(len(read)))
        _, _, _, normals = views_of(cache.stored(index), views, 32)
        assert normals is not None
        there = read.norm(dim=1) > 0.5
        assert there.equal(normals.norm(dim=1) > 0)
        torch.testing.assert_close(normals.norm(dim=1), there.float(), atol=1e-5, rtol=0)
        sine = torch.linalg.cross(read, normals, dim=1).norm(dim=1)[there]
        assert float(torch.rad2deg(sine.asin()).max()) < 0.5
        assert bool(((read * normals).sum(1)[there] > 0).all())
        _, _, _, shrunk = views_of(cache.stored(index), views, 16)
        assert shrunk is not None
        length = shrunk.norm(dim=1)
        assert bool(((length == 0) | ((length - 1).abs() < 1e-5)).all())
        assert 0 < int((length > 0).sum()) < length.numel()


def test_a_batch_follows_from_seed_and_step_alone(train):
    """Not from what was drawn before, nor from what is kept in memory; its views of an object all differ."""
    cache, forgetful = ViewCache(train), ViewCache(train, most_bytes=0)
    drawn = [draw_batch(cache, 5, step, 3, 4, 32) for step in range(3)]
    assert same(draw_batch(forgetful, 5, 2, 3, 4, 32), drawn[2])
    assert same(draw_batch(cache, 5, 0, 3, 4, 32), drawn[0])
    assert not same(drawn[0], drawn[1])
    assert not same(draw_batch(cache, 6, 0, 3, 4, 32), drawn[0])
    batch = drawn[0]
    assert batch.rgb.shape == (3, 4, 3, 32, 32)
    assert [len(views) for views in batch.cameras] == [4, 4, 4]
    for views in batch.cameras:
        places = torch.stack([camera.camera_to_world[:3, 3] for camera in views])
        torch.testing.assert_close(places.norm(dim=1), torch.full((4,), 1.3), atol=1e-4, rtol=0)
        assert float(torch.pdist(places).min()) > 0.01
    firsts = {
        tuple(draw_batch(cache, 5, step, 1, 1, 32).rgb.flatten()[::97].tolist()) for step in range(40)
    }  # 4 objects of 5 views: nearly all are shown at some step
    assert len(firsts) > 12


def test_only_so_many_bytes_are_kept(train):
    one = sum(v.nbytes for v in vars(ViewCache(train).stored(0)).values() if isinstance(v, torch.Tensor))
    cache = ViewCache(train, most_bytes=one + 10)
    first = cache.stored(0)
    assert cache.stored(0) is first
    assert cache.stored(1) is not cache.stored(1)
    assert len(cache) == len(train) == 4


def test_the_published_layout_has_colours_and_cameras_alone(published):
    data = ViewsDataset(published)
    assert distance_of(data) == pytest.approx(2.0)
    batch = draw_batch(ViewCache(data), 0, 0, 2, 3, 8)
    assert (batch.mask, batch.normals) == (None, None)
    assert batch.rgb.shape == (2, 3, 3, 8, 8)
    torch.testing.assert_close(batch.rgb[0, 0, :, 4, 4], torch.tensor([200, 20, 10]) / 255)
    for camera in (views[0] for views in batch.cameras):
        torch.testing.assert_close(camera.camera_to_world[:3, 3], torch.tensor([0.0, 0, 2]), atol=1e-5, rtol=0)


def test_what_does_not_fit_is_one_line(train, published, tmp_path):
    with pytest.raises(InputError, match=r"^[^\n]*has 5 views; a step needs 6$"):
        draw_batch(ViewCache(train), 0, 0, 1, 6, 32)
    for size in (24, 64):
        with pytest.raises(InputError, match=rf"^views of 32x32 px; [^\n]*a multiple of the phase's {size}$"):
            draw_batch(ViewCache(train), 0, 0, 1, 2, size)
    pose = published / "cars_train" / "a" / "pose" / "000001.txt"
    before = pose.read_text()
    for wrong in (
        before.replace("-2.0", "-3.0").replace("2.0", "3.0"),  # from further away
        " ".join(map(str, np.array([1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1.0]))),  # looks past the origin
    ):
        assert wrong != before
        pose.write_text(wrong)
        with pytest.raises(InputError, match=r"^[^\n]*cars_train/a: its cameras don't look at the origin[^\n]*$"):
            distance_of(ViewsDataset(published))
        pose.write_text(before)
    vans = published / "vans_train" / "c"  # every category is looked at
    shutil.copytree(published / "cars_train" / "a", vans)
    assert distance_of(ViewsDataset(published)) == pytest.approx(2.0)
    (vans / "pose" / "000001.txt").write_text(before.replace("-2.0", "-3.0").replace("2.0", "3.0"))
    with pytest.raises(InputError, match=r"^[^\n]*vans_train/c: [^\n]*one distance \(2.00, the mean of those of a\)"):
        distance_of(ViewsDataset(published))
    shutil.rmtree(vans.parent)
    assert distance_of(ViewsDataset(published)) == pytest.approx(2.0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_of_an_image_is_rot90(quarters):
    """Counter-clockwise, exactly, within the largest disc; white outside of it."""
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = turned_images(images, torch.full((2,), quarters * math.pi / 2))
    line = (torch.arange(32) + 0.5) / 16 - 1
    disc = line[:, None] ** 2 + line**2 <= 1
    torch.testing.assert_close(found[..., disc], images.rot90(quarters, (2, 3))[..., disc], atol=1e-4, rtol=0)
    assert bool((found[..., ~disc] == 1).all())
    assert 0.75 < float(disc.float().mean()) < 0.8  # pi / 4


def test_no_turn_is_the_image_and_each_is_turned_by_its_own_angle():
    images = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1, -1)
    found = turned_images(images, torch.tensor([0.0, math.pi / 2, 2 * math.pi]))
    line = (torch.arange(33) + 0.5) / 16.5 - 1
    disc = line[:, None] ** 2 + line**2 <= 1
    torch.testing.assert_close(found[0][:, disc], images[0][:, disc], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[2][:, disc], images[0][:, disc], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1][:, disc], images[0].rot90(1, (1, 2))[:, disc], atol=1e-4, rtol=0)
    assert bool((turned_images(torch.ones(1, 3, 16, 16), torch.tensor([0.3])) == 1).all())  # white stays white


@pytest.mark.parametrize("angle_deg", [0, 30, 90, 135, 200, -75])
def test_turning_the_picture_of_a_splat_is_the_picture_of_the_turned_splat(angle_deg):
    """One sense of rotation for both, at any angle: the wrong one is a hundred times as far off."""
    splats, camera, angle = splat(), camera_of(PRESETS["small"], 96), math.radians(angle_deg)
    picture = rendered(splats, 0, [camera])[0]
    of_turned = rendered(turned_splat(splats, angle), 0, [camera])[0]
    by = {sign: turned_images(picture, torch.tensor([sign * angle])) for sign in (1, -1)}
    apart = {sign: float((image - of_turned).abs().mean()) for sign, image in by.items()}
    assert apart[1] < (1e-6 if angle_deg % 90 == 0 else 1e-3)  # else what interpolation takes
    if angle_deg:
        assert apart[-1] > 50 * apart[1]
        assert apart[-1] > 0.02
