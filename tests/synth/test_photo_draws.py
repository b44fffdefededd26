"""A seed's photos are what they were: checkpoints resume in the middle of a run, so no draw may move."""

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import DISTANT, POINT
from maquette.synth.materials import sample_material
from maquette.synth.photo import Surfaces, photograph, shade

# Radiance of three pixels (their green channel) for every object of the batch below, then the generator's next
# number. When a draw moves on purpose, they are made anew, and the formats of data that holds photos are raised.
SHADED = {
    0: [
        0.093196, 0.136111, 0.033732, 0.153107, 0.177968, 0.078121, 0.46555, 1.001151, 0.057991, 0.073261, 0.15918,
        0.053359, 0.855731, 2.047575, 0.082348, 0.867294, 0.608188, 0.607869, 0.1307336688041687,
    ],
    1: [
        0.147591, 0.289172, 0.052775, 0.297057, 0.325783, 0.18691, 0.471239, 1.138153, 0.034949, 0.54565, 1.170217,
        0.071894, 0.78385, 1.188166, 0.379665, 0.013149, 0.028768, 0.003506, 0.7649994492530823,
    ],
    2: [
        0.021558, 0.065723, 0.01805, 1.238801, 1.276256, 0.527636, 0.457844, 0.968205, 0.07023, 0.446717, 1.128987,
        0.214377, 0.819332, 0.909205, 0.559547, 0.643914, 1.406437, 0.066579, 0.5995351672172546,
    ],
}  # fmt: skip
# The same pixels of photographs.
PHOTOGRAPHED = {
    3: [
        0.661011, 0.578256, 0.498829, 0.172549, 0.317647, 0.023529, 0.8, 0.870588, 0.454902, 0.270588, 0.466667,
        0.729412, 0.286275, 0.356863, 0.235294, 0.279321, 0.46915, 0.202074, 0.170293927192688,
    ],
    4: [
        0.494118, 0.619608, 0.188235, 0.2, 0.219608, 0.054902, 0.494118, 0.372549, 0.360784, 0.164706, 0.207843,
        0.043137, 0.898039, 1.0, 0.301961, 0.976471, 0.345098, 0.176471, 0.6198238134384155,
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
        opening=normal,
        part=(x > 0).float()[None, None].expand(6, 1, 16, 16).contiguous(),
        lights=lights[None].expand(6, -1, -1).contiguous(),
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
