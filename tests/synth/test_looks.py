"""Paint, gloss, lamps, softness and backgrounds: each does what its name says, and leaves the shape alone."""

from dataclasses import replace
from math import pi

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import DISTANT, POINT
from maquette.synth.looks import paint, photo
from maquette.synth.looks.backgrounds import _contact, sample_background
from maquette.synth.looks.camera import _exposure, _sharpened, expose
from maquette.synth.looks.environments import LEVELS, look_up, open_level, panorama_directions, prefilter
from maquette.synth.looks.lighting import FLASH, sample_lighting
from maquette.synth.looks.materials import Material, sample_material
from maquette.synth.looks.paint import aged, curvature, painted, printed, sample_look
from maquette.synth.looks.photo import Surfaces, bounce, environment_light, photograph, shade
from maquette.synth.looks.pictures import LETTERED, inks, repeat, scenes, textures
from maquette.synth.looks.reflection import masked_blur, reflect, softened

SIDE = 64


def balls(count: int, radius: float = 1.0) -> Surfaces:
    """Balls in an orthographic frame of two units, three units away, under eight lights without shadows."""
    axis = ((torch.arange(SIDE) + 0.5) / (SIDE / 2) - 1) / radius
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    mask = (x * x + y * y < 0.98).float()[None, None].expand(count, 1, SIDE, SIDE).contiguous()
    normal = torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()])[None] * mask
    lights = unit(torch.randn(count, 8, 3, generator=torch.Generator().manual_seed(0)).abs() + 0.1)
    lights = torch.cat([lights, torch.full((count, 8, 1), float(DISTANT))], 2)
    lights[:, 3] = torch.tensor([0.5, 0.5, -1.0, POINT])
    back = torch.tensor([0.0, 0, 3]).reshape(1, 3, 1, 1)
    return Surfaces(
        normal=normal,
        position=(normal * radius - back) * mask,
        local=normal * radius,
        view=torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand(count, 3, SIDE, SIDE),
        mask=mask,
        lit=torch.ones(count, 8, SIDE, SIDE),
        openness=torch.ones_like(mask),
        opening=normal,
        part=(torch.where(x > 0, 3.0, 0.0) * mask).contiguous(),
        lights=lights,
    )


def material(count=1, albedo=0.5, roughness=0.5, metal=0.0, specular=0.0, **more) -> Material:
    def number(value):
        return torch.full((count, 1, 1, 1), float(value))

    wide = (SIDE, SIDE)
    return Material(
        number(albedo).expand(-1, 3, *wide), number(roughness).expand(-1, 1, *wide), number(metal), number(specular),
        **more,
    )  # fmt: skip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layer", [printed, painted, aged])
def test_paint_changes_the_surface_s_look_and_never_its_shape(layer):
    surfaces = balls(12)
    surfaces = replace(surfaces, openness=(0.6 + 0.4 * surfaces.normal[:, 1:2]).clamp(0, 1))
    before = {name: value.clone() for name, value in vars(surfaces).items()}
    bare = material(12)
    worn = layer(surfaces, bare, rng())
    for name, value in vars(surfaces).items():
        assert torch.equal(value, before[name])
    changed = ((worn.albedo - bare.albedo).abs().amax(1) > 0.02).flatten(1).any(1)
    assert float(changed.float().mean()) > 0.6
    assert 0.003 <= float(worn.albedo.min()) <= float(worn.albedo.max()) <= 0.98 + 1e-6
    assert 0 <= float(worn.metal.min()) <= float(worn.metal.max()) <= 1
    assert 0.05 <= float(worn.roughness.min()) <= float(worn.roughness.max()) <= 1
    again = layer(surfaces, bare, rng())
    assert torch.equal(again.albedo, worn.albedo)
    assert not torch.equal(layer(surfaces, bare, rng(1)).albedo, worn.albedo)


def test_prints_have_sharp_edges_on_a_smooth_ball():
    """Neighbouring pixels of a wall differ by more than a third somewhere, in a good share of the prints."""
    look = printed(balls(48), material(48), rng(3))
    inner = balls(1).mask[0, 0, 8:-8, 8:-8] > 0
    jump = (look.albedo[..., 8:-8, 9:-7] - look.albedo[..., 8:-8, 8:-8]).abs().amax(1) * inner
    assert float((jump.flatten(1).amax(1) > 0.33).float().mean()) > 0.2


