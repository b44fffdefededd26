"""CLONE as a method: it improves a wrong map, keeps to bounds and frames, and survives strange objects."""

from dataclasses import replace

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.geometry.rotation import smallest_axis
from maquette.geometry.vectors import unit
from maquette.methods.clone import method
from maquette.methods.clone.loop import LoopConfig
from maquette.methods.clone.method import CLONE, turned_at_most
from maquette.methods.clone.surface import camera_of
from maquette.metrics import angle_between_deg
from maquette.render.splat.rasterize import rasterize
from maquette.types import NormalMap, Photo

FEW = LoopConfig(iterations=3)


def angle_deg(found: NormalMap, truth: NormalMap) -> float:
    return float(angle_between_deg(found.normals[truth.mask], truth.normals[truth.mask]).mean())


@pytest.fixture(scope="module")
def fitted(photo, dented, make_refiner):
    """A longer run than the others: its result, and the held-out error where it began."""
    errors = []
    clone = CLONE(make_refiner(), dented, LoopConfig(iterations=25))
    result = clone.fit(photo, lambda _i, said, _s: errors.append(said.get("held_out")))
    return result, errors[0]


def test_a_wrong_map_of_a_lit_ball_gets_better(fitted, photo, truth, dented):
    result, at_first = fitted
    before, after = angle_deg(dented(photo), truth), angle_deg(result.normal_map, truth)
    assert after < 0.9 * before
    assert result.moved_deg > before - after
    assert result.held_out < 0.8 * at_first
    assert 0 < result.iterations <= 25


def test_the_same_photo_gives_the_same_bits(photo, dented, refiner):
    clone = CLONE(refiner, dented, FEW)
    result, again = clone.fit(photo), clone.fit(photo)
    assert torch.equal(result.normal_map.normals, again.normal_map.normals)
    assert torch.equal(result.gaussians.rotation, again.gaussians.rotation)
    assert torch.equal(result.light.sh, again.light.sh)
    assert result.held_out == again.held_out


def test_the_gaussians_are_the_answer_and_show_the_photo(fitted, photo, truth):
    """The square is the photo here. Their thinnest axes are the fused normals; their colours, linear, the photo's."""
    result, _ = fitted
    axis = smallest_axis(result.gaussians.scale, result.gaussians.rotation)
    facing = torch.where(axis[:, 2:] < 0, -axis, axis)
    assert angle_between_deg(facing, result.normal_map.normals[truth.mask]).max() < 0.5
    assert result.gaussians.encoding == "linear"
    seen = rasterize(result.gaussians, result.camera)
    color = seen.color / seen.alpha.clamp_min(0.05)[..., None]
    exposure = (color * photo.rgb)[truth.mask].sum() / photo.rgb[truth.mask].square().sum()
    error = (color / exposure - photo.rgb)[truth.mask].square().mean().sqrt()
    assert error < 0.25 * photo.rgb[truth.mask].square().mean().sqrt()


