"""The `.ksplat` of GaussianSplats3D, version 0.1, read, at its three levels of compression.

    head       4096 bytes: version, how many sections, how many splats, the level, the bounds of 8-bit harmonics
    sections   1024 bytes each: how many splats and buckets, how large a bucket is, the degree of the harmonics
    data       of each section: the lengths of its partly filled buckets, the buckets' centres, then the splats

A splat is its centre, scale, rotation (w x y z), a byte each of red, green, blue and opacity, and its higher harmonics,
degree by degree and in each degree colour by colour. Level 0 has float32 throughout. Levels 1 and 2 have 16-bit centres
relative to their bucket's and half floats; the harmonics of level 2 are a byte each. The first buckets are full, of the
size that the section says; the others follow with lengths of their own.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.splats.raw import RawSplats, read_whole, require_count

_HEAD_BYTES, _SECTION_BYTES, _CENTER_BYTES = 4096, 1024, 12
_HEAD = struct.Struct("<BBxx4IH14x2f")
_SECTION = struct.Struct("<4IfH2x4IH")
_MOST_DEGREE = 2
_HARMONICS = [0, 9, 24]
_DEFAULT_RANGE = 32767  # of 16-bit centres, where the file says 0
_DEFAULT_BOUND = 1.5  # of 8-bit harmonics, where the file says 0
_NUMBERS = [("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1")]  # centre; scale, rotation; harmonics


@dataclass(frozen=True)
class _Head:
    sections: int
    count: int
    level: int
    sh_low: float
    sh_high: float


@dataclass(frozen=True)
class _Section:
    """As in the file; `room` is how many splats there is space for, `start` where the section's data begin."""

    start: int
    count: int
    room: int
    bucket_size: int
    buckets: int
    block_size: float
    center_bytes: int
    center_range: int
    stored_bytes: int
    full: int
    partial: int
    degree: int

    def row(self, level: int) -> np.dtype:
        center, shape, harmonic = _NUMBERS[level]
        names = [("mean", center, 3), ("scale", shape, 3), ("rotation", shape, 4), ("color", "u1", 4)]
        return np.dtype([*names, ("sh", harmonic, (_HARMONICS[self.degree],))])

    def has_centers(self) -> bool:
        return self.center_bytes == _CENTER_BYTES and self.full + self.partial <= self.buckets

    def data_start(self) -> int:
        return self.start + 4 * self.partial + self.center_bytes * self.buckets

    def end(self, level: int) -> int:
        return self.data_start() + self.row(level).itemsize * self.room


def read_ksplat(path: Path) -> RawSplats:
    """Read a `.ksplat`.

    Raises:
        InputError: another version or level, cut off, or its counts contradict each other.
    """
    content = read_whole(path)
    head = _head(path, content)
    sections = _sections(path, content, head)
    degree = max(section.degree for section in sections)
    parts = [_decoded(path, content, head, section, degree) for section in sections]
    return RawSplats(
        mean=np.concatenate([part.mean for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        rotation=np.concatenate([part.rotation for part in parts]),
        opacity=np.concatenate([part.opacity for part in parts]),
        sh=np.concatenate([part.sh for part in parts]),
    )


def _head(path: Path, content: bytes) -> _Head:
    if len(content) < _HEAD_BYTES:
        raise InputError(f"{path}: has {len(content)} bytes; the head of a .ksplat alone has {_HEAD_BYTES}")
    major, minor, room, _, _, count, level, low, high = _HEAD.unpack_from(content)
    if major != 0 or minor < 1:
        raise InputError(f"{path}: is .ksplat version {major}.{minor}; version 0.1 is read")
    if level >= len(_NUMBERS):
        raise InputError(f"{path}: is compressed at level {level}; levels 0, 1 and 2 are read")
    require_count(path, count)
    if not 1 <= room <= (len(content) - _HEAD_BYTES) // _SECTION_BYTES:
        raise InputError(f"{path}: says that it holds {room} sections, but has {len(content)} bytes")
    return _Head(room, count, level, low or -_DEFAULT_BOUND, high or _DEFAULT_BOUND)


def _sections(path: Path, content: bytes, head: _Head) -> list[_Section]:
    """The sections that hold splats, each seen to lie within the file."""
    sections, start = [], _HEAD_BYTES + head.sections * _SECTION_BYTES
    for k in range(head.sections):
        numbers = _SECTION.unpack_from(content, _HEAD_BYTES + k * _SECTION_BYTES)
        section = _Section(start, *numbers)
        if section.degree > _MOST_DEGREE:
            raise InputError(f"{path}: section {k} has harmonics of degree {section.degree}; a .ksplat has at most 2")
        if section.end(head.level) > len(content):
            raise InputError(f"{path}: says that section {k} holds {section.room} splats, but is cut off")
        if section.count > section.room or (head.level and not section.has_centers()):
            raise InputError(f"{path}: section {k} has counts that contradict each other; the file is damaged")
        start = section.end(head.level)
        if section.count:
            sections.append(section)
    found = sum(section.count for section in sections)
    if found != head.count:
        raise InputError(f"{path}: says that it holds {head.count} splats, but its sections hold {found}")
    return sections


def _decoded(path: Path, content: bytes, head: _Head, section: _Section, degree: int) -> RawSplats:
    rows = np.frombuffer(content, section.row(head.level), section.count, section.data_start())
    color = rows["color"].astype(np.float64) / 255
    sh = np.zeros((section.count, (degree + 1) ** 2, 3))
    sh[:, 0] = (color[:, :3] - 0.5) / DC
    with np.errstate(over="ignore", invalid="ignore"):  # hostile numbers are refused as not finite
        higher = rows["sh"].astype(np.float64)
        if head.level == 2:
            higher = head.sh_low + higher / 255 * (head.sh_high - head.sh_low)
        mean = rows["mean"].astype(np.float64)
        if head.level:
            reach = section.center_range or _DEFAULT_RANGE
            mean = (mean - reach) * (section.block_size / 2 / reach)
            mean += _centers(path, content, section)
    for l in range(1, section.degree + 1):
        band = higher[:, 3 * (l * l - 1) : 3 * ((l + 1) ** 2 - 1)]
        sh[:, l * l : (l + 1) ** 2] = band.reshape(-1, 3, 2 * l + 1).swapaxes(1, 2)
    with np.errstate(over="ignore"):
        return RawSplats(
            mean=mean.astype(np.float32),
            scale=rows["scale"].astype(np.float32),
            rotation=rows["rotation"].astype(np.float32),
            opacity=color[:, 3].astype(np.float32),
            sh=sh.astype(np.float32),
        )


def _centers(path: Path, content: bytes, section: _Section) -> np.ndarray:
    """The centre of each splat's bucket."""
    lengths = np.frombuffer(content, "<u4", section.partial, section.start).astype(np.int64)
    ends = np.cumsum(np.concatenate([np.full(section.full, section.bucket_size, np.int64), lengths]))
    if not len(ends) or ends[-1] < section.count:
        raise InputError(f"{path}: its buckets hold fewer splats than it says; the file is damaged")
    centers = np.frombuffer(content, "<f4", 3 * section.buckets, section.start + 4 * section.partial).reshape(-1, 3)
    return centers[np.searchsorted(ends, np.arange(section.count), side="right")].astype(np.float64)
