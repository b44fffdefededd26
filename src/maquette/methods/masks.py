"""Where the object is: from alpha, from a file, from the picture itself, or everywhere."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from maquette.catalogue import SMALLEST_BOX_PX
from maquette.errors import InputError
from maquette.io.images import linear_to_srgb, read_alpha
from maquette.methods.adapters.rembg import alpha_by_rembg
from maquette.methods.grabcut import grabcut_in_box, grabcut_mask
from maquette.methods.mask_choice import MaskChoice, read_choice
from maquette.methods.matte import matte, pieces
from maquette.methods.saliency import saliency
from maquette.types import Photo

_PLAUSIBLE_SHARES = (0.01, 0.95)  # of the frame: less is nothing, more is all of it
_LEAST_CLEAR = 0.25  # of what may stand out, the share that surely does; a room full of things has less
_SMALLEST_PIECE = 0.1  # of the largest one: smaller ones are no object
_SAMPLES = 1_000_000  # of the pixels, for a percentile
_TINY = 0.05  # of the frame; an object as small is worth a word
_BOX_MARGIN = 0.15  # around a box, as a share of its larger side: what it is told apart from
_CONFIRMED = 0.6  # intersection over union of what two looks at a point find; chosen on cut-outs (docs/masks.md)
_CLOSER = (1.0, 0.7, 0.5, 0.35, 0.25)  # squares about a point, as shares of the photo's longer side


def object_mask(photo: Photo, how: str = "auto") -> Bool[Tensor, "height width"]:
    """The pixels that show the object; `how` and the errors are those of `cut_out`."""
    mask = cut_out(photo, how).mask
    assert mask is not None
    return mask


def cut_out(photo: Photo, how: str = "auto") -> Photo:
    """The photo with the mask of its object and, where it is known, its alpha.

    Args:
        photo: any photo.
        how: `auto` takes the photo's own mask if it has one, else what stands out, by U^2-Net-p, as fine as the photo;
            all that is of a size, if there are several pieces. `alpha` takes the photo's own mask; `none` every pixel;
            `grabcut` the photo's own, else what GrabCut finds. `box:X0,Y0,X1,Y1` takes what stands out in a box,
            `point:X,Y` the piece that is there (pixels from the top-left corner). `rembg:NAME` asks one of the models
            of an installed rembg, whose file must be there already. Anything else is the path of a mask file as
            large as the photo (transparent or black: not the object).

    Where nothing stands out, or nearly everything does, every pixel is taken and a warning says so. The same photo
    always gives the same mask.

    Raises:
        InputError: no alpha where it was asked for, a mask file that can't be read or has another size, an empty mask,
            a box or a point outside of the photo, a point where nothing stands out, no rembg or no file of its model.
    """
    choice = read_choice(how)
    photo = _cut_out(photo, choice)
    if photo.mask is None or not bool(photo.mask.any()):
        raise InputError(f"{photo.name}: its mask is empty; a mask with at least one pixel is needed")
    return photo


def mask_share(photo: Photo) -> float:
    """The share of the frame that the mask takes, 0 to 1, as `--json` tells it."""
    return 1.0 if photo.mask is None else round(float(photo.mask.double().mean()), 4)


def stands_out(photo: Photo) -> Float[Tensor, "height width"] | None:
    """The alpha of what `auto` finds in the colours; None if nothing stands out, or nearly everything does."""
    picture = _exposed(photo)
    coarse = saliency(picture)
    return _plausible(torch.from_numpy(matte(picture, _in_pieces(coarse)))) if _is_clear(coarse) else None


def _cut_out(photo: Photo, choice: MaskChoice) -> Photo:
    match choice.kind:
        case "none":
            return photo.with_mask(torch.ones(photo.rgb.shape[:2], dtype=torch.bool))
        case "alpha" | "auto" | "grabcut" if photo.mask is not None:
            return photo
        case "alpha":
            raise InputError(f"{photo.name}: has no transparent pixels; give --mask auto, none or a file")
        case "auto":
            return _found(photo, stands_out(photo), "U^2-Net-p")
        case "grabcut":
            return _found(photo, grabcut_mask(photo), "GrabCut")
        case "rembg":
            return _found(photo, _plausible(alpha_by_rembg(photo, choice.text)), f"rembg's {choice.text}")
        case "box":
            return _with_alpha(photo, _in_box(photo, choice.numbers))
        case "point":
            return _with_alpha(photo, _at_point(photo, *choice.numbers))
        case "file":
            return _with_alpha(photo, _from_file(photo, Path(choice.text)))


def _found(photo: Photo, found: Tensor | None, by: str) -> Photo:
    """The photo with what was found in it, a word said of its size, or whole."""
    if found is None:
        _say(f"{photo.name}: no object stands out from the background; the whole frame is used")
        return photo.with_mask(torch.ones(photo.rgb.shape[:2], dtype=torch.bool))
    photo = photo.with_mask(found) if found.dtype == torch.bool else _with_alpha(photo, found)
    if (share := mask_share(photo)) < _TINY:
        _say(
            f"{photo.name}: the object is {share:.1%} of the frame, by {by}; --mask none takes all of it,"
            " --mask box:X0,Y0,X1,Y1 or point:X,Y another object"
        )
    return photo


def _plausible(alpha: Float[Tensor, "height width"]) -> Float[Tensor, "height width"] | None:
    """None if an alpha is hardly anything, or nearly all of the frame."""
    smallest, largest = _PLAUSIBLE_SHARES
    return alpha if smallest <= float((alpha > 0.5).double().mean()) <= largest else None


def _with_alpha(photo: Photo, alpha: Float[Tensor, "height width"]) -> Photo:
    return replace(photo, mask=alpha > 0.5, alpha=alpha)


def _say(line: str) -> None:
    warnings.warn(line, stacklevel=3)


def _from_file(photo: Photo, path: Path) -> Float[Tensor, "height width"]:
    alpha = read_alpha(path)
    if alpha.shape != photo.rgb.shape[:2]:
        (height, width), (photo_height, photo_width) = alpha.shape, photo.rgb.shape[:2]
        raise InputError(
            f"{path}: the mask is {width}x{height}, {photo.name} is {photo_width}x{photo_height}; they must agree"
        )
    return alpha


def _exposed(photo: Photo) -> Float[ndarray, "height width 3"]:
    """As a screen shows it, white at the 99th percentile of its brightest channel: glints are few."""
    brightest = photo.rgb.amax(-1).flatten()
    step = -(-len(brightest) // _SAMPLES)
    white = max(float(np.percentile(brightest[::step].numpy(), 99)), 1e-6)
    return linear_to_srgb(photo.rgb / white).numpy()


def _is_clear(coarse: Float[ndarray, "side side"]) -> bool:
    """Whether something stands out from something else, and most of it without doubt."""
    smallest, largest = _PLAUSIBLE_SHARES
    doubtful = (coarse > 0.1).mean()
    surely = (coarse > 0.9).mean()
    return bool(smallest <= (coarse > 0.5).mean() <= largest and surely >= _LEAST_CLEAR * doubtful)


def _in_pieces(coarse: Float[ndarray, "side side"]) -> Float[ndarray, "side side"]:
    """The coarse map without the pieces that are small beside the largest one."""
    return _only(coarse, pieces(coarse > 0.5, _SMALLEST_PIECE))


def _only(coarse: Float[ndarray, "side side"], kept: Bool[ndarray, "side side"]) -> Float[ndarray, "side side"]:
    """The coarse map of some of its pieces: 0 on the others, and on what is nearer to them."""
    others = (coarse > 0.5) & ~kept
    if not others.any():
        return coarse
    to_kept, to_others = (cv2.distanceTransform((~where).astype(np.uint8), cv2.DIST_L2, 5) for where in (kept, others))
    return np.where(to_kept <= to_others, coarse, np.float32(0))


def _in_box(photo: Photo, box: tuple[float, ...]) -> Float[Tensor, "height width"]:
    """What stands out in a box from its surroundings; failing that by GrabCut, failing that all of it."""
    height, width = photo.rgb.shape[:2]
    left, top, right, bottom = box
    left, top = max(0, round(left)), max(0, round(top))
    right, bottom = min(width, round(right)), min(height, round(bottom))
    text = "box:" + ",".join(f"{number:g}" for number in box)
    if min(right - left, bottom - top) < SMALLEST_BOX_PX:
        raise InputError(f"--mask {text}: lies outside of {photo.name}, which is {width}x{height} pixels")
    margin = round(_BOX_MARGIN * max(right - left, bottom - top))
    rows, columns = slice(max(0, top - margin), bottom + margin), slice(max(0, left - margin), right + margin)
    picture = _exposed(photo)[rows, columns]
    inside = np.zeros(picture.shape[:2], np.bool_)
    inside[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = True
    coarse = saliency(picture)
    within = cv2.resize(inside.astype(np.float32), coarse.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    coarse = _only(coarse, _mostly_in(coarse > 0.5, within)) * within
    part = matte(picture, _in_pieces(coarse)) * inside if _is_clear(coarse) else grabcut_in_box(picture, inside)
    if part is None or not (part > 0.5).any():
        _say(f"{photo.name}: nothing stands out in --mask {text}; all of the box is used")
        part = inside
    alpha = torch.zeros(height, width)
    alpha[rows, columns] = torch.from_numpy(part.astype(np.float32))
    return alpha


def _mostly_in(mask: Bool[ndarray, "side side"], within: Bool[ndarray, "side side"]) -> Bool[ndarray, "side side"]:
    """The pieces of which half or more lies within: not the flank of something beside the box."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    places = np.asarray(labels, np.intp)
    held = np.bincount(places[within], minlength=count) >= 0.5 * np.bincount(places.ravel(), minlength=count)
    return mask & held[places]


