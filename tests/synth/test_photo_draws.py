"""A seed's photos are what they were: checkpoints resume in the middle of a run, so no draw may move."""

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import DISTANT, POINT
from maquette.synth.looks.materials import sample_material
from maquette.synth.looks.photo import Surfaces, photograph, shade

# Radiance of three pixels (their green channel) for every object of the batch below, then the generator's next
# number. When a draw moves on purpose, they are made anew, and the formats of data that holds photos are raised.
SHADED = {
    0: [
        0.088803, 0.125714, 0.033886, 0.153412, 0.177574, 0.079384, 0.456324, 0.994234, 0.067828, 0.091993, 0.181239,
        0.063533, 0.855918, 2.046739, 0.082549, 0.872623, 0.612742, 0.612039, 0.1307336688041687,
    ],
    1: [
        0.140299, 0.282579, 0.065165, 0.305814, 0.334278, 0.193693, 0.471361, 1.137956, 0.035524, 0.548008, 1.172523,
        0.076738, 0.82085, 1.214836, 0.38183, 0.012891, 0.028156, 0.003447, 0.7649994492530823,
    ],
    2: [
        0.022631, 0.067155, 0.022438, 1.181917, 1.279492, 0.633192, 0.457901, 0.968242, 0.070107, 0.627207, 1.12786,
        0.243511, 0.825583, 0.913508, 0.58104, 0.648437, 1.402098, 0.084682, 0.5995351672172546,
    ],
}  # fmt: skip
# The same pixels of photographs.
PHOTOGRAPHED = {
    3: [
        0.661, 0.578256, 0.498775, 0.172549, 0.317647, 0.023529, 0.8, 0.870588, 0.454902, 0.258824, 0.494118,
        0.584314, 0.286275, 0.360784, 0.239216, 0.279393, 0.469045, 0.212116, 0.170293927192688,
    ],
    4: [
        0.494118, 0.619608, 0.188235, 0.203922, 0.219608, 0.054902, 0.501961, 0.372549, 0.360784, 0.164706, 0.203922,
        0.043137, 0.898039, 1.0, 0.301961, 0.964706, 0.290196, 0.129412, 0.6198238134384155,
    ],
}  # fmt: skip
PIXELS = ((8, 8), (5, 11), (12, 6))


@pytest.fixture(scope="module")
def balls() -> Surfaces:
    """Six balls by a formula, half of each openness and shadow; nothing is traced."""
    axis = (torch.arange(16) + 0.5) / 8 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    mask = (x * x + y * y < 0.9).float()[None, None].expand(6, 1, 16, 16)
    normal = (torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()])[None] * mask).contiguous()
    offset = torch.tensor([0.0, 0, 4.0]).reshape(1, 3, 1, 1)
    angle = torch.arange(8) * 0.7
    lights = torch.stack([0.6 * angle.cos(), 0.6 * angle.sin(), torch.full((8,), 0.8), torch.full((8,), DISTANT)], 1)
    lights[3] = torch.tensor([1.0, 1.0, -2.0, POINT])
    shadow = (x > torch.linspace(-0.8, 0.8, 8).reshape(8, 1, 1)).float()
    return Surfaces(
        normal=normal,
        position=(normal - offset) * mask,
        local=normal,
        view=unit(offset - normal, 1).contiguous(),
        mask=mask,
        lit=shadow[None].expand(6, -1, -1, -1).contiguous(),
        openness=(0.75 + 0.25 * y)[None, None].expand(6, 1, 16, 16).contiguous(),
        lights=lights[None].expand(6, -1, -1).contiguous(),
        opening=normal,
        part=mask.contiguous(),
    )


def sampled(images: torch.Tensor) -> list[float]:
    return [round(float(images[n, 1, v, u]), 6) for n in range(len(images)) for v, u in PIXELS]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_radiance_of_a_seed(balls, seed):
    rng = torch.Generator().manual_seed(seed)
    radiance = shade(balls, sample_material(balls.local, rng), rng)
    expected = SHADED[seed]
    assert sampled(radiance) == pytest.approx(expected[:-1], rel=1e-4, abs=2e-6)
    assert float(torch.rand(1, generator=rng)) == expected[-1]


@pytest.mark.parametrize("seed", [3, 4])
def test_the_photograph_of_a_seed(balls, seed):
    """To within two of 255 codes: a rounding that falls the other way changes one, and JPEG spreads it."""
    rng = torch.Generator().manual_seed(seed)
    photos = photograph(balls, rng)
    expected = PHOTOGRAPHED[seed]
    assert sampled(photos) == pytest.approx(expected[:-1], abs=2.1 / 255)
    assert float(torch.rand(1, generator=rng)) == expected[-1]
