"""The refiner: starts as its input, draws no noise, and every part of it learns."""

import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.refiner import PRESETS, CrossGate, RefinerConfig, RefinerNet


def made(seed=0, **changes) -> RefinerNet:
    torch.manual_seed(seed)
    return RefinerNet(RefinerConfig(**(vars(PRESETS["tiny"]) | changes)))


def perturbed(seed=0) -> RefinerNet:
    """Weights off their zeros, as after some training."""
    net = made(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def inputs(*shape: int, seed=1):
    """A photo, unit normals and a mask with a rim, of (batch, height, width)."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.zeros(shape[0], 1, *shape[1:])
    mask[..., 2:-3, 1:-2] = 1
    photo = torch.rand(shape[0], 3, *shape[1:], generator=rng) * mask
    normals = torch.randn(shape[0], 3, *shape[1:], generator=rng)
    return photo, unit(normals, 1) * mask, mask


def test_a_fresh_network_hands_its_input_on_half_trusted():
    photo, normals, mask = inputs(2, 32, 48)
    out = made()(photo, normals, mask)
    assert torch.allclose(out.refined, normals, atol=1e-6)
    assert torch.allclose(out.fused, normals, atol=1e-6)
    assert torch.equal(out.gate, 0.5 * mask)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 48, 80), (3, 16, 32)])
def test_outputs_are_unit_in_the_mask_and_nothing_outside(shape):
    photo, normals, mask = inputs(*shape)
    out = perturbed()(photo, normals, mask)
    for vectors in (out.refined, out.fused):
        assert vectors.shape == normals.shape
        assert torch.allclose(vectors.norm(dim=1, keepdim=True), mask, atol=1e-5)
    assert 0 < float(out.gate.detach()[mask > 0].min()) < float(out.gate.detach().max()) < 1
    assert float(out.gate.detach()[mask == 0].max()) == 0
    mixed = unit(out.gate * normals + (1 - out.gate) * out.refined, 1)
    assert torch.allclose(out.fused, mixed, atol=1e-6)


def test_it_is_a_function_in_training_too():
    """No sampled noise, no dropout: one step of a denoiser whose timestep is a constant."""
    net = perturbed().train()
    photo, normals, mask = inputs(2, 32, 32)
    torch.manual_seed(0)
    first = net(photo, normals, mask)
    torch.manual_seed(1)
    second = net(photo, normals, mask)
    assert torch.equal(first.fused, second.fused)
    alone = net(photo[1:], normals[1:], mask[1:])
    assert torch.allclose(alone.fused, first.fused[1:], atol=1e-5)  # images of a batch don't see each other


def test_the_timestep_and_both_inputs_matter():
    net = perturbed()
    photo, normals, mask = inputs(1, 32, 32)
    out = net(photo, normals, mask).fused
    other = made(timestep=0.1)
    other.load_state_dict(net.state_dict())
    assert not torch.allclose(other(photo, normals, mask).fused, out)
    residual = out - normals
    for changed in ((1 - photo, normals, mask), (photo, -normals, mask)):
        assert not torch.allclose(net(*changed).fused - changed[1], residual, atol=1e-3)


def test_what_lies_outside_the_mask_of_the_normals_does_not_matter():
    net = perturbed()
    photo, normals, mask = inputs(1, 32, 32)
    assert torch.equal(net(photo, normals + (1 - mask), mask).fused, net(photo, normals, mask).fused)


def test_after_one_step_every_parameter_learns():
    """Off the zeros that it starts from, none is dead: gate, residual, timestep, both streams and their gates."""
    net = perturbed()
    out = net(*inputs(2, 32, 32))
    target = torch.randn(out.fused.shape, generator=torch.Generator().manual_seed(2))
    (out.fused * target).sum().backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    assert dead == []


def test_the_gradient_reaches_the_photo_and_the_normals():
    """As central differences in double precision say; so what made the normals can be learned through the network."""
    net = perturbed().double()
    photo, normals, mask = (t.double() for t in inputs(1, 16, 16))
    rng = torch.Generator().manual_seed(3)
    target = torch.randn(1, 3, 16, 16, generator=rng, dtype=torch.float64)

    def value(photo: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return (net(photo, normals, mask).fused * target).sum()

    given = [t.clone().requires_grad_() for t in (photo, normals)]
    value(*given).backward()
    for index, tensor in enumerate(given):
        assert tensor.grad is not None
        step = 1e-5 * torch.randn(tensor.shape, generator=rng, dtype=torch.float64)
        ahead, behind = (
            [t + sign * step if k == index else t for k, t in enumerate((photo, normals))] for sign in (1, -1)
        )
        slope = float((value(*ahead) - value(*behind)).detach()) / 2
        assert float((tensor.grad * step).sum()) == pytest.approx(slope, rel=1e-3)


def test_the_cross_gate_is_its_formula():
    """M_c * M_s on both streams, concatenated, then joined; by hand for one pixel."""
    torch.manual_seed(0)
    gate = CrossGate(8).double()
    texture, geometry = torch.randn(2, 1, 8, 9, 9, dtype=torch.float64)
    channel = torch.sigmoid(gate.of_texture(texture.mean((2, 3))) + gate.of_geometry(geometry.flatten(2).max(2).values))
    weight, bias = gate.places.weight, gate.places.bias
    assert bias is not None
    window = torch.stack([texture[0].mean(0), geometry[0].max(0).values])[:, 1:8, 2:9]
    place = torch.sigmoid((weight[0] * window).sum() + bias[0])
    pixel = torch.cat([texture[0, :, 4, 5], geometry[0, :, 4, 5]]) * channel[0].repeat(2) * place
    assert gate.join.bias is not None
    wanted = gate.join.weight[:, :, 0, 0] @ pixel + gate.join.bias
    assert torch.allclose(gate(texture, geometry)[0, :, 4, 5], wanted)


def test_the_shipped_size_is_one_to_two_million_weights():
    count = sum(p.numel() for p in RefinerNet(PRESETS["small"]).parameters())
    assert 1e6 < count < 2e6


@pytest.mark.parametrize("changes", [{"channels": (8, 8)}, {"blocks": (1,)}, {"channels": (8, 8, 8, 12)}])
def test_a_wrong_configuration_is_one_line(changes):
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        made(**changes)
