"""RoSE from a photo to normals, with an untrained network, and with one that imagines perfectly."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from svd_folder import write_tiny_svd
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.directional import expected_angle
from maquette.io.checkpoints import save_checkpoint
from maquette.methods.rose import SIGMAS, RoSE, expected_error, guidance_of_frames, imagine, shadings, to_normals
from maquette.metrics import angular_error_deg
from maquette.nets.rose import PRESETS, Condition, RoSENet
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.shading.solve import solve_shading
from maquette.types import Photo

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PRESETS["tiny"]
SIDE = TINY.size_px
DISC = 28  # pixels across: its square, with the margins, is the network's 32


class Analytic(RoSENet):
    """Says what is clean by a formula, and shows latents as they are; the photo's mask is its token."""

    def __init__(self, clean, config=TINY) -> None:
        super().__init__(config)
        self.formula = clean

    def condition(self, photo, mask) -> Condition:
        return Condition(mask.flatten(2), photo)

    def clean(self, noisy, sigma, condition) -> Tensor:
        return self.formula(noisy, sigma.reshape(-1, 1, 1, 1, 1), condition)

    def decode(self, latents) -> Tensor:
        return latents


@pytest.fixture(scope="module")
def untrained() -> RoSENet:
    torch.manual_seed(0)
    net = RoSENet(TINY)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return net.eval()


def ball(diameter: int) -> tuple[Tensor, Tensor]:
    """Normals of a ball in the square of so many pixels about it, and its disc."""
    x = (torch.arange(diameter) + 0.5) / diameter * 2 - 1
    squared = x.square() + x.square()[:, None]
    inside = squared < 1
    normals = torch.stack([x.expand(diameter, -1), -x[:, None].expand(-1, diameter), (1 - squared).clamp_min(0).sqrt()])
    return normals * inside, inside


def photo_of_ball(diameter: int, size: tuple[int, int], top: int, left: int) -> tuple[Photo, Tensor]:
    """A grey disc in a photo, and the true normals."""
    normals, inside = ball(diameter)
    mask, truth = torch.zeros(size, dtype=torch.bool), torch.zeros(*size, 3)
    mask[top : top + diameter, left : left + diameter] = inside
    truth[top : top + diameter, left : left + diameter] = normals.permute(1, 2, 0)
    return Photo(0.5 * torch.ones(*size, 3), mask), truth


def perfect(frames: int = TINY.frames) -> Analytic:
    """Knows the ball in the network's square."""
    normals = torch.zeros(3, SIDE, SIDE)
    normals[:, 2 : 2 + DISC, 2 : 2 + DISC] = ball(DISC)[0]
    shown = shading_frames(normals.movedim(0, -1), ring_lights(frames).float())
    sequence = (2 * shown - 1)[None, :, None].expand(1, -1, 3, -1, -1)
    return Analytic(lambda noisy, sigma, told: sequence.expand_as(noisy), replace(TINY, frames=frames))


@pytest.mark.parametrize(("frames", "solver"), [(9, "paper"), (9, "robust"), (6, "paper"), (12, "robust")])
def test_perfect_frames_give_the_true_normals(frames, solver):
    photo, truth = photo_of_ball(DISC, (50, 61), 9, 21)
    found = RoSE(perfect(frames), solver=solver)(photo)
    lit = (shading_frames(truth, ring_lights(frames).float()) > 0).sum(0) >= 3
    assert photo.mask is not None
    assert bool((lit == photo.mask).all())  # the paper's lemma
    assert float(angular_error_deg(found.normals, truth, photo.mask).max()) < 1e-3  # float32 frames
    assert found.concentration is not None
    assert float(expected_angle(found.concentration[photo.mask]).max()) < math.radians(3)


def test_other_sizes_cost_what_the_resampling_costs():
    for diameter, limit in ((20, 3.0), (120, 3.0)):
        photo, truth = photo_of_ball(diameter, (150, 140), 3, 11)
        error = angular_error_deg(RoSE(perfect())(photo).normals, truth, photo.mask)
        assert float(error.mean()) < limit


