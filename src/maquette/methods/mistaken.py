"""Pictures that were taken for photos and are something else."""

import torch

from maquette.io.images import linear_to_srgb
from maquette.types import Photo

_DARK = 0.05  # display value; what is darker lies beside an object
_LEAST_SHARE = 0.2  # of the frame must not be dark
_LENGTH_OFF = 0.06  # of a unit vector in 8 bits, or after a JPEG
_ALIKE = 0.9  # share of the vectors that must have the length of one, and point towards the viewer
_MEAN_LEAN = 0.35  # of x and y in the mean: a blue sky has vectors of length one, too, all leaning one way


def looks_like_normals(photo: Photo) -> bool:
    """Whether nearly all colours code a unit vector that points towards the viewer, on either side of straight.

    Blue as they are, photographs don't: their colours are of any length, and where a sky's are not, all of them lean
    one way. A map in another frame, or in object or world space, isn't told.
    """
    codes = linear_to_srgb(photo.rgb.clamp(0, 1))
    counted = codes.amax(-1) > _DARK
    if photo.mask is not None:
        counted = counted & photo.mask
    if float(counted.float().mean()) < _LEAST_SHARE:
        return False
    vectors = 2 * codes[counted] - 1
    unit_length = (vectors.norm(dim=-1) - 1).abs() < _LENGTH_OFF
    likely = unit_length & (vectors[:, 2] > 0)
    lean = vectors.mean(0)[:2].abs()
    return bool(likely.float().mean() > _ALIKE) and bool(torch.all(lean < _MEAN_LEAN))
