"""Splats from a file and into a file, by the suffix.

The axes of splat files are a matter of agreement. What is assumed unless the file or the caller says otherwise:

    .ply, .splat, .ksplat, .sog   x right, y down, z forward (`rdf`), COLMAP's and the first implementation's
    .spz                          x right, y up, z back (`rub`), as SPZ says
    .glb                          y up, front towards +z, which is `rub` seen from the front; glTF has no other
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.catalogue import SPLAT_FORMATS, SPLAT_SUFFIXES, SPLAT_WRITE_SUFFIXES, Axes, resolve
from maquette.errors import InputError
from maquette.geometry.rotation import smallest_axis
from maquette.io.splats.colors import to_srgb
from maquette.io.splats.raw import axis_signs, from_gaussians, to_gaussians
from maquette.io.splats.spz import SpzVersion
from maquette.types import Gaussians


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
    if suffix not in SPLAT_SUFFIXES:
        raise InputError(f"{path}: a file of splats ends in one of {', '.join(SPLAT_SUFFIXES)}")
    format = SPLAT_FORMATS[suffix]
    raw = resolve(format.read)(path)
    return to_gaussians(path, raw, axes or raw.axes or format.axes)


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
    if suffix not in SPLAT_WRITE_SUFFIXES:
        raise InputError(f"{path}: splats are written to files that end in one of {', '.join(SPLAT_WRITE_SUFFIXES)}")
    format = SPLAT_FORMATS[suffix]
    axes = axes or format.axes
    if not format.other_axes and axes != format.axes:
        raise InputError(f"{path}: axes {axes!r}; glTF has {format.axes} alone")
    raw = from_gaussians(path, gaussians if format.keeps_linear else to_srgb(gaussians), axes)
    if suffix == ".spz":
        if spz_version not in (2, 3, 4):
            raise InputError(f"{path}: SPZ version {spz_version}; 2, 3 or 4 are written")
        resolve(format.write)(path, raw, spz_version)
    elif suffix == ".ply":
        resolve(format.write)(path, raw, _stored_normals(path, gaussians, normals, axes))
    else:
        resolve(format.write)(path, raw)
    return path


def _stored_normals(
    path: Path, gaussians: Gaussians, normals: Float[Tensor, "n 3"] | None, axes: Axes
) -> Float[np.ndarray, "n 3"]:
    """In the axes of the file; where none are given, each Gaussian's thinnest axis, towards the viewer."""
    facing = _facing_viewer(gaussians) if normals is None else normals.detach().cpu().float()
    if facing.shape != gaussians.mean.shape:
        raise InputError(f"cannot write {path}: {len(facing)} normals for {len(gaussians)} Gaussians")
    return (facing * torch.tensor(axis_signs(axes), dtype=torch.float32)).numpy()


def _facing_viewer(gaussians: Gaussians) -> Tensor:
    thinnest = smallest_axis(gaussians.scale, gaussians.rotation).detach().cpu().float()
    return torch.where(thinnest[:, 2:] < 0, -thinnest, thinnest)
