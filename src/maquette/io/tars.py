"""Tars as shards of a data set: the same files give the same bytes, and a part is read without the rest.

The layout is WebDataset's: plain files in one flat ustar archive, those of a sample beside each other, a sample's
key being what stands before the first dot of their names.
"""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from maquette.errors import InputError

_BLOCK = 512
_PLAIN = (b"0", b"\0")  # kinds of members: files


class Member(NamedTuple):
    """Where a file lies in a tar: its content is `size` bytes from `start` on."""

    name: str
    start: int
    size: int


def pack_tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """An archive of files in the order given, without a time, an owner or anything else that isn't theirs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)  # time 0, user and group 0 without names, mode 0644
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def list_tar(path: Path) -> list[Member]:
    """What a tar of `pack_tar` holds, read from its headers alone.

    Raises:
        InputError: it can't be read, is cut off, holds anything but plain files, or a header doesn't fit its checksum.
    """
    members: list[Member] = []
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            while True:
                header = file.read(_BLOCK)
                if len(header) < _BLOCK:
                    raise InputError(f"{path}: damaged (cut off after {len(members)} files)")
                if header == bytes(_BLOCK):
                    break
                members.append(_member(path, header, file.tell()))
                start, size = members[-1].start, members[-1].size
                file.seek(start + -(-size // _BLOCK) * _BLOCK)
            end = file.tell() + _BLOCK  # two empty blocks end a tar
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if length != -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE:
        raise InputError(f"{path}: damaged ({length} bytes; its headers say {end} and padding)")
    return members


def _member(path: Path, header: bytes, start: int) -> Member:
    try:
        claimed, size = int(header[148:156].rstrip(b" \0"), 8), int(header[124:136].rstrip(b" \0"), 8)
        name = header[:100].rstrip(b"\0").decode()
    except ValueError:
        raise InputError(f"{path}: damaged (no tar header at byte {start - _BLOCK})") from None
    if claimed != sum(header) - sum(header[148:156]) + 8 * 32 or header[156:157] not in _PLAIN:
        raise InputError(f"{path}: damaged (no header of a plain file at byte {start - _BLOCK})")
    return Member(name, start, size)
