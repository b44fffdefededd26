"""What stands behind an object: nothing, a plain or cloudy ground, a table, a studio, a place out of focus."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.synth.looks.pictures import inks, repeat, scenes

# Black, plain, cloudy, white studio, table before a wall, a place, a picture of edges and shapes.
_ODDS = (0.17, 0.13, 0.14, 0.1, 0.18, 0.2, 0.08)
_STUDIO, _TABLE, _PLACE, _SHAPES = 3, 4, 5, 6


def sample_background(mask: Float[Tensor, "batch 1 height width"], rng: Generator) -> Tensor:
    """(batch, 3, height, width), linear, of about 0 to 1; what the mask covers of it is arbitrary."""
    n, _, height, width = mask.shape
    device = mask.device
    kind = torch.multinomial(torch.tensor(_ODDS, device=device), n, replacement=True, generator=rng)
    plain = _muted(torch.rand(n, 3, 1, 1, generator=rng, device=device), rng)
    cells = _muted(torch.rand(n, 3, 4, 4, generator=rng, device=device), rng)
    cloudy = F.interpolate(cells, (height, width), mode="bicubic", align_corners=False).clamp_min(0)
    numbers = kind.reshape(n, 1, 1, 1)
    ground = torch.where(numbers == 0, 0.0, torch.where(numbers == 1, plain, cloudy))
    for number, make in ((_PLACE, _places), (_SHAPES, _shapes)):
        rows = torch.nonzero(kind == number).flatten()
        if len(rows):
            ground = ground.index_copy(0, rows, make(len(rows), height, width, rng, device))
    rows = torch.nonzero((kind == _STUDIO) | (kind == _TABLE)).flatten()
    if len(rows):
        ground = ground.index_copy(0, rows, _tables(mask[rows], plain[rows], kind[rows] == _STUDIO, rng))
    return ground


def _muted(colours: Tensor, rng: Generator) -> Tensor:
    """Colours as rooms have them, linear: few are vivid."""
    vivid = torch.rand(len(colours), 1, 1, 1, generator=rng, device=colours.device) ** 3.5
    return torch.lerp(colours.mean(1, keepdim=True), colours, 0.08 + 0.8 * vivid) ** 2


def _frame(n: int, height: int, width: int, device: torch.device) -> Tensor:
    """(n, 2, height, width): -1 to 1 over the frame, x right, y down."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device), torch.linspace(-1, 1, width, device=device), indexing="ij"
    )
    return torch.stack([x, y]).expand(n, -1, -1, -1)


def _places(n: int, height: int, width: int, rng: Generator, device: torch.device) -> Tensor:
    """A photographed place, 30 to 120 degrees of it, mostly out of focus."""
    images = scenes().to(device)
    draws = torch.rand(5, n, 1, 1, 1, generator=rng, device=device)
    seen = images[torch.randint(len(images), (n,), generator=rng, device=device)]
    span = torch.tensor([1.0, images.shape[3] / images.shape[2]], device=device).reshape(1, 2, 1, 1)
    zoom = 0.08 + 0.26 * draws[0]
    shift = torch.cat([2 * draws[1], 0.5 * draws[2] - 0.2], 1)
    picture = repeat(seen, _frame(n, height, width, device) * zoom * span + shift)
    # Out of focus by what a photographer blurs a background: up to a tenth of the frame, cheaply at low resolution.
    for factor in (4, 8):
        small = F.avg_pool2d(picture, min(factor, height, width))
        small = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, 1)
        blurred = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
        picture = torch.lerp(picture, blurred, (draws[3] > 0.05 * factor).float())
    return picture * (0.3 + 1.4 * draws[4])


def _shapes(n: int, height: int, width: int, rng: Generator, device: torch.device) -> Tensor:
    """Something printed or woven, a mosaic, a page: an ink between two colours, under an uneven light."""
    stencils = inks().to(device)
    chosen = stencils[torch.randint(len(stencils), (n,), generator=rng, device=device)]
    draws = torch.rand(3, n, 1, 1, 1, generator=rng, device=device)
    ends = [_muted(torch.rand(n, 3, 1, 1, generator=rng, device=device), rng) for _ in range(2)]
    angle = 6.2832 * draws[0]
    u, v = _frame(n, height, width, device).split(1, 1)
    places = torch.cat([u * angle.cos() - v * angle.sin(), u * angle.sin() + v * angle.cos()], 1)
    ink = repeat(chosen, places * 0.4 * 5 ** draws[1] + 2 * draws[2])
    light = F.interpolate(0.5 + torch.rand(n, 1, 3, 3, generator=rng, device=device), (height, width), mode="bilinear")
    return torch.lerp(ends[0], ends[1], ink) * light


def _tables(mask: Tensor, colour: Tensor, studio: Tensor, rng: Generator) -> Tensor:
    """A ground before a wall, grained or plain, with the object's soft shadow; a studio's are white, without edge."""
    n, _, height, width = mask.shape
    device = mask.device
    draws = torch.rand(8, n, 1, 1, 1, generator=rng, device=device)
    is_studio = studio.reshape(n, 1, 1, 1)
    y = (torch.arange(height, device=device) + 0.5).reshape(1, 1, -1, 1) / height
    horizon = 0.25 + 0.5 * draws[0]
    edge = torch.where(is_studio, 0.25, 0.004 + 0.03 * draws[1])
    below = torch.sigmoid((y - horizon) / edge)
    stencils = inks().to(device)
    chosen = stencils[torch.randint(len(stencils), (n,), generator=rng, device=device)]
    frame = _frame(n, height, width, device)
    depth = (1.2 / (y - horizon + 0.25).clamp_min(0.1)).expand(n, 1, height, width)
    grain = repeat(chosen, torch.cat([frame[:, :1] * depth, depth * 3], 1) * (0.4 + draws[2]))
    other = _muted(torch.rand(n, 3, 1, 1, generator=rng, device=device), rng)
    table = other * (1 + (draws[3] < 0.5) * 1.2 * draws[4] * (grain - 0.5))
    white = 0.75 + 0.25 * draws[5]
    wall = torch.where(is_studio, white, colour)
    table = torch.where(is_studio, white * (0.8 + 0.2 * draws[4]), table)
    shadow = _contact(mask, draws[6]) * (0.35 + 0.6 * draws[7])
    light = 1 - 0.35 * draws[1] * (frame[:, :1] * (2 * draws[4] - 1) + 0.5)
    return torch.lerp(wall.expand(-1, 3, height, width), table * (1 - shadow), below) * light


def _contact(mask: Tensor, spread: Tensor) -> Tensor:
    """(batch, 1, height, width) in 0..1: darkness about the lower part of an object, widest below it."""
    height, width = mask.shape[2:]
    factor = max(height // 32, 1)
    coarse = F.avg_pool2d(mask, factor)
    rows = torch.arange(coarse.shape[2], device=mask.device).reshape(1, 1, -1, 1)
    lowest = torch.where(coarse.amax(3, keepdim=True) > 0.3, rows, 0).amax(2, keepdim=True)
    foot = coarse * torch.exp(-(((rows - lowest).clamp_max(0) / (0.08 * coarse.shape[2])) ** 2))
    near, far = foot, foot
    for _ in range(2):
        near = F.avg_pool2d(near, (3, 3), 1, 1)
        far = F.avg_pool2d(far, (5, 13), 1, (2, 6))
    soft = torch.maximum(1.8 * near, 2.5 * far * (0.3 + spread)).clamp(0, 1)
    return F.interpolate(soft, (height, width), mode="bilinear", align_corners=False)