def test_colour_by_part_follows_the_parts_and_nothing_else():
    """Of a ball in two halves, each half of a repainted one is of one colour; some halves differ."""
    surfaces, differing = balls(40), 0
    look = painted(surfaces, material(40), rng(5))
    left, right = surfaces.mask[0, 0] * (surfaces.part[0, 0] == 0), surfaces.part[0, 0] == 3
    for albedo in look.albedo:
        halves = [albedo[:, half > 0] for half in (left, right)]
        if all(float(half.std(1).max()) < 1e-6 for half in halves):
            differing += float((halves[0][:, 0] - halves[1][:, 0]).abs().max()) > 0.02
    assert differing >= 8  # more than half are painted by part


def test_dirt_lies_in_hollows_and_wear_on_edges():
    """Where the sky is open and nothing bends, weather leaves less than where it doesn't."""
    flat = balls(60, 40.0)  # a wall, nearly
    hollow = torch.where(flat.normal[:, :1] > 0, 0.2, 1.0)
    look = aged(replace(flat, openness=hollow), material(60, albedo=0.8), rng(2))
    change = (look.albedo - 0.8).abs().mean(1, keepdim=True)
    shut = (change * (hollow < 1)).sum((1, 2, 3)) > 2 * (change * (hollow == 1)).sum((1, 2, 3))
    assert 0.3 < float(shut.float().mean()) < 0.7  # the half that dirt is on
    assert float(look.albedo[shut].mean()) < 0.8


def test_curvature_is_that_of_a_ball_and_of_a_bowl():
    """Its normal turns by 2 / 64 of a unit radius a pixel, along both axes; a bowl's turns the other way."""
    surfaces = balls(1)
    bend = curvature(surfaces)[0, 0, 28:36, 28:36]
    assert torch.allclose(bend, torch.tensor(2 * 2 * (2 / SIDE) * SIDE / 100), rtol=0.05)
    sunk = replace(surfaces, normal=surfaces.normal * torch.tensor([-1.0, -1, 1]).reshape(1, 3, 1, 1))
    assert torch.allclose(curvature(sunk)[0, 0, 28:36, 28:36], -bend, atol=1e-5)


def test_a_picture_repeats_in_mirrored_tiles_and_lettering_is_not_mirrored():
    ramp = torch.linspace(0, 1, 64).reshape(1, 1, 1, 64).expand(1, 1, 64, 64)
    x = torch.tensor([-0.5, 0.5, 1.5, 2.5])
    places = torch.stack([x, 0 * x]).reshape(1, 2, 1, 4)
    mirrored = repeat(ramp, places)[0, 0, 0]
    assert torch.allclose(mirrored, torch.tensor([0.25, 0.75, 0.75, 0.25]), atol=0.01)
    same = repeat(ramp, places, torch.zeros(1, 1, 1, 1, dtype=torch.bool))[0, 0, 0]
    assert torch.allclose(same, torch.tensor([0.25, 0.75, 0.25, 0.75]), atol=0.01)


def test_pictures_are_in_range_and_the_same_every_time():
    for images in (inks(), scenes(), textures()):
        assert 0 <= float(images.min()) < 0.1
        assert 0.5 < float(images.max()) <= 1
    assert torch.equal(inks.__wrapped__(), inks())
    covered = inks()[:LETTERED].mean((1, 2, 3))
    assert float(covered.min()) > 0.02  # every sheet says something


def test_a_hollow_sees_the_lamp_that_its_opening_faces():
    """A wall in shade whose only opening faces a lamp is as bright as a patch that faces it, times its openness."""
    directions = panorama_directions(32, 64)
    lamp = torch.tensor([0.0, 0.6, 0.8])
    sky = prefilter((directions @ lamp > 0.9).float()[None, ..., None].expand(-1, -1, -1, 3))
    aside = unit(torch.tensor([0.9, -0.6, 0.1]), 0)

    def seen(normal, opening, openness):
        wall = balls(1)
        full = torch.ones(1, 1, SIDE, SIDE)
        wall = replace(
            wall,
            normal=normal.reshape(1, 3, 1, 1) * full,
            opening=opening.reshape(1, 3, 1, 1) * full,
            openness=openness * full,
        )
        return float(environment_light(wall, material(albedo=1), sky, torch.eye(3)[None]).mean())

    assert seen(aside, aside, 0.5) < 0.1 * seen(aside, lamp, 0.5)
    assert seen(aside, lamp, 1.0) == pytest.approx(seen(lamp, lamp, 1.0))
    assert seen(aside, lamp, 0.5) > 0.6 * seen(lamp, lamp, 1.0)  # half as open, and the lamp is in that half


