"""A coarse map of what stands out, made as fine as the photo: GrabCut where it is in doubt, then a soft rim.

Ours to choose, on cut-outs with alpha before photographs and textures (docs/masks.md): against a guided filter of the
coarse map, GrabCut in the band alone halves the error of alpha at the edge; the guided filter then makes GrabCut's hard
edge as soft as the photo's.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

WORKING_SIDE_PX = 768
_SURE = 0.9  # of the coarse map: above it is the object, below 1 - it the background, but near a border of the two
_BAND = 1 / 320  # of the longer side, either side of the border: a pixel of the coarse map
_MARGIN = 0.1  # of the object's longer side, around it: what GrabCut looks at
_RIM_PX = 3  # radius of the guided filter
_EPSILON = 1e-4  # of the guided filter: below a contrast of 0.01, a step in colour is none
_CLEAR = 0.02  # alpha within this of 0 or 1 is 0 or 1
_LARGEST_FILLED_HOLE = 0.001  # of the object: smaller ones are highlights and noise
_SMALLEST_PIECE = 0.01  # of the largest one
_GUIDING_SIDE_PX = 1536
_TILE_PX = 256
_ITERATIONS = 1


def matte(
    picture: Float[ndarray, "height width 3"], coarse: Float[ndarray, "rows columns"]
) -> Float[ndarray, "height width"]:
    """The share of every pixel that the object covers.

    Args:
        picture: display-encoded, 0 to 1.
        coarse: the probability that a pixel belongs to the object, of any size: it is stretched over the picture.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, WORKING_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    solid = _tidied(_decided(small, cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)))
    return _softened(picture, solid.astype(np.float32))


def pieces(mask: Bool[ndarray, "height width"], least: float) -> Bool[ndarray, "height width"]:
    """Of a mask's connected pieces, those of at least `least` times the largest one's area."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background
    return (areas >= max(1.0, least * areas.max()))[np.asarray(labels, np.intp)]


def _decided(
    image: Float[ndarray, "height width 3"], coarse: Float[ndarray, "height width"]
) -> Bool[ndarray, "height width"]:
    """GrabCut, its colours learnt around the object, its say limited to where the coarse map is in doubt."""
    object_, background = (_eroded(sure, coarse.shape) for sure in (coarse > _SURE, coarse < 1 - _SURE))
    likely = coarse > 0.5
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[object_], labels[background] = cv2.GC_FGD, cv2.GC_BGD
    window = _window(~background)
    labels, patch = labels[window].copy(), (image[window][..., ::-1] * 255).round().astype(np.uint8)
    known = (labels == cv2.GC_FGD).any() and (labels == cv2.GC_BGD).any()
    if not known or not ((labels == cv2.GC_PR_FGD) | (labels == cv2.GC_PR_BGD)).any():
        return likely
    cv2.setRNGSeed(0)  # the colour models start from a random clustering
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(patch), labels, (0, 0, 1, 1), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    likely = np.zeros_like(likely)
    likely[window] = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return likely


def _eroded(sure: Bool[ndarray, "height width"], shape: tuple[int, ...]) -> Bool[ndarray, "height width"]:
    side = 2 * max(1, round(_BAND * max(shape))) + 1
    return cv2.erode(sure.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _window(mask: Bool[ndarray, "height width"]) -> tuple[slice, slice]:
    """The box of a mask with a margin; all of it, if the mask is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    margin = 2 + round(_MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0]))
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return slice(top, int(rows[-1]) + margin + 1), slice(left, int(columns[-1]) + margin + 1)


def _tidied(solid: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"]:
    """Without specks and pinholes."""
    solid = pieces(solid, _SMALLEST_PIECE)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~solid).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= _LARGEST_FILLED_HOLE * solid.sum()
    return solid | small[np.asarray(labels, np.intp)]