def test_the_first_frame_is_lit_from_above_and_the_third_from_the_right():
    photo, _ = photo_of_ball(DISC, (50, 61), 1, 30)
    found = RoSE(perfect()).imagine(photo)
    assert found.frames is not None
    assert found.frames.shape == (9, SIDE, SIDE)
    first, third = found.frames[0], found.frames[2]
    assert float(first[: SIDE // 2].mean()) > 2 * float(first[SIDE // 2 :].mean())
    assert torch.allclose(first, first.flip(1), atol=1e-5)
    assert float(third[:, SIDE // 2 :].mean()) > 2 * float(third[:, : SIDE // 2].mean())
    assert float(found.normal_map.normals[1 + 3, 30 + 14, 1]) > 0.7  # the ball's top, in the photo
    assert float(found.normal_map.normals[1 + 14, 30 + 3, 0]) < -0.7  # its left


def test_frames_that_contradict_each_other_cost_confidence():
    photo, _ = photo_of_ball(DISC, (40, 40), 5, 5)
    net = perfect()
    true = net.formula

    def spoilt(noisy, sigma, told):
        sequence = true(noisy, sigma, told).clone()
        sequence[:, 3, ..., : SIDE // 2] = 0.9
        return sequence

    found = RoSE(Analytic(spoilt))(photo).concentration
    assert found is not None
    assert float(found[19, 10]) < 0.5 * float(found[19, 28])


def test_the_length_of_a_mean_normal_tells_how_far_normals_scatter():
    rng = torch.Generator().manual_seed(4)
    for spread_deg in (5.0, 15.0, 25.0):
        tilt = math.radians(spread_deg) * torch.randn(20_000, 2, dtype=torch.float64, generator=rng)
        angle = tilt.norm(dim=-1)
        scattered = torch.cat([tilt * (angle.sin() / angle)[:, None], angle.cos()[:, None]], 1)
        frames = (scattered @ ring_lights().T).mean(0)  # without the clamp, so that x is the mean normal
        found = expected_error(solve_shading(frames[:, None], ring_lights()))
        assert math.isclose(float(found), float(angle.mean()), rel_tol=0.06)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((32, 32), None),
        ((20, 90), None),
        ((70, 50), (0, 70, 0, 50)),  # touches every border
        ((60, 60), (0, 25, 41, 60)),  # a corner
        ((64, 64), (30, 38, 20, 23)),  # eight pixels: the smallest object
        ((200, 300), (10, 190, 100, 101)),  # one pixel wide
    ],
)
def test_any_size_and_place(untrained, size, box):
    rgb = torch.rand(*size, 3, generator=torch.Generator().manual_seed(0))
    mask = None
    if box is not None:
        mask = torch.zeros(size, dtype=torch.bool)
        mask[box[0] : box[1], box[2] : box[3]] = True
    method = RoSE(untrained, steps=2, guidance=2.0)
    found = method.imagine(Photo(rgb, mask))
    again = method.imagine(Photo(rgb, mask))
    expected = torch.ones(size, dtype=torch.bool) if mask is None else mask
    got = found.normal_map
    assert torch.equal(got.mask, expected)
    assert torch.allclose(got.normals.norm(dim=-1), expected.float(), atol=1e-5)
    assert bool((got.normals[~expected] == 0).all())
    assert got.concentration is not None and again.normal_map.concentration is not None
    assert bool((got.concentration[expected] > 0).all())
    assert bool((got.concentration[~expected] == 0).all())
    assert bool(torch.isfinite(got.concentration).all())
    assert torch.equal(got.normals, again.normal_map.normals)
    assert torch.equal(got.concentration, again.normal_map.concentration)
    assert found.frames is not None and again.frames is not None
    assert torch.equal(found.frames, again.frames)
    assert float(found.frames.min()) >= 0 and float(found.frames.max()) <= 1


def test_what_lies_outside_the_mask_does_not_count(untrained):
    photo, _ = photo_of_ball(DISC, (40, 40), 5, 5)
    assert photo.mask is not None
    other = Photo(torch.where(photo.mask[..., None], photo.rgb, 0.9), photo.mask)
    method = RoSE(untrained, steps=1)
    assert torch.equal(method(photo).normals, method(other).normals)


def test_black_frames_face_the_viewer_and_are_trusted_by_nobody():
    photo, _ = photo_of_ball(DISC, (40, 40), 5, 5)
    found = RoSE(Analytic(lambda noisy, sigma, told: torch.full_like(noisy, -1.0)))(photo)
    assert photo.mask is not None and found.concentration is not None
    assert torch.equal(found.normals[photo.mask], torch.tensor([0.0, 0.0, 1.0]).expand(int(photo.mask.sum()), 3))
    assert float(expected_angle(found.concentration[photo.mask]).min()) > math.radians(89)


def test_euler_is_the_plain_recursion(untrained, capfd):
    rng = torch.Generator().manual_seed(5)
    photo, mask = torch.rand(2, 3, SIDE, SIDE, generator=rng), torch.ones(2, 1, SIDE, SIDE)
    steps = 5
    told = untrained.condition(photo, mask)
    blind = Condition(torch.zeros_like(told.tokens), torch.zeros_like(told.latent))
    ends = [sigma ** (1 / 7) for sigma in SIGMAS]
    sigmas = [(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** 7 for i in range(steps)] + [0.0]
    shape = (2, TINY.frames, *told.latent.shape[1:])
    z = SIGMAS[0] * torch.randn(shape, generator=torch.Generator().manual_seed(42))
    weight = torch.tensor([1, 1.25, 1.5, 1.75, 2, 1.75, 1.5, 1.25, 1]).reshape(1, 9, 1, 1, 1)
    with torch.no_grad():
        for sigma, after in pairwise(sigmas):
            level = torch.full((2,), sigma)
            seen, unseen = untrained.clean(z, level, told), untrained.clean(z, level, blind)
            z0 = unseen + weight * (seen - unseen)
            z = z + (after - sigma) * (z - z0) / sigma
        expected = untrained.decode(z)
    found = imagine(untrained, photo, mask, steps, guidance=2.0)
    assert torch.allclose(found, expected, atol=1e-4)
    assert capfd.readouterr().err == ""  # diffusers would complain of a step that its scaling didn't precede


def test_euler_reaches_the_exact_solution():
    # Data that is normal with deviation one: z0 = z / (1 + sigma^2), and dz/dsigma = z sigma / (1 + sigma^2) leaves
    # z / sqrt(1 + sigma^2) as it was.
    net = Analytic(lambda noisy, sigma, told: noisy / (1 + sigma.square()))
    noise = torch.randn(1, TINY.frames, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(42))
    exact = noise * SIGMAS[0] / math.sqrt(1 + SIGMAS[0] ** 2)
    square, solid = torch.zeros(1, 3, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE)
    errors = [float((imagine(net, square, solid, steps) - exact).abs().max()) for steps in (100, 200)]
    assert errors[1] < 0.06
    assert errors[1] < 0.6 * errors[0]  # of first order
    once = imagine(net, square, solid, 1)
    assert torch.allclose(once, noise * SIGMAS[0] / (1 + SIGMAS[0] ** 2), atol=5e-5)  # float32 of numbers near 80


def test_guidance_is_a_triangle():
    assert torch.allclose(guidance_of_frames(9, 2.5), torch.tensor([1, 1.375, 1.75, 2.125, 2.5, 2.125, 1.75, 1.375, 1]))
    assert torch.equal(guidance_of_frames(7, 1.0), torch.ones(7))


def test_shadings_are_the_mean_of_the_channels():
    sequence = torch.tensor([-1.0, 0.0, 1.0, -3.0, 3.0, 3.0]).reshape(1, 2, 3, 1, 1)
    assert torch.allclose(shadings(sequence)[0, :, 0, 0], torch.tensor([0.5, 1.0]))


def test_a_network_of_normals_needs_no_solver():
    config = replace(TINY, predicts="normals")
    normals = torch.zeros(3, SIDE, SIDE)
    normals[:, 2 : 2 + DISC, 2 : 2 + DISC] = ball(DISC)[0]
    sequence = normals.repeat(3, 1, 1)[None, :, None].expand(1, -1, 3, -1, -1)  # frame i is component i mod 3
    net = Analytic(lambda noisy, sigma, told: sequence.expand_as(noisy), config)
    photo, truth = photo_of_ball(DISC, (40, 40), 5, 5)
    found = RoSE(net).imagine(photo)
    assert found.frames is None and found.normal_map.concentration is None
    assert float(angular_error_deg(found.normal_map.normals, truth, photo.mask).max()) < 0.02
    assert torch.allclose(to_normals(net, sequence)[0, :, 16, 16], normals[:, 16, 16], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "0 steps; they must be 1 to 1000"),
        ({"steps": 1001}, "1001 steps"),
        ({"guidance": math.nan}, "a guidance of nan; it must lie in 0..20"),
    ],
)
def test_bad_numbers(untrained, options, message):
    with pytest.raises(InputError, match=message):
        RoSE(untrained, **options)


def test_an_empty_mask_is_refused(untrained):
    with pytest.raises(InputError, match="the mask is empty"):
        RoSE(untrained)(Photo(torch.ones(20, 20, 3), torch.zeros(20, 20, dtype=torch.bool)))


def test_weights_are_read_from_a_folder(untrained, tmp_path):
    save_checkpoint(tmp_path, untrained.config, untrained.state_dict(), torch.float32)
    photo, _ = photo_of_ball(DISC, (40, 40), 5, 5)
    method = RoSE.from_pretrained(tmp_path, steps=2, guidance=1.5, solver="paper", seed=7)
    assert (method.steps, method.guidance, method.solver, method.seed) == (2, 1.5, "paper", 7)
    expected = RoSE(untrained, 2, 1.5, "paper", 7)(photo)
    assert torch.equal(method(photo).normals, expected.normals)
    other = RoSE(untrained, 2, 1.5, "paper", 8)(photo)
    assert not torch.equal(other.normals, expected.normals)


def test_weights_of_another_method_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"width": 3}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match="RoseConfig"):
        RoSE.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="RoseConfig"):
        RoSE.from_pretrained("nirne-small")


def test_a_folder_in_the_layout_of_stable_video_diffusion(tmp_path):
    """Of as many frames, of such a size, as it says itself."""
    method = RoSE.from_pretrained(write_tiny_svd(tmp_path), steps=1)
    photo, _ = photo_of_ball(DISC, (40, 40), 5, 5)
    found = method.imagine(photo)
    assert found.frames is not None and photo.mask is not None
    assert found.frames.shape == (14, 64, 64)
    assert torch.allclose(found.normal_map.normals.norm(dim=-1), photo.mask.float(), atol=1e-5)
