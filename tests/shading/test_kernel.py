"""The light modulation kernel: continuous and differentiable, exact where the model is, robust where it isn't."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.geometry.sh import sh_basis
from maquette.geometry.vectors import unit
from maquette.shading.kernel import (
    LightKernel,
    distant_light,
    fit_light,
    gain,
    light_prior,
    neutral_light,
    radiance,
)

LIGHT = (0.7, 0.4, 0.5)


def normals(*shape: int, seed=0) -> torch.Tensor:
    """Random ones that a camera sees."""
    n = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    n[..., 2] = n[..., 2].abs()
    return unit(n)


def modulated(seed=0, size=5) -> LightKernel:
    rng = torch.Generator().manual_seed(seed)
    light = neutral_light(size, LIGHT)
    colour = light.sh * (1 + 0.3 * torch.randn(9, 3, generator=rng))
    return LightKernel(colour.double(), 0.5 * torch.randn(size, size, generator=rng).double(), light.spread)


def test_without_modulation_it_is_the_softplus_of_the_harmonics():
    light = replace(modulated(), kernel=torch.zeros(5, 5, dtype=torch.float64))
    n = normals(50)
    wanted = torch.log1p(torch.exp(20 * (sh_basis(n, 2) @ light.sh))) / 20
    assert torch.allclose(radiance(light, n), wanted, atol=1e-12)


def test_equal_entries_are_one_exposure_and_others_stay_between():
    light, n = modulated(), normals(400)
    plain = replace(light, kernel=torch.zeros_like(light.kernel))
    brighter = replace(light, kernel=torch.full_like(light.kernel, math.log(3)))
    assert torch.allclose(radiance(brighter, n), 3 * radiance(plain, n), rtol=1e-12)
    factor = gain(light, n)
    assert (
        float(light.kernel.min().exp()) <= float(factor.min()) < float(factor.max()) <= float(light.kernel.max().exp())
    )


@pytest.mark.parametrize(
    ("entry", "toward"), [((0, 2), (0, 1)), ((2, 4), (1, 0)), ((4, 2), (0, -1)), ((2, 0), (-1, 0)), ((2, 2), (0, 0))]
)
def test_an_entry_lights_the_normals_at_its_place(entry, toward):
    """Rows run downward: the first row is for normals that point up. At the rim they lie in the image plane."""
    kernel = torch.zeros(5, 5)
    kernel[entry] = 1
    light = replace(neutral_light(), kernel=kernel)
    around = unit(torch.tensor([[0.0, 0, 1], [0, 1, 0.05], [1, 0, 0.05], [0, -1, 0.05], [-1, 0, 0.05]]))
    best = around[int(gain(light, around).argmax())]
    assert best[:2].round().tolist() == [float(v) for v in toward]


def test_neutral_light_is_a_lamp_and_ambient_light_to_second_order():
    """Against 0.7 max(0, n . l) + 0.3; the second degree leaves up to 0.7 / 16 and the softplus 0.035."""
    n = normals(2000)
    seen = radiance(neutral_light(), n.float())
    toward = unit(torch.tensor([0.0, 0.4, 0.9], dtype=torch.float64))
    wanted = 0.7 * (n @ toward).clamp_min(0) + 0.3
    assert float((seen.double() - wanted[:, None]).abs().max()) < 0.08
    assert torch.equal(seen[:, 0], seen[:, 1])  # white


def test_a_distant_light_is_lambert_but_for_the_terminator():
    n, toward = normals(3000), unit(torch.tensor(LIGHT, dtype=torch.float64))
    sh = distant_light(toward, torch.tensor(0.8, dtype=torch.float64))
    light = LightKernel(sh[:, None].expand(9, 3), torch.zeros(5, 5, dtype=torch.float64), 0.3)
    missed = (radiance(light, n)[:, 0] - 0.8 * (n @ toward).clamp_min(0)).abs()
    assert float(missed.max()) == pytest.approx(math.log(2) / 20, rel=0.05)
    assert float(missed[(n @ toward).abs() > 0.2].max()) < 0.003


def test_radiance_is_continuous_from_rim_to_rim():
    """Along great circles over the visible half, steps of a thousandth change it by as much, never more."""
    light = modulated(3)
    for azimuth in torch.linspace(0, math.pi, 7, dtype=torch.float64):
        polar = torch.linspace(-math.pi / 2, math.pi / 2, 3142, dtype=torch.float64)
        n = torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], -1)
        assert float(radiance(light, n).diff(dim=0).abs().max()) < 0.01


def test_gradients_are_slopes_in_normals_harmonics_and_kernel():
    light, n = modulated(), normals(2, 7)

    def value(n: torch.Tensor, sh: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return radiance(LightKernel(sh, kernel, light.spread), n)

    inputs = [t.clone().requires_grad_() for t in (n, light.sh, light.kernel)]
    assert torch.autograd.gradcheck(value, inputs)
    for gradient in torch.autograd.grad(value(*inputs).sum(), inputs):
        assert float(gradient.abs().max()) > 1e-3


def test_no_surface_and_a_rear_one_are_finite():
    n = torch.tensor([[0.0, 0, 0], [0, 0, -1], [1, 0, 0]], requires_grad=True)
    value = radiance(replace(neutral_light(), kernel=torch.randn(5, 5)), n)
    value.sum().backward()
    assert n.grad is not None
    assert bool(torch.isfinite(value).all() and torch.isfinite(n.grad).all())


def photo(light: LightKernel, seed=1, side=24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    n = normals(side, side, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    albedo = 0.2 + 0.8 * torch.rand(side, side, 3, generator=rng, dtype=torch.float64)
    return albedo * radiance(light, n), n, torch.ones(side, side, dtype=torch.bool), albedo


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_fit_is_exact_where_the_model_is(rounds):
    """A coloured, modulated light is found back through any albedo, its kernel given."""
    light = modulated()
    rgb, n, mask, albedo = photo(light)
    found = fit_light(
        rgb, n, mask, albedo, ridge=0.0, start=replace(light, sh=torch.zeros_like(light.sh)), rounds=rounds
    )
    assert torch.equal(found.kernel, light.kernel)
    assert torch.allclose(radiance(found, n), radiance(light, n), atol=1e-4)


def test_a_batch_of_fits_is_the_fits_of_a_batch():
    lights = [replace(modulated(seed), kernel=torch.zeros(5, 5, dtype=torch.float64)) for seed in (0, 1)]
    parts = [photo(light, seed) for seed, light in enumerate(lights)]
    rgb, n, mask, albedo = (torch.stack(values) for values in zip(*parts, strict=True))
    together = fit_light(rgb, n, mask, albedo)
    assert together.sh.shape == (2, 9, 3)
    assert torch.allclose(radiance(together, n)[1], radiance(fit_light(*parts[1]), n[1]))
    assert torch.allclose(light_prior(together)[1], light_prior(fit_light(*parts[1])))


def test_pixels_outside_the_mask_or_without_weight_do_not_count():
    light = neutral_light(direction=LIGHT)
    rgb, n, mask, albedo = photo(replace(light, sh=light.sh.double(), kernel=light.kernel.double()))
    clean = fit_light(rgb, n, mask.index_fill(0, torch.tensor([0, 1]), False), albedo)
    spoilt = rgb.clone()
    spoilt[:2] = 7.0
    masked = fit_light(spoilt, n, mask.index_fill(0, torch.tensor([0, 1]), False), albedo)
    weighted = fit_light(spoilt, n, mask, albedo, mask.index_fill(0, torch.tensor([0, 1]), False).double())
    assert torch.allclose(masked.sh, clean.sh)
    assert torch.allclose(weighted.sh, clean.sh)


def test_more_rounds_look_past_a_cast_shadow():
    """A third of the photo in shadow: the robust rounds come at least twice as close to the light."""
    n = normals(30, 30)
    lit = (n @ unit(torch.tensor(LIGHT, dtype=torch.float64))).clamp_min(0)[..., None].expand(-1, -1, 3)
    rgb = lit.clone()
    rgb[:10] *= 0.1
    missed = []
    for rounds in (1, 5):
        light = fit_light(rgb, n, torch.ones(30, 30, dtype=torch.bool), rounds=rounds)
        missed.append(float((radiance(light, n) - lit).abs().mean()))
    assert missed[1] < 0.5 * missed[0]


def test_the_ridge_pulls_to_the_light_it_is_given():
    """With normals that are all alike nothing but the mean can be told; with a strong ridge, nothing at all."""
    start = neutral_light()
    start = replace(start, sh=start.sh.double(), kernel=start.kernel.double())
    wall = torch.zeros(8, 8, 3, dtype=torch.float64)
    wall[..., 2] = 1
    mask = torch.ones(8, 8, dtype=torch.bool)
    rgb = torch.full((8, 8, 3), 0.5, dtype=torch.float64)
    found = fit_light(rgb, wall, mask, start=start)
    assert torch.allclose(radiance(found, wall), rgb, atol=1e-2)
    held = fit_light(rgb, wall, mask, start=start, ridge=1e6)
    assert torch.allclose(held.sh, start.sh, atol=1e-4)


def test_the_fit_is_differentiable():
    light = modulated()
    rgb, n, mask, albedo = photo(light, side=6)

    def value(rgb: torch.Tensor, n: torch.Tensor, albedo: torch.Tensor) -> torch.Tensor:
        return fit_light(rgb, n, mask, albedo, rounds=1).sh

    assert torch.autograd.gradcheck(value, [t.clone().requires_grad_() for t in (rgb, n, albedo)], atol=1e-4)


def test_the_prior_likes_white_smooth_unmodulated_light_at_any_exposure():
    white = neutral_light()
    flat = replace(white, sh=white.sh.clone().index_fill_(0, torch.arange(4, 9), 0.0))
    assert float(light_prior(flat)) == 0
    assert torch.allclose(light_prior(replace(white, sh=5 * white.sh)), light_prior(white))
    tinted = replace(white, sh=white.sh * torch.tensor([1.0, 0.8, 0.6]))
    rough = replace(white, kernel=torch.eye(5))
    smooth = replace(white, kernel=torch.full((5, 5), 0.2**0.5))
    assert float(light_prior(tinted)) > float(light_prior(white))
    assert float(light_prior(rough)) > float(light_prior(smooth)) > float(light_prior(white))
