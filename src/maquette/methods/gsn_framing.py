"""From a picture to what GSN is shown: the object on white, in a square, as large in it as in the training images.

A picture that is such a square already, as those of ShapeNet-SRN are, is shown as it is. Any other is cut to a square
about its object, what lies outside of the object's mask is made white, and it is brought to the training images' size.

Ours: that the object's larger side fills `TYPICAL_EXTENT` of the square. The true share varies with the view, since all
training objects have boxes of one diagonal: a bottle from its end looks small. Nothing in a photo tells it; 0.63 is the
median of the larger sides of 25,600 masks of training data, a tenth lie below 0.50 and a tenth above 0.77.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.images import srgb_to_linear
from maquette.methods.framing import MINIMUM_PX, Window, object_window, resize
from maquette.methods.masks import stands_out
from maquette.methods.matte import pieces
from maquette.types import Photo

TYPICAL_EXTENT = 0.63
SIDE_PX = 128  # of the training images; the network resamples them to its own size
_WHITE = 250 / 255  # as bright as this in all colours, a pixel of a border is white: JPEG leaves a little noise
_WHITE_BORDER = 0.7  # this share of a border white, and the picture is one on white, its object perhaps cut off
_CLEAN_BORDER = 0.98
_PLAUSIBLE_EXTENT = (0.1, 0.95)  # of an object in a square that is shown as it is
_PLAUSIBLE_OFFSET = 0.15  # of the middle of its box from the middle of the square, as a share of the side
_COMPARABLE = 0.25  # of the largest piece's area: a piece as large may be an object of its own
_ONE_COLOUR = 2 / 255  # within this range, all of a picture has one colour
_BUSY = 0.06  # standard deviation of a border's colours from which the masks that are found are in doubt
_SMALL_PX = 40  # an object smaller than this has half the detail of the training images'
_BORDER = 0.02  # what is looked at of the background, as a share of the longer side


@dataclass(frozen=True)
class FramedImage:
    """What GSN is shown of a picture.

    Attributes:
        image: display-encoded, 0 to 1, the object on white.
        mask: where `image` shows the object.
        window: the part of the picture that it shows; it may leave the picture.
        picture_size: height and width of the picture, in pixels.
        warnings: what speaks against trusting the result, a plain line each.
    """

    image: Float[Tensor, "3 side side"]
    mask: Bool[Tensor, "side side"]
    window: Window
    picture_size: tuple[int, int]
    warnings: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of the picture that the object takes, 0 to 1."""
        height, width = self.picture_size
        return float(self.mask.double().mean()) * self.window.height * self.window.width / (height * width)


def show(
    rgb: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"] | None = None, name: str = "picture"
) -> FramedImage:
    """Frame a picture for GSN.

    Args:
        rgb: display-encoded, 0 to 1.
        mask: where the object is. Without one, a square on white with an object of plausible size in its middle is
            shown as it is, bit for bit if it has at most `SIDE_PX` pixels a side; else the object is what isn't white
            or, on another background, what stands out (half a second or more: give a mask if that matters). A mask of
            every pixel says that the whole picture is framed and on white already.
        name: of the picture, for messages.

    Raises:
        InputError: there is no object: all of one colour or nearly white, an empty mask, or smaller than
            `maquette.methods.framing.MINIMUM_PX` across.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < MINIMUM_PX:
        raise InputError(f"{name}: is {width}x{height}; at least {MINIMUM_PX}x{MINIMUM_PX} is needed")
    if mask is not None and not bool(mask.all()):
        return _cut(rgb, mask, name, _complaints(mask))
    if float(rgb.amax((0, 1)).sub(rgb.amin((0, 1))).max()) < _ONE_COLOUR:
        raise InputError(f"{name}: shows no object: all of it has one colour")
    found = rgb.amin(-1) < _WHITE
    if not bool(found.any()):
        raise InputError(f"{name}: shows no object: all of it is white, or nearly")
    if mask is not None:
        return _whole(rgb, found)
    if float(_ring(found, 1).float().mean()) <= 1 - _WHITE_BORDER:
        warnings = _complaints(found)
        return _as_it_is(rgb, found, warnings) if _is_framed(found) else _cut(rgb, found, name, warnings)
    return _found(rgb, name)


def _whole(rgb: Tensor, found: Tensor) -> FramedImage:
    """All of a picture, made square with white; `found` is what isn't white in it."""
    window = _square_about(rgb)
    if float(_ring(found, 1).float().mean()) <= 1 - _WHITE_BORDER:
        return _as_it_is(rgb, found, _complaints(found), window)
    warning = "all of the picture is taken for the object, but its background isn't white, as the network expects"
    return _as_it_is(rgb, torch.ones_like(found), (warning,), window)