@pytest.mark.parametrize("degrees", [25, 45, 60, 75])
def test_light_through_a_round_opening_is_about_what_a_cone_lets_in(degrees):
    """Against the integral over a cone about the normal: sky that brightens upwards, tilted by 40 degrees."""
    directions = panorama_directions(32, 64)
    sky = prefilter(((directions[..., 1:2] + 1) ** 2).expand(-1, -1, 3)[None])
    axis = torch.tensor([0.0, 0.766, 0.643])
    area = torch.sqrt(1 - directions[..., 1] ** 2)
    cosine = directions @ axis
    cone = (cosine > torch.tensor(degrees * pi / 180).cos()) * cosine * area
    exact = float((cone * sky[0, 0, 0]).sum() / ((cosine > 0) * cosine * area).sum())
    openness = torch.full((1, 1, 1, 1), float(torch.tensor(degrees * pi / 180).sin() ** 2))
    got = float(openness * look_up(sky, axis.reshape(1, 3, 1, 1), open_level(openness))[:, :1])
    assert got == pytest.approx(exact, rel=0.06)


def test_the_whole_hemisphere_is_the_cosine_lobe_and_less_is_sharper():
    assert float(open_level(torch.tensor(1.0))) == pytest.approx(LEVELS - 1, abs=1e-4)
    assert bool((open_level(torch.linspace(0, 1, 30)).diff() >= 0).all())


def test_a_coloured_wall_colours_the_hollow_beside_it():
    """Red on the left, grey on the right: what is bounced into the left half is redder."""
    surfaces = replace(balls(1), openness=torch.full((1, 1, SIDE, SIDE), 0.5))
    radiance = torch.full((1, 3, SIDE, SIDE), 0.5)
    radiance[:, 1:, :, : SIDE // 2] = 0.05
    added = bounce(surfaces, material(), radiance)[0]
    redness = added[0] / added[1]
    assert float(redness[32, 12]) > 1.2 * float(redness[32, 52]) > 1.2
    assert float(bounce(balls(1), material(), radiance).max()) == 0


def test_brushed_metal_has_a_streak_across_its_grooves():
    """Off the mirror's direction across the grooves it stays bright; along them it falls off faster than unbrushed."""
    axis = torch.tensor([0.0, 1, 0]).reshape(1, 3, 1, 1)
    up = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    plain = Material(*(torch.full((1, c, 1, 1), v) for c, v in ((3, 0.9), (1, 0.3), (1, 1.0), (1, 1.0))))
    brushed = replace(plain, brushed=0.9 * axis)
    across = unit(torch.tensor([0.0, 0.5, 0.87]), 0).reshape(1, 3, 1, 1)  # grooves run along x here
    along = unit(torch.tensor([0.5, 0.0, 0.87]), 0).reshape(1, 3, 1, 1)
    values = [float(reflect(up, up, light, m).mean()) for m in (plain, brushed) for light in (across, along)]
    assert values[2] > 3 * values[0]
    assert values[3] < 0.6 * values[1]


@pytest.mark.parametrize("amount", [0.3, 0.9])
def test_a_brushed_lobe_gives_back_no_more_than_it_gets(amount):
    polar, azimuth = (torch.arange(256) + 0.5) / 256 * pi / 2, (torch.arange(512) + 0.5) / 512 * 2 * pi
    sine = polar.sin()[:, None]
    light = torch.stack([sine * azimuth.cos(), sine * azimuth.sin(), polar.cos()[:, None].expand(-1, 512)])[None]
    area = sine * (pi / 2 / 256) * (2 * pi / 512)
    view = unit(torch.tensor([0.3, 0.4, 0.87]), 0).reshape(1, 3, 1, 1)
    up = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    metal = Material(*(torch.full((1, c, 1, 1), v) for c, v in ((3, 1.0), (1, 0.4), (1, 1.0), (1, 1.0))))
    metal = replace(metal, brushed=amount * torch.tensor([0.0, 1, 0]).reshape(1, 3, 1, 1))
    assert 0.7 < float((reflect(up, view, light, metal)[0, 0] * area).sum() / pi) < 1.05


def test_soft_bodies_glow_past_the_terminator_and_redder_but_not_brighter():
    surfaces = balls(1)
    light = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1).expand_as(surfaces.normal)
    soft = softened(surfaces.normal, light, surfaces.mask, surfaces.mask, torch.full((1, 1, 1, 1), 0.8))[0]
    assert float(soft[0, 32, 26]) > 1.5 * float(soft[2, 32, 26]) > 0  # facing away by ten degrees
    none = softened(surfaces.normal, light, surfaces.mask, surfaces.mask, torch.zeros(1, 1, 1, 1))[0]
    assert torch.allclose(none, surfaces.normal[0, :1].clamp_min(0).expand_as(none), atol=1e-6)
    # Over all directions: a sphere's worth of normals, each with the area of its ring.
    cosine = torch.linspace(-1, 1, 4001)
    for wrap in (0.2, 0.8):
        total = ((cosine + wrap).clamp_min(0) / (1 + wrap) ** 2).mean()
        assert float(total) == pytest.approx(float(cosine.clamp_min(0).mean()), rel=2e-3)