def test_no_hole_opens_when_the_camera_comes_nearer(fitted, truth):
    result, _ = fitted
    assert (result.gaussians.scale.argmin(-1) == 2).all()
    near = rasterize(result.gaussians, camera_of(4 * 32)).alpha
    # A pixel that shows the ball well inside its rim, whatever way it leans.
    inner = (truth.mask & (truth.normals[..., 2] > 0.7)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert near[inner].min() > 0.75


@pytest.mark.parametrize("size", [(32, 32), (50, 41)])
def test_the_result_has_the_photos_size_and_nothing_outside_the_mask(refiner, size):
    row, column = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    mask = ((row - 20) ** 2 + (column - 18) ** 2) < 150
    photo = Photo(torch.rand(*size, 3, generator=torch.Generator().manual_seed(0)), mask, "noise")
    found = CLONE(refiner, config=FEW)(photo)
    check(found, mask)
    assert found.mask is mask


def check(found: NormalMap, mask: torch.Tensor) -> None:
    assert found.normals.shape == (*mask.shape, 3)
    assert torch.isfinite(found.normals).all()
    assert torch.allclose(found.normals[mask].norm(dim=-1), torch.ones(int(mask.sum())), atol=1e-4)
    assert not found.normals[~mask].any()
    assert found.concentration is not None
    assert torch.isfinite(found.concentration).all()
    assert not found.concentration[~mask].any()


def strange(kind: str) -> Photo:
    rgb = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(40, 40, dtype=torch.bool)
    if kind == "a line one pixel wide":
        mask[4:36, 20] = True
    elif kind == "eight pixels":
        mask[10:18, 10:18] = True
    elif kind == "two pixels far apart":
        mask[3, 3] = mask[36, 36] = True
    elif kind == "black":
        mask[5:35, 5:35] = True
        rgb = torch.zeros(40, 40, 3)
    else:
        return Photo(rgb, None, kind)
    return Photo(rgb, mask, kind)


@pytest.mark.parametrize(
    "kind", ["a line one pixel wide", "eight pixels", "two pixels far apart", "black", "no mask at all"]
)
def test_strange_objects_give_numbers(refiner, kind):
    photo = strange(kind)
    mask = torch.ones(40, 40, dtype=torch.bool) if photo.mask is None else photo.mask
    result = CLONE(refiner, config=FEW).fit(photo)
    check(result.normal_map, mask)
    for value in (result.gaussians.mean, result.gaussians.scale, result.gaussians.rotation, result.gaussians.sh):
        assert torch.isfinite(value).all()
    assert result.held_out == result.held_out  # a NaN is not


def test_an_object_that_is_too_small_is_told(refiner):
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[10:14, 10:14] = True
    with pytest.raises(InputError, match="at least 8"):
        CLONE(refiner)(Photo(torch.ones(40, 40, 3), mask, "dot"))


def test_first_normals_of_another_size_are_told(photo, refiner):
    small = NormalMap(torch.ones(16, 20, 3), torch.ones(16, 20, dtype=torch.bool))
    with pytest.raises(InputError, match="ball: the first normals are 20x16, the photo 32x32; they must agree"):
        CLONE(refiner, lambda _: small)(photo)


def test_what_the_first_map_leaves_out_starts_towards_the_viewer(photo, truth, refiner, monkeypatch):
    """Half of the object has a certain normal, half has none, and says so."""
    half = truth.mask & (torch.arange(32) < 16)
    first = NormalMap(truth.normals * half[..., None], half, torch.full((32, 32), 50.0))
    targets = []

    def caught(surface, light, net, target, config, report):
        targets.append(target)
        return kept(surface, light, net, target, config, report)

    kept = method.fit
    monkeypatch.setattr(method, "fit", caught)
    found = CLONE(refiner, lambda _: first, FEW)(photo)
    (target,) = targets
    missing = truth.mask & ~half
    assert torch.allclose(target.first[missing], torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)
    assert not target.trust[missing].any()
    assert (target.trust[half] == 3).all()
    assert found.concentration is not None
    assert found.concentration[missing].max() < 1e-2 < 10 < found.concentration[half].median()
    # A twentieth of the object is held out, and shows what its neighbours do.
    hidden = target.mask & ~target.kept
    assert 0.02 < hidden.sum() / target.mask.sum() < 0.1
    assert not torch.equal(target.photo[hidden], target.whole[hidden])
    assert torch.equal(target.photo[~hidden], target.whole[~hidden])


def test_no_normal_turns_by_more_than_the_first_map_may_be_wrong(photo, dented, refiner):
    """Column by column, from nearly certain to a guess, with a network that would turn nearly all of them."""
    known = concentration_from_angle(torch.linspace(0.005, 1.0, 32).square())[None].expand(32, 32)
    first = replace(dented(photo), concentration=known)
    torch.nn.init.normal_(refiner.residual[-1].weight, std=0.2)
    found = CLONE(refiner, lambda _: first, FEW)(photo)
    turned = torch.deg2rad(angle_between_deg(found.normals[first.mask], first.normals[first.mask])).float()
    allowed = expected_angle(known)[first.mask]
    assert (turned <= allowed + 2e-3).all()
    assert (turned > allowed - 2e-3).any()  # the bound was reached


def test_on_the_way_along_the_great_circle():
    draw = torch.Generator().manual_seed(0)
    start, end = (unit(torch.randn(200, 3, generator=draw)) for _ in range(2))
    most = torch.rand(200, generator=draw) * 2
    found = turned_at_most(start, end, most)
    apart, turned = (torch.deg2rad(angle_between_deg(start, each)).float() for each in (end, found))
    assert torch.allclose(turned, torch.minimum(apart, most), atol=1e-3)
    # No detour: what is left of the way is what was not gone.
    rest = torch.deg2rad(angle_between_deg(found, end)).float()
    assert torch.allclose(turned + rest, apart, atol=2e-3)
    assert torch.equal(found[apart < most - 1e-3], end[apart < most - 1e-3])
    assert torch.equal(turned_at_most(start, start, torch.zeros(200)), start)
