"""Splats from a file and into a file, by the suffix.

The axes of splat files are a matter of agreement. What is assumed unless the file or the caller says otherwise:

    .ply, .splat, .ksplat, .sog   x right, y down, z forward (`rdf`), COLMAP's and the first implementation's
    .spz                          x right, y up, z back (`rub`), as SPZ says
    .glb                          y up, front towards +z, which is `rub` seen from the front; glTF has no other
"""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.rotation import smallest_axis
from maquette.io.splats.colors import to_srgb
from maquette.io.splats.compressed_ply import is_compressed, read_compressed_ply
from maquette.io.splats.gltf import write_gltf
from maquette.io.splats.ksplat import read_ksplat
from maquette.io.splats.ply import read_ply, write_ply
from maquette.io.splats.ply_container import read_ply_header
from maquette.io.splats.raw import Axes, RawSplats, axis_signs, from_gaussians, to_gaussians
from maquette.io.splats.sog import read_sog
from maquette.io.splats.splat import read_dot_splat
from maquette.io.splats.spz import SpzVersion, read_spz, write_spz
from maquette.types import Gaussians

READ_SUFFIXES = (".ply", ".splat", ".ksplat", ".spz", ".sog", ".json")
WRITE_SUFFIXES = (".ply", ".spz", ".glb")
_ASSUMED_AXES: dict[str, Axes] = {
    ".ply": "rdf",
    ".splat": "rdf",
    ".ksplat": "rdf",
    ".sog": "rdf",
    ".json": "rdf",
    ".spz": "rub",
    ".glb": "rub",
}

_READERS: dict[str, Callable[[Path], RawSplats]] = {
    ".splat": read_dot_splat,
    ".ksplat": read_ksplat,
    ".spz": read_spz,
    ".sog": read_sog,
    ".json": read_sog,
}


def read_splat(path: Path | str, axes: Axes | None = None) -> Gaussians:
    """Read Gaussians: PLY, compressed PLY, `.splat`, `.ksplat`, SPZ, SOG (a `.sog`, or an unzipped one's `meta.json`).

    The harmonics are display values, as in the files (`encoding` is `srgb`); `maquette.io.splats.colors.to_linear`
    converts them. The normals of a PLY are not read: they are in the covariances.

    Args:
        path: its suffix says which format.
        axes: the axes of the file, where it is known better; otherwise what the file says, or the module's page.

    Returns:
        float32, in maquette's frame.

    Raises:
        InputError: an unknown suffix, no such file, damaged, cut off, or values that no Gaussian has.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READ_SUFFIXES:
        raise InputError(f"{path}: a file of splats ends in one of {', '.join(READ_SUFFIXES)}")
    if suffix == ".ply":
        header = read_ply_header(path)
        raw = read_compressed_ply(path, header) if is_compressed(header) else read_ply(path, header)
    else:
        raw = _READERS[suffix](path)
    return to_gaussians(path, raw, axes or raw.axes or _ASSUMED_AXES[suffix])


def write_splat(
    path: Path | str,
    gaussians: Gaussians,
    axes: Axes | None = None,
    normals: Float[Tensor, "n 3"] | None = None,
    spz_version: SpzVersion = 3,
) -> Path:
    """Write Gaussians as `.ply`, `.spz` or `.glb`; docs/splat-files.md says what each of them keeps.

    Linear colour becomes display values in PLY and SPZ, as their readers expect; a `.glb` can say what it holds.

    Args:
        path: its suffix says which format.
        gaussians: what to write.
        axes: the axes of the file; otherwise those of the module's page. A `.glb` has no other.
        normals: unit normals in maquette's frame, for the nx ny nz of a PLY; otherwise each Gaussian's thinnest axis,
            on the side that faces +z, the viewer.
        spz_version: 2, 3 or 4.

    Returns:
        The path.

    Raises:
        InputError: an unknown suffix, axes or version, a value that no splat file can hold, or the file
            can't be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITE_SUFFIXES:
        raise InputError(f"{path}: splats are written to files that end in one of {', '.join(WRITE_SUFFIXES)}")
    axes = axes or _ASSUMED_AXES[suffix]
    if suffix == ".glb":
        if axes != "rub":
            raise InputError(f"{path}: axes {axes!r}; glTF has rub alone")
        write_gltf(path, from_gaussians(path, gaussians, axes))
        return path
    if spz_version not in (2, 3, 4):
        raise InputError(f"{path}: SPZ version {spz_version}; 2, 3 or 4 are written")
    raw = from_gaussians(path, to_srgb(gaussians), axes)
    if suffix == ".spz":
        write_spz(path, raw, spz_version)
    else:
        signs = torch.tensor(axis_signs(axes), dtype=torch.float32)
        facing = _facing_viewer(gaussians) if normals is None else normals.detach().cpu().float()
        if facing.shape != gaussians.mean.shape:
            raise InputError(f"cannot write {path}: {len(facing)} normals for {len(gaussians)} Gaussians")
        write_ply(path, raw, (facing * signs).numpy())
    return path


def _facing_viewer(gaussians: Gaussians) -> Tensor:
    thinnest = smallest_axis(gaussians.scale, gaussians.rotation).detach().cpu().float()
    return torch.where(thinnest[:, 2:] < 0, -thinnest, thinnest)