def test_a_masked_blur_keeps_a_constant_and_looks_at_the_object_alone():
    mask = balls(1).mask
    images = torch.where(mask > 0, 0.3, 9.0)
    blurred = masked_blur(images, mask, 7)
    assert torch.allclose(blurred[mask > 0], torch.tensor(0.3), atol=1e-5)


def test_a_flash_lights_all_that_is_seen_head_on():
    surfaces = balls(1)
    direction, strength = photo._source(replace(surfaces, lit=torch.zeros_like(surfaces.lit)), torch.tensor([FLASH]))
    inside = surfaces.mask[0, 0] > 0
    assert torch.allclose(direction[0][:, inside], unit(-surfaces.position, 1)[0][:, inside], atol=1e-6)
    distance = (surfaces.position**2).sum(1)[0][inside]
    assert torch.allclose(strength[0, 0][inside], 9 / distance, rtol=1e-5)  # the centre is three units away


def test_lamps_alone_in_the_dark_flashes_and_three_colours_all_occur():
    lighting = sample_lighting(2000, rng(), torch.device("cpu"))
    used = lighting.strength.flatten(2).any(2).sum(1)
    dark = lighting.ambient.flatten() < 0.013
    lamp = (used == 1) & dark & (lighting.source[:, 0] == 3)
    assert 0.07 < float(lamp.float().mean()) < 0.2
    assert float((lighting.source[:, 0] == FLASH).float().mean()) > 0.04
    assert float((used == 3).float().mean()) > 0.05
    ratio = lighting.strength[:, 0].amax((1, 2, 3)) / lighting.strength[:, 0].amin((1, 2, 3)).clamp_min(1e-6)
    assert float((ratio > 2)[used == 3].float().mean()) > 0.2
    windows = lighting.window.flatten(2).any(2)
    assert bool((lighting.source[windows] < 5).all()) and bool((lighting.source[windows] != 3).all())


def test_a_window_is_seen_in_gloss_and_as_plain_light_on_what_is_matte():
    """In a mirror ball its image has an edge; the mean is about that of the same light without a frame."""
    surfaces = balls(1)
    light = unit(torch.tensor([0.3, 0.3, 1.0]), 0).reshape(1, 3, 1, 1).expand_as(surfaces.normal)
    panes = torch.tensor([0.3, 0.2, 0.0, 0.0]).reshape(1, 4, 1, 1)
    mirror = material(albedo=0.9, roughness=0.1, metal=1, specular=1)
    seen = photo._window(surfaces, mirror, light, panes)[0, 0]
    bright = seen > 0.5 * seen.max()
    assert 0.002 < float(bright.float().mean()) < 0.2
    inside = seen[bright]
    assert float(inside.std() / inside.mean()) < 0.35  # a pane, not a peak
    dull = material(albedo=0.6, roughness=0.9)
    lambert = 0.6 * (surfaces.normal * light).sum(1).clamp_min(0)[0]
    assert torch.allclose(photo._window(surfaces, dull, light, panes)[0, 0], lambert, atol=1e-5)


def test_very_dark_gloss_under_one_lamp_is_black_with_a_highlight():
    surfaces = balls(1)
    tar = material(albedo=0.01, roughness=0.15, specular=1.0, coat=torch.ones(1, 1, 1, 1))
    radiance = photo.direct_light(surfaces, tar, torch.tensor([3]), torch.ones(1, 1, 1, 1)).mean(1)[
        surfaces.mask[:, 0] > 0
    ]
    assert float((radiance < 0.02 * radiance.max()).float().mean()) > 0.85


def test_finishes_of_every_kind_occur():
    found = sample_material(torch.zeros(800, 3, 2, 2), rng())
    dielectric = found.metal.flatten() == 0
    dark = found.albedo.amax((1, 2, 3)) < 0.05
    smooth = found.roughness.amax((1, 2, 3)) < 0.3
    assert found.coat is not None and found.brushed is not None and found.softness is not None
    for share in (dark & smooth & dielectric, found.coat.flatten() > 0, found.brushed.flatten(1).any(1)):
        assert 0.015 < float(share.float().mean()) < 0.3
    assert 0.04 < float((found.softness.flatten() > 0).float().mean()) < 0.2
    matte = (found.specular.flatten() == 0) & dielectric & ~dark
    assert float(matte.float().mean()) > 0.15  # plaster, clay and stone stay common


