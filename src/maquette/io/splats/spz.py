"""Niantic's SPZ, versions 2 to 4, read and written.

    head       magic NGSP, version, count, degree, fractional bits, flags; 16 bytes, or 32 in version 4
    positions  three 24-bit fixed-point numbers
    alphas     a byte: opacity * 255
    colors     three bytes: (0.15 c + 0.5) * 255 of the constant harmonic c
    scales     three bytes: (ln s + 10) * 16
    rotations  version 2: x, y, z in a byte each, w > 0; later: 2 bits for which part is largest, 10 for each other
    harmonics  a byte each, 128 + 128 c; the colour runs fastest

Versions 2 and 3 are one gzip stream of all of that, version 4 a table of contents and one Zstandard stream for each.
The axes are right, up, back, unless an extension (0xADBE0003) says otherwise.
"""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import zstandard

from maquette.catalogue import Axes
from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.io.splats.compressed_ply import insert_largest
from maquette.io.splats.raw import RawSplats, read_whole, require_count
from maquette.types import SH_COUNTS

SpzVersion = Literal[2, 3, 4]

_MAGIC = b"NGSP"
_GZIP = b"\x1f\x8b"
_HEAD = struct.Struct("<4sIIBBBB")
_HEAD4_REST = struct.Struct("<I12x")
_TOC_ENTRY = struct.Struct("<QQ")
_RECORD = struct.Struct("<II")
_DEFLATE_LIMIT = 1100  # deflate can't make anything smaller than a 1032nd
_HAS_EXTENSIONS = 2
_AXES_RECORD = 0xADBE0003
_AXES_CODES: dict[int, Axes] = {
    1: "ldb", 2: "rdb", 3: "lub", 4: "rub", 5: "ldf", 6: "rdf", 7: "luf", 8: "ruf",
}  # fmt: skip
_COLOR_SCALE = 0.15
_MOST_FRACTIONAL_BITS = 20


@dataclass(frozen=True)
class _Head:
    version: int
    count: int
    degree: int
    fractional_bits: int
    flags: int

    def sizes(self) -> list[int]:
        """Bytes of each stream; the last, of the harmonics, is 0 at degree 0."""
        rotation = 3 if self.version == 2 else 4
        return [self.count * size for size in (9, 1, 3, 3, rotation, 3 * (SH_COUNTS[self.degree] - 1))]


def read_spz(path: Path) -> RawSplats:
    """Read SPZ 2 to 4, also 2 and 3 that were never gzipped.

    Raises:
        InputError: another version, cut off, damaged, or it says that it holds more than it can.
    """
    content = read_whole(path)
    if content.startswith(_GZIP):
        content = _gunzipped(path, content)
    head = _head(path, content)
    streams, records = _streams4(path, content, head) if head.version == 4 else _slices(path, content, head)
    return _decoded(head, streams, _axes(path, records))


def write_spz(path: Path, raw: RawSplats, version: SpzVersion) -> None:
    """Write SPZ; what lies outside what a byte holds is moved to the nearest that it does.

    Args:
        path: the file.
        raw: display values in `sh`; albedo and features have no place in the format.
        version: 2 and 3 are read most widely; 4 packs with Zstandard.

    Raises:
        InputError: a position is too large, or the file can't be written.
    """
    largest = float(np.abs(raw.mean).max())
    bits = int(np.clip(np.floor(np.log2((2**23 - 1) / max(largest, 1e-9))), -1, _MOST_FRACTIONAL_BITS))
    if bits < 0:
        raise InputError(f"cannot write {path}: a mean lies {largest:g} away; SPZ holds 24 bits; scale the scene down")
    record = b""
    if raw.axes != "rub":
        code = next(code for code, axes in _AXES_CODES.items() if axes == raw.axes)
        record = _RECORD.pack(_AXES_RECORD, 4) + struct.pack("<I", code)
    streams = _encoded(raw, bits, version)
    degree = SH_COUNTS.index(raw.sh.shape[1])
    flags = _HAS_EXTENSIONS if record else 0
    if version == 4:
        packed = [(zstandard.ZstdCompressor(level=12).compress(stream), len(stream)) for stream in streams if stream]
        head = _HEAD.pack(_MAGIC, 4, len(raw.mean), degree, bits, flags, len(packed))
        head += _HEAD4_REST.pack(_HEAD.size + _HEAD4_REST.size + len(record)) + record
        head += b"".join(_TOC_ENTRY.pack(len(small), size) for small, size in packed)
        write_bytes(path, head + b"".join(small for small, _ in packed))
    else:
        head = _HEAD.pack(_MAGIC, version, len(raw.mean), degree, bits, flags, 0)
        write_bytes(path, gzip.compress(head + b"".join(streams) + record, mtime=0))


