"""Normal maps in files: the conventions of `maquette.geometry.frames`, four formats, one frame in memory.

PNG holds n * 0.5 + 0.5 without gamma, as artists' tools expect. EXR (channels R, G, B) and NPY hold the
signed normal itself, so that nothing is rounded. Where there is no normal, PNG holds the neutral colour that
encodes (0, 0, 1), which lights as a flat wall in a tool that ignores alpha, under an alpha of zero; EXR and
NPY hold (0, 0, 0). A mask that is full writes no alpha.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.frames import CameraFrame, camera_frame
from maquette.io.decode import read_pixels, require_file, require_size
from maquette.io.images import write_exr, write_npy, write_png8, write_png16
from maquette.types import NormalMap

Convention = CameraFrame
Format = Literal["png16", "png8", "exr", "npy"]

FORMAT_SUFFIXES: dict[Format, str] = {"png16": ".png", "png8": ".png", "exr": ".exr", "npy": ".npy"}

# The largest error that 16-bit codes make in the length of a unit vector is sqrt(3) / 65535 = 2.7e-5.
# Vectors within it are left as they are, so that reading a map and writing it again changes nothing.
_UNIT_TOLERANCE = 3e-5
_LENGTHS_OF_NORMALS = (0.5, 1.5)


def write_normal_map(
    path: Path, normal_map: NormalMap, convention: Convention = "opengl", format: Format = "png16"
) -> None:
    """Write a normal map; see the module's page for what is stored.

    Args:
        path: the file, with its suffix.
        normal_map: in the frame of memory.
        convention: the frame of the file.
        format: how it is stored.

    Raises:
        InputError: the file can't be written.
    """
    mask = normal_map.mask[..., None]
    to_file = _matrix(convention).to(normal_map.normals.device)
    normals = normal_map.normals.detach().float() @ to_file.T
    if format == "npy":
        write_npy(path, torch.where(mask, normals, 0.0))
    elif format == "exr":
        write_exr(path, torch.where(mask, normals, 0.0))
    else:
        neutral = to_file @ torch.tensor([0.0, 0.0, 1.0], device=normals.device)
        codes = torch.where(mask, normals, neutral).double() * 0.5 + 0.5
        if not bool(mask.all()):
            codes = torch.cat([codes, mask.double()], dim=-1)
        if format == "png16":
            write_png16(path, (codes.clamp(0, 1) * 65535).round().to(torch.uint16))
        else:
            write_png8(path, (codes.clamp(0, 1) * 255).round().to(torch.uint8))


def read_normal_map(path: Path | str, convention: Convention = "opengl") -> NormalMap:
    """Read a normal map from PNG, TIFF, EXR, NPY or any other format of `read_pixels`.

    Floats are taken as signed normals, integers as n * 0.5 + 0.5. There is no normal where alpha is at most
    half, or the vector is shorter than 0.5 or longer than 1.5, as black and white are. Vectors that are not
    of unit length within 16-bit rounding are normalised.

    Args:
        path: the file.
        convention: the frame of the file.

    Raises:
        InputError: the file can't be read, holds NaN, is no (H, W, 3) array, or has no normal in it.
    """
    path = Path(path)
    pixels = _read_npy(path) if path.suffix.lower() == ".npy" else read_pixels(path)
    if pixels.dtype == np.float32:
        vectors = torch.from_numpy(pixels[..., :3].copy())
        opaque = torch.ones(pixels.shape[:2], dtype=torch.bool)
    else:
        largest = np.iinfo(pixels.dtype).max
        vectors = torch.from_numpy(pixels[..., :3].astype(np.float64) / largest * 2 - 1).float()
        opaque = _opaque(pixels, largest)
    if not bool(torch.isfinite(vectors).all()):
        raise InputError(f"{path}: holds NaN or infinite normals; finite values are needed")
    length = vectors.norm(dim=-1)
    shortest, longest = _LENGTHS_OF_NORMALS
    mask = opaque & (length > shortest) & (length < longest)
    if not bool(mask.any()):
        raise InputError(f"{path}: holds no normals (all vectors are far from unit length)")
    off = (length - 1).abs() > _UNIT_TOLERANCE
    unit = torch.where(off[..., None], vectors / length.clamp_min(shortest)[..., None], vectors)
    # The inverse of the matrix is its transpose, which is what row vectors are multiplied by.
    return NormalMap(normals=torch.where(mask[..., None], unit @ _matrix(convention), 0.0), mask=mask)


def write_confidence(path: Path, confidence: Float[Tensor, "height width"], format: Format = "png16") -> None:
    """Write a confidence in 0..1: a 16-bit grey PNG (0 is 0, 65535 is 1), or floats in EXR (Y) or NPY.

    Raises:
        InputError: the file can't be written.
    """
    if format == "npy":
        write_npy(path, confidence)
    elif format == "exr":
        write_exr(path, confidence)
    else:
        codes = confidence.detach().double().clamp(0, 1) * 65535
        write_png16(path, codes.round().to(torch.uint16))


def _matrix(convention: Convention) -> Float[Tensor, "3 3"]:
    """From memory to the file."""
    return torch.tensor(camera_frame(convention).matrix, dtype=torch.float32)


def _opaque(pixels: np.ndarray, largest: int) -> Bool[Tensor, "height width"]:
    if pixels.shape[-1] == 3:
        return torch.ones(pixels.shape[:2], dtype=torch.bool)
    return torch.from_numpy(pixels[..., 3] > largest / 2)


def _read_npy(path: Path) -> np.ndarray:
    require_file(path)
    try:
        # Mapped, not read: the shape is known before memory is taken, and a cut-off file is noticed.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a whole NPY file of plain numbers") from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.shape[-1] != 3:
        raise InputError(f"{path}: must hold one (height, width, 3) array of normals")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path}: holds {array.dtype}; normals must be floating-point numbers")
    require_size(path, array.shape[1], array.shape[0])
    return np.asarray(array, dtype=np.float32)