def test_looks_and_photos_are_a_function_of_the_seed():
    surfaces = balls(24)
    first, again, other = (sample_look(surfaces, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.albedo, again.albedo)
    assert not torch.equal(first.albedo, other.albedo)
    assert 0.003 <= float(first.albedo.min()) <= float(first.albedo.max()) <= 0.98 + 1e-6
    photos = [photograph(surfaces, rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(photos[0], photos[1])
    assert not torch.equal(photos[0], photos[2])
    assert bool(torch.isfinite(photos[0]).all())


def test_radiance_of_any_look_is_finite_and_not_negative():
    surfaces = balls(32)
    radiance = shade(surfaces, sample_look(surfaces, rng(7)), rng(8)) * surfaces.mask
    assert bool(torch.isfinite(radiance).all())
    assert float(radiance.min()) >= 0


def test_an_object_that_nobody_sees_is_no_fault():
    surfaces = balls(6)
    empty = replace(surfaces, mask=torch.zeros_like(surfaces.mask), normal=torch.zeros_like(surfaces.normal))
    assert bool(torch.isfinite(photograph(empty, rng())).all())


def test_the_contact_shadow_lies_below_the_object():
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 16:40, 24:40] = 1
    shadow = _contact(mask, torch.full((1, 1, 1, 1), 0.5))[0, 0]
    assert float(shadow[42, 32]) > 0.3
    assert float(shadow[42, 32]) > 3 * float(shadow[10, 32])
    assert float(shadow[42, 32]) > float(shadow[42, 4])


def test_backgrounds_are_of_many_kinds_and_in_range():
    mask = balls(64).mask
    ground = sample_background(mask, rng())
    assert ground.shape == (64, 3, SIDE, SIDE)
    assert float(ground.min()) >= 0 and float(ground.max()) < 4
    black = (ground.amax((1, 2, 3)) == 0).float().mean()
    assert 0.05 < float(black) < 0.35
    assert float((ground.std((2, 3)).mean(1) > 0.03).float().mean()) > 0.4
    assert torch.equal(ground, sample_background(mask, rng()))


def test_some_photos_are_dark_some_clip_and_most_are_neither():
    radiance = torch.rand(400, 3, 16, 16, generator=rng())
    mask = torch.ones(400, 1, 16, 16)
    mean = (radiance * _exposure(radiance, mask, rng())).mean((1, 2, 3))
    assert 0.02 < float((mean < 0.04).float().mean()) < 0.2
    assert float((mean > 0.45).float().mean()) > 0.01
    assert float(((mean > 0.04) & (mean < 0.45)).float().mean()) > 0.7


def test_sharpening_leaves_halos_beside_edges_and_flats_alone():
    step = torch.full((40, 3, 16, 16), 0.4)
    step[..., 8:] = 0.6
    sharp = _sharpened(step, rng())
    changed = (sharp != step).flatten(1).any(1)
    assert 0.1 < float(changed.float().mean()) < 0.45
    assert float(sharp[changed][..., 8].min()) > 0.6
    assert float(sharp[changed][..., 7].max()) < 0.4
    assert torch.allclose(sharp[..., :6], step[..., :6], atol=1e-6)


def test_a_photo_has_eight_bits_and_keeps_its_mask_s_size():
    photos = expose(torch.rand(8, 3, 32, 48, generator=rng()), torch.ones(8, 1, 32, 48), rng())
    assert photos.shape == (8, 3, 32, 48)
    assert 0 <= float(photos.min()) <= float(photos.max()) <= 1


def test_layers_land_on_the_objects_that_were_drawn(monkeypatch):
    """With every share at 0 nothing but the material is left; at 1, every object is painted."""
    surfaces = balls(10)
    plain = sample_material(surfaces.local, rng(4))
    for name in ("_PRINTED", "_PAINTED", "_AGED"):
        monkeypatch.setattr(paint, name, 0.0)
    assert torch.equal(sample_look(surfaces, rng(4)).albedo, plain.albedo)
    monkeypatch.setattr(paint, "_PRINTED", 1.0)
    changed = (sample_look(surfaces, rng(4)).albedo - plain.albedo).abs().amax((1, 2, 3)) > 0.01
    assert int(changed.sum()) >= 8
