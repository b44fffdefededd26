"""Detail beyond a network's own resolution: tiles of the photo, laid over a coarse map as a guide.

A network that was trained on small squares sees the whole object at low resolution, or a part of it at high. Parts
tell detail well and the large shape badly. So every octave above the guide is predicted in overlapping tiles, and
only what the coarser octave can't hold is taken from it: the rotation from the tile's own smoothed normal to its
normal, applied to the guide's normal (reoriented detail, Barre-Brisebois and Hill 2012). Ours: the octaves, the
window, the exposure that each tile normalises for itself, the lesser of both concentrations.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.methods.framing import Window, mask_of
from maquette.types import Photo

Predict = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
BATCH = 16  # tiles at a time


def sharpen(
    predict: Predict,
    photo: Float[Tensor, "1 3 side side"],
    mask: Float[Tensor, "1 1 side side"],
    guide: Float[Tensor, "1 3 coarse coarse"],
    kappa: Float[Tensor, "1 1 coarse coarse"],
    tile_px: int,
) -> tuple[Float[Tensor, "1 3 side side"], Float[Tensor, "1 1 side side"]]:
    """Add detail to a guide, octave by octave, up to the photo's own resolution.

    Args:
        predict: a network: linear photos (batch, 3, tile_px, tile_px) and masks to unit normals and concentrations.
        photo: linear, zero outside the mask.
        mask: 1 on the object.
        guide: unit normals of the same square, coarser.
        kappa: their concentrations.
        tile_px: side of a tile.

    Returns:
        Unit normals and concentrations at the photo's resolution.
    """
    side = photo.shape[-1]
    while guide.shape[-1] < side:
        finer = min(2 * guide.shape[-1], side)
        solid = resize(mask, finer)
        seen = photo if finer == side else resize(photo, finer) / solid.clamp_min(1e-3)
        detail, certainty = blend_tiles(predict, seen, (solid >= 0.5).float(), tile_px)
        detail = unit(without_comb(detail), 1)
        smooth = unit(resize(resize(detail, guide.shape[-1]), finer), 1)
        guide = reorient(detail, smooth, unit(resize(guide, finer), 1))
        kappa = torch.minimum(resize(kappa, finer).clamp_min(1e-3), certainty)
    return guide, kappa


def blend_tiles(
    predict: Predict,
    photo: Float[Tensor, "1 channels height width"],
    mask: Float[Tensor, "1 1 height width"],
    tile_px: int,
) -> tuple[Float[Tensor, "1 3 height width"], Float[Tensor, "1 1 height width"]]:
    """Predict overlapping tiles and average them under windows that vanish at a tile's border: no seam is left.

    Tiles without a pixel of the object are left out; there, normals face the viewer.
    """
    height, width = photo.shape[-2:]
    tall, wide = min(tile_px, height), min(tile_px, width)
    total = photo.new_zeros(1, 5, height, width)
    rise, run = (torch.hann_window(n + 2, periodic=False)[1:-1].to(photo.device) for n in (tall, wide))
    window = (rise[:, None] * run[None, :]).clamp_min(1e-4)
    corners = [(y, x) for y in starts(height, tall) for x in starts(width, wide)]
    corners = [(y, x) for y, x in corners if bool(mask[..., y : y + tall, x : x + wide].any())]
    for first in range(0, len(corners), BATCH):
        some = corners[first : first + BATCH]
        photos = torch.cat([photo[..., y : y + tall, x : x + wide] for y, x in some])
        masks = torch.cat([mask[..., y : y + tall, x : x + wide] for y, x in some])
        normal, kappa = predict(photos, masks)
        weighted = torch.cat([normal, kappa, torch.ones_like(kappa)], 1) * window
        for index, (y, x) in enumerate(some):
            total[0, :, y : y + tall, x : x + wide] += weighted[index]
    weight = total[:, 4:].clamp_min(1e-6)
    facing = total.new_tensor([0.0, 0.0, 1e-6]).reshape(1, 3, 1, 1)
    return unit(total[:, :3] + facing, 1), (total[:, 3:4] / weight).clamp_min(1e-3)


def without_comb(image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Binomial blur over 3x3 pixels: a network that upsamples leaves a faint comb of two pixels, octave upon octave."""
    channels = image.shape[1]
    taps = image.new_tensor([0.25, 0.5, 0.25])
    kernel = (taps[:, None] * taps[None, :]).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def starts(side: int, tile_px: int) -> list[int]:
    """First pixels of tiles that cover `side` pixels, each overlapping the next by a third; alike from both ends."""
    if side <= tile_px:
        return [0]
    count = -(-(side - tile_px) // (tile_px * 2 // 3)) + 1
    last = side - tile_px
    half = [round(i * last / (count - 1)) for i in range((count + 1) // 2)]
    return half + [last - start for start in reversed(half[: count // 2])]


def reorient(
    detail: Float[Tensor, "batch 3 height width"],
    base: Float[Tensor, "batch 3 height width"],
    onto: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Rotate unit normals by the shortest turn that takes `base` to `onto`.

    Two reflections make the turn: in the plane across base + onto, then across onto's own axis.
    """
    half = base + onto
    squared = (half * half).sum(1, keepdim=True)
    mirrored = detail - 2 * (detail * half).sum(1, keepdim=True) / squared.clamp_min(1e-6) * half
    turned = mirrored - 2 * (mirrored * onto).sum(1, keepdim=True) * onto
    return unit(torch.where(squared < 1e-3, onto, turned), 1)  # opposite directions have no shortest turn


def in_square(
    photo: Photo, window: Window, side: int
) -> tuple[Float[Tensor, "1 3 side side"], Bool[Tensor, "side side"]]:
    """A square window of a photo at a working resolution: linear colour, zero outside the object; where the object is.

    Thin parts count where they cover a pixel by half; an object that is thin everywhere, wherever it is at all.
    """
    solid = window.cut(mask_of(photo)[None].float())[None]
    cover = resize(solid, side)
    mask = cover >= 0.5
    mask = mask if bool(mask.any()) else cover > 0
    linear = resize(window.cut(photo.rgb.permute(2, 0, 1))[None] * solid, side) / cover.clamp_min(1e-3)
    return linear * mask, mask[0, 0]


def resize(image: Float[Tensor, "batch channels side side"], side: int) -> Float[Tensor, "batch channels finer finer"]:
    """To another square: averaging when it shrinks, bicubic when it grows."""
    if image.shape[-1] >= side:
        return F.interpolate(image, (side, side), mode="area")
    return F.interpolate(image, (side, side), mode="bicubic", align_corners=False)