def _head(path: Path, content: bytes) -> _Head:
    if len(content) < _HEAD.size or not content.startswith(_MAGIC):
        raise InputError(f"{path}: is not an SPZ file; it must hold 'NGSP', gzipped or plain")
    _, version, count, degree, bits, flags, _ = _HEAD.unpack_from(content)
    if version not in (2, 3, 4):
        raise InputError(f"{path}: is SPZ version {version}; versions 2, 3 and 4 are read")
    require_count(path, count)
    if degree >= len(SH_COUNTS) or bits > 23:
        raise InputError(f"{path}: says degree {degree} and {bits} fractional bits; at most 4 and 23 are right")
    return _Head(version, count, degree, bits, flags)


def _gunzipped(path: Path, content: bytes) -> bytes:
    """The whole stream, but no more than its own header says, so that a small file can't fill the memory."""
    stream = zlib.decompressobj(wbits=31)
    try:
        start = stream.decompress(content, _HEAD.size)
        head = _head(path, start)
        if head.version == 4:
            raise InputError(f"{path}: is SPZ version 4 inside gzip; version 4 has no gzip")
        size = sum(head.sizes())
        if size > _DEFLATE_LIMIT * len(content):
            raise _cut_off(path, head)
        body = stream.decompress(stream.unconsumed_tail, size + 65536)  # extensions may follow
    except zlib.error as error:
        raise InputError(f"{path}: its gzip stream is damaged") from error
    if _HEAD.size + size > len(start) + len(body):
        raise _cut_off(path, head)
    if not stream.eof:
        raise InputError(f"{path}: its gzip stream is cut off, or holds more than the {head.count} splats it speaks of")
    return start + body


def _slices(path: Path, content: bytes, head: _Head) -> tuple[list[bytes], bytes]:
    streams, at = [], _HEAD.size
    for size in head.sizes():
        streams.append(content[at : at + size])
        at += size
    if at > len(content):
        raise _cut_off(path, head)
    return streams, content[at:] if head.flags & _HAS_EXTENSIONS else b""


def _streams4(path: Path, content: bytes, head: _Head) -> tuple[list[bytes], bytes]:
    start = _HEAD.size + _HEAD4_REST.size
    if len(content) < start:
        raise _cut_off(path, head)
    stream_count = content[_HEAD.size - 1]
    (toc,) = _HEAD4_REST.unpack_from(content, _HEAD.size)
    sizes = [size for size in head.sizes() if size]
    at = toc + stream_count * _TOC_ENTRY.size
    if stream_count < len(sizes) or toc < start or at > len(content):
        raise InputError(f"{path}: its table of contents is damaged or cut off")
    streams = []
    for k, size in enumerate(sizes):
        packed, said = _TOC_ENTRY.unpack_from(content, toc + k * _TOC_ENTRY.size)
        if said != size or at + packed > len(content):
            raise _cut_off(path, head)
        streams.append(_unpacked4(path, content[at : at + packed], size))
        at += packed
    records = content[start:toc] if head.flags & _HAS_EXTENSIONS else b""
    return streams + [b""] * (6 - len(streams)), records


def _unpacked4(path: Path, packed: bytes, size: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)) as reader:
            stream = reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise InputError(f"{path}: one of its Zstandard streams is damaged") from error
    if len(stream) != size:
        raise InputError(f"{path}: one of its streams is not as long as its header says; the file is damaged")
    return stream


def _cut_off(path: Path, head: _Head) -> InputError:
    return InputError(f"{path}: says that it holds {head.count} splats of degree {head.degree}, but is cut off")


