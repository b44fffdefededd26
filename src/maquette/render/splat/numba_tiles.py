"""Compiled sorting of projected Gaussians into the tiles of an image that they reach.

What a Gaussian reaches is the ellipse in which its alpha is 1/255 or more, exactly: of every row of tiles the columns
that the ellipse meets, and in every tile the rows of pixels. A counting sort: Gaussians come from front to back and
stay so in every tile. They are taken in chunks, so that threads can share the work; the result doesn't depend on it.
"""

from math import ceil, floor, log, sqrt

import numpy as np
from numba import njit, prange

from maquette.render.splat.projected import LEAST_ALPHA

TILE = 16  # pixels
GEOMETRY = 6  # numbers of a packed Gaussian before its channels: mean x, y, conic a, b, c, opacity
_CHUNKS = 32
_RADIX = 2048  # values of a digit in sorting
_LEAST_SHARE = 1e-7
_LOOSE = {"reassoc", "contract", "nsz", "arcp"}
_SLACK = 0.01  # added to the reach: what rounding may lose at the border of an ellipse


@njit(cache=True)
def front_to_back(depth, visible):
    """The visible Gaussians by depth (float32), equal ones by their number: a radix sort of the depths' bits."""
    numbers = np.flatnonzero(visible)
    m = len(numbers)
    keys = (depth[numbers] + np.float32(0)).view(np.uint32)  # -0 becomes 0
    for k in range(m):  # the order of signed numbers as that of unsigned ones
        keys[k] ^= np.uint32(0xFFFFFFFF) if keys[k] >> np.uint32(31) else np.uint32(0x80000000)
    other_keys, other_numbers = np.empty_like(keys), np.empty_like(numbers)
    counts = np.empty(_RADIX + 1, np.int64)
    for shift in range(0, 32, 11):
        counts[:] = 0
        for k in range(m):
            counts[np.int64((keys[k] >> np.uint32(shift)) & np.uint32(_RADIX - 1)) + 1] += 1
        for digit in range(_RADIX):
            counts[digit + 1] += counts[digit]
        for k in range(m):
            digit = np.int64((keys[k] >> np.uint32(shift)) & np.uint32(_RADIX - 1))
            place = counts[digit]
            counts[digit] = place + 1
            other_keys[place], other_numbers[place] = keys[k], numbers[k]
        keys, other_keys = other_keys, keys
        numbers, other_numbers = other_numbers, numbers
    return numbers


@njit(cache=True, parallel=True)
def pack(order, mean_px, conic, opacity, channels):
    """Geometry and channels of the Gaussians in their order, (m, 6 + channels) float32, side by side in memory."""
    count = channels.shape[1]
    packed = np.empty((len(order), GEOMETRY + count), np.float32)
    for k in prange(len(order)):
        i = order[k]
        packed[k, 0], packed[k, 1] = mean_px[i, 0], mean_px[i, 1]
        packed[k, 2], packed[k, 3], packed[k, 4] = conic[i, 0], conic[i, 1], conic[i, 2]
        packed[k, 5] = opacity[i]
        for c in range(count):
            packed[k, GEOMETRY + c] = channels[i, c]
    return packed


