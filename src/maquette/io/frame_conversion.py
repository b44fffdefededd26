"""Normal maps from one frame to another with nothing else touched.

Unlike `maquette.io.normal_maps`, which reads a map to work with, nothing is normalised here and what isn't a
normal (black, grey, zero: a length outside 0.5..1.5) keeps its code. So a change of signs or axes is exact, in
8 bits too, and going there and back gives the same codes (only a transparent pixel one code beside the neutral may
become neutral); a rotation in 16 bits is right to half a code.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import FORMAT_SUFFIXES, Format
from maquette.errors import InputError
from maquette.io.images import write_exr, write_npy, write_png8, write_png16
from maquette.io.normal_maps import is_normal, read_vectors

_LARGEST = {"png8": 255, "png16": 65535}


@dataclass(frozen=True)
class StoredMap:
    """A normal map as its file has it.

    Attributes:
        vectors: signed, float64, not normalised, in the file's frame; whatever the file holds where there is no
            normal.
        alpha: 0 to 1, if the file has any.
        largest: the largest code of an integer file, `None` of a float one.
    """

    vectors: Float[Tensor, "height width 3"]
    alpha: Float[Tensor, "height width"] | None
    largest: int | None

    @property
    def is_normal(self) -> Bool[Tensor, "height width"]:
        """True where the vector's length is that of a normal, whatever alpha says."""
        return is_normal(self.vectors)


def read_stored_map(path: Path | str) -> StoredMap:
    """Read a normal map without changing it.

    Raises:
        InputError: as `maquette.io.normal_maps.read_vectors`, or no vector in it has a normal's length.
    """
    vectors, alpha, largest = read_vectors(Path(path))
    stored = StoredMap(vectors.double(), alpha, largest)
    if not bool(stored.is_normal.any()):
        raise InputError(f"{path}: holds no normals (all vectors are far from unit length)")
    return stored


def turned(stored: StoredMap, matrix: Float[Tensor, "*texels 3 3"], neutral: tuple[float, float, float]) -> StoredMap:
    """The same map with every normal multiplied by a matrix: one for all, or one for each texel.

    Args:
        stored: the map.
        matrix: orthonormal.
        neutral: the vector that fills what is transparent in the source's frame; its integer code lies beside
            it, and is taken for the vector itself, so that the filling is the target's.
    """
    vectors = stored.vectors
    if stored.largest is not None and stored.alpha is not None:
        fill = torch.tensor(neutral, dtype=vectors.dtype)
        code = ((fill * 0.5 + 0.5) * stored.largest).round()  # of zero, half a code beside it
        codes = ((vectors * 0.5 + 0.5) * stored.largest).round()
        near = (codes == code).all(-1) & (stored.alpha <= 0.5)
        vectors = torch.where(near[..., None], fill, vectors)
    moved = torch.einsum("...ij,...j->...i", matrix.to(vectors), vectors)
    return StoredMap(torch.where(stored.is_normal[..., None], moved, stored.vectors), stored.alpha, stored.largest)


def write_stored_map(
    path: Path, stored: StoredMap, format: Format, neutral: tuple[float, float, float] = (0.0, 0.0, 1.0)
) -> None:
    """Write a map as `format`.

    From integers to integers and from floats to floats all is kept, alpha too (but NPY has none). From integers
    to floats what isn't a normal, or is transparent, becomes zero; from floats to integers it becomes `neutral`
    under an alpha of 0, as `maquette.io.normal_maps` has it.

    Raises:
        InputError: the file can't be written.
    """
    vectors, alpha = stored.vectors, stored.alpha
    if format in _LARGEST:
        if stored.largest is None:
            there = stored.is_normal
            vectors = torch.where(there[..., None], vectors, torch.tensor(neutral, dtype=vectors.dtype))
            if alpha is not None or not bool(there.all()):
                alpha = there.double() if alpha is None else alpha * there
        channels = vectors * 0.5 + 0.5
        if alpha is not None:
            channels = torch.cat([channels, alpha[..., None]], dim=-1)
        codes = (channels.clamp(0, 1) * _LARGEST[format]).round()
        if format == "png8":
            write_png8(path, codes.to(torch.uint8))
        else:
            write_png16(path, codes.to(torch.uint16))
        return
    if stored.largest is not None:
        there = stored.is_normal if alpha is None else stored.is_normal & (alpha > 0.5)
        vectors, alpha = torch.where(there[..., None], vectors, 0.0), None
    if format == "npy":
        write_npy(path, vectors)
    else:
        write_exr(path, vectors if alpha is None else torch.cat([vectors, alpha[..., None]], dim=-1))


def format_for(path: Path, format: Format | None, largest: int | None) -> Format:
    """The format that a file's name asks for; a PNG has 8 bits if the source has, else 16.

    Raises:
        InputError: the name ends in none of the formats' suffixes, or not in that of the format given.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMAT_SUFFIXES.values():
        raise InputError(f"-o {path}: must end in {', '.join(sorted(set(FORMAT_SUFFIXES.values())))}")
    if format is None:
        if suffix == ".png":
            return "png8" if largest == np.iinfo(np.uint8).max else "png16"
        return "exr" if suffix == ".exr" else "npy"
    if FORMAT_SUFFIXES[format] != suffix:
        raise InputError(f"-o {path}: a file of the format {format} must end in {FORMAT_SUFFIXES[format]}")
    return format