def _at_point(photo: Photo, x: float, y: float) -> Float[Tensor, "height width"]:
    """The piece at a point that stands out, as a closer look confirms it.

    Squares about the point are looked at, from the whole photo down. In a large one the object may be joined to others,
    a small one may cut it off: the first is taken whose piece is much the same in the next one; failing that, the first
    with a piece at the point.
    """
    height, width = photo.rgb.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"--mask point:{x:g},{y:g}: lies outside of {photo.name}, which is {width}x{height} pixels")
    picture = _exposed(photo)
    first = last = None
    for share in _CLOSER:
        seen = _look(picture, x, y, max(SMALLEST_BOX_PX, round(share * max(height, width))))
        if seen is not None and last is not None and _overlap(seen.piece, last.piece) > _CONFIRMED:
            return _fine(picture, last)
        first, last = first or seen, seen or last
    if first is None:
        raise InputError(f"{photo.name}: nothing stands out at --mask point:{x:g},{y:g}; give another point, or a box")
    return _fine(picture, first)


@dataclass(frozen=True)
class _Look:
    """A part of a picture, the coarse map in it of the piece at the point, and that piece in the whole picture."""

    window: tuple[slice, slice]
    coarse: Float[ndarray, "side side"]
    piece: Bool[ndarray, "height width"]


