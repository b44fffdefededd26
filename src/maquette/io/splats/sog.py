"""PlayCanvas' SOG (Spatially Ordered Gaussians), version 2, read: a `meta.json` with lossless WebP images, or a ZIP.

Each pixel, row by row, is a splat. Positions are 16 bits in two images, between bounds, of sign(x) ln(1 + |x|); log
scales and the constant harmonic are looked up in codebooks of 256; opacity is the alpha of the latter; a quaternion is
its three smaller parts times sqrt(2) in a byte each, its alpha 252 plus the place of the largest of (w, x, y, z).
Higher harmonics are a palette (64 entries a row of an image, bytes into a codebook) and 16 bits of index a splat.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from maquette.errors import InputError
from maquette.io.splats.compressed_ply import insert_largest
from maquette.io.splats.raw import MAX_SPLATS, RawSplats, read_whole, require_count
from maquette.types import SH_COUNTS

_MOST_BYTES = 8 * MAX_SPLATS  # of one part; lossless images are smaller than their pixels
_MOST_PIXELS = 2 * MAX_SPLATS
_PALETTE_ROW = 64
_FIRST_TAG = 252

_Part = Callable[[str], bytes]


def read_sog(path: Path) -> RawSplats:
    """Read a `.sog` or the `meta.json` of an unzipped one.

    Raises:
        InputError: another version, a part is missing, damaged or too small, or the JSON isn't as it should be.
    """
    if path.suffix.lower() == ".json":
        return _read(path, lambda name: read_whole(path.with_name(name)), path.name)
    content = read_whole(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            return _read(path, lambda name: _unzipped(path, bundle, name), "meta.json")
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: is not a whole .sog bundle (a ZIP archive): {error}") from error


def _unzipped(path: Path, bundle: zipfile.ZipFile, name: str) -> bytes:
    if name not in bundle.namelist():
        raise InputError(f"{path}: has no part {name}")
    if bundle.getinfo(name).file_size > _MOST_BYTES:
        raise InputError(f"{path}: its part {name} says that it has {bundle.getinfo(name).file_size} bytes; too many")
    with bundle.open(name) as part:
        return part.read(_MOST_BYTES)


def _read(path: Path, part: _Part, meta_name: str) -> RawSplats:
    text = part(meta_name)
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its meta.json is damaged") from error
    if not isinstance(meta, dict) or meta.get("version") != 2:
        raise InputError(f"{path}: is not SOG version 2, the one that is read")
    try:
        count = int(meta["count"])
        require_count(path, count)
        higher = _higher(path, part, meta["shN"], count) if meta.get("shN") else None
        return _decoded(path, part, meta, count, higher)
    except InputError:
        raise
    except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: its meta.json lacks something or has it wrong: {error}") from error


def _decoded(path: Path, part: _Part, meta: dict, count: int, higher: np.ndarray | None) -> RawSplats:
    low, high = (_pixels(path, part, name, count)[:, :3].astype(np.int64) for name in meta["means"]["files"][:2])
    least, most = (np.array(meta["means"][bound], dtype=np.float64) for bound in ("mins", "maxs"))
    if least.shape != (3,) or most.shape != (3,):
        raise InputError(f"{path}: the bounds of its means are not three numbers each")
    logs = least + (most - least) * ((low + 256 * high) / 65535)
    quaternion = _pixels(path, part, meta["quats"]["files"][0], count)
    largest = quaternion[:, 3].astype(np.int64) - _FIRST_TAG
    if (largest < 0).any():
        raise InputError(f"{path}: splat {int((largest < 0).argmax())} has no quaternion; alpha must be 252 to 255")
    scale = _codebook(path, meta["scales"])[_pixels(path, part, meta["scales"]["files"][0], count)[:, :3]]
    base = _pixels(path, part, meta["sh0"]["files"][0], count)
    dc = _codebook(path, meta["sh0"])[base[:, None, :3]]
    with np.errstate(over="ignore"):  # refused as not finite
        return RawSplats(
            mean=(np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32),
            scale=np.exp(scale).astype(np.float32),
            rotation=insert_largest((quaternion[:, :3] / 255 * 2 - 1) / np.sqrt(2), largest).astype(np.float32),
            opacity=(base[:, 3] / 255).astype(np.float32),
            sh=(dc if higher is None else np.concatenate([dc, higher], axis=1)).astype(np.float32),
        )


def _higher(path: Path, part: _Part, meta: dict, count: int) -> np.ndarray:
    coefficients, palette_size = SH_COUNTS[meta["bands"]] - 1, int(meta["count"])
    palette = _image(path, part, meta["files"][0])
    labels = _pixels(path, part, meta["files"][1], count).astype(np.int64)
    index = labels[:, 0] + 256 * labels[:, 1]
    rows = -(-palette_size // _PALETTE_ROW)
    if palette.shape[1] != _PALETTE_ROW * coefficients or palette.shape[0] < rows or index.max() >= palette_size:
        raise InputError(f"{path}: its palette of harmonics doesn't fit its {palette_size} entries")
    entries = palette[:rows, :, :3].reshape(-1, coefficients, 3)
    return _codebook(path, meta)[entries[index]]


def _codebook(path: Path, meta: dict) -> np.ndarray:
    values = np.array(meta["codebook"], dtype=np.float64)
    if values.shape != (256,):
        raise InputError(f"{path}: a codebook has the shape {values.shape}; 256 numbers are right")
    return values


def _pixels(path: Path, part: _Part, name: str, count: int) -> np.ndarray:
    """The first `count` pixels of an image, (count, 4)."""
    pixels = _image(path, part, name).reshape(-1, 4)
    if len(pixels) < count:
        raise InputError(f"{path}: its part {name} has {len(pixels)} pixels for {count} splats")
    return pixels[:count]


def _image(path: Path, part: _Part, name: str) -> np.ndarray:
    if not isinstance(name, str) or not name or Path(name).name != name or "\\" in name:
        raise InputError(f"{path}: names a part {name!r}; a plain file name is right")
    content = io.BytesIO(part(name))
    try:
        with Image.open(content, formats=("WEBP", "PNG")) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise InputError(f"{path}: its part {name} is {image.width}x{image.height}; too many pixels")
            return np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except (ValueError, UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: its part {name} is no whole WebP or PNG image") from error
