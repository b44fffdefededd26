"""The refiner that ships, on a ball of plaster whose normals are known."""

import json
from importlib import resources

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network
from maquette.nets.refiner import RefinerConfig, RefinerNet
from maquette.shading.exposure import normalise_exposure


@pytest.fixture(scope="module")
def refiner() -> RefinerNet:
    return load_network("clone-small", RefinerConfig, RefinerNet).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def ball() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photo, true normals and mask, 128 pixels, lit from above on the left."""
    axis = ((torch.arange(128) + 0.5) / 64 - 1) / 0.9
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    mask = (x * x + y * y < 1).float()[None, None]
    normals = unit(torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()])[None], 1) * mask
    toward = unit(torch.tensor([-0.4, 0.5, 0.77])).reshape(1, 3, 1, 1)
    lit = (normals * toward).sum(1, keepdim=True).clamp_min(0) + 0.05
    return normalise_exposure(0.6 * lit.expand(-1, 3, -1, -1), mask), normals, mask


def degrees(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> float:
    return float(torch.acos((one * other).sum(1, keepdim=True)[mask > 0].clamp(-1, 1)).rad2deg().mean())


def test_of_a_wall_it_makes_most_of_a_ball(refiner, ball):
    photo, normals, mask = ball
    wall = torch.zeros_like(normals)
    wall[:, 2:] = mask
    assert degrees(refiner(photo, wall, mask).fused, normals, mask) < 0.5 * degrees(wall, normals, mask)


def test_the_card_says_that_no_normal_was_a_label():
    card = json.loads((resources.files("maquette.weights") / "clone-small" / "card.json").read_text())
    assert "no normal in any loss" in card["supervision"]
    assert card["steps"] == sum(phase["steps"] for phase in card["phases"])
