"""Image files to plain arrays, with every way a file can be bad told in one line.

Nothing here knows about colour: values are the file's own codes, 8-bit, 16-bit or float.
"""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from PIL import Image

from maquette.errors import InputError

MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000
_PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")  # JPEG includes the MPO of some phones
_EXR_MAGIC = b"\x76\x2f\x31\x01"
_TIFF_MAGICS = (b"II", b"MM")
_PNG_MAGIC = b"\x89PNG"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_OTHER_MAGICS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"8BPS": "PSD",
    b"#?RADIANCE": "Radiance HDR",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
}
_PNG_BIT_DEPTH_AT = 24
_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258
_PLANES_TAG, _IN_PLANES = 284, 2


def read_pixels(path: Path) -> np.ndarray:
    """The pixels of a PNG, JPEG, WebP, TIFF or EXR file, upright, as RGB or RGBA.

    Args:
        path: the file; its content decides what it is, not its suffix.

    Returns:
        (H, W, 3 or 4) uint8, uint16 or, for EXR, float32. Grey is repeated, palettes are looked up, CMYK is
        converted without a profile, EXIF orientation is applied, of several frames the first is taken.

    Raises:
        InputError: no such file, empty, damaged or cut off, not an image, smaller than 16 pixels or larger
            than 100 megapixels.
    """
    head = _read_head(path)
    if head.startswith(_EXR_MAGIC):
        return _read_exr(path)
    with quiet() if head.startswith(_TIFF_MAGICS) else nullcontext():
        return _read_integer(path, head)


def require_file(path: Path) -> None:
    """Raise an InputError unless `path` is a readable file with something in it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; a file is needed here")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes)")


def require_size(path: Path, width: int, height: int) -> None:
    """Raise an InputError unless an image's size is one that maquette takes."""
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: is {width}x{height}; at most {MAX_PIXELS // 10**6} megapixels are read")
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{path}: is {width}x{height}; at least {MIN_SIDE_PX}x{MIN_SIDE_PX} is needed")


def _read_head(path: Path) -> bytes:
    require_file(path)
    try:
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _read_integer(path: Path, head: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        # Pillow warns of what `require_size` refuses, and of metadata that nobody here reads.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(path, formats=_PILLOW_FORMATS)
        except Image.DecompressionBombError as error:
            limit = MAX_PIXELS // 10**6
            raise InputError(f"{path}: its header claims far more than {limit} megapixels") from error
        except Exception as error:  # a hostile header can raise anything in a decoder
            kind = _other_kind(path, head)
            what = f"is a {kind} picture, which isn't read; convert it to" if kind else "not a whole image of"
            ending = "png or jpg" if kind else "a kind maquette reads (png, jpg, webp, tiff, exr)"
            raise InputError(f"{path}: {what} {ending}") from error
        with image:
            require_size(path, *image.size)
            try:
                return _decode(path, image, head)
            except InputError:
                raise
            except Exception as error:  # as above
                raise InputError(f"{path}: is cut off or damaged: {_one_line(error)}") from error


def _other_kind(path: Path, head: bytes) -> str:
    """What else a file is, by its first bytes or, for TGA, which has no mark, by its name; empty if nobody knows."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIC" if brand in _HEIC_BRANDS else ""
    for magic, kind in _OTHER_MAGICS.items():
        if head.startswith(magic):
            return kind
    return "TGA" if path.suffix.lower() == ".tga" else ""


def _decode(path: Path, image: Image.Image, head: bytes) -> np.ndarray:
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(_BITS_TAG, (1,)))  # pyright: ignore[reportAttributeAccessIssue]
        in_planes = image.tag_v2.get(_PLANES_TAG, 1) == _IN_PLANES  # pyright: ignore[reportAttributeAccessIssue]
        if in_planes and bits == 16 and len(image.getbands()) > 1:
            # OpenCV takes the planes for rows of pixels (opencv#28717).
            raise InputError(f"{path}: holds its colours in separate planes of 16 bits; save it interleaved")
        orientation = 1  # Pillow and OpenCV both turn TIFF files upright themselves
    else:
        bits = head[_PNG_BIT_DEPTH_AT] if head.startswith(_PNG_MAGIC) else 8
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    image.load()  # raises if the file is cut off; OpenCV would return half an image
    if bits > 16 or image.mode == "F":
        raise InputError(f"{path}: has {bits} bits a channel; 8 or 16 are read, more only from EXR")
    pixels = _decode_16_bit(path) if bits == 16 and image.mode != "CMYK" else _decode_8_bit(image)
    return np.ascontiguousarray(_upright(pixels, orientation))


def _decode_8_bit(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _decode_16_bit(path: Path) -> np.ndarray:
    # Pillow cuts 16-bit colour to 8 bits.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"{path}: a 16-bit layout that OpenCV doesn't read; save it as a plain RGB PNG")
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=-1)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[-1] == 3 else cv2.COLOR_BGRA2RGBA)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF orientation 1-8: mirrored if it is 2, 4, 5 or 7, turned by quarters otherwise."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarters_counter_clockwise = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarters_counter_clockwise)


def _read_exr(path: Path) -> np.ndarray:
    try:
        with quiet():
            (left, top), (right, bottom) = OpenEXR.File(str(path), header_only=True).header()["dataWindow"]
        require_size(path, int(right) - int(left) + 1, int(bottom) - int(top) + 1)
        with quiet():
            channels = OpenEXR.File(str(path), separate_channels=True).channels()
    except InputError:
        raise
    except Exception as error:  # the library raises RuntimeError, ValueError and more
        raise InputError(f"{path}: is cut off or damaged: not a whole EXR file") from error
    names = [name for name in ("R", "G", "B") if name in channels] or ["Y"]
    if len(names) == 2 or names[0] not in channels:
        found = ", ".join(sorted(channels))
        raise InputError(f"{path}: has the EXR channels {found}; R, G and B, or Y are needed")
    names = (names * 3)[:3] + (["A"] if "A" in channels else [])
    planes = [np.asarray(channels[name].pixels, dtype=np.float32) for name in names]
    if len({plane.shape for plane in planes}) > 1:
        raise InputError(f"{path}: its EXR channels differ in size; full-resolution R, G, B are needed")
    return np.stack(planes, axis=-1)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenEXR, libtiff and FFmpeg from printing their own account of a damaged file beside our one line.

    OpenEXR prints to Python's stdout, and all from native code to file descriptor 2.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