def _softened(
    picture: Float[ndarray, "height width 3"], solid: Float[ndarray, "rows columns"]
) -> Float[ndarray, "height width"]:
    """As large as the picture, and along the border guided by it.

    The affine functions of the guided filter are found on a copy of at most `_GUIDING_SIDE_PX` (He and Sun 2015), and
    applied to the picture's own pixels.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _GUIDING_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    guide = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    values = cv2.resize(solid, size, interpolation=cv2.INTER_LINEAR)
    radius = max(_RIM_PX, round(2 * max(size) / max(solid.shape)))
    slope, offset = _along_the_rim(guide, values, radius)
    out = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    for channel in range(3):
        part = np.ascontiguousarray(slope[..., channel])
        out += cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) * picture[..., channel]
    out = out.clip(0, 1)
    out[out < _CLEAR], out[out > 1 - _CLEAR] = 0, 1
    return out


def _along_the_rim(
    guide: Float[ndarray, "height width 3"], values: Float[ndarray, "height width"], radius: int
) -> tuple[Float[ndarray, "height width 3"], Float[ndarray, "height width"]]:
    """`affine` along the border of the values; elsewhere they are themselves, whatever the colours. By tiles, as the
    filter takes 200 bytes a pixel.
    """
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    rim = cv2.dilate(values, window) > cv2.erode(values, window)
    slope, offset = np.zeros_like(guide), values.copy()
    for inner, outer, within in _tiles(values.shape, 2 * radius):
        if rim[inner].any():
            found = affine(guide[outer], values[outer], radius)
            slope[inner] = np.where(rim[inner][..., None], found[0][within], 0)
            offset[inner] = np.where(rim[inner], found[1][within], values[inner])
    return slope, offset


def _tiles(shape: tuple[int, ...], margin: int) -> Iterator[tuple[tuple[slice, ...], ...]]:
    """Each tile, the same with a margin as far as the image goes, and the tile's place within that."""
    for top in range(0, shape[0], _TILE_PX):
        for left in range(0, shape[1], _TILE_PX):
            starts, ends = (top, left), (min(top + _TILE_PX, shape[0]), min(left + _TILE_PX, shape[1]))
            before = tuple(max(0, start - margin) for start in starts)
            yield (
                tuple(slice(start, end) for start, end in zip(starts, ends, strict=True)),
                tuple(slice(first, end + margin) for first, end in zip(before, ends, strict=True)),
                tuple(slice(s - f, e - f) for s, e, f in zip(starts, ends, before, strict=True)),
            )


def guided(
    guide: Float[ndarray, "height width 3"], values: Float[ndarray, "height width"], radius: int
) -> Float[ndarray, "height width"]:
    """The guided filter (He et al. 2013, eq. 19) with a colour guide; 0 to 1."""
    slope, offset = affine(guide, values, radius)
    return ((slope * guide).sum(-1) + offset).clip(0, 1)


def affine(
    guide: Float[ndarray, "height width 3"], values: Float[ndarray, "height width"], radius: int
) -> tuple[Float[ndarray, "height width 3"], Float[ndarray, "height width"]]:
    """At each pixel the function of its colour that the guided filter applies: slope and offset.

    In every window of 2 `radius` + 1 pixels the values are explained by an affine function of the colours; that of a
    pixel is the mean over the windows that it lies in.
    """

    def mean(array: ndarray) -> ndarray:
        return cv2.blur(array, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    colours, average = mean(guide), mean(values)
    shared = (mean(guide * values[..., None]) - colours * average[..., None]).astype(np.float64)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    a, b, c, d, e, f = (
        (mean(guide[..., i] * guide[..., j]) - colours[..., i] * colours[..., j]).astype(np.float64)
        + _EPSILON * (i == j)
        for i, j in pairs
    )
    # The inverse of a symmetric 3x3 matrix by its cofactors: twenty times as fast as a solver for each pixel.
    inverse = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    one, two, three = (shared[..., channel] for channel in range(3))
    slope = (
        np.stack(
            [
                inverse[0] * one + inverse[1] * two + inverse[2] * three,
                inverse[1] * one + inverse[3] * two + inverse[4] * three,
                inverse[2] * one + inverse[4] * two + inverse[5] * three,
            ],
            axis=-1,
        )
        / (a * inverse[0] + b * inverse[1] + c * inverse[2])[..., None]
    )
    slope = slope.astype(np.float32)
    return mean(slope), mean(average - (slope * colours).sum(-1))
