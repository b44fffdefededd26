"""Compiled blending: sorting into tiles, then front to back in every tile, and the gradients the same way.

A Gaussian is first clipped to the rows of a tile that it reaches, exactly; then rows of 16 pixels are worked on at
once, which become vector instructions, since nothing in a row depends on its neighbours. The gradient also goes front
to back: with R the sum that a pixel's later Gaussians still give, dL/dalpha = T (g.c) - R / (1 - alpha), so nothing of
the forward pass is kept but its result. Every tile writes the gradients of its Gaussians to places of its own, and they
are added up in their order, so that no two threads meet and the result doesn't depend on how many there are.
"""

from math import ceil, floor, sqrt

import numpy as np
from numba import njit, prange

from maquette.render.splat.projected import LEAST_ALPHA, MOST_ALPHA, OPAQUE

TILE = 16  # pixels; a row of a tile fills one or two vector registers
GEOMETRY = 6  # numbers of a Gaussian before its channels: mean x, y, conic a, b, c, opacity
_CHUNKS = 32  # of Gaussians that are counted and sorted into tiles at a time
_GROUPS = 64  # of tiles: neighbours cost alike, so each group is spread over the image
_CHECK = 16  # Gaussians between two looks at whether a tile is opaque
_SLACK = 0.01  # added to the reach: what rounding may lose at the border of an ellipse

_LEAST, _MOST, _OPAQUE = np.float32(LEAST_ALPHA), np.float32(MOST_ALPHA), np.float32(OPAQUE)
_ZERO, _ONE, _HALF, _MINUS_HALF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(-0.5)
_LOWEST = np.float32(-8)  # exp of it is less than any alpha that counts
_SIXTEENTH = np.float32(1 / 16)
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(1 / x) for x in (2, 6, 24, 120, 720, 5040))


@njit(cache=True, fastmath=True, inline="always")
def _exp(x):
    """exp(x) for x in -8..0, to two millionths: a polynomial of x / 16, squared four times."""
    y = max(x, _LOWEST) * _SIXTEENTH
    e = _ONE + y * (_ONE + y * (_E2 + y * (_E3 + y * (_E4 + y * (_E5 + y * (_E6 + y * _E7))))))
    e = e * e
    e = e * e
    e = e * e
    return e * e


@njit(cache=True, inline="always")
def _span(a, b, c, reach, low, high):
    """Least and greatest x of the ellipse a x^2 + 2 b x y + c y^2 <= reach where y is in low..high; (1, -1) if none."""
    determinant = a * c - b * b
    tall = sqrt(reach * a / determinant)
    low, high = max(low, -tall), min(high, tall)
    if low > high:
        return 1.0, -1.0
    rightmost = -b * sqrt(reach / (c * determinant))
    y, z = min(max(rightmost, low), high), min(max(-rightmost, low), high)
    right = (sqrt(max(a * reach - determinant * y * y, 0.0)) - b * y) / a
    left = -(sqrt(max(a * reach - determinant * z * z, 0.0)) + b * z) / a
    return left, right


@njit(cache=True, inline="always")
def _tile_rows(splat, reach, height):
    """First and last row of tiles that a Gaussian reaches."""
    a, b, c = float(splat[2]), float(splat[3]), float(splat[4])
    tall = sqrt(reach * a / (a * c - b * b))
    first = max(ceil(max(splat[1] - tall, -1.0) - 0.5), 0)
    last = min(floor(min(splat[1] + tall, height + 1.0) - 0.5), height - 1)
    return first // TILE, (last // TILE if last >= first else first // TILE - 1)


@njit(cache=True, inline="always")
def _tile_columns(splat, reach, row, width):
    """First and last tile of a row of tiles that a Gaussian reaches."""
    low = row * TILE + 0.5 - splat[1]
    left, right = _span(float(splat[2]), float(splat[3]), float(splat[4]), reach, low, low + (TILE - 1))
    if left > right:
        return 0, -1
    first = max(ceil(max(splat[0] + left, -1.0) - 0.5), 0)
    last = min(floor(min(splat[0] + right, width + 1.0) - 0.5), width - 1)
    return first // TILE, (last // TILE if last >= first else first // TILE - 1)


