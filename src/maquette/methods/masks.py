"""Where the object is: from alpha, from a file, from the picture itself, or everywhere."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy import ndarray
from torch import Tensor

from maquette.errors import InputError
from maquette.io.images import read_mask, to_srgb8
from maquette.types import Photo

_WORKING_SIDE_PX = 384
_BORDER_SHARE = 0.02
_ITERATIONS = 5
_PLAUSIBLE_SHARES = (0.01, 0.99)
_LARGEST_FILLED_HOLE = 0.02


def object_mask(photo: Photo, how: str = "auto") -> Bool[Tensor, "height width"]:
    """The pixels that show the object.

    Args:
        photo: any photo.
        how: `alpha` takes the photo's own mask; `none` takes every pixel; `auto` takes the photo's own mask
            if it has one, else what GrabCut finds; anything else is the path of a mask file as large as the
            photo (transparent or black: not the object).

    Raises:
        InputError: no alpha where it was asked for, a mask file that can't be read or has another size, an
            empty mask.
    """
    if how == "none":
        return torch.ones(photo.rgb.shape[:2], dtype=torch.bool)
    if how in ("alpha", "auto") and photo.mask is not None:
        mask = photo.mask
    elif how == "alpha":
        raise InputError(f"{photo.name}: has no transparent pixels; give --mask auto, none or a file")
    elif how == "auto":
        mask = grabcut_mask(photo)
    else:
        mask = _mask_from_file(photo, Path(how))
    if not bool(mask.any()):
        raise InputError(f"{photo.name}: its mask is empty; a mask with at least one pixel is needed")
    return mask


def grabcut_mask(photo: Photo) -> Bool[Tensor, "height width"]:
    """What stands out from the photo's border, in one piece.

    GrabCut (Rother et al. 2004, in OpenCV) on a copy of at most 384 pixels, with a frame of 2 % as the
    background that it starts from; then the largest connected piece, its small holes filled: a highlight
    makes a small hole, the handle of a cup a large one (above 2 % of the piece). If that is less than 1 % or
    more than 99 % of the photo, there is no object to tell apart: every pixel is taken and a warning says
    so. The same photo always gives the same mask.
    """
    mask = in_one_piece(photo, foreground(photo))
    if mask is None:
        warnings.warn(f"{photo.name}: no object stands out from the background; the whole frame is used", stacklevel=2)
        return torch.ones(photo.rgb.shape[:2], dtype=torch.bool)
    return mask


def foreground(photo: Photo) -> Bool[ndarray, "small_height small_width"]:
    """All that stands out from the photo's border, in any number of pieces; of a copy of at most 384 pixels."""
    return _grabcut(_display_copy(photo))


def in_one_piece(photo: Photo, found: Bool[ndarray, "small_height small_width"]) -> Bool[Tensor, "height width"] | None:
    """The mask that `grabcut_mask` makes of what `foreground` found; None if that is hardly anything, or nearly all."""
    height, width = photo.rgb.shape[:2]
    found = _largest_piece(found)
    smallest, largest = _PLAUSIBLE_SHARES
    if not smallest <= found.mean() <= largest:
        return None
    soft = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(soft > 0.5)


def _mask_from_file(photo: Photo, path: Path) -> Bool[Tensor, "height width"]:
    mask = read_mask(path)
    if mask.shape != photo.rgb.shape[:2]:
        (height, width), (photo_height, photo_width) = mask.shape, photo.rgb.shape[:2]
        raise InputError(
            f"{path}: the mask is {width}x{height}, {photo.name} is {photo_width}x{photo_height}; they must agree"
        )
    return mask


def _display_copy(photo: Photo) -> UInt8[ndarray, "height width 3"]:
    """The photo as a display would show it, small, exposed so that its bright parts are bright."""
    height, width = photo.rgb.shape[:2]
    scale = min(1.0, _WORKING_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = torch.from_numpy(cv2.resize(photo.rgb.numpy(), size, interpolation=cv2.INTER_AREA))
    white = max(float(np.percentile(small.numpy(), 99)), 1e-6)
    return to_srgb8(small / white).numpy()


def _grabcut(image: UInt8[ndarray, "height width 3"]) -> Bool[ndarray, "height width"]:
    height, width = image.shape[:2]
    margin = max(1, round(_BORDER_SHARE * max(height, width)))
    rectangle = (margin, margin, width - 2 * margin, height - 2 * margin)
    labels = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)  # the colour models start from a random clustering
    cv2.grabCut(
        np.ascontiguousarray(image[..., ::-1]),
        labels,
        rectangle,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        _ITERATIONS,
        cv2.GC_INIT_WITH_RECT,
    )
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _largest_piece(found: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]  # label 0 is the background
    if len(areas) == 0:
        return found
    piece = labels == 1 + int(areas.argmax())
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~piece).astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= _LARGEST_FILLED_HOLE * piece.sum()
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    small[at_border] = False
    return piece | small[labels]