def _look(picture: Float[ndarray, "height width 3"], x: float, y: float, side: int) -> _Look | None:
    """A square about a point, as far as it lies in the picture; None if nothing stands out at the point."""
    corners = ((y, picture.shape[0]), (x, picture.shape[1]))
    top, left = (int(np.clip(round(at - side / 2), 0, max(0, size - side))) for at, size in corners)
    window = slice(top, top + side), slice(left, left + side)
    patch = picture[window]
    coarse = saliency(patch)
    row, column = int((y - top) / patch.shape[0] * len(coarse)), int((x - left) / patch.shape[1] * len(coarse))
    if coarse[row, column] <= 0.5:
        return None
    _, labels = cv2.connectedComponents((coarse > 0.5).astype(np.uint8), connectivity=8)
    kept = np.asarray(labels == labels[row, column])
    piece = np.zeros(picture.shape[:2], np.bool_)
    piece[window] = cv2.resize(kept.astype(np.float32), patch.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return _Look(window, _only(coarse, kept), piece)


def _fine(picture: Float[ndarray, "height width 3"], look: _Look) -> Float[Tensor, "height width"]:
    alpha = torch.zeros(picture.shape[:2])
    alpha[look.window] = torch.from_numpy(matte(picture[look.window], look.coarse))
    return alpha


def _overlap(one: Bool[ndarray, "height width"], other: Bool[ndarray, "height width"]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))
