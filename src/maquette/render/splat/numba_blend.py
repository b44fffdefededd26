"""Compiled blending, front to back in every tile, and its gradient the same way.

Rows of 16 pixels are worked on at once, the Gaussians one after the other, each in the rows of a tile that it reaches.
The gradient also goes front to back: with R what a pixel's later Gaussians still give, dL/dalpha = T (g.c) -
R / (1 - alpha), so that nothing of the forward pass is kept but its result. Every tile writes the gradients of its
Gaussians to places of its own, and `gather` adds them up in their order: no two threads meet, and the result doesn't
depend on how many there are.
"""

import numpy as np
from numba import njit, prange

from maquette.render.splat.numba_rows import (
    LANES,
    bits,
    counting,
    greatest,
    least,
    load,
    load_every,
    maximum,
    passed,
    prefetch,
    store,
    store_every,
    totals,
    where_at_least,
)
from maquette.render.splat.numba_tiles import GEOMETRY, TILE
from maquette.render.splat.projected import LEAST_ALPHA, MOST_ALPHA, OPAQUE

_GROUPS = 64  # of tiles: neighbours cost alike, so each group is spread over the image
_CHECK = 16  # Gaussians between two looks at whether a tile is opaque
_AHEAD = 6  # Gaussians that are asked for before they are needed: they lie scattered in memory
_ALIGNED = 16  # numbers between addresses at which a row doesn't straddle two cache lines

# exp(y) for y in -1..0, relative errors about evened out: 2e-8
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(x)
    for x in (0.999999976, 0.999997903, 0.499969015, 0.166490286, 0.0411768267, 0.00761402417, 0.000835845905)
)  # fmt: skip
_EIGHTH = np.float32(-1 / 16)  # of q, which makes -q / 2 / 8
_ZERO, _ONE, _TWO, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
_LEAST, _MOST, _OPAQUE = np.float32(LEAST_ALPHA), np.float32(MOST_ALPHA), np.float32(OPAQUE)


@njit(cache=True, inline="always")
def _exp_of_8(y):
    """exp(8 y), to a millionth, for a row of y <= 0; what is below -1 gives exp(-8), which no alpha is made of."""
    y = greatest(y, -_ONE)
    e = _E0 + y * (_E1 + y * (_E2 + y * (_E3 + y * (_E4 + y * (_E5 + y * _E6)))))
    e = e * e
    e = e * e
    return e * e


