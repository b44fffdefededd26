"""RoSE's small network: what it is told, what it denoises together, and that it is the diffusion it is said to be."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.errors import InputError
from maquette.nets.nirne_conv import ConvNiRNENet
from maquette.nets.rose import PRESETS, Condition, RoSENet
from maquette.nets.rose_small import nearness
from maquette.shading.exposure import normalise_exposure
from maquette.shading.rigs import ring_lights

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PRESETS["tiny"]
SIDE = TINY.size_px


def alive(config=TINY) -> RoSENet:
    """A network off its zeros, so that whatever can matter does."""
    torch.manual_seed(0)
    net = RoSENet(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


@pytest.fixture(scope="module")
def net() -> RoSENet:
    return alive().requires_grad_(False)


@pytest.fixture(scope="module")
def photo() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., 4:-4, 6:-6] = 1
    return normalise_exposure(torch.rand(2, 3, SIDE, SIDE, generator=rng), mask), mask


@pytest.fixture(scope="module")
def noisy(net) -> Tensor:
    side = SIDE // TINY.downscale
    return torch.randn(2, TINY.frames, TINY.latent_channels, side, side, generator=torch.Generator().manual_seed(2))


SIGMA = torch.tensor([0.4, 7.0])


def test_shapes(net, photo, noisy):
    told = net.condition(*photo)
    assert told.tokens.shape == (2, (SIDE // 16) ** 2, TINY.width)
    assert told.latent.shape == noisy[:, 0].shape
    assert net.clean(noisy, SIGMA, told).shape == noisy.shape
    sequence = net.decode(noisy)
    assert sequence.shape == (2, TINY.frames, 3, SIDE, SIDE)
    assert net.encode(sequence).shape == noisy.shape
    assert net.encode(sequence[:, :1]).shape == noisy[:, :1].shape  # of any number of frames


def test_latents_are_the_vaes_over_their_standard_deviation(photo):
    net = alive().requires_grad_(False)
    sequence = photo[0][:, None] * 2 - 1
    plain = net.encode(sequence)
    net.latent_std.fill_(4.0)
    assert torch.equal(net.encode(sequence) * 4, plain)
    assert torch.allclose(net.condition(*photo).latent, net.encode(grey(sequence))[:, 0], atol=1e-4)
    assert torch.equal(net.decode(plain / 4), net.decode_raw(plain.flatten(0, 1), 1))


def grey(images: Tensor) -> Tensor:
    return images.mean(-3, keepdim=True).expand_as(images)


@pytest.mark.parametrize(("places", "tokens"), [(16, 16), (64, 16), (16, 64)])
def test_a_place_looks_at_its_own_tokens_first_and_one_head_everywhere(places, tokens):
    bias = nearness(places, tokens, 3)
    assert bias.shape == (3, places, tokens)
    assert torch.equal(bias[-1], torch.zeros(places, tokens))
    side, grid = round(places**0.5), round(tokens**0.5)
    for place in range(places):
        row, column = (((place // side + 0.5) / side * grid), ((place % side + 0.5) / side * grid))
        own = [i for i in range(tokens) if abs(i // grid + 0.5 - row) <= 0.5 and abs(i % grid + 0.5 - column) <= 0.5]
        for head in bias[:-1]:
            assert int(head[place].argmax()) in own
            assert head[place].max() > head[place].min()
    if places == tokens:
        assert torch.equal(bias.diagonal(0, 1, 2), torch.zeros(3, places))
        assert float(bias[0, 0, 1]) == pytest.approx(-1 / (2 * 0.6**2))  # the neighbour, worked out by hand
        assert float(bias[1, 0, 1]) == pytest.approx(-1 / (2 * 1.2**2))


@pytest.mark.parametrize(("places", "tokens"), [(12, 16), (16, 12)])
def test_a_grid_that_is_not_square_is_refused(places, tokens):
    with pytest.raises(InputError, match="isn't square"):
        nearness(places, tokens, 2)


class Stub(torch.nn.Module):
    """In the U-Net's place: what it says, and what it was told."""

    def __init__(self, says) -> None:
        super().__init__()
        self.says = says

    def forward(self, sample, timestep, tokens, ids):
        self.told = sample, timestep, tokens, ids
        return type("Out", (), {"sample": self.says(sample)})


