"""The network: shapes, unit normals, determinism, streams that join as no change, gradients everywhere."""

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.nirne import PRESETS, NiRNEConfig, NiRNENet, enlarged
from maquette.shading.exposure import normalise_exposure


def made(seed=0, **changes) -> NiRNENet:
    torch.manual_seed(seed)
    return NiRNENet(NiRNEConfig(**(vars(PRESETS["tiny"]) | changes)))


def perturbed(seed=0) -> NiRNENet:
    """Weights off their zeros, as after some training."""
    net = made(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def inputs(*shape, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(shape[0], 3, *shape[1:], generator=rng), torch.ones(shape[0], 1, *shape[1:])


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 96), (1, 96, 96)])
def test_unit_normals_and_positive_concentrations_at_any_size(shape):
    normal, kappa = perturbed()(*inputs(*shape))
    assert normal.shape == (shape[0], 3, *shape[1:])
    assert kappa.shape == (shape[0], 1, *shape[1:])
    assert torch.allclose(normal.norm(dim=1), torch.ones(1), atol=1e-5)
    assert float(kappa.detach().min()) > 0.2


def test_at_inference_the_network_is_a_function():
    net = perturbed().eval()
    photo, mask = inputs(2, 32, 32)
    first, second = net(photo, mask), net(photo, mask)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    alone = net(photo[1:], mask[1:])[0]
    assert torch.allclose(alone, first[0][1:], atol=1e-5)  # images of a batch don't see each other


def test_noise_follows_its_generator_and_reaches_the_noisy_stream_alone():
    net = perturbed()
    photo, mask = inputs(2, 32, 32)
    noisy = [net(photo, mask, torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    assert net.join is not None
    with torch.no_grad():
        for join in net.join.parameters():
            join.zero_()
    assert torch.equal(net(photo, mask, torch.Generator().manual_seed(0))[0], net(photo, mask)[0])


def test_the_noisy_stream_starts_as_no_change():
    """Zero-initialised joints: with or without the stream, a fresh network says the same."""
    with_stream, without = made(), made(noisy_channels=(0, 0, 0))
    shared = {k: v for k, v in with_stream.state_dict().items() if not k.startswith(("noisy.", "join."))}
    without.load_state_dict(shared)  # strict: these are all of its weights
    photo, mask = inputs(1, 32, 32)
    for one, other in zip(with_stream(photo, mask), without(photo, mask), strict=True):
        assert torch.equal(one, other)


def test_blocks_start_as_the_identity():
    net = made()
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.decoder[0](x), x)
    y = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.attention(y), y)


def test_mask_and_guide_join_the_pretrained_stem_as_no_change():
    net = made()
    photo, mask = inputs(1, 32, 32)
    guide = unit(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)), 1)
    told = net.stem(torch.cat([mask, guide], 1))
    assert torch.equal(told, torch.zeros_like(told))
    assert told.shape == net.clean.stem(torch.nn.functional.pad(photo, (0, 1, 0, 1))).shape


def test_the_answer_begins_as_the_guide_and_without_one_as_a_wall():
    net = made()
    with torch.no_grad():
        for parameter in net.head[-1].parameters():
            parameter.zero_()
    photo, mask = inputs(1, 32, 32)
    guide = unit(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)), 1)
    guide[..., :16] = 0
    normal = net(photo, mask, guide=guide)[0]
    wall = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    assert torch.allclose(normal[..., 16:], guide[..., 16:], atol=1e-6)
    assert torch.allclose(normal[..., :16], wall.expand(1, 3, 32, 16), atol=1e-6)
    assert torch.equal(net(photo, mask)[0], net(photo, mask, guide=torch.zeros_like(photo))[0])


