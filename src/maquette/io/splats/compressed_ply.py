"""The compressed PLY of PlayCanvas and SuperSplat, read.

Element `chunk` holds the bounds of 256 splats each, element `vertex` four words a splat, the optional element `sh` a
byte a coefficient. Positions and log scales are 11, 10 and 11 bits between their bounds; a rotation is 2 bits for which
part of (w, x, y, z) is largest and 10 bits for each other one; colour and opacity are a byte each, colours between
bounds where the chunks have them.
"""

from pathlib import Path

import numpy as np

from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.splats.ply import read_ply
from maquette.io.splats.ply_container import PlyHeader, columns, read_ply_elements, read_ply_header
from maquette.io.splats.raw import RawSplats, require_count
from maquette.types import SH_COUNTS

_CHUNK = 256
_SH_RANGE = 8.0  # bytes of harmonics span -4 to 4


def read_any_ply(path: Path) -> RawSplats:
    """Read a PLY of Gaussians, compressed or not.

    Raises:
        InputError: as `read_compressed_ply` and `maquette.io.splats.ply.read_ply`.
    """
    header = read_ply_header(path)
    return read_compressed_ply(path, header) if is_compressed(header) else read_ply(path, header)


def is_compressed(header: PlyHeader) -> bool:
    """Whether a PLY is one of these."""
    return any(element.name == "chunk" for element in header.elements)


def read_compressed_ply(path: Path, header: PlyHeader) -> RawSplats:
    """Read a compressed PLY.

    Raises:
        InputError: cut off, properties are missing, or there are too few chunks.
    """
    counts = {element.name: element.count for element in header.elements}
    count = counts.get("vertex", 0)
    require_count(path, count)
    if counts["chunk"] != -(-count // _CHUNK) or counts.get("sh", count) != count:
        raise InputError(
            f"{path}: has {count} splats, {counts['chunk']} chunks and {counts.get('sh', count)} rows of sh; "
            f"a chunk is {_CHUNK} splats, and sh has a row for each"
        )
    elements = read_ply_elements(path, header, ("chunk", "vertex", "sh"))
    words = {
        name: columns(path, elements["vertex"], [f"packed_{name}"])[:, 0].astype(np.uint32)
        for name in ("position", "rotation", "scale", "color")
    }
    chunk = elements["chunk"]
    with np.errstate(over="ignore", invalid="ignore"):  # hostile bounds are refused as not finite
        mean = _between(path, chunk, "{}_x {}_y {}_z", _eleven_ten_eleven(words["position"]))
        logs = _between(path, chunk, "{}_scale_x {}_scale_y {}_scale_z", _eleven_ten_eleven(words["scale"]))
        color = _bits(words["color"], [(24, 8), (16, 8), (8, 8), (0, 8)])
        rgb = color[:, :3]
        if "min_r" in (chunk.dtype.names or ()):
            rgb = _between(path, chunk, "{}_r {}_g {}_b", rgb)
        sh = [((rgb - 0.5) / DC)[:, None]]
        if "sh" in elements:
            sh.append(_higher(path, elements["sh"]))
        return RawSplats(
            mean=mean.astype(np.float32),
            scale=np.exp(logs).astype(np.float32),
            rotation=_rotation(words["rotation"]).astype(np.float32),
            opacity=color[:, 3].astype(np.float32),
            sh=np.concatenate(sh, axis=1).astype(np.float32),
        )


def _bits(words: np.ndarray, fields: list[tuple[int, int]]) -> np.ndarray:
    """Fields (shift, width) of words, each as a share 0 to 1."""
    return np.stack([((words >> shift) & (2**width - 1)) / (2**width - 1) for shift, width in fields], axis=-1)


def _eleven_ten_eleven(words: np.ndarray) -> np.ndarray:
    return _bits(words, [(21, 11), (11, 10), (0, 11)])


def _between(path: Path, chunk: np.ndarray, names: str, shares: np.ndarray) -> np.ndarray:
    low, high = (columns(path, chunk, names.replace("{}", bound).split()) for bound in ("min", "max"))
    of_splat = np.arange(len(shares)) // _CHUNK
    return low[of_splat] * (1 - shares) + high[of_splat] * shares


def _rotation(words: np.ndarray) -> np.ndarray:
    others = (_bits(words, [(20, 10), (10, 10), (0, 10)]) - 0.5) * np.sqrt(2)
    return insert_largest(others, (words >> 30).astype(np.int64))


def insert_largest(others: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Four parts of unit quaternions from three: the largest, at the place `largest`, makes the length 1."""
    rows = np.arange(len(others))
    places = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    quaternion = np.empty((len(others), 4))
    quaternion[rows[:, None], places] = others
    quaternion[rows, largest] = np.sqrt(np.clip(1 - (others**2).sum(-1), 0, None))
    return quaternion


def _higher(path: Path, rows: np.ndarray) -> np.ndarray:
    names = rows.dtype.names or ()
    if len(names) not in [3 * (coefficients - 1) for coefficients in SH_COUNTS[1:]]:
        raise InputError(f"{path}: has {len(names)} properties of sh; 9, 24, 45 or 72 are right")
    codes = columns(path, rows, [f"f_rest_{k}" for k in range(len(names))])
    shares = np.where(codes == 0, 0.0, np.where(codes == 255, 1.0, (codes + 0.5) / 256))
    return ((shares - 0.5) * _SH_RANGE).reshape(len(rows), 3, -1).swapaxes(1, 2)
