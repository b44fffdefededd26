"""Density control: more Gaussians where there are too few, none where they do nothing.

It works on raw parameters, what an optimiser holds: a dictionary of tensors with one row a Gaussian, `mean`,
`log_scale`, `rotation` (w, x, y, z), `opacity_logit`, and any others, which are taken along.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.rotation import quaternion_to_matrix

RawGaussians = dict[str, Tensor]

_NEEDED = ("mean", "log_scale", "rotation", "opacity_logit")
_LEAST_CHANCE = 1e-7  # from 0 and 1, where logits end


@dataclass(frozen=True)
class Change:
    """New raw parameters, and how the optimiser's state can follow them.

    Attributes:
        raw: detached, in new memory.
        origin: the old row of each new one; of a copy, the one that it was made from.
        fresh: whether it was made or moved, so that what an optimiser remembers of it is void.
    """

    raw: RawGaussians
    origin: Int[Tensor, " n"]
    fresh: Bool[Tensor, " n"]


def prune(raw: RawGaussians, keep: Bool[Tensor, " n"]) -> Change:
    """Those that are kept, in their order."""
    _require(raw, keep)
    return _change(raw, keep.nonzero()[:, 0], 0)


def clone(raw: RawGaussians, which: Bool[Tensor, " n"]) -> Change:
    """All of them, and behind them a copy of each chosen one (Kerbl et al. 2023, section 5.2).

    A chosen one and its copy get the opacity 1 - sqrt(1 - o), so that where they lie on each other both cover what one
    did (Rota Bulo et al. 2024); with o itself the picture would change at once.
    """
    _require(raw, which)
    rows, chosen = torch.arange(len(which), device=which.device), which.nonzero()[:, 0]
    change = _change(raw, torch.cat([rows, chosen]), len(chosen))
    halved = _logit(1 - (1 - torch.sigmoid(change.raw["opacity_logit"])).sqrt())
    touched = which[change.origin].reshape(-1, *[1] * (halved.ndim - 1))
    change.raw["opacity_logit"] = torch.where(touched, halved, change.raw["opacity_logit"])
    return change


def split(raw: RawGaussians, which: Bool[Tensor, " n"], generator: torch.Generator, shrink: float = 1.6) -> Change:
    """Those that weren't chosen, and behind them two smaller ones for each that was (Kerbl et al. 2023, section 5.2).

    Args:
        raw: the parameters.
        which: the chosen ones.
        generator: draws the means of the new ones from the distribution that the old one is.
        shrink: what their scales are divided by; the paper's value.
    """
    _require(raw, which)
    kept, chosen = (~which).nonzero()[:, 0], which.nonzero()[:, 0]
    change = _change(raw, torch.cat([kept, chosen, chosen]), 2 * len(chosen))
    new = change.raw
    draws = torch.randn(2 * len(chosen), 3, generator=generator, dtype=new["mean"].dtype, device=generator.device)
    offset = draws.to(new["mean"].device) * new["log_scale"][len(kept) :].exp()
    turned = (quaternion_to_matrix(new["rotation"][len(kept) :]) @ offset[..., None]).squeeze(-1)
    new["mean"][len(kept) :] += turned
    new["log_scale"][len(kept) :] -= torch.tensor(shrink).log().item()
    return change


def relocate(raw: RawGaussians, dead: Bool[Tensor, " n"], generator: torch.Generator) -> Change:
    """The dead ones moved onto living ones, drawn by opacity; their number stays (Kheradmand et al. 2024, equation 9).

    N that share a place get o' = 1 - (1 - o)^(1/N), which covers the same at the mean, and scales times o / D with
    D = sum_{k=1}^{N} C(N, k) (-1)^(k-1) o'^k / sqrt(k), which covers the same along a line through it. (The paper's
    double sum is this one, by the hockey-stick identity.)

    Raises:
        InputError: none is alive.
    """
    _require(raw, dead)
    alive = (~dead).nonzero()[:, 0]
    if len(alive) == 0:
        raise InputError("relocate: all Gaussians are dead; one must be alive to move them to")
    opacity = torch.sigmoid(raw["opacity_logit"].detach().double()).reshape(len(dead))
    chance = opacity[alive].to(generator.device).clamp_min(_LEAST_CHANCE)
    count = int(dead.sum())
    drawn = torch.multinomial(chance, count, replacement=True, generator=generator) if count else alive[:0]
    origin = torch.arange(len(dead), device=dead.device)
    origin[dead] = alive[drawn.to(dead.device)]
    sharing = torch.bincount(origin, minlength=len(dead))
    change = _change(raw, origin, 0)
    shared = sharing[origin] > 1
    each, factor = _shares(opacity[origin[shared]], sharing[origin[shared]])
    new = change.raw
    new["opacity_logit"][shared] = _logit(each).to(new["opacity_logit"]).reshape(new["opacity_logit"][shared].shape)
    new["log_scale"][shared] += factor.log()[:, None].to(new["log_scale"])
    return Change(new, origin, shared)


def _shares(
    opacity: Float[Tensor, " n"], sharing: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The opacity of each of those that share a place, and what their scales are multiplied by; float64."""
    opacity = opacity.clamp(_LEAST_CHANCE, 1 - _LEAST_CHANCE)
    n = sharing.double()
    each = -torch.expm1(torch.log1p(-opacity) / n)
    total = torch.zeros_like(opacity)
    for k in range(1, int(sharing.max()) + 1 if len(sharing) else 1):
        choose = torch.lgamma(n + 1) - torch.lgamma((n - k + 1).clamp_min(1)) - torch.lgamma(n.new_tensor(k + 1.0))
        term = (choose + k * each.log()).exp() * (-1) ** (k - 1) / k**0.5
        total += torch.where(n >= k, term, 0.0)
    return each, opacity / total


def _change(raw: RawGaussians, origin: Tensor, made: int) -> Change:
    fresh = torch.arange(len(origin), device=origin.device) >= len(origin) - made
    return Change({name: values.detach()[origin] for name, values in raw.items()}, origin, fresh)


def _logit(chance: Tensor) -> Tensor:
    chance = chance.clamp(_LEAST_CHANCE, 1 - _LEAST_CHANCE)
    return (chance / (1 - chance)).log()


def _require(raw: RawGaussians, mask: Tensor) -> None:
    for name in _NEEDED:
        if name not in raw:
            raise InputError(f"density control: the parameters have no {name}; they must have {', '.join(_NEEDED)}")
    for name, values in raw.items():
        if len(values) != len(mask):
            raise InputError(f"density control: {name} has {len(values)} rows, the mask {len(mask)}; they must agree")