def test_an_enlarged_answer_is_unit_inside_and_nothing_far_outside():
    normal = unit(
        torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        + torch.tensor([0.0, 0, 3]).reshape(1, 3, 1, 1),
        1,
    )
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    guide = enlarged(normal, mask)
    assert guide.shape == (1, 3, 16, 16)
    assert torch.allclose(guide[..., 4:12, 4:12].norm(dim=1), torch.ones(1, 8, 8), atol=1e-5)
    assert torch.equal(guide[..., :3, :], torch.zeros(1, 3, 3, 16))
    level = enlarged(torch.tensor([0.6, 0, 0.8]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8), mask)
    assert torch.allclose(
        level[..., 4:12, 4:12], torch.tensor([0.6, 0, 0.8]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8), atol=1e-6
    )


def test_after_one_step_every_parameter_learns():
    """At the zeros some gradients vanish by design; off them, none is dead."""
    net = perturbed()
    photo, mask = inputs(2, 32, 32)
    guide = unit(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5)), 1)
    normal, kappa = net(photo, mask, torch.Generator().manual_seed(0), guide)
    target = torch.randn(normal.shape, generator=torch.Generator().manual_seed(2))
    ((normal * target).sum() + (kappa * target[:, :1]).sum()).backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    # A key's bias adds the same to every score of a query, which softmax takes away: its gradient is rounding.
    assert dead == []


def test_a_gradient_is_the_slope_of_the_loss():
    """Directional derivatives against central differences, in double precision."""
    net = perturbed().double()
    photo, mask = (t.double() for t in inputs(1, 32, 32))
    rng = torch.Generator().manual_seed(3)
    target = torch.randn(1, 3, 32, 32, generator=rng, dtype=torch.float64)

    def value(at: torch.Tensor) -> torch.Tensor:
        normal, kappa = net(at, mask)
        return (normal * target).sum() + kappa.sum()

    at = photo.clone().requires_grad_()
    value(at).backward()
    assert at.grad is not None
    direction = torch.randn(photo.shape, generator=rng, dtype=torch.float64)
    slope = float((value(photo + 1e-5 * direction) - value(photo - 1e-5 * direction)).detach()) / 2e-5
    assert float((at.grad * direction).sum()) == pytest.approx(slope, rel=1e-4)


def test_stage_two_trains_the_noisy_stream_and_its_joints():
    net = made()
    names = {id(p): name for name, p in net.named_parameters()}
    prefixes = {names[id(p)].split(".")[0] for p in net.stage_two_parameters()}
    assert prefixes == {"noisy", "join"}
    with pytest.raises(InputError, match="no noisy stream"):
        made(noisy_channels=(0, 0, 0)).stage_two_parameters()


@pytest.mark.parametrize("changes", [{"channels": (8, 8)}, {"blocks": (1,)}, {"noisy_channels": (8, 8, 12)}])
def test_a_wrong_configuration_is_one_line(changes):
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        made(**changes)


def test_exposure_does_not_matter_to_what_the_network_sees():
    rng = torch.Generator().manual_seed(0)
    linear, mask = torch.rand(2, 3, 24, 24, generator=rng) * 0.9 + 0.1, torch.zeros(2, 1, 24, 24)
    mask[:, :, 4:20, 6:18] = 1
    seen = normalise_exposure(linear, mask)
    for exposure in (0.01, 7.0):
        assert torch.allclose(normalise_exposure(linear * exposure, mask), seen, atol=1e-4)
    assert torch.equal(seen * (1 - mask), torch.zeros_like(seen))
    luminance = (seen**2.2).mean(1)[:, 4:20, 6:18].flatten(1)
    grey = normalise_exposure(linear.mean(1, keepdim=True).expand(-1, 3, -1, -1), mask)
    bright = torch.quantile((grey**2.2).mean(1)[:, 4:20, 6:18].flatten(1), 0.95, dim=1)
    assert torch.allclose(bright, torch.full((2,), 0.8), atol=1e-3)
    assert float(luminance.max()) <= 1
    black = normalise_exposure(torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16))
    assert bool(torch.isfinite(black).all())
