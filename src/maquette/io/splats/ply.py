"""The PLY of 3D Gaussian splatting (Kerbl et al. 2023), read and written.

Rows of x y z, nx ny nz, f_dc_0..2, f_rest_*, opacity (a logit), scale_0..2 (natural logarithms), rot_0..3 (w x y z).
f_rest holds all coefficients of red, then of green, then of blue. maquette adds albedo_0..2 and feature_*, which other
readers skip, and says in comments which axes and which encoding the file has.
"""

from pathlib import Path

import numpy as np

from maquette.catalogue import Axes
from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.io.splats.ply_container import PlyHeader, columns, read_ply_elements
from maquette.io.splats.raw import RawSplats, axis_signs, require_count
from maquette.types import SH_COUNTS

_AXES_COMMENT = "maquette axes "
_LEAST_SCALE = 1e-30  # of discs without thickness: the logarithm of 0 can't be stored
_LEAST_CHANCE = 1e-7  # from 0 and 1: neither has a finite logit


def read_ply(path: Path, header: PlyHeader) -> RawSplats:
    """Read the standard PLY; files of 2D splatting, which have no scale_2, give discs without thickness.

    Raises:
        InputError: cut off, or properties are missing.
    """
    count = next((element.count for element in header.elements if element.name == "vertex"), 0)
    require_count(path, count)
    rows = read_ply_elements(path, header, ("vertex",))["vertex"]
    names = rows.dtype.names or ()
    rest = [name for name in names if name.startswith("f_rest_")]
    if len(rest) not in [3 * (coefficients - 1) for coefficients in SH_COUNTS]:
        raise InputError(f"{path}: has {len(rest)} properties f_rest_*; 0, 9, 24, 45 or 72 are right")
    dc = columns(path, rows, [f"f_dc_{k}" for k in range(3)])
    higher = columns(path, rows, [f"f_rest_{k}" for k in range(len(rest))]).reshape(count, 3, -1).swapaxes(1, 2)
    flat = "scale_1" in names and "scale_2" not in names
    logs = columns(path, rows, [f"scale_{k}" for k in range(2 if flat else 3)])
    with np.errstate(over="ignore"):  # what doesn't fit is refused as not finite
        scale = np.exp(logs).astype(np.float32)
        opacity = 1 / (1 + np.exp(-columns(path, rows, ["opacity"])[:, 0]))
        mean = columns(path, rows, ["x", "y", "z"]).astype(np.float32)
    features = [name for name in names if name.startswith("feature_")]
    return RawSplats(
        mean=mean,
        scale=np.pad(scale, ((0, 0), (0, 1))) if flat else scale,
        rotation=columns(path, rows, [f"rot_{k}" for k in range(4)]).astype(np.float32),
        opacity=opacity.astype(np.float32),
        sh=np.concatenate([dc[:, None], higher], axis=1).astype(np.float32),
        albedo=_floats(path, rows, [f"albedo_{k}" for k in range(3)]) if "albedo_0" in names else None,
        features=_floats(path, rows, [f"feature_{k}" for k in range(len(features))]) if features else None,
        axes=_declared_axes(header),
    )


def write_ply(path: Path, raw: RawSplats, normals: np.ndarray) -> None:
    """Write the standard PLY, little-endian.

    Args:
        path: the file.
        raw: display values in `sh`.
        normals: (n, 3) unit vectors in the file's axes.

    Raises:
        InputError: the file can't be written.
    """
    chance = np.clip(raw.opacity.astype(np.float64), _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    higher = raw.sh[:, 1:].swapaxes(1, 2).reshape(len(raw.mean), -1)
    groups: list[tuple[list[str], np.ndarray]] = [
        (["x", "y", "z"], raw.mean),
        (["nx", "ny", "nz"], normals),
        ([f"f_dc_{k}" for k in range(3)], raw.sh[:, 0]),
        ([f"f_rest_{k}" for k in range(higher.shape[1])], higher),
        (["opacity"], np.log(chance / (1 - chance))[:, None]),
        ([f"scale_{k}" for k in range(3)], np.log(np.maximum(raw.scale.astype(np.float64), _LEAST_SCALE))),
        ([f"rot_{k}" for k in range(4)], raw.rotation),
    ]
    if raw.albedo is not None:
        groups.append(([f"albedo_{k}" for k in range(3)], raw.albedo))
    if raw.features is not None:
        groups.append(([f"feature_{k}" for k in range(raw.features.shape[1])], raw.features))
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {_AXES_COMMENT}{raw.axes}",
        "comment maquette color srgb, albedo linear",
        f"element vertex {len(raw.mean)}",
        *(f"property float {name}" for names, _ in groups for name in names),
        "end_header\n",
    ]
    table = np.concatenate([values.astype("<f4") for _, values in groups], axis=1)
    write_bytes(path, "\n".join(lines).encode("ascii") + table.tobytes())


def _floats(path: Path, rows: np.ndarray, names: list[str]) -> np.ndarray:
    return columns(path, rows, names).astype(np.float32)


def _declared_axes(header: PlyHeader) -> Axes | None:
    for comment in header.comments:
        if comment.startswith(_AXES_COMMENT):
            declared = comment.removeprefix(_AXES_COMMENT)
            axis_signs(declared)
            return declared  # pyright: ignore[reportReturnType]
    return None
