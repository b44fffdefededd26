"""Normal maps in files: the conventions of `maquette.geometry.frames`, four formats, one frame in memory.

PNG holds n * 0.5 + 0.5 without gamma, as artists' tools expect. EXR (channels R, G, B) and NPY hold the
signed normal itself, so that nothing is rounded. Where there is no normal, PNG holds the neutral colour that
encodes (0, 0, 1), which lights as a flat wall in a tool that ignores alpha, under an alpha of zero; EXR and
NPY hold (0, 0, 0). A mask that is full writes no alpha. Where the photo's alpha is known, PNG has it at the rim, above
a half on the mask alone, and where it is below, the nearest normal.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import ARRAY_SUFFIX, Format
from maquette.errors import InputError
from maquette.geometry.frames import CameraFrame, camera_frame
from maquette.geometry.rim import with_rim
from maquette.io.decode import read_pixels, require_file, require_size
from maquette.io.images import write_exr, write_npy, write_png8, write_png16
from maquette.types import NormalMap

Convention = CameraFrame

# The largest error that 16-bit codes make in the length of a unit vector is sqrt(3) / 65535 = 2.7e-5.
# Vectors within it are left as they are, so that reading a map and writing it again changes nothing.
_UNIT_TOLERANCE = 3e-5
_LENGTHS_OF_NORMALS = (0.5, 1.5)


def write_normal_map(
    path: Path | str,
    normal_map: NormalMap,
    convention: Convention = "opengl",
    format: Format = "png16",
    alpha: Float[Tensor, "height width"] | None = None,
) -> None:
    """Write a normal map; see the module's page for what is stored.

    Args:
        path: the file, with its suffix.
        normal_map: in the frame of memory.
        convention: the frame of the file.
        format: how it is stored.
        alpha: the photo's, for a soft rim in PNG; without it, the rim is as hard as the mask.

    Raises:
        InputError: the file can't be written.
    """
    path = Path(path)
    if format == "png16":
        write_png16(path, normal_codes(normal_map, convention, alpha=alpha).to(torch.uint16))
    elif format == "png8":
        write_png8(path, normal_codes(normal_map, convention, 255, alpha).to(torch.uint8))
    else:
        normals = normal_map.normals.detach().float() @ _matrix(convention).to(normal_map.normals.device).T
        values = torch.where(normal_map.mask[..., None], normals, 0.0)
        write_npy(path, values) if format == "npy" else write_exr(path, values)


def normal_codes(
    normal_map: NormalMap,
    convention: Convention = "opengl",
    largest: int = 65535,
    alpha: Float[Tensor, "height width"] | None = None,
) -> Float[Tensor, "height width channels"]:
    """What a PNG stores of a normal map, as whole numbers from 0 to `largest`: RGB, or RGBA if the mask isn't full."""
    mask, normals = normal_map.mask, normal_map.normals.detach().float()
    to_file = _matrix(convention).to(normals.device)
    cover = mask.double() * largest
    known = mask
    if alpha is not None and not bool(mask.all()):
        normals, cover = with_rim(normals, mask, alpha, largest)
        known = cover > 0
    neutral = to_file @ torch.tensor([0.0, 0.0, 1.0], device=normals.device)
    codes = torch.where(known[..., None], normals @ to_file.T, neutral).double() * 0.5 + 0.5
    codes = (codes.clamp(0, 1) * largest).round()
    return codes if bool(mask.all()) else torch.cat([codes, cover[..., None]], dim=-1)


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
    stored, alpha, largest = read_vectors(Path(path))
    vectors = stored.float()
    mask = is_normal(vectors)
    if alpha is not None and largest is not None:
        mask = mask & (alpha > 0.5)
    if not bool(mask.any()):
        raise InputError(f"{path}: holds no normals (all vectors are far from unit length)")
    length = vectors.norm(dim=-1)
    off = (length - 1).abs() > _UNIT_TOLERANCE
    unit = torch.where(off[..., None], vectors / length.clamp_min(_LENGTHS_OF_NORMALS[0])[..., None], vectors)
    # The inverse of the matrix is its transpose, which is what row vectors are multiplied by.
    return NormalMap(normals=torch.where(mask[..., None], unit @ _matrix(convention), 0.0), mask=mask)


def read_vectors(
    path: Path,
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"] | None, int | None]:
    """The signed vectors of a file as they are: in its own frame, of any length, where there is no normal too.

    Returns:
        The vectors, float32 from a float file and float64 from an integer one; alpha 0..1, or `None`; the largest
        code of an integer file, or `None`.

    Raises:
        InputError: the file can't be read, holds NaN, or is no (H, W, 3) array.
    """
    pixels = _read_npy(path) if path.suffix.lower() == ARRAY_SUFFIX else read_pixels(path)
    largest = None
    values = torch.from_numpy(pixels.copy())
    if pixels.dtype != np.float32:
        largest = int(np.iinfo(pixels.dtype).max)
        values = torch.from_numpy(pixels / largest)
    vectors = values[..., :3] if largest is None else values[..., :3] * 2 - 1
    if not bool(torch.isfinite(vectors).all()):
        raise InputError(f"{path}: holds NaN or infinite normals; finite values are needed")
    return vectors, values[..., 3] if values.shape[-1] == 4 else None, largest


def is_normal(vectors: Float[Tensor, "*batch 3"]) -> Bool[Tensor, "*batch"]:
    """True where a vector's length is that of a normal, if a rough one: black, grey and zero aren't."""
    length = vectors.norm(dim=-1)
    shortest, longest = _LENGTHS_OF_NORMALS
    return (length > shortest) & (length < longest)


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
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, and is refused as such
        return np.asarray(array, dtype=np.float32)
