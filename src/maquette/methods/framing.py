"""Between a photo and a model's input: what is cut out, how large it becomes, how bright it is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.errors import InputError
from maquette.io.images import linear_to_srgb
from maquette.types import Photo

MARGIN = 0.06  # around the object, as a share of its size; training frames objects alike
MINIMUM_PX = 8  # an object smaller than this has no shape to see
_WHITE_PERCENTILE = 0.99
_DARKEST_WHITE = 0.02  # linear; below it, a photo shown as it is would be black
_PERCENTILE_SAMPLES = 1_000_000  # torch.quantile refuses more than 16 million values


@dataclass(frozen=True)
class Window:
    """A rectangle of a photo, in pixels; it may leave the photo on any side."""

    top: int
    left: int
    height: int
    width: int

    def cut(
        self, image: Float[Tensor, "channels height width"]
    ) -> Float[Tensor, "channels window_height window_width"]:
        """The window's part of an image, 0 outside the image."""
        height, width = image.shape[1:]
        sides = (-self.left, self.left + self.width - width, -self.top, self.top + self.height - height)
        return F.pad(image, sides)  # negative widths cut

    def paste(
        self, part: Float[Tensor, "channels window_height window_width"], size: tuple[int, int]
    ) -> Float[Tensor, "channels height width"]:
        """The inverse of `cut`: an image of `size` (height, width), 0 outside the window."""
        height, width = size
        sides = (self.left, width - self.left - self.width, self.top, height - self.top - self.height)
        return F.pad(part, sides)


def photo_window(photo: Photo) -> Window:
    """All of the photo."""
    return Window(0, 0, *photo.rgb.shape[:2])


def object_window(photo: Photo, margin: float = MARGIN) -> Window:
    """The square about the mask with a margin; it may leave the photo. All of a photo without a mask is object.

    The margins left and right are equal, so that the square of a mirrored photo is the mirrored square; where
    the object's height and width aren't both even or both odd, the one above is a pixel larger than the one below.

    Args:
        photo: any photo.
        margin: on each side, as a share of the object's larger side.

    Raises:
        InputError: the mask is empty, or smaller than `MINIMUM_PX` pixels across.
    """
    mask = mask_of(photo)
    rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
    if not len(rows):
        raise InputError(f"{photo.name}: the mask is empty; mark the object in it, or use --mask none")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extent = max(bottom - top, right - left)
    if extent < MINIMUM_PX:
        raise InputError(f"{photo.name}: the object is {extent} px across; at least {MINIMUM_PX} are needed")
    side = round(extent * (1 + 2 * margin))
    side += (side - (right - left)) % 2
    return Window((top + bottom - side) // 2, (left + right - side) // 2, side, side)


def mask_of(photo: Photo) -> Bool[Tensor, "height width"]:
    """The photo's mask; every pixel, if it has none."""
    return torch.ones(photo.rgb.shape[:2], dtype=torch.bool) if photo.mask is None else photo.mask


def resize(image: Float[Tensor, "channels height width"], size: tuple[int, int]) -> Float[Tensor, "channels h w"]:
    """To another size: averaging when it shrinks, bicubic when it grows."""
    if image.shape[1] >= size[0] and image.shape[2] >= size[1]:
        return F.interpolate(image[None], size, mode="area")[0]
    return F.interpolate(image[None], size, mode="bicubic", align_corners=False)[0]


def display(photo: Photo) -> Float[Tensor, "height width 3"]:
    """The photo as a screen shows it: sRGB in 0..1, what models of the internet's pictures were trained on.

    A photo whose colours lie within 0..1 and aren't all but black is encoded as it is, so that an 8-bit file
    reaches the model unchanged. Any other, as an EXR in the camera's own units, is first scaled so that the
    99th percentile of its brightest channel is white. (Ours to choose.)
    """
    brightest = photo.rgb.amax(-1).flatten()
    step = -(-len(brightest) // _PERCENTILE_SAMPLES)
    white = float(torch.quantile(brightest[::step], _WHITE_PERCENTILE))
    if white >= _DARKEST_WHITE and float(brightest.max()) <= 1:
        white = 1.0
    return linear_to_srgb(photo.rgb / max(white, 1e-12))
