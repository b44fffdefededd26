"""The RoSE that ships, on a ball of plaster whose normals and shadings are known."""

import json
from importlib import resources

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.methods.auto import auto
from maquette.methods.rose import RoSE
from maquette.metrics import angular_error_deg
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.types import Photo

SIDE = 160


@pytest.fixture(scope="module")
def ball() -> tuple[Photo, torch.Tensor]:
    """Photo and true normals, lit from above on the left."""
    axis = ((torch.arange(SIDE) + 0.5) * 2 / SIDE - 1) / 0.8
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    mask = x * x + y * y < 1
    normals = unit(torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1)) * mask[..., None]
    lit = (normals @ unit(torch.tensor([-0.4, 0.5, 0.77]))).clamp_min(0) + 0.05
    return Photo(0.6 * lit[..., None].expand(-1, -1, 3) * mask[..., None], mask, "ball"), normals


def degrees(found: torch.Tensor, ball: tuple[Photo, torch.Tensor]) -> float:
    photo, normals = ball
    assert photo.mask is not None
    return float(angular_error_deg(found, normals, photo.mask).mean())


@pytest.fixture(scope="module")
def imagined(ball):
    return RoSE.from_pretrained().imagine(ball[0])


def test_a_ball_is_better_than_a_third_of_a_wall(ball, imagined):
    wall = torch.zeros_like(ball[1])
    wall[..., 2] = 1
    assert degrees(imagined.normal_map.normals, ball) < degrees(wall, ball) / 3


def test_each_frame_is_most_like_the_shading_under_its_own_light(imagined):
    side = imagined.frames.shape[-1]
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    inside = imagined.frames.amax(0) > 0
    span = axis[inside.any(0)].abs().max()
    y, x = torch.meshgrid(-axis / span, axis / span, indexing="ij")
    normals = unit(torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1))
    true = shading_frames(normals, ring_lights(9))
    missed = (imagined.frames[:, None] - true[None])[..., inside].abs().mean(-1)  # imagined by light
    assert missed.argmin(1).tolist() == list(range(9))


def test_fused_with_nirne_it_is_no_worse_than_the_worse(ball, imagined):
    assert degrees(auto()(ball[0]).normals, ball) <= degrees(imagined.normal_map.normals, ball)


def test_the_card_counts_what_was_done():
    card = json.loads((resources.files("maquette.weights") / "rose-small" / "card.json").read_text())
    assert sum(card["steps"].values()) == sum(phase["steps"] for phase in card["phases"])
    assert card["held_out"][-1]["step"] == sum(card["steps"].values())
