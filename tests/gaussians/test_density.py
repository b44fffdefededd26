"""Density control: what is kept is kept, and what is added covers what was there, at the mean and along a line."""

import pytest
import torch
from scipy.integrate import quad

from maquette.errors import InputError
from maquette.gaussians.covariance import covariance
from maquette.gaussians.density import Change, RawGaussians, clone, prune, relocate, split

WHICH = torch.tensor([False, True, False, True, False])


def raw(n: int = 5, seed: int = 0) -> RawGaussians:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"mean": (n, 3), "log_scale": (n, 3), "rotation": (n, 4), "opacity_logit": (n,), "sh": (n, 4, 3)}
    return {
        name: torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()
        for name, size in sizes.items()
    }


def opacity(values: RawGaussians) -> torch.Tensor:
    return torch.sigmoid(values["opacity_logit"].detach())


def assert_follows(change: Change, old: RawGaussians, *names: str) -> None:
    """The named parameters are those of the origins, in new memory, without a gradient."""
    for name in names:
        assert change.raw[name].equal(old[name].detach()[change.origin])
    assert not any(values.requires_grad for values in change.raw.values())
    assert all(values.data_ptr() != old[name].data_ptr() for name, values in change.raw.items())


def test_pruning_keeps_the_others_as_they_are():
    change = prune(raw(), ~WHICH)
    assert change.origin.tolist() == [0, 2, 4]
    assert not change.fresh.any()
    assert_follows(change, raw(), *raw())


def test_clones_cover_together_what_one_did():
    old = raw()
    change = clone(old, WHICH)
    assert change.origin.tolist() == [0, 1, 2, 3, 4, 1, 3]
    assert change.fresh.tolist() == 5 * [False] + 2 * [True]
    assert_follows(change, old, "mean", "log_scale", "rotation", "sh")
    after = opacity(change.raw)
    torch.testing.assert_close(1 - (1 - after[[1, 3]]) * (1 - after[5:]), opacity(old)[WHICH])
    torch.testing.assert_close(after[[0, 2, 4]], opacity(old)[~WHICH])


def test_splits_are_smaller_and_lie_as_the_old_one_was_spread():
    old = raw(1)
    many = {name: values.detach().expand(20_000, *values.shape[1:]) for name, values in old.items()}
    change = split(many, torch.ones(20_000, dtype=torch.bool), torch.Generator().manual_seed(1))
    assert len(change.origin) == 40_000
    assert change.fresh.all()
    assert_follows(change, many, "rotation", "opacity_logit", "sh")
    torch.testing.assert_close(change.raw["log_scale"].exp() * 1.6, many["log_scale"].exp()[change.origin])
    offsets = change.raw["mean"] - old["mean"].detach()
    spread = offsets.T @ offsets / len(offsets)
    wanted = covariance(old["log_scale"].detach().exp(), old["rotation"].detach())[0]
    assert (spread - wanted).norm() / wanted.norm() < 0.03


def test_a_split_leaves_the_others_alone_and_is_repeatable():
    first, again = (split(raw(), WHICH, torch.Generator().manual_seed(2)) for _ in range(2))
    assert first.origin.tolist() == [0, 2, 4, 1, 3, 1, 3]
    assert first.raw["mean"][:3].equal(raw()["mean"].detach()[[0, 2, 4]])
    assert first.raw["mean"].equal(again.raw["mean"])


@pytest.mark.parametrize("dead_count", [1, 2, 7])
def test_relocated_ones_cover_at_the_mean_and_along_a_line_what_one_did(dead_count):
    """One alive, N in its place: 1 - (1 - o')^N = o, and the same when both sides are integrated over a line."""
    n = dead_count + 1
    old = raw(n)
    dead = torch.arange(n) > 0
    change = relocate(old, dead, torch.Generator().manual_seed(0))
    assert change.origin.eq(0).all()
    assert change.fresh.all()
    assert_follows(change, old, "mean", "rotation", "sh")
    before, after = float(opacity(old)[0]), float(opacity(change.raw)[0])
    assert 1 - (1 - after) ** n == pytest.approx(before, rel=1e-9)
    ratios = (change.raw["log_scale"] - old["log_scale"].detach()[0]).exp()
    ratio = float(ratios[0, 0])
    torch.testing.assert_close(ratios, torch.full_like(ratios, ratio))

    def bell(x: float, scale: float) -> float:
        return float(torch.exp(torch.tensor(-0.5 * (x / scale) ** 2, dtype=torch.float64)))

    covered = quad(lambda x: 1 - (1 - after * bell(x, ratio)) ** n, -9, 9)[0]
    assert covered == pytest.approx(quad(lambda x: before * bell(x, 1.0), -9, 9)[0], rel=1e-6)


def test_relocation_prefers_the_opaque_and_leaves_the_rest_alone():
    old = raw(1000)
    old["opacity_logit"] = torch.full((1000,), -8.0, dtype=torch.float64)
    old["opacity_logit"][:2] = torch.tensor([3.0, 0.0])
    dead = torch.arange(1000) >= 100
    change = relocate(old, dead, torch.Generator().manual_seed(0))
    landed = torch.bincount(change.origin[dead], minlength=1000)
    assert landed[dead].sum() == 0
    assert 500 < landed[0] < 650  # 0.95 of 0.95 + 0.5 + 98 * 0.0003 is 0.64 of 900
    untouched = ~change.fresh
    assert untouched.any()
    assert change.origin[untouched].equal(torch.arange(1000)[untouched])
    for name, values in change.raw.items():
        assert values[untouched].equal(old[name].detach()[untouched])
        assert values.isfinite().all()


def test_nothing_chosen_changes_nothing():
    none = torch.zeros(5, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for change in (prune(raw(), ~none), clone(raw(), none), split(raw(), none, generator)):
        assert_follows(change, raw(), *raw())
        assert len(change.origin) == 5
    assert_follows(relocate(raw(), none, generator), raw(), *raw())


def test_what_does_not_fit_is_told():
    with pytest.raises(InputError, match="mask 4; they must agree"):
        prune(raw(), torch.ones(4, dtype=torch.bool))
    with pytest.raises(InputError, match="have no mean"):
        prune({"rotation": torch.zeros(5, 4)}, WHICH)
    with pytest.raises(InputError, match="all Gaussians are dead"):
        relocate(raw(), torch.ones(5, dtype=torch.bool), torch.Generator())