@pytest.fixture
def stubbed(monkeypatch):
    net = alive().requires_grad_(False)

    def stub(says) -> RoSENet:
        net.unet = Stub(says)
        return net

    return stub


def channels(sample: Tensor) -> Tensor:
    return sample[:, :, : TINY.latent_channels]


def test_the_preconditioning_is_the_one_that_is_stated(stubbed, photo, noisy):
    """F = 0 leaves c_skip z, and F = c_in z what z is scaled to then; by hand at sigma = 2."""
    sigma = torch.tensor([2.0, 2.0])
    net = stubbed(lambda sample: torch.zeros_like(channels(sample)))
    told = net.condition(*photo)
    assert torch.allclose(net.clean(noisy, sigma, told), noisy / 5)
    sample, timestep, tokens, ids = net.unet.told
    assert torch.allclose(channels(sample), noisy / 5**0.5)
    assert torch.allclose(timestep, sigma.log() / 4)
    assert torch.equal(tokens, told.tokens)
    assert torch.equal(ids, torch.zeros(2, 3))
    beside = sample[:, :, TINY.latent_channels : 2 * TINY.latent_channels]
    assert torch.equal(beside, told.latent[:, None].expand_as(beside))  # beside every frame
    lights, laid = sample[:, :, 2 * TINY.latent_channels :].split([3, TINY.laid], 2)
    assert torch.equal(laid, told.laid[:, None].expand_as(laid))
    assert torch.allclose(lights, ring_lights(TINY.frames).float()[None, :, :, None, None].expand_as(lights))
    net = stubbed(channels)
    assert torch.allclose(net.clean(noisy, sigma, told), noisy / 5 - 2 / 5 * noisy, atol=1e-6)


