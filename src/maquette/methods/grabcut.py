"""GrabCut (Rother et al. 2004): what differs from the photo's border, without any network."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from maquette.io.images import to_srgb8
from maquette.types import Photo

_WORKING_SIDE_PX = 384
_BORDER_SHARE = 0.02
_ITERATIONS = 5
_PLAUSIBLE_SHARES = (0.01, 0.99)
_LARGEST_FILLED_HOLE = 0.02


def grabcut_mask(photo: Photo) -> Bool[Tensor, "height width"] | None:
    """What stands out from the photo's border, in one piece.

    OpenCV's GrabCut on a copy of at most 384 pixels, with a frame of 2 % as the background that it starts from; then
    the largest connected piece, its small holes filled: a highlight makes a small hole, the handle of a cup a large one
    (above 2 % of the piece). None if that is less than 1 % or more than 99 % of the photo: there is no object to tell
    apart. The same photo always gives the same mask.
    """
    image = _display_copy(photo)
    height, width = image.shape[:2]
    margin = max(1, round(_BORDER_SHARE * max(height, width)))
    found = _one_piece(_grabcut(image, (margin, margin, width - 2 * margin, height - 2 * margin)))
    return None if found is None else torch.from_numpy(_resized(found, photo.rgb.shape[:2]))


def grabcut_in_box(
    picture: Float[ndarray, "height width 3"], inside: Bool[ndarray, "height width"]
) -> Bool[ndarray, "height width"] | None:
    """What stands out in a box from what is around it, in one piece; None as of `grabcut_mask`.

    Args:
        picture: display-encoded, 0 to 1.
        inside: true in a rectangle.
    """
    scale = min(1.0, _WORKING_SIDE_PX / max(inside.shape))
    rows, columns = (np.flatnonzero(inside.any(axis)) * scale for axis in (1, 0))
    size = (max(1, round(inside.shape[1] * scale)), max(1, round(inside.shape[0] * scale)))
    small = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)
    top, left = int(rows[0]), int(columns[0])
    found = _one_piece(_grabcut(small, (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)))
    return None if found is None else _resized(found, inside.shape) & inside


def _display_copy(photo: Photo) -> UInt8[ndarray, "height width 3"]:
    """The photo as a display would show it, small, exposed so that its bright parts are bright."""
    height, width = photo.rgb.shape[:2]
    scale = min(1.0, _WORKING_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = torch.from_numpy(cv2.resize(photo.rgb.numpy(), size, interpolation=cv2.INTER_AREA))
    white = max(float(np.percentile(small.numpy(), 99)), 1e-6)
    return to_srgb8(small / white).numpy()


def _grabcut(
    image: UInt8[ndarray, "height width 3"], rectangle: tuple[int, int, int, int]
) -> Bool[ndarray, "height width"]:
    """All that differs from what lies outside of a rectangle (left, top, width, height)."""
    height, width = image.shape[:2]
    if min(rectangle[2:]) < 1 or rectangle[2] * rectangle[3] >= height * width:
        return np.zeros((height, width), np.bool_)  # a strip so long that its frame is all of it; or no frame
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


def _one_piece(found: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"] | None:
    found = _largest_piece(found)
    smallest, largest = _PLAUSIBLE_SHARES
    return found if smallest <= found.mean() <= largest else None


def _resized(mask: Bool[ndarray, "rows columns"], size: tuple[int, ...]) -> Bool[ndarray, "height width"]:
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5


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
