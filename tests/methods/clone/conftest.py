"""A ball of one colour under one light, a wrong map of it to start from, and a network that is as small as it gets."""

from collections.abc import Callable

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.methods.clone.objective import PhotoTarget
from maquette.methods.clone.surface import RawSurface, start
from maquette.nets.refiner import PRESETS, RefinerNet
from maquette.shading.kernel import LightKernel, neutral_light
from maquette.types import NormalMap, Photo

SIDE, ACROSS = 32, 28  # with its margin, an object of 28 pixels fills the loop's square of 32 without resampling
LIGHT = (0.48, 0.6, 0.64)


@pytest.fixture(scope="session")
def truth() -> NormalMap:
    """Analytic."""
    axis = (torch.arange(SIDE) + 0.5 - SIDE / 2) / (ACROSS / 2)
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    squared = 1 - x * x - y * y
    mask = squared > 0
    normals = torch.stack([x, y, squared.clamp_min(0).sqrt()], -1)
    return NormalMap(torch.where(mask[..., None], unit(normals), torch.zeros(3)), mask)


@pytest.fixture(scope="session")
def photo(truth) -> Photo:
    shading = (truth.normals @ torch.tensor(LIGHT)).clamp_min(0)
    return Photo(shading[..., None] * torch.tensor([0.6, 0.5, 0.45]), truth.mask, "ball")


@pytest.fixture(scope="session")
def dented(truth) -> Callable[[Photo], NormalMap]:
    """A method that is wrong: the ball with waves that no light explains.

    A flatter ball would not do: under another light it looks the same (the bas-relief ambiguity).
    """
    axis = torch.arange(SIDE) * 0.5
    wave = 0.4 * torch.stack([axis.sin()[None].expand(SIDE, SIDE), axis.cos()[:, None].expand(SIDE, SIDE)], -1)
    bent = unit(truth.normals + torch.cat([wave, torch.zeros(SIDE, SIDE, 1)], -1))
    return lambda _: NormalMap(bent * truth.mask[..., None], truth.mask)


@pytest.fixture
def target(photo, truth, dented) -> PhotoTarget:
    seen = photo.rgb.clamp_min(1e-6) ** (1 / 2.2) * truth.mask[..., None]
    kept = truth.mask & (torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)) > 0.1)
    shown = torch.where(kept[..., None], seen, 0.5 * truth.mask[..., None])
    return PhotoTarget(shown, seen, truth.mask, kept, dented(photo).normals, torch.zeros(SIDE, SIDE))


@pytest.fixture
def surface(target) -> RawSurface:
    facing = torch.where(target.mask[..., None], target.first, torch.tensor([0.0, 0.0, 1.0]))
    return start(facing, torch.zeros(SIDE, SIDE))


@pytest.fixture
def light() -> LightKernel:
    return neutral_light()


@pytest.fixture(scope="session")
def make_refiner() -> Callable[[], RefinerNet]:
    """Fresh, but with every layer alive."""

    def make() -> RefinerNet:
        torch.manual_seed(0)
        net = RefinerNet(PRESETS["tiny"])
        with torch.no_grad():
            for values in net.parameters():
                if not bool(values.any()):  # what starts at zero keeps what lies before it from learning
                    torch.nn.init.normal_(values, std=1e-2)
        return net

    return make


@pytest.fixture
def refiner(make_refiner) -> RefinerNet:
    return make_refiner()