@njit(cache=True, inline="always")
def _pixel_rows(splat, reach, row, column):
    """First and last pixel row within a tile, as one number: 16 first + last."""
    low = column * TILE + 0.5 - splat[0]
    up, down = _span(float(splat[4]), float(splat[3]), float(splat[2]), reach, low, low + (TILE - 1))
    top = row * TILE + 0.5 - splat[1]
    first = min(max(ceil(up - top), 0), TILE - 1)
    last = max(min(floor(down - top), TILE - 1), 0)
    return first * TILE + last


@njit(cache=True, inline="always")
def _reach(splat):
    """The greatest q of exp(-q / 2) at which the Gaussian still counts."""
    return 2.0 * np.log(max(float(splat[5]) / LEAST_ALPHA, 1.0)) + _SLACK


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


@njit(cache=True, parallel=True)
def _count(packed, width, height, across, down):
    """How many Gaussians of every chunk reach each tile, and how many tiles each Gaussian reaches."""
    m = len(packed)
    counts = np.zeros((_CHUNKS, down * across), np.int64)
    reached = np.zeros(m + 1, np.int64)
    for chunk in prange(_CHUNKS):
        for k in range(chunk * m // _CHUNKS, (chunk + 1) * m // _CHUNKS):
            reach = _reach(packed[k])
            first, last = _tile_rows(packed[k], reach, height)
            for row in range(first, last + 1):
                left, right = _tile_columns(packed[k], reach, row, width)
                for column in range(left, right + 1):
                    counts[chunk, row * across + column] += 1
                    reached[k + 1] += 1
    return counts, reached


@njit(cache=True, parallel=True)
def _fill(packed, width, height, across, down, places, firsts, members, rows, positions):
    m = len(packed)
    for chunk in prange(_CHUNKS):
        for k in range(chunk * m // _CHUNKS, (chunk + 1) * m // _CHUNKS):
            reach = _reach(packed[k])
            first, last = _tile_rows(packed[k], reach, height)
            pair = firsts[k]
            for row in range(first, last + 1):
                left, right = _tile_columns(packed[k], reach, row, width)
                for column in range(left, right + 1):
                    tile = row * across + column
                    place = places[chunk, tile]
                    places[chunk, tile] = place + 1
                    members[place] = k
                    rows[place] = _pixel_rows(packed[k], reach, row, column)
                    positions[pair] = place
                    pair += 1


@njit(cache=True)
def bin_tiles(packed, width, height):
    """Pairs of a tile and a Gaussian that reaches it: tile after tile, in each from front to back.

    Returns:
        starts: (tiles + 1,) the first pair of every tile.
        members: (pairs,) the Gaussian, as its place in the order.
        rows: (pairs,) the first and last row of pixels, 16 first + last.
        firsts: (m + 1,) where in `positions` a Gaussian's pairs stand.
        positions: (pairs,) the pairs, Gaussian after Gaussian.
    """
    across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    counts, firsts = _count(packed, width, height, across, down)
    tiles = across * down
    starts = np.zeros(tiles + 1, np.int64)
    total = 0
    for tile in range(tiles):
        for chunk in range(_CHUNKS):
            number = counts[chunk, tile]
            counts[chunk, tile] = total
            total += number
        starts[tile + 1] = total
    for k in range(len(packed)):
        firsts[k + 1] += firsts[k]
    members, rows = np.empty(total, np.int32), np.empty(total, np.uint8)
    positions = np.empty(total, np.int64)
    _fill(packed, width, height, across, down, counts, firsts, members, rows, positions)
    return starts, members, rows, firsts, positions


@njit(cache=True, fastmath=True, inline="always")
def _max_of(values):
    most = _ZERO
    for y in range(TILE):
        for x in range(TILE):
            most = max(most, values[y, x])
    return most


@njit(cache=True, fastmath=True)
def _forward_tile(packed, members, rows, start, stop, left, top, through, median, weight, sums):
    """Blend the pairs start..stop of one tile; returns where it stopped."""
    channels = sums.shape[1]
    for j in range(start, stop):
        if (j - start) % _CHECK == 0 and j > start and _max_of(through) < _OPAQUE:
            return j
        k = members[j]
        splat = packed[k]
        a, b, c, opacity = splat[2], splat[3], splat[4], splat[5]
        dx0, dy0 = np.float32(left + _HALF - splat[0]), np.float32(top + _HALF - splat[1])
        for y in range(np.int64(rows[j] >> 4), np.int64(rows[j] & 15) + 1):
            dy = np.float32(dy0 + np.float32(y))
            slope, rest = np.float32(2) * b * dy, c * dy * dy
            t_row, m_row, s_row = through[y], median[y], sums[y]
            for x in range(TILE):
                dx = dx0 + np.float32(x)
                alpha = min(_MOST, opacity * _exp(_MINUS_HALF * ((a * dx + slope) * dx + rest)))
                alpha = alpha if alpha >= _LEAST else _ZERO
                t = t_row[x]
                w = alpha * t
                after = t - w
                weight[x] = w
                t_row[x] = after
                m_row[x] = k if (t > _HALF and after <= _HALF) else m_row[x]
            for channel in range(channels):
                value = splat[GEOMETRY + channel]
                c_row = s_row[channel]
                for x in range(TILE):
                    c_row[x] += weight[x] * value
    return stop


@njit(cache=True, fastmath=True, parallel=True)
def blend_forward(packed, starts, members, rows, width, height):
    """Total, alpha, median (places in the order, -1 where none) and where every tile stopped."""
    channels = packed.shape[1] - GEOMETRY
    across = (width + TILE - 1) // TILE
    tiles = len(starts) - 1
    total = np.zeros((height, width, channels), np.float32)
    alpha = np.zeros((height, width), np.float32)
    medians = np.full((height, width), -1, np.int64)
    stops = starts[1:].copy()
    for group in prange(_GROUPS):
        through, median = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.int32)
        weight, sums = np.empty(TILE, np.float32), np.empty((TILE, channels, TILE), np.float32)
        for tile in range(group, tiles, _GROUPS):
            if starts[tile] == starts[tile + 1]:
                continue
            left, top = tile % across * TILE, tile // across * TILE
            right, bottom = min(left + TILE, width), min(top + TILE, height)
            through[:] = 0.0  # beyond the image, nothing is seen
            through[: bottom - top, : right - left] = 1.0
            median[:] = -1
            sums[:] = 0.0
            stops[tile] = _forward_tile(
                packed, members, rows, starts[tile], starts[tile + 1], left, top, through, median, weight, sums
            )
            for y in range(bottom - top):
                for x in range(right - left):
                    alpha[top + y, left + x] = _ONE - through[y, x]
                    medians[top + y, left + x] = median[y, x]
                    for channel in range(channels):
                        total[top + y, left + x, channel] = sums[y, channel, x]
    return total, alpha, medians, stops


@njit(cache=True, fastmath=True)
def _backward_tile(
    packed, members, rows, start, stop, left, top, through, later, to_alpha, to_total, weight, along, sums, moments,
    gradients,
):  # fmt: skip
    """Write the gradients of the pairs start..stop of one tile.

    Of dL/dpower, the gradient to -q / 2, sums over the pixels with 1, x, y, x^2, x y and y^2 are wanted; y is the same
    in a row and x in a column, so three sums of rows are kept in `moments`.
    """
    channels = to_total.shape[1]
    for j in range(start, stop):
        splat = packed[members[j]]
        a, b, c, opacity = splat[2], splat[3], splat[4], splat[5]
        dx0, dy0 = np.float32(left + _HALF - splat[0]), np.float32(top + _HALF - splat[1])
        sums[:] = 0.0
        moments[:] = 0.0
        for y in range(np.int64(rows[j] >> 4), np.int64(rows[j] & 15) + 1):
            dy = np.float32(dy0 + np.float32(y))
            slope, rest = np.float32(2) * b * dy, c * dy * dy
            t_row, r_row, g_row, a_row = through[y], later[y], to_total[y], to_alpha[y]
            w_row, alphas = weight[0], weight[1]
            for x in range(TILE):
                dx = dx0 + np.float32(x)
                full = opacity * _exp(_MINUS_HALF * ((a * dx + slope) * dx + rest))
                alpha = min(_MOST, full)
                alpha = alpha if alpha >= _LEAST else _ZERO
                alphas[x] = alpha
                w_row[x] = alpha * t_row[x]
                along[x] = a_row[x]
            for channel in range(channels):
                value = splat[GEOMETRY + channel]
                c_row, s_row = g_row[channel], sums[channel]
                for x in range(TILE):
                    along[x] += c_row[x] * value
                    s_row[x] += c_row[x] * w_row[x]
            m0, m1, m2 = moments[0], moments[1], moments[2]
            for x in range(TILE):
                alpha, w, t = alphas[x], w_row[x], t_row[x]
                rest_later = r_row[x] - w * along[x]
                power = alpha * (t * along[x] - rest_later / (_ONE - alpha))
                power = power if alpha < _MOST else _ZERO
                r_row[x] = rest_later
                t_row[x] = t - w
                m0[x] += power
                m1[x] += power * dy
                m2[x] += power * dy * dy
        s1 = sx = sy = sxx = sxy = syy = _ZERO
        for x in range(TILE):
            dx = dx0 + np.float32(x)
            s1 += moments[0, x]
            sx += moments[0, x] * dx
            sxx += moments[0, x] * dx * dx
            sy += moments[1, x]
            sxy += moments[1, x] * dx
            syy += moments[2, x]
        gradient = gradients[j]
        gradient[0], gradient[1] = a * sx + b * sy, b * sx + c * sy
        gradient[2], gradient[3], gradient[4] = _MINUS_HALF * sxx, -sxy, _MINUS_HALF * syy
        gradient[5] = s1 / opacity
        for channel in range(channels):
            s_row = sums[channel]
            s = _ZERO
            for x in range(TILE):
                s += s_row[x]
            gradient[GEOMETRY + channel] = s


@njit(cache=True, fastmath=True, parallel=True)
def blend_backward(packed, starts, members, rows, stops, total, alpha, to_total, to_alpha):
    """Gradients of every pair, (pairs, 6 + channels), from those of total and alpha."""
    height, width, channels = total.shape
    across = (width + TILE - 1) // TILE
    tiles = len(starts) - 1
    gradients = np.empty((len(members), GEOMETRY + channels), np.float32)
    for group in prange(_GROUPS):
        through, later = np.empty((TILE, TILE), np.float32), np.empty((TILE, TILE), np.float32)
        to_a, to_t = np.empty((TILE, TILE), np.float32), np.empty((TILE, channels, TILE), np.float32)
        weight, along = np.empty((2, TILE), np.float32), np.empty(TILE, np.float32)
        sums, moments = np.empty((channels, TILE), np.float32), np.empty((3, TILE), np.float32)
        for tile in range(group, tiles, _GROUPS):
            if starts[tile] == starts[tile + 1]:
                continue
            left, top = tile % across * TILE, tile // across * TILE
            through[:] = 0.0
            later[:] = 0.0
            to_a[:] = 0.0
            to_t[:] = 0.0
            for y in range(min(TILE, height - top)):
                for x in range(min(TILE, width - left)):
                    through[y, x] = _ONE
                    to_a[y, x] = to_alpha[top + y, left + x]
                    rest = to_a[y, x] * alpha[top + y, left + x]
                    for channel in range(channels):
                        g = to_total[top + y, left + x, channel]
                        to_t[y, channel, x] = g
                        rest += g * total[top + y, left + x, channel]
                    later[y, x] = rest
            _backward_tile(
                packed, members, rows, starts[tile], stops[tile], left, top, through, later, to_a, to_t, weight, along,
                sums, moments, gradients,
            )  # fmt: skip
            gradients[stops[tile] : starts[tile + 1]] = 0.0
    return gradients


@njit(cache=True, parallel=True)
def gather(gradients, firsts, positions, order, n):
    """Add up the pairs of every Gaussian, in the order of its tiles: gradients (n, 6 + channels)."""
    width = gradients.shape[1]
    result = np.zeros((n, width), np.float32)
    for k in prange(len(order)):
        row = result[order[k]]
        for pair in range(firsts[k], firsts[k + 1]):
            given = gradients[positions[pair]]
            for c in range(width):
                row[c] += given[c]
    return result