def _axes(path: Path, records: bytes) -> Axes:
    """The axes that an extension names; other extensions are passed over."""
    at = 0
    while at + _RECORD.size <= len(records):
        kind, length = _RECORD.unpack_from(records, at)
        at += _RECORD.size
        if kind == _AXES_RECORD and length == 4 and at + 4 <= len(records):
            (code,) = struct.unpack_from("<I", records, at)
            if code not in (0, *_AXES_CODES):
                raise InputError(f"{path}: has its y and z axes swapped (coordinate system {code}); 1 to 8 are read")
            return _AXES_CODES.get(code, "rub")
        at += length
    return "rub"


def _decoded(head: _Head, streams: list[bytes], axes: Axes) -> RawSplats:
    position, alpha, color, scale, rotation, higher = (np.frombuffer(stream, dtype=np.uint8) for stream in streams)
    low, middle, high = position.reshape(-1, 3, 3).astype(np.int32).transpose(2, 0, 1)
    fixed = low | (middle << 8) | (high.astype(np.int8).astype(np.int32) << 16)
    dc = (color.reshape(-1, 1, 3) / 255 - 0.5) / _COLOR_SCALE
    rest = (higher.reshape(head.count, -1, 3) - 128.0) / 128
    return RawSplats(
        mean=(fixed / 2.0**head.fractional_bits).astype(np.float32),
        scale=np.exp(scale.reshape(-1, 3) / 16 - 10).astype(np.float32),
        rotation=(_first_three(rotation) if head.version == 2 else _smallest_three(rotation)).astype(np.float32),
        opacity=(alpha / 255).astype(np.float32),
        sh=np.concatenate([dc, rest], axis=1).astype(np.float32),
        axes=axes,
    )


def _first_three(codes: np.ndarray) -> np.ndarray:
    vector = codes.reshape(-1, 3) / 127.5 - 1
    w = np.sqrt(np.clip(1 - (vector**2).sum(-1), 0, None))
    return np.concatenate([w[:, None], vector], axis=-1)


def _smallest_three(codes: np.ndarray) -> np.ndarray:
    """From the top bit down: the index of the largest of (x, y, z, w), then sign and size of the other three."""
    words = codes.reshape(-1, 4).copy().view("<u4")[:, 0]
    shifts = np.array([20, 10, 0], dtype=np.uint32)
    fields = words[:, None] >> shifts
    sizes = (fields & 511) / 511 * np.sqrt(0.5)
    others = np.where(fields & 512, -sizes, sizes)
    return np.roll(insert_largest(others, (words >> 30).astype(np.int64)), 1, axis=-1)


def _encoded(raw: RawSplats, bits: int, version: SpzVersion) -> list[bytes]:
    fixed = np.rint(raw.mean.astype(np.float64) * 2.0**bits).astype("<i4")
    position = fixed[..., None].view(np.uint8)[..., :3]
    logs = np.log(np.maximum(raw.scale.astype(np.float64), 1e-30))
    xyzw = np.roll(raw.rotation.astype(np.float64), -1, axis=-1)
    streams = [
        position,
        _bytes(raw.opacity.astype(np.float64) * 255),
        _bytes((raw.sh[:, 0] * _COLOR_SCALE + 0.5) * 255),
        _bytes((logs + 10) * 16),
        _pack_first_three(xyzw) if version == 2 else _pack_smallest_three(xyzw),
        _bytes(raw.sh[:, 1:] * 128 + 128),
    ]
    return [np.ascontiguousarray(stream).tobytes() for stream in streams]


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _pack_first_three(xyzw: np.ndarray) -> np.ndarray:
    return _bytes((xyzw[:, :3] * np.where(xyzw[:, 3:] < 0, -1, 1) + 1) * 127.5)


def _pack_smallest_three(xyzw: np.ndarray) -> np.ndarray:
    largest = np.abs(xyzw).argmax(-1)
    rows = np.arange(len(xyzw))
    xyzw = xyzw * np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    others = xyzw[rows[:, None], np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]]
    sizes = np.minimum(np.rint(np.abs(others) * np.sqrt(2) * 511), 511).astype(np.uint32)
    fields = sizes | np.where(others < 0, np.uint32(512), np.uint32(0))
    words = (largest.astype(np.uint32) << 30) | (fields[:, 0] << 20) | (fields[:, 1] << 10) | fields[:, 2]
    return words.astype("<u4").view(np.uint8)
