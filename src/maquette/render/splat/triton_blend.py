"""Blending of the Gaussians of a tile, forward and backward: what `torch_tiles.blend` computes, one program a tile.

Triton kernels, imported only where they run; `maquette.render.splat.triton_cuda` launches them. A program takes the
Gaussians of its pixels in chunks, nearest first. Within a chunk every (pixel, Gaussian) is computed at once: what is
let through is a running product along the chunk, and the sums of channels are matrix products. Tiles of 16x16, or
chunks of 32, don't fit the registers.

The backward goes the same way, front to back. With g the gradient of a pixel's channels and alpha, and
G_i = g . (c_i, 1), the gradient of an alpha is

    T_i G_i - R_i / (1 - alpha_i),      R_i = sum_{j>i} w_j G_j = g . (total, alpha) - sum_{j<=i} w_j G_j,

so that nothing but the forward's results is kept. A Gaussian's gradients in a tile go to a row of their own, which
`triton_cuda` sums: no atomics, the same bits in every run.
"""

# The language of kernels looks like Python, but its types aren't what pyright takes them for.
# pyright: reportMissingImports=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from maquette.render.splat.projected import LEAST_ALPHA, MOST_ALPHA, OPAQUE

TILE_X, TILE_Y = 16, 8  # pixels
CHUNK = 16  # Gaussians at a time
WARPS = 4
GEOMETRY = 6  # leading columns of the gradients' rows: mean x and y, conic a, b and c, opacity; then the channels

_TILE_X = tl.constexpr(TILE_X)
_TILE_Y = tl.constexpr(TILE_Y)
_PIXELS = tl.constexpr(TILE_X * TILE_Y)
_WARPS = tl.constexpr(WARPS)
_GEOMETRY = tl.constexpr(GEOMETRY)
_LEAST_ALPHA = tl.constexpr(LEAST_ALPHA)
_MOST_ALPHA = tl.constexpr(MOST_ALPHA)
_OPAQUE = tl.constexpr(OPAQUE)
# Float32's digits from three products of tf32 each; plain tf32 has three decimal ones.
_PRECISION = tl.constexpr("tf32x3")


