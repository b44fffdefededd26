"""Which lights a photo is taken under: how many, how strong, of what colour, hard or soft."""

from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

FLASH = 5  # a source at the camera itself; 0 to 4 are the stored lights and the area light
SLOTS = 3
# One hard light | light and room | two | three coloured ones | a room alone | one near lamp in the dark | a flash.
_ODDS = (0.2, 0.25, 0.1, 0.08, 0.2, 0.1, 0.07)
_SOURCES = (0.2, 0.2, 0.15, 0.25, 0.2)
_LAMP = 3


@dataclass(frozen=True)
class Lighting:
    """The light of a batch of photos.

    Attributes:
        source: of every slot, as `maquette.synth.looks.photo.direct_light` takes it.
        strength: irradiance over pi, in colour; 0 where a slot is empty.
        soft: how much a shadow is blurred, 0 to 1.
        width: of the lamp: what it adds to a highlight's alpha.
        window: half-widths (tangents) right and up, turn and bars of a light that is seen as a window; zero: it isn't.
        ambient: strength of the environment.
    """

    source: Int[Tensor, "batch slots"]
    strength: Float[Tensor, "batch slots 3 1 1"]
    soft: Float[Tensor, "batch slots 1 1 1"]
    width: Float[Tensor, "batch slots 1 1 1"]
    window: Float[Tensor, "batch slots 4 1 1"]
    ambient: Float[Tensor, "batch 1 1 1"]


def sample_lighting(n: int, rng: Generator, device: torch.device) -> Lighting:
    """Draw the light of `n` photos."""

    def per_object(*shape: int) -> Tensor:
        return torch.rand(n, *shape, 1, 1, 1, generator=rng, device=device)

    mode = torch.multinomial(torch.tensor(_ODDS, device=device), n, replacement=True, generator=rng)
    source = torch.multinomial(torch.tensor(_SOURCES, device=device).expand(n, -1), SLOTS, generator=rng)
    single = torch.where(mode == 5, _LAMP, torch.where(mode == 6, FLASH, source[:, 0]))
    source = torch.cat([single[:, None], source[:, 1:]], 1)

    kind = mode.reshape(n, 1, 1, 1)
    u = per_object()
    ambient = torch.where(kind == 4, 1.0, 0.05 + 0.6 * u)
    ambient = torch.where(kind == 0, 0.08 * u**2, ambient)
    ambient = torch.where(kind == 3, 0.2 * u, ambient)
    ambient = torch.where(kind == 5, 0.012 * u**2, ambient)
    ambient = torch.where(kind == 6, 0.3 * u**2, ambient)
    count = torch.tensor([1, 1, 2, 3, 0, 1, 1], device=device)[mode]
    slots = torch.arange(SLOTS, device=device)
    used = (slots < count[:, None]).reshape(n, SLOTS, 1, 1, 1)
    main = (slots == 0).reshape(1, SLOTS, 1, 1, 1)
    draw = per_object(SLOTS)
    strength = used * torch.where(main, 0.5 + draw, 0.2 + 0.8 * draw)
    strength = strength * _tints(n, mode == 3, rng, device)

    soft = (per_object(SLOTS) < 0.5) * per_object(SLOTS)
    width = 0.002 + 0.15 * per_object(SLOTS) ** 4
    far = (source != _LAMP) & (source != FLASH)
    framed = far.reshape(n, SLOTS, 1, 1, 1) & used & (per_object(SLOTS) < 0.3)
    return Lighting(source, strength, soft, width, framed * _windows(n, rng, device), ambient)


def _tints(n: int, coloured: Tensor, rng: Generator, device: torch.device) -> Tensor:
    """(n, slots, 3, 1, 1): nearly white, warm to cool, or, where asked for and one time in ten, of any colour."""
    near = 1 + 0.25 * (torch.rand(n, SLOTS, 3, generator=rng, device=device) - 0.5)
    warmth = 0.35 * torch.randn(n, SLOTS, 1, generator=rng, device=device)
    near = near * torch.exp(warmth * torch.tensor([0.5, 0.0, -0.7], device=device))
    hue = torch.rand(n, SLOTS, 3, generator=rng, device=device)
    hue = hue / hue.amax(2, keepdim=True).clamp_min(0.05)
    vivid = 0.2 + 0.8 * torch.rand(n, SLOTS, 1, generator=rng, device=device)
    chance = torch.rand(n, SLOTS, 1, generator=rng, device=device) < 0.08
    return torch.where(coloured[:, None, None] | chance, 1 - vivid + vivid * hue, near)[..., None, None]


def _windows(n: int, rng: Generator, device: torch.device) -> Tensor:
    """(n, slots, 4, 1, 1): half-widths, turn, and bars in half of them."""
    draws = torch.rand(n, SLOTS, 6, generator=rng, device=device)
    half = 0.06 + 0.4 * draws[..., :2] ** 1.5
    turn = 0.25 * (draws[..., 2:3] - 0.5) * pi
    bars = 0.06 * half.amin(2, keepdim=True) * (1 + draws[..., 4:5]) * (draws[..., 3:4] < 0.5)
    return torch.cat([half, turn, bars], 2)[..., None, None]
