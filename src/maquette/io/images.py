"""Photos in and images out: the only place where sRGB lives."""

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import torch
from jaxtyping import Bool, Float, UInt8, UInt16
from torch import Tensor

from maquette.catalogue import Encoding
from maquette.errors import InputError
from maquette.geometry.rim import with_rim
from maquette.io.decode import read_pixels
from maquette.io.files import atomic_path, write_bytes
from maquette.types import Photo


def srgb_to_linear(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display values 0..1 to light, by the piecewise curve of IEC 61966-2-1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Light to display values, by the piecewise curve of IEC 61966-2-1; clamped to 0..1."""
    linear = linear.clamp(0.0, 1.0)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def read_photo(path: Path | str, encoding: Encoding = "srgb") -> Photo:
    """Read a photo as linear colour.

    PNG, JPEG, WebP and TIFF of 8 or 16 bits are taken as sRGB (colour profiles are not looked at); EXR is
    taken as linear, its alpha as premultiplied, and negative values, as compression leaves, become zero.
    Alpha is kept, and becomes the mask (alpha > 0.5), unless all of it is opaque.

    Args:
        path: the file; the photo's name is the file's name.
        encoding: of files that aren't EXR; `linear` takes the codes for light, as raw converters for measuring
            write them, and `auto` does so for 16 bits alone.

    Raises:
        InputError: all that `read_pixels` refuses, and EXR files that hold NaN or infinity.
    """
    path = Path(path)
    pixels = read_pixels(path)
    if pixels.dtype == np.float32:
        rgb, alpha = _linear_from_float(path, pixels)
    else:
        largest = np.iinfo(pixels.dtype).max
        curve = torch.arange(largest + 1, dtype=torch.float64) / largest
        if encoding == "srgb" or (encoding == "auto" and largest == 255):
            curve = srgb_to_linear(curve)
        rgb = curve.float().numpy()[pixels[..., :3]]
        alpha = pixels[..., 3] / np.float32(largest) if pixels.shape[-1] == 4 else None
    if alpha is None or not (alpha < 1).any():
        return Photo(torch.from_numpy(rgb), name=path.name)
    share = torch.from_numpy(alpha.astype(np.float32).clip(0, 1))
    return Photo(torch.from_numpy(rgb), torch.from_numpy(alpha > 0.5), path.name, share)


def read_mask(path: Path | str) -> Bool[Tensor, "height width"]:
    """Read a mask: true where `read_alpha` is above a half.

    Raises:
        InputError: as `read_pixels`.
    """
    return read_alpha(path) > 0.5


def read_alpha(path: Path | str) -> Float[Tensor, "height width"]:
    """Read a mask as shares from 0 to 1: its alpha or, if it is opaque, its lightness.

    Raises:
        InputError: as `read_pixels`.
    """
    pixels = read_pixels(Path(path))
    largest = 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype).max)
    shares = torch.from_numpy(pixels.astype(np.float32) / largest)
    if shares.shape[-1] == 4 and bool((shares[..., 3] < 1).any()):
        return shares[..., 3].clamp(0, 1)
    return shares[..., :3].mean(dim=-1).clamp(0, 1)


def write_png8(path: Path, codes: UInt8[Tensor, "height width *channels"]) -> None:
    """Write a grey, RGB or RGBA PNG of 8 bits; codes are stored as they are.

    Raises:
        InputError: the file can't be written.
    """
    _write_png(path, codes.cpu().numpy())


def write_png16(path: Path, codes: UInt16[Tensor, "height width *channels"]) -> None:
    """Write a grey, RGB or RGBA PNG of 16 bits; codes are stored as they are.

    Raises:
        InputError: the file can't be written.
    """
    _write_png(path, codes.cpu().numpy())


def write_srgb(
    path: Path,
    linear: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None = None,
    alpha: Float[Tensor, "height width"] | None = None,
) -> None:
    """Write linear colour as an 8-bit sRGB PNG; a mask that isn't full becomes its alpha.

    Args:
        path: the file.
        linear: its colours; they needn't be known outside the mask.
        mask: where there is something to see.
        alpha: how much of it a pixel shows, for a soft rim (`maquette.geometry.rim`).

    Raises:
        InputError: the file can't be written.
    """
    if mask is None or bool(mask.all()):
        write_png8(path, to_srgb8(linear))
        return
    linear, codes = (linear, mask * 255) if alpha is None else with_rim(linear, mask, alpha, 255)
    write_png8(path, torch.cat([to_srgb8(linear), codes[..., None].to(torch.uint8)], dim=-1))


def to_srgb8(linear: Float[Tensor, "*batch 3"]) -> UInt8[Tensor, "*batch 3"]:
    """Linear colour to 8-bit sRGB codes."""
    return (linear_to_srgb(linear) * 255).round().to(torch.uint8)


def write_exr(path: Path, values: Float[Tensor, "height width *channels"]) -> None:
    """Write a 32-bit float EXR, losslessly compressed: channel Y of a single map, R, G, B (and A) of several.

    Raises:
        InputError: the file can't be written.
    """
    array = np.ascontiguousarray(values.detach().cpu().float().numpy())
    name = "Y" if array.ndim == 2 else "RGBA"[: array.shape[-1]]
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as partial:
        partial.touch()  # a folder that can't be written says so here, in the words of the system
        try:
            OpenEXR.File(header, {name: array}).write(str(partial))
        except RuntimeError as error:
            raise InputError(f"cannot write {path}: the EXR file could not be completed") from error


def write_npy(path: Path, values: Float[Tensor, "height width *channels"]) -> None:
    """Write a float32 array in NumPy's format.

    Raises:
        InputError: the file can't be written.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, values.detach().cpu().float().numpy())


def encode_png(codes: np.ndarray) -> bytes:
    """The content of a PNG of (height, width), or (height, width, 3 or 4), uint8 or uint16; stored as they are."""
    if codes.ndim == 3:
        codes = cv2.cvtColor(codes, cv2.COLOR_RGB2BGR if codes.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA)
    _, content = cv2.imencode(".png", codes)
    return content.tobytes()


def _write_png(path: Path, codes: np.ndarray) -> None:
    write_bytes(path, encode_png(codes))


def _linear_from_float(path: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    broken = ~np.isfinite(pixels).all(axis=-1)
    if broken.any():
        y, x = np.argwhere(broken)[0]
        raise InputError(
            f"{path}: {int(broken.sum())} pixels are NaN or infinite, the first at x={x}, y={y};"
            " finite values are needed"
        )
    rgb = pixels[..., :3].clip(min=0)
    if pixels.shape[-1] == 3:
        return np.ascontiguousarray(rgb), None
    alpha = pixels[..., 3]
    covered = alpha[..., None] > 0
    return np.where(covered, rgb / np.where(covered, alpha[..., None], 1), rgb).astype(np.float32), alpha
