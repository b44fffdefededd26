"""What every codec reads into and writes from: activated values in NumPy, still in the axes of the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from maquette.catalogue import AXES, Axes
from maquette.errors import InputError
from maquette.geometry.rotation import flip_rotation
from maquette.geometry.sh import flip_signs, sh_degree
from maquette.io.decode import require_file
from maquette.types import Gaussians

MAX_SPLATS = 20_000_000
_TINY_QUATERNION = 1e-6

_POSITIVE = "rub"


@dataclass(frozen=True)
class RawSplats:
    """As `maquette.types.Gaussians`, but float32 arrays in the file's axes, nothing checked yet.

    `axes` is what the file itself says, if it does.
    """

    mean: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    opacity: np.ndarray
    sh: np.ndarray
    albedo: np.ndarray | None = None
    features: np.ndarray | None = None
    encoding: Literal["linear", "srgb"] = "srgb"
    axes: Axes | None = None


def axis_signs(axes: str) -> tuple[int, int, int]:
    """+1 or -1 for each axis: whether it points as maquette's does.

    Raises:
        InputError: no such axes.
    """
    if axes not in AXES:
        raise InputError(f"axes {axes!r}: not known; give one of {', '.join(AXES)}")
    x, y, z = (1 if letter == own else -1 for letter, own in zip(axes, _POSITIVE, strict=True))
    return x, y, z


def read_whole(path: Path) -> bytes:
    """All of a file.

    Raises:
        InputError: no such file, empty, or it can't be read.
    """
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def require_count(path: Path, count: int) -> None:
    """Raise an InputError unless a file holds a number of splats that maquette takes."""
    if not 1 <= count <= MAX_SPLATS:
        raise InputError(f"{path}: says that it holds {count} splats; 1 to {MAX_SPLATS} are read")


def to_gaussians(path: Path, raw: RawSplats, axes: str) -> Gaussians:
    """Check what was read, and turn it from the file's axes to maquette's.

    Raises:
        InputError: a value isn't finite, a scale is negative, an opacity outside 0 to 1, or a quaternion zero.
    """
    _check(path, raw)
    signs = axis_signs(axes)
    flip = torch.tensor(signs, dtype=torch.float32)
    sh_flips = torch.tensor(flip_signs(sh_degree(raw.sh.shape[1]), signs), dtype=torch.float32)
    rotation = torch.from_numpy(raw.rotation)
    return Gaussians(
        mean=torch.from_numpy(raw.mean) * flip,
        scale=torch.from_numpy(raw.scale),
        rotation=flip_rotation(rotation, flip),
        opacity=torch.from_numpy(raw.opacity),
        sh=torch.from_numpy(raw.sh) * sh_flips[:, None],
        albedo=None if raw.albedo is None else torch.from_numpy(raw.albedo),
        features=None if raw.features is None else torch.from_numpy(raw.features),
        encoding=raw.encoding,
    )


def from_gaussians(path: Path, gaussians: Gaussians, axes: Axes) -> RawSplats:
    """Gaussians in the axes of a file, as float32, with unit quaternions.

    Raises:
        InputError: there are none or too many, or one is such as `to_gaussians` refuses.
    """
    signs = axis_signs(axes)
    if not 1 <= len(gaussians) <= MAX_SPLATS:
        raise InputError(f"cannot write {path}: {len(gaussians)} Gaussians; a splat file holds 1 to {MAX_SPLATS}")
    flip = torch.tensor(signs, dtype=torch.float64)
    sh_flips = torch.tensor(flip_signs(sh_degree(gaussians.sh.shape[1]), signs), dtype=torch.float64)
    rotation = flip_rotation(gaussians.rotation.detach().cpu().double(), flip)
    raw = RawSplats(
        mean=_array(gaussians.mean.detach().cpu().double() * flip),
        scale=_array(gaussians.scale),
        rotation=_array(rotation / rotation.norm(dim=-1, keepdim=True)),
        opacity=_array(gaussians.opacity),
        sh=_array(gaussians.sh.detach().cpu().double() * sh_flips[:, None]),
        albedo=None if gaussians.albedo is None else _array(gaussians.albedo),
        features=None if gaussians.features is None else _array(gaussians.features),
        encoding=gaussians.encoding,
        axes=axes,
    )
    _check(Path(f"cannot write {path}"), raw)
    return raw


def _array(values: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())


def _check(path: Path, raw: RawSplats) -> None:
    for name in ("mean", "scale", "rotation", "opacity", "sh", "albedo", "features"):
        values = getattr(raw, name)
        if values is not None:
            _refuse(path, ~np.isfinite(values), f"a value in {name} that is not finite")
    _refuse(path, raw.scale < 0, "a negative scale; scales are lengths")
    _refuse(path, (raw.opacity < 0) | (raw.opacity > 1), "an opacity outside 0 to 1")
    _refuse(
        path,
        np.linalg.norm(raw.rotation.astype(np.float64), axis=-1) < _TINY_QUATERNION,
        "a zero quaternion; that turns nothing",
    )


def _refuse(path: Path, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise InputError(f"{path}: splat {int(np.argwhere(bad)[0][0])} has {what}")
