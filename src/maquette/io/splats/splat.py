"""The `.splat` of web viewers, read: 32 bytes a splat, no header.

Position and scale in float32, then a byte each: red, green, blue, opacity, and the quaternion (w, x, y, z) as
128 + 128 q.
"""

from pathlib import Path

import numpy as np

from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.splats.raw import RawSplats, read_whole, require_count

_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("rotation", "u1", 4)])


def read_dot_splat(path: Path) -> RawSplats:
    """Read a `.splat`.

    Raises:
        InputError: its size is no multiple of 32 bytes.
    """
    content = read_whole(path)
    if len(content) % _ROW.itemsize:
        raise InputError(f"{path}: has {len(content)} bytes; a .splat has 32 for each splat, so it is cut off")
    require_count(path, len(content) // _ROW.itemsize)
    rows = np.frombuffer(content, dtype=_ROW)
    color = rows["color"].astype(np.float64) / 255
    return RawSplats(
        mean=rows["mean"].astype(np.float32),
        scale=rows["scale"].astype(np.float32),
        rotation=((rows["rotation"].astype(np.float32) - 128) / 128),
        opacity=color[:, 3].astype(np.float32),
        sh=((color[:, None, :3] - 0.5) / DC).astype(np.float32),
    )