def _found(rgb: Tensor, name: str) -> FramedImage:
    alpha = stands_out(Photo(srgb_to_linear(rgb), name=name))
    if alpha is None:
        warning = "no object stands out from the background; all of the picture is taken for it: give a mask"
        return _as_it_is(rgb, torch.ones(rgb.shape[:2], dtype=torch.bool), (warning,), _square_about(rgb))
    found = (alpha > 0.5).numpy()
    mask = torch.from_numpy(pieces(found, 1.0))
    warnings = _complaints(mask)
    if (count := comparable_pieces(found)) > 1:
        warnings = (f"{count} objects of comparable size; the largest is taken: give a mask for another", *warnings)
    border_px = max(1, round(_BORDER * max(rgb.shape)))
    behind = _ring(rgb, border_px)[~_ring(torch.from_numpy(found), border_px)]
    if len(behind) > 1 and float(behind.std(0).max()) > _BUSY:
        warnings = (*warnings, "the background isn't even, and no mask is given; the object may be cut out wrongly")
    return _cut(rgb, mask, name, warnings)


def _square_about(rgb: Tensor) -> Window:
    height, width = rgb.shape[:2]
    side = max(height, width)
    return Window(-((side - height) // 2), -((side - width) // 2), side, side)


def _as_it_is(rgb: Tensor, mask: Tensor, warnings: tuple[str, ...], window: Window | None = None) -> FramedImage:
    """The picture without a cut; a larger one is averaged to the training images' size."""
    height, width = rgb.shape[:2]
    window = Window(0, 0, height, width) if window is None else window
    image = rgb.permute(2, 0, 1)
    if window != Window(0, 0, height, width):
        image = window.cut(image) + (1 - window.cut(torch.ones_like(image)))
    solid = window.cut(mask[None].float())
    if window.width > SIDE_PX:
        image, solid = resize(image, (SIDE_PX, SIDE_PX)), resize(solid, (SIDE_PX, SIDE_PX))
    return FramedImage(image.contiguous(), _covered(solid[0]), window, (height, width), warnings)


def _cut(rgb: Tensor, mask: Tensor, name: str, warnings: tuple[str, ...]) -> FramedImage:
    """The square about the mask, white outside of it."""
    window = object_window(Photo(rgb, mask, name), margin=(1 / TYPICAL_EXTENT - 1) / 2)
    solid = window.cut(mask[None].float())
    darkness = (1 - window.cut(rgb.permute(2, 0, 1))) * solid
    size = (SIDE_PX, SIDE_PX)
    cover = resize(solid, size)
    image = (1 - resize(darkness, size)).clamp(0, 1)
    return FramedImage(image, _covered(cover[0]), window, (rgb.shape[0], rgb.shape[1]), warnings)


def _covered(cover: Tensor) -> Tensor:
    """Pixels that the object covers by half; of one that is thin everywhere, wherever it is at all."""
    mask = cover >= 0.5
    return mask if bool(mask.any()) else cover > 0


def _is_framed(found: Tensor) -> bool:
    """Whether a picture on white is a square with its object in the middle, as the training images are."""
    height, width = found.shape
    if height != width or float(_ring(found, 1).float().mean()) > 1 - _CLEAN_BORDER:
        return False
    top, bottom, left, right = _box(found)
    extent = max(bottom - top, right - left) / width
    offset = max(abs(top + bottom - height), abs(left + right - width)) / 2 / width
    return _PLAUSIBLE_EXTENT[0] <= extent <= _PLAUSIBLE_EXTENT[1] and offset <= _PLAUSIBLE_OFFSET


def _complaints(mask: Tensor) -> tuple[str, ...]:
    """What a mask itself says against a picture; one that comes to the border is cut off."""
    if not bool(mask.any()):
        return ()  # which is refused, soon
    warnings = []
    if (count := comparable_pieces(mask.numpy())) > 1:
        warnings.append(f"{count} pieces of comparable size are taken for one object; GSN was trained on one at a time")
    if bool(_ring(mask, 1).any()):
        warnings.append("the object reaches the picture's border, or nearly; what lies beyond is made up, or missing")
    top, bottom, left, right = _box(mask)
    if (extent := max(bottom - top, right - left)) < _SMALL_PX:
        warnings.append(f"the object is {extent} px across; below {_SMALL_PX} the network sees too little of it")
    return tuple(warnings)


def comparable_pieces(mask: Bool[np.ndarray, "height width"]) -> int:
    """How many connected pieces of a mask are at least a quarter as large as the largest."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas >= _COMPARABLE * areas.max()).sum()) if len(areas) else 0


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _ring(image: Tensor, width_px: int) -> Tensor:
    """The pixels within so many of the border, in a row."""
    ring = torch.ones(image.shape[:2], dtype=torch.bool)
    ring[width_px:-width_px, width_px:-width_px] = False
    return image[ring]