@njit(cache=True, inline="always")
def _scratch(rows):
    """Room for so many rows."""
    room = np.empty((rows + 1) * LANES, np.float32)
    first = -(room.ctypes.data // 4) % _ALIGNED
    return room[first : first + rows * LANES]


@njit(cache=True, inline="always")
def _pick(array, index, step, count, room):
    """The first `count` of array[index], array[index + step], ... as a row, with zeros after them."""
    if count == LANES:
        return load_every(array, index, step)
    store(room, 0, _ZERO)
    for x in range(count):
        room[x] = array[index + x * step]
    return load(room, 0)


@njit(cache=True, inline="always")
def _put(array, index, step, count, row, room):
    """Write the first `count` numbers of a row to array[index], array[index + step], ..."""
    if count == LANES:
        store_every(array, index, step, row)
        return
    store(room, 0, row)
    for x in range(count):
        array[index + x * step] = room[x]


@njit(cache=True)
def _forward_tile(packed, members, rows, start, stop, left, top, state, stride):
    """Blend the pairs start..stop of one tile; returns where it stopped.

    `state` has for every row of pixels, `stride` numbers apart: transmittance, median and sums of channels.
    """
    wide = packed.shape[1]
    channels = wide - GEOMETRY
    flat = packed.reshape(-1)
    for j in range(start, stop):
        if (j - start) % _CHECK == 0 and j > start:
            most = load(state, 0)
            for y in range(1, TILE):
                most = greatest(most, load(state, y * stride))
            if maximum(most) < _OPAQUE:
                return j
        k = members[j]
        prefetch(flat, members[min(j + _AHEAD, stop - 1)] * wide)
        a, b, c, opacity = packed[k, 2] * _EIGHTH, packed[k, 3] * _EIGHTH, packed[k, 4] * _EIGHTH, packed[k, 5]
        dx = counting() + (np.float32(left) + _HALF - packed[k, 0])
        first_dy = np.float32(top) + _HALF - packed[k, 1]
        square, mixed = a * dx * dx, _TWO * b * dx
        number = bits(np.int32(k + 1))  # on top of -1
        for y in range(np.int64(rows[j]) // TILE, np.int64(rows[j]) % TILE + 1):
            at = y * stride
            dy = first_dy + np.float32(y)
            alpha = least(opacity * _exp_of_8(square + (mixed * dy + c * dy * dy)), _MOST)
            alpha = where_at_least(alpha, _LEAST, alpha, _ZERO)
            before = load(state, at)
            weight = alpha * before
            after = before - weight
            store(state, at, after)
            store(state, at + LANES, passed(load(state, at + LANES), before, after, number))
            for channel in range(channels):
                at_sum = at + (2 + channel) * LANES
                store(state, at_sum, load(state, at_sum) + weight * packed[k, GEOMETRY + channel])
    return stop


@njit(cache=True)
def _forward_group(group, packed, order, starts, members, rows, width, height, blended, alpha, medians, stops):
    """Blend the tiles of one group."""
    channels = packed.shape[1] - GEOMETRY
    stride = (2 + channels) * LANES
    across = (width + TILE - 1) // TILE
    state, room = _scratch(TILE * (2 + channels)), _scratch(1)
    numbers = state.view(np.int32)
    for tile in range(group, len(starts) - 1, _GROUPS):
        if starts[tile] == starts[tile + 1]:
            continue
        left, top = tile % across * TILE, tile // across * TILE
        wide, high = min(TILE, width - left), min(TILE, height - top)
        state[:] = 0.0  # nothing comes from beyond the image
        for y in range(TILE):
            store(state, y * stride + LANES, bits(np.int32(-1)))
        for y in range(high):
            state[y * stride : y * stride + wide] = 1.0
        stops[tile] = _forward_tile(packed, members, rows, starts[tile], starts[tile + 1], left, top, state, stride)
        for y in range(high):
            pixel = (top + y) * width + left
            at = y * stride
            _put(alpha, pixel, 1, wide, _ONE - load(state, at), room)
            for x in range(wide):
                number = numbers[at + LANES + x]
                medians[pixel + x] = order[number] if number >= 0 else -1
            for channel in range(channels):
                sums = load(state, at + (2 + channel) * LANES)
                _put(blended, pixel * channels + channel, channels, wide, sums, room)


@njit(cache=True, parallel=True)
def blend_forward(packed, order, starts, members, rows, width, height, blended, alpha, medians, stops):
    """Total, alpha, median and where every tile stopped, into the last four arrays.

    The first three are flat, pixel after pixel, and come as zeros, zeros and -1; the last comes as the tiles' ends.
    """
    for group in prange(_GROUPS):
        _forward_group(
            np.int64(group), packed, order, starts, members, rows, width, height, blended, alpha, medians, stops
        )


@njit(cache=True)
def _backward_tile(packed, members, rows, slots, start, stop, left, top, state, stride, sums, gradients):
    """Write the gradients of the pairs start..stop of one tile.

    `state` has for every row of pixels, `stride` numbers apart: transmittance, R, and the gradients to alpha and to
    the channels. `sums` has a row for every number of a packed Gaussian: its gradient from every column of pixels.
    """
    channels = packed.shape[1] - GEOMETRY
    wide = len(sums) // LANES
    flat = packed.reshape(-1)
    for j in range(start, stop):
        k = members[j]
        ahead = min(j + _AHEAD, stop - 1)
        prefetch(flat, members[ahead] * packed.shape[1])
        prefetch(gradients, slots[ahead] * wide)
        a, b, c, opacity = packed[k, 2] * _EIGHTH, packed[k, 3] * _EIGHTH, packed[k, 4] * _EIGHTH, packed[k, 5]
        dx = counting() + (np.float32(left) + _HALF - packed[k, 0])
        first_dy = np.float32(top) + _HALF - packed[k, 1]
        square, mixed = a * dx * dx, _TWO * b * dx
        p1 = dx * _ZERO  # sums over the rows of p, p y and p y^2; p is the gradient to the exponent -q / 2
        py, pyy = p1, p1
        for channel in range(channels):
            store(sums, (GEOMETRY + channel) * LANES, _ZERO)
        for y in range(np.int64(rows[j]) // TILE, np.int64(rows[j]) % TILE + 1):
            at = y * stride
            dy = first_dy + np.float32(y)
            alpha = least(opacity * _exp_of_8(square + (mixed * dy + c * dy * dy)), _MOST)
            alpha = where_at_least(alpha, _LEAST, alpha, _ZERO)
            before = load(state, at)
            weight = alpha * before
            store(state, at, before - weight)
            along = load(state, at + 2 * LANES)
            for channel in range(channels):
                given = load(state, at + (3 + channel) * LANES)
                along = along + given * packed[k, GEOMETRY + channel]
                at_sum = (GEOMETRY + channel) * LANES
                store(sums, at_sum, load(sums, at_sum) + given * weight)
            later = load(state, at + LANES) - weight * along
            store(state, at + LANES, later)
            p = alpha * (before * along - later / (_ONE - alpha))
            p = where_at_least(alpha, _MOST, _ZERO, p)  # held there
            p1 = p1 + p
            p = p * dy
            py = py + p
            pyy = pyy + p * dy
        px = p1 * dx
        store(sums, 0, packed[k, 2] * px + packed[k, 3] * py)
        store(sums, LANES, packed[k, 3] * px + packed[k, 4] * py)
        store(sums, 2 * LANES, -_HALF * (px * dx))
        store(sums, 3 * LANES, _ZERO - py * dx)
        store(sums, 4 * LANES, -_HALF * pyy)
        store(sums, 5 * LANES, (_ONE / opacity) * p1)
        for at in range(0, wide, LANES):
            store(gradients, slots[j] * wide + at, totals(sums, at * LANES))


@njit(cache=True)
def _backward_group(
    group, packed, starts, members, rows, slots, stops, flat, alphas, to_flat, to_alphas, width, height, gradients
):
    """Gradients of the pairs in the tiles of one group."""
    channels = packed.shape[1] - GEOMETRY
    across = (width + TILE - 1) // TILE
    wanted = (GEOMETRY + channels + LANES - 1) // LANES
    stride = (3 + channels) * LANES
    state, sums, room = _scratch(TILE * (3 + channels)), _scratch(wanted * LANES), _scratch(1)
    sums[:] = 0.0
    for tile in range(group, len(starts) - 1, _GROUPS):
        if starts[tile] == starts[tile + 1]:
            continue
        left, top = tile % across * TILE, tile // across * TILE
        wide, high = min(TILE, width - left), min(TILE, height - top)
        state[:] = 0.0
        for y in range(high):
            pixel = (top + y) * width + left
            at = y * stride
            state[at : at + wide] = 1.0
            given = _pick(to_alphas, pixel, 1, wide, room)
            store(state, at + 2 * LANES, given)
            later = given * _pick(alphas, pixel, 1, wide, room)
            for channel in range(channels):
                first = pixel * channels + channel
                given = _pick(to_flat, first, channels, wide, room)
                store(state, at + (3 + channel) * LANES, given)
                later = later + given * _pick(flat, first, channels, wide, room)
            store(state, at + LANES, later)
        _backward_tile(
            packed, members, rows, slots, starts[tile], stops[tile], left, top, state, stride, sums, gradients
        )
        for j in range(stops[tile], starts[tile + 1]):
            for row in range(wanted):
                store(gradients, (slots[j] * wanted + row) * LANES, _ZERO)


@njit(cache=True, parallel=True)
def blend_backward(
    packed, starts, members, rows, slots, stops, width, height, blended, alpha, to_blended, to_alpha, gradients
):
    """From gradients to total and alpha (all four flat) those to the packed numbers of every pair, into the last array.

    It has 6 + channels numbers for each pair, and what fills whole rows, Gaussian after Gaussian; see `pair_numbers`.
    """
    for group in prange(_GROUPS):
        _backward_group(
            np.int64(group), packed, starts, members, rows, slots, stops, blended, alpha, to_blended, to_alpha, width,
            height, gradients,
        )  # fmt: skip


def pair_numbers(channels: int) -> int:
    """How many numbers a pair's gradients take: whole rows."""
    return (GEOMETRY + channels + LANES - 1) // LANES * LANES


@njit(cache=True)
def _gather_group(group, gradients, firsts, order, to_mean_px, to_conic, to_opacity, to_channels):
    channels = to_channels.shape[1]
    wide = (GEOMETRY + channels + LANES - 1) // LANES * LANES
    sums = _scratch(wide // LANES)
    for k in range(group * len(order) // _GROUPS, (group + 1) * len(order) // _GROUPS):
        for at in range(0, wide, LANES):
            row = counting() * _ZERO
            for pair in range(firsts[k], firsts[k + 1]):
                row = row + load(gradients, pair * wide + at)
            store(sums, at, row)
        i = order[k]
        to_mean_px[i, 0], to_mean_px[i, 1] = sums[0], sums[1]
        to_conic[i, 0], to_conic[i, 1], to_conic[i, 2] = sums[2], sums[3], sums[4]
        to_opacity[i] = sums[5]
        for channel in range(channels):
            to_channels[i, channel] = sums[GEOMETRY + channel]


@njit(cache=True, parallel=True)
def gather(gradients, firsts, order, to_mean_px, to_conic, to_opacity, to_channels):
    """Add up the pairs of every Gaussian, in the order of its tiles, into the last four arrays, which come as zeros."""
    for group in prange(_GROUPS):
        _gather_group(np.int64(group), gradients, firsts, order, to_mean_px, to_conic, to_opacity, to_channels)
