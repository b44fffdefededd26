"""Which primitives of a field matter where: lists by region, so that a field of hundreds costs what one of ten does."""

import numpy as np

from maquette.geometry import field as f

MARGIN = 0.14  # about a primitive, within which it is listed: grids of 32^3 still see its distance


def bins(primitives: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """`Field.first` and `Field.near`: in each bin, the rows whose bounding sphere comes within a margin of it."""
    side = 2 * f.BIN_REACH / f.BINS
    low = -f.BIN_REACH + side * np.arange(f.BINS)
    low[0], high = -f.FAR, low + side  # the outermost bins hold what lies beyond them
    high[-1] = f.FAR
    group = np.cumsum(primitives[:, f.OPERATION] == f.APART)
    solid = np.zeros((int(group[-1]) + 1, *(f.BINS,) * 3), bool)  # where a group may have something
    listed = []
    for number, row in enumerate(primitives):
        if row[f.OPERATION] == f.APART:
            continue
        reach = row[f.BOUND] + row[f.BLEND] + margin
        hit = np.zeros((f.BINS,) * 3, bool)
        for sign in (1, -1) if row[f.MIRROR] else (1,):
            center = row[f.CENTER : f.CENTER + 3] * [sign, 1, 1]
            away = [np.maximum(np.maximum(low - c, c - high), 0) ** 2 for c in center]
            hit |= away[2][:, None, None] + away[1][:, None] + away[0] <= reach**2
        if row[f.OPERATION] == f.UNION:
            solid[group[number]] |= hit
        else:
            hit = (hit | (row[f.OPERATION] == f.INTERSECT)) & solid[group[number]]
        bins = np.flatnonzero(hit.ravel())
        listed.append(np.stack([bins, np.full(len(bins), number)], 1))
    for number in np.flatnonzero(primitives[:, f.OPERATION] == f.APART):
        bins = np.flatnonzero(solid[group[number]].ravel())
        listed.append(np.stack([bins, np.full(len(bins), number)], 1))
    pairs = np.concatenate(listed)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return np.searchsorted(pairs[:, 0], np.arange(f.BINS**3 + 1)), np.ascontiguousarray(pairs[:, 1])