@triton.jit(do_not_specialize=["width", "height", "tiles_x", "channel_count"])
def blend_kernel(
    mean_px,
    conic,
    opacity,
    channels,
    number,
    start,
    total,
    alpha,
    median,
    width,
    height,
    tiles_x,
    channel_count,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Fill the fields of `Blended`.

    `number` lists the Gaussians of tile after tile, each tile's by depth; those of the tile t are start[t] to
    start[t + 1]. CHANNELS is a power of two, `channel_count` or more.
    """
    x, y, pixel, inside = _pixels(tl.program_id(0), tiles_x, width, height)
    first, last = tl.load(start + tl.program_id(0)), tl.load(start + tl.program_id(0) + 1)
    channel = tl.arange(0, CHANNELS)
    through = tl.where(inside, 1.0, 0.0)
    blended = tl.zeros([_PIXELS, CHANNELS], tl.float32)
    bright = tl.zeros([_PIXELS], tl.int32)  # Gaussians behind which more than half of the light is left
    position = first
    while (position < last) & (tl.max(through, 0) >= _OPAQUE):
        place = position + tl.arange(0, CHUNK)
        present = place < last
        which = tl.load(number + place, mask=present, other=0).to(tl.int64)
        _, _, _, _, _, peak, share = _reach(mean_px, conic, opacity, which, present, x, y)
        raw = peak[None, :] * share
        cover = tl.where(raw >= _LEAST_ALPHA, tl.minimum(raw, _MOST_ALPHA), 0.0)
        after = through[:, None] * tl.cumprod(1 - cover, 1)
        weight = cover * (after / (1 - cover))
        values = tl.load(
            channels + which[:, None] * channel_count + channel[None, :],
            mask=present[:, None] & (channel < channel_count)[None, :],
            other=0.0,
        )
        blended += tl.dot(weight, values, input_precision=_PRECISION)
        bright += tl.sum((after > 0.5).to(tl.int32), 1)
        through = tl.min(after, 1)
        position += CHUNK
    tl.store(
        total + pixel[:, None] * channel_count + channel[None, :],
        blended,
        mask=inside[:, None] & (channel < channel_count)[None, :],
    )
    tl.store(alpha + pixel, 1 - through, mask=inside)
    middle = tl.load(number + first + bright, mask=inside & (through <= 0.5), other=-1)
    tl.store(median + pixel, middle.to(tl.int64), mask=inside)


@triton.jit(do_not_specialize=["width", "height", "tiles_x", "channel_count"])
def blend_backward_kernel(
    mean_px,
    conic,
    opacity,
    channels,
    number,
    slot,
    start,
    total,
    alpha,
    d_total,
    d_alpha,
    rows,
    width,
    height,
    tiles_x,
    channel_count,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Write each (tile, Gaussian)'s gradients to the row of `rows` that `slot` names."""
    x, y, pixel, inside = _pixels(tl.program_id(0), tiles_x, width, height)
    first, last = tl.load(start + tl.program_id(0)), tl.load(start + tl.program_id(0) + 1)
    channel = tl.arange(0, CHANNELS)
    at = pixel[:, None] * channel_count + channel[None, :]
    shown = inside[:, None] & (channel < channel_count)[None, :]
    d_channel = tl.load(d_total + at, mask=shown, other=0.0)
    d_opaque = tl.load(d_alpha + pixel, mask=inside, other=0.0)
    behind = tl.sum(d_channel * tl.load(total + at, mask=shown, other=0.0), 1)
    behind += d_opaque * tl.load(alpha + pixel, mask=inside, other=0.0)
    through = tl.where(inside, 1.0, 0.0)
    position = first
    while (position < last) & (tl.max(through, 0) >= _OPAQUE):
        place = position + tl.arange(0, CHUNK)
        present = place < last
        which = tl.load(number + place, mask=present, other=0).to(tl.int64)
        dx, dy, a, b, c, peak, share = _reach(mean_px, conic, opacity, which, present, x, y)
        raw = peak[None, :] * share
        cover = tl.where(raw >= _LEAST_ALPHA, tl.minimum(raw, _MOST_ALPHA), 0.0)
        after = through[:, None] * tl.cumprod(1 - cover, 1)
        inverse = 1 / (1 - cover)
        before = after * inverse
        weight = cover * before
        values = tl.load(
            channels + which[:, None] * channel_count + channel[None, :],
            mask=present[:, None] & (channel < channel_count)[None, :],
            other=0.0,
        )
        worth = tl.dot(d_channel, tl.trans(values), input_precision=_PRECISION) + d_opaque[:, None]
        part = weight * worth
        d_cover = before * worth - (behind[:, None] - tl.cumsum(part, 1)) * inverse
        behind -= tl.sum(part, 1)
        through = tl.min(after, 1)
        position += CHUNK

        row = rows + tl.load(slot + place, mask=present, other=0).to(tl.int64) * (_GEOMETRY + channel_count)
        tl.store(
            row[:, None] + _GEOMETRY + channel[None, :],
            _sum_over_pixels(weight, d_channel, CHUNK, CHANNELS),
            mask=present[:, None] & (channel < channel_count)[None, :],
        )
        # The limits end the gradient: below the least nothing is drawn, above the most alpha doesn't change.
        free = (raw >= _LEAST_ALPHA) & (raw <= _MOST_ALPHA)
        d_share = tl.where(free, d_cover * share, 0.0)
        _store_geometry(row, present, d_share, dx, dy, a, b, c, peak)


@triton.jit
def _sum_over_pixels(weight, d_channel, CHUNK: tl.constexpr, CHANNELS: tl.constexpr):
    """weight^T d_channel, in one product a warp; a single one would need all of `weight` in each warp's registers."""
    share: tl.constexpr = _PIXELS // _WARPS
    weight = tl.permute(tl.reshape(weight, [_WARPS, share, CHUNK]), [0, 2, 1])
    d_channel = tl.reshape(d_channel, [_WARPS, share, CHANNELS])
    return tl.sum(tl.dot(weight, d_channel, input_precision=_PRECISION), 0)


@triton.jit
def _pixels(tile, tiles_x, width, height):
    """Centres, numbers in the image, and which are in it, of a tile's pixels."""
    lane = tl.arange(0, _PIXELS)
    column = (tile % tiles_x) * _TILE_X + lane % _TILE_X
    row = (tile // tiles_x) * _TILE_Y + lane // _TILE_X
    pixel = row.to(tl.int64) * width + column
    return column.to(tl.float32) + 0.5, row.to(tl.float32) + 0.5, pixel, (column < width) & (row < height)


@triton.jit
def _reach(mean_px, conic, opacity, which, present, x, y):
    """Gaussians, how far each pixel lies from each mean, and exp(-power) there (pixels x Gaussians)."""
    u = tl.load(mean_px + 2 * which, mask=present, other=0.0)
    v = tl.load(mean_px + 2 * which + 1, mask=present, other=0.0)
    a = tl.load(conic + 3 * which, mask=present, other=0.0)
    b = tl.load(conic + 3 * which + 1, mask=present, other=0.0)
    c = tl.load(conic + 3 * which + 2, mask=present, other=0.0)
    peak = tl.load(opacity + which, mask=present, other=0.0)
    dx, dy = x[:, None] - u[None, :], y[:, None] - v[None, :]
    power = ((0.5 * a)[None, :] * dx + b[None, :] * dy) * dx + (0.5 * c)[None, :] * dy * dy
    return dx, dy, a, b, c, peak, tl.exp(-power)


@triton.jit
def _store_geometry(row, present, d_share, dx, dy, a, b, c, peak):
    """Sums over pixels to the gradients of mean, conic and opacity; d_share is alpha's gradient by exp(-power)."""
    pull_x, pull_y = d_share * dx, d_share * dy
    x, y = tl.sum(pull_x, 0) * peak, tl.sum(pull_y, 0) * peak
    tl.store(row, a * x + b * y, mask=present)
    tl.store(row + 1, b * x + c * y, mask=present)
    tl.store(row + 2, -0.5 * peak * tl.sum(pull_x * dx, 0), mask=present)
    tl.store(row + 3, -peak * tl.sum(pull_x * dy, 0), mask=present)
    tl.store(row + 4, -0.5 * peak * tl.sum(pull_y * dy, 0), mask=present)
    tl.store(row + 5, tl.sum(d_share, 0), mask=present)