@njit(cache=True, fastmath=_LOOSE, parallel=True)
def _ellipses(packed):
    """What `_span` asks for of the ellipse a x^2 + 2 b x y + c y^2 <= reach where a Gaussian counts; (m, 2, 5)."""
    found = np.empty((len(packed), 2, 5))
    for k in prange(len(packed)):
        a, b, c = float(packed[k, 2]), float(packed[k, 3]), float(packed[k, 4])
        reach = 2.0 * log(max(float(packed[k, 5]) / LEAST_ALPHA, 1.0)) + _SLACK
        determinant = max(a * c - b * b, _LEAST_SHARE * a * c)  # of a needle, float32 may have left nothing of it
        for axis in range(2):
            found[k, axis, 0] = reach / a
            found[k, axis, 1] = determinant / (a * a)
            found[k, axis, 2] = b / a
            found[k, axis, 3] = sqrt(reach * a / determinant)
            found[k, axis, 4] = -b * sqrt(reach / (c * determinant))
            a, c = c, a
    return found


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _span(ellipses, k, axis, low, high):
    """Least and greatest x of an ellipse where y is in low..high, or of y where x is (axis 1); (1, -1) if none."""
    square, shear, tilt = ellipses[k, axis, 0], ellipses[k, axis, 1], ellipses[k, axis, 2]
    tall, rightmost = ellipses[k, axis, 3], ellipses[k, axis, 4]  # greatest y, and the y of the greatest x
    low, high = max(low, -tall), min(high, tall)
    if low > high:
        return 1.0, -1.0
    y, z = min(max(rightmost, low), high), min(max(-rightmost, low), high)
    right = sqrt(max(square - shear * y * y, 0.0)) - tilt * y
    left = -sqrt(max(square - shear * z * z, 0.0)) - tilt * z
    return left, right


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _tiles_between(low, high, size):
    """First and last tile with a pixel centre in low..high (pixels), of an image of that size; (0, -1) if none."""
    first = max(ceil(max(low, -1.0) - 0.5), 0)
    last = min(floor(min(high, size + 1.0) - 0.5), size - 1)
    return (first // TILE, last // TILE) if last >= first else (0, -1)


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _tile_rows(packed, ellipses, k, height):
    """First and last row of tiles that a Gaussian reaches."""
    return _tiles_between(packed[k, 1] - ellipses[k, 0, 3], packed[k, 1] + ellipses[k, 0, 3], height)


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _tile_columns(packed, ellipses, k, row, width):
    """First and last tile of a row of tiles that a Gaussian reaches."""
    low = row * TILE + 0.5 - packed[k, 1]
    left, right = _span(ellipses, k, 0, low, low + (TILE - 1))
    return _tiles_between(packed[k, 0] + left, packed[k, 0] + right, width) if left <= right else (0, -1)


@njit(cache=True, fastmath=_LOOSE, inline="always")
def _pixel_rows(packed, ellipses, k, row, column):
    """First and last row of pixels in a tile that a Gaussian reaches, as one number: 16 first + last."""
    low = column * TILE + 0.5 - packed[k, 0]
    up, down = _span(ellipses, k, 1, low, low + (TILE - 1))
    top = row * TILE + 0.5 - packed[k, 1]
    first = min(max(ceil(up - top), 0), TILE - 1)
    last = max(min(floor(down - top), TILE - 1), 0)
    return first * TILE + last


@njit(cache=True)
def _count_chunk(chunk, packed, ellipses, width, height, across, counts, reached):
    m = len(packed)
    for k in range(chunk * m // _CHUNKS, (chunk + 1) * m // _CHUNKS):
        first, last = _tile_rows(packed, ellipses, k, height)
        number = 0
        for row in range(first, last + 1):
            left, right = _tile_columns(packed, ellipses, k, row, width)
            number += right - left + 1
            for column in range(left, right + 1):
                counts[chunk, row * across + column] += 1
        reached[k + 1] = number


@njit(cache=True, parallel=True)
def _count(packed, ellipses, width, height, across, counts, reached):
    """How many Gaussians of every chunk reach each tile, and how many tiles each Gaussian reaches."""
    for chunk in prange(_CHUNKS):
        _count_chunk(np.int64(chunk), packed, ellipses, width, height, across, counts, reached)


@njit(cache=True)
def _fill_chunk(chunk, packed, ellipses, width, height, across, places, firsts, members, rows, slots):
    m = len(packed)
    for k in range(chunk * m // _CHUNKS, (chunk + 1) * m // _CHUNKS):
        first, last = _tile_rows(packed, ellipses, k, height)
        pair = firsts[k]
        for row in range(first, last + 1):
            left, right = _tile_columns(packed, ellipses, k, row, width)
            for column in range(left, right + 1):
                tile = row * across + column
                place = places[chunk, tile]
                places[chunk, tile] = place + 1
                members[place] = k
                rows[place] = _pixel_rows(packed, ellipses, k, row, column)
                slots[place] = pair
                pair += 1


@njit(cache=True, parallel=True)
def _fill(packed, ellipses, width, height, across, places, firsts, members, rows, slots):
    for chunk in prange(_CHUNKS):
        _fill_chunk(np.int64(chunk), packed, ellipses, width, height, across, places, firsts, members, rows, slots)


@njit(cache=True)
def bin_tiles(packed, width, height):
    """Pairs of a tile and a Gaussian that reaches it: tile after tile, in each from front to back.

    Returns:
        starts: (tiles + 1,) the first pair of every tile.
        members: (pairs,) the Gaussian, as its place in the order.
        rows: (pairs,) the first and last row of pixels, 16 first + last.
        slots: (pairs,) where the pair stands if they are listed Gaussian after Gaussian.
        firsts: (m + 1,) the first slot of every Gaussian.
    """
    across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    ellipses = _ellipses(packed)
    counts, firsts = np.zeros((_CHUNKS, down * across), np.int64), np.zeros(len(packed) + 1, np.int64)
    _count(packed, ellipses, width, height, across, counts, firsts)
    starts = np.zeros(across * down + 1, np.int64)
    pairs = 0
    for tile in range(across * down):
        for chunk in range(_CHUNKS):
            number = counts[chunk, tile]
            counts[chunk, tile] = pairs
            pairs += number
        starts[tile + 1] = pairs
    for k in range(len(packed)):
        firsts[k + 1] += firsts[k]
    members, rows = np.empty(pairs, np.int32), np.empty(pairs, np.uint8)
    slots = np.empty(pairs, np.int64)
    _fill(packed, ellipses, width, height, across, counts, firsts, members, rows, slots)
    return starts, members, rows, slots, firsts
