import pytest
import torch

from maquette.geometry.rim import RIM_PX, with_rim


@pytest.mark.parametrize("largest", [255, 65535])
def test_by_hand(largest):
    """One row: two pixels of the mask, a rim to the right of them, and a shadow far away."""
    mask = torch.zeros(1, 20, dtype=torch.bool)
    mask[0, :2] = True
    alpha = torch.zeros(1, 20)
    alpha[0, :4] = torch.tensor([1.0, 0.6, 0.4, 0.2])
    alpha[0, 15] = 0.3
    values = torch.arange(20.0).reshape(1, 20, 1).expand(1, 20, 2)
    spread, codes = with_rim(values, mask, alpha, largest)
    assert codes[0, :4].tolist() == [round(share * largest) for share in (1.0, 0.6, 0.4, 0.2)]
    assert codes[0, 4:].eq(0).all()  # the shadow, 14 pixels from the mask, is no rim
    assert spread[0, :, 1].tolist() == [0, 1, 1, 1, *range(4, 20)]


@pytest.mark.parametrize("largest", [255, 65535])
def test_who_reads_the_codes_finds_the_same_mask(largest):
    """Even where mask and alpha disagree, as where a method gives no normal."""
    generator = torch.Generator().manual_seed(0)
    mask, alpha = torch.rand(30, 40, generator=generator) > 0.5, torch.rand(30, 40, generator=generator)
    alpha[0, :4] = torch.tensor([0.5, 0.499999, 0.500001, 0.5])
    _, codes = with_rim(torch.zeros(30, 40, 3), mask, alpha, largest)
    assert torch.equal(codes / largest > 0.5, mask)
    assert torch.equal(codes, codes.round())
    assert codes.max() <= largest


def test_no_mask_no_rim():
    values = torch.rand(5, 5, 3)
    spread, codes = with_rim(values, torch.zeros(5, 5, dtype=torch.bool), torch.full((5, 5), 0.4), 255)
    assert torch.equal(spread, values)
    assert codes.max() == 0


def test_it_reaches_as_far_as_it_says():
    mask = torch.zeros(1, 40, dtype=torch.bool)
    mask[0, 0] = True
    _, codes = with_rim(torch.zeros(1, 40, 1), mask, torch.full((1, 40), 0.4), 255)
    assert (codes[0] > 0).sum() == 1 + RIM_PX
