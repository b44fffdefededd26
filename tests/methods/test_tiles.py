"""Detail from tiles, with networks whose error is known: the photo's colours are the normals that they predict."""

import itertools
from math import degrees

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.methods.tiles import blend_tiles, reorient, resize, sharpen, starts, without_comb

SIDE, TILE = 128, 32


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """A bulge with fine ripples, (1, 3, SIDE, SIDE)."""
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    ripple = 0.3 * torch.sin(40 * x) * torch.cos(34 * y)
    return unit(torch.stack([0.8 * x + ripple, 0.8 * y - ripple, torch.ones_like(x)])[None], 1)


def perfect(photos: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return unit(photos, 1), torch.full_like(masks, 9.0)


def tilted(photos: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Right but for the large shape: each tile leans a way of its own, by about 15 degrees."""
    lean = 0.3 * torch.randn(len(photos), 3, 1, 1, generator=torch.Generator().manual_seed(int(photos.sum() * 1e3)))
    return unit(unit(photos, 1) + lean, 1), torch.full_like(masks, 9.0)


def error_deg(a: torch.Tensor, b: torch.Tensor) -> float:
    return degrees(float(torch.acos((a * b).sum(1).clamp(-1, 1)).mean()))


def seam_ratio(normal: torch.Tensor, true: torch.Tensor) -> float:
    """How much more the error changes across the borders of tiles than elsewhere; 1 is no seam."""
    change = ((normal - true)[..., 1:] - (normal - true)[..., :-1]).norm(dim=1).mean((0, 1))
    borders = {s + edge - 1 for s in starts(SIDE, TILE) for edge in (0, TILE)} & set(range(SIDE - 1))
    inside = [k for k in range(SIDE - 1) if k not in borders]
    return float(change[sorted(borders)].mean() / change[inside].mean())


@pytest.mark.parametrize("side", [32, 33, 40, 64, 97, 128, 1000])
def test_tiles_cover_the_side_overlap_by_a_third_and_are_alike_from_both_ends(side):
    begin = starts(side, 32)
    assert begin[0] == 0
    assert begin[-1] + 32 == side
    assert all(0 < b - a <= 22 for a, b in itertools.pairwise(begin))
    if len(begin) % 2 == 0 or (side - 32) % 2 == 0:
        assert [side - 32 - s for s in reversed(begin)] == begin


def test_a_shortest_turn(truth):
    base = unit(truth + torch.tensor([0.2, -0.1, 0.0]).reshape(1, 3, 1, 1), 1)
    onto = unit(truth.roll(5, 2) + 0.1, 1)
    assert torch.allclose(reorient(base, base, onto), onto, atol=1e-5)
    assert torch.allclose(reorient(truth, base, base), truth, atol=1e-5)
    turned = reorient(truth, base, onto)
    assert torch.allclose((turned * onto).sum(1), (truth * base).sum(1), atol=1e-5)  # the angle between stays
    axis = torch.linalg.cross(base, onto, dim=1)
    assert torch.allclose((turned * axis).sum(1), (truth * axis).sum(1), atol=1e-5)  # and the part along the axis


def test_opposite_directions_give_the_guide():
    up = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1)
    assert torch.equal(reorient(unit(up + 0.1, 1), up, -up), -up)


def test_a_perfect_network_is_left_alone_by_the_blend(truth):
    mask = torch.ones(1, 1, SIDE, SIDE)
    normal, kappa = blend_tiles(perfect, truth, mask, TILE)
    assert error_deg(normal, truth) < 0.05
    assert torch.allclose(kappa, torch.full_like(kappa, 9.0), atol=1e-4)


def test_tiles_bring_the_detail_and_the_guide_keeps_the_shape(truth):
    mask = torch.ones(1, 1, SIDE, SIDE)
    guide = unit(resize(truth, TILE), 1)
    plain = error_deg(unit(resize(guide, SIDE), 1), truth)
    normal, kappa = sharpen(tilted, truth, mask, guide, torch.full((1, 1, TILE, TILE), 4.0), TILE)
    alone, _ = blend_tiles(tilted, truth, mask, TILE)
    assert error_deg(normal, truth) < 0.6 * plain  # detail that the guide does not have
    assert error_deg(normal, truth) < 0.5 * error_deg(alone, truth)  # without the tiles' lean
    assert float(kappa.max()) <= 4.0 + 1e-5  # no surer than the guide
    leaning = unit(guide + torch.tensor([0.3, 0.0, 0.0]).reshape(1, 3, 1, 1), 1)
    normal, _ = sharpen(perfect, truth, mask, leaning, torch.full((1, 1, TILE, TILE), 4.0), TILE)
    assert error_deg(unit(resize(normal, TILE), 1), leaning) < 3


def test_no_seam_is_left_at_the_borders_of_tiles(truth):
    mask = torch.ones(1, 1, SIDE, SIDE)
    guide = unit(resize(truth, TILE), 1)
    normal, _ = sharpen(tilted, truth, mask, guide, torch.full((1, 1, TILE, TILE), 4.0), TILE)
    assert seam_ratio(normal, truth) < 1.3

    # the measure sees a seam where there is one: tiles side by side
    pasted = torch.cat([tilted(truth[..., s : s + TILE], mask[..., :TILE])[0] for s in range(0, SIDE, TILE)], -1)
    assert seam_ratio(pasted, truth) > 1.3


def test_a_comb_of_two_pixels_is_gone_and_a_slope_stays():
    comb = torch.tensor([1.0, -1.0]).repeat(1, 1, 8, 4)
    assert float(without_comb(comb)[..., 1:-1].abs().max()) < 1e-6
    slope = torch.arange(8.0).expand(1, 2, 8, 8)
    assert torch.allclose(without_comb(slope)[..., 1:-1], slope[..., 1:-1])


def test_empty_tiles_are_not_predicted(truth):
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., :15, :15] = 1
    seen = []

    def counting(photos: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(len(photos))
        return perfect(photos, masks)

    normal, _ = blend_tiles(counting, truth, mask, TILE)
    assert sum(seen) == 1
    assert torch.allclose(normal[0, :, -1, -1], torch.tensor([0.0, 0.0, 1.0]))