def test_it_is_v_prediction_as_diffusers_scheduler_has_it(stubbed, photo, noisy):
    """The same output of a U-Net gives the same clean latents, and the same step of Euler's."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=0.02,
        sigma_max=80.0,
    )
    scheduler.set_timesteps(4)
    net = stubbed(lambda sample: torch.sin(3 * channels(sample)))
    told = net.condition(*photo)
    z = noisy * scheduler.init_noise_sigma
    for step, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
        scaled = scheduler.scale_model_input(z, step)
        theirs = scheduler.step(torch.sin(3 * scaled), step, z)
        ours = net.clean(z, sigma.expand(2), told)
        assert torch.allclose(channels(net.unet.told[0]), scaled, rtol=1e-4, atol=1e-6)
        assert torch.allclose(net.unet.told[1], step.expand(2))
        assert torch.allclose(ours, theirs.pred_original_sample, rtol=1e-3, atol=1e-4)
        z = theirs.prev_sample


def test_frames_are_denoised_together_and_photos_apart(net, photo, noisy):
    told = net.condition(*photo)
    before = net.clean(noisy, SIGMA, told)
    other = noisy.clone()
    other[0, 3] += 1.0
    change = (net.clean(other, SIGMA, told) - before).abs().amax((2, 3, 4))
    assert float(change[0].min()) > 1e-4  # every frame of the first photo, frame 0 too
    assert torch.equal(change[1], torch.zeros(TINY.frames))


def test_both_ways_of_telling_the_photo_matter_and_can_be_switched_off(photo, noisy):
    full = alive().requires_grad_(False)
    told = full.condition(*photo)
    whole = full.clean(noisy, SIGMA, told)
    nothing = told.withheld(torch.zeros(2))
    for name, without in (
        ("sees_tokens", replace(nothing, latent=told.latent)),
        ("sees_latent", replace(told, latent=nothing.latent)),
    ):
        blind = RoSENet(replace(TINY, **{name: False})).requires_grad_(False)
        blind.load_state_dict(full.state_dict())
        seen = blind.condition(*photo)
        assert torch.equal(seen.tokens, without.tokens)
        assert torch.equal(seen.latent, without.latent)
        assert float((blind.clean(noisy, SIGMA, seen) - whole).abs().max()) > 1e-4
        assert torch.equal(blind.clean(noisy, SIGMA, seen), full.clean(noisy, SIGMA, without))


def test_withholding_a_photo_withholds_all_of_it(net, photo, noisy):
    """What guidance needs: the one photo as it was, of the other nothing, as if nothing had ever been told."""
    told = net.condition(*photo)
    half = told.withheld(torch.tensor([1.0, 0.0]))
    for mine, its in ((half.tokens, told.tokens), (half.latent, told.latent), (half.laid, told.laid)):
        assert torch.equal(mine[0], its[0])
        assert float(mine[1].abs().max()) == 0 < float(its[1].abs().max())
    silent = Condition(torch.zeros_like(told.tokens), torch.zeros_like(told.latent))
    assert torch.equal(net.clean(noisy, SIGMA, half)[1], net.clean(noisy, SIGMA, silent)[1])


def test_what_is_laid_beside_the_latents_lies_where_its_token_does(net, photo):
    """A change of one 16 x 16 square's features changes the places over that square, and no other."""
    features = net.encoder(*photo)
    grid, cells = SIDE // 16, 16 // TINY.downscale
    before = net.lay(features)
    assert before.shape == (2, TINY.laid, SIDE // TINY.downscale, SIDE // TINY.downscale)
    for token in range(grid * grid):
        other = features.clone()
        other[:, token] += 1.0
        changed = ((net.lay(other) - before).abs().amax((0, 1)) > 0).float()
        row, column = token // grid * cells, token % grid * cells
        assert float(changed[row : row + cells, column : column + cells].min()) == 1
        assert float(changed.sum()) == cells * cells


def test_grey_is_the_mean_of_the_channels_and_rgb_is_not(photo):
    seen, mask = photo
    mixed = seen[:, [1, 2, 0]]
    for is_grey in (True, False):
        net = alive(replace(TINY, grey=is_grey)).requires_grad_(False)
        one, other = net.condition(seen, mask), net.condition(mixed, mask)
        same = torch.allclose(one.latent, other.latent, atol=1e-5) and torch.allclose(
            one.tokens, other.tokens, atol=1e-4
        )
        assert same == is_grey


def test_the_tokens_are_nirnes_clean_encoder(photo):
    """Features of the same weights, as NiRNE itself computes them: levels 1/8 and 1/16, normalised."""
    torch.manual_seed(4)
    nirne, net = ConvNiRNENet(TINY.encoder).requires_grad_(False), alive().requires_grad_(False)
    for parameter in nirne.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    net.encoder.clean.load_state_dict(nirne.clean.state_dict())
    net.encoder.attention.load_state_dict(nirne.attention.state_dict())
    seen, levels = [], {}
    nirne.decoder[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    nirne.clean.register_forward_hook(lambda _, __, out: levels.update(enumerate(out)))
    nirne.attention.register_forward_hook(lambda _, __, out: levels.update({"coarse": out}))
    nirne(*photo)
    fine, coarse = levels[2], levels["coarse"]
    side = SIDE // 16
    tokens = net.encoder(*photo)
    for row in range(side):
        for column in range(side):
            quad = fine[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
            expected = torch.cat([coarse[:, :, row, column], quad], 1)
            expected = F.layer_norm(expected, expected.shape[-1:])
            assert torch.allclose(tokens[:, row * side + column], expected, atol=1e-5)


def test_what_the_configuration_refuses():
    for change, message in (
        ({"channels": (32, 40)}, "multiple of 32"),
        ({"attends": (True,)}, "attends has 1 values; 2 are needed"),
        ({"size_px": 40}, "size_px is 40"),
        ({"frames": 2}, "frames is 2"),
    ):
        with pytest.raises(InputError, match=message):
            replace(TINY, **change)


def test_transformers_is_not_needed():
    """The small network is made and run where importing transformers fails."""
    code = """
import sys
sys.modules["transformers"] = None  # as if it weren't installed, to import and to find_spec
import torch
from maquette.methods.rose import imagine
from maquette.nets.rose import PRESETS, RoSENet
net = RoSENet(PRESETS["tiny"]).requires_grad_(False)
print(tuple(imagine(net, torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32), steps=1).shape))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 9, 3, 32, 32)", done.stderr
