"""The container PLY: a text header that declares elements, then their rows in binary."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.errors import InputError
from maquette.io.decode import require_file

_LONGEST_HEADER = 65536
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}


@dataclass(frozen=True)
class Element:
    """An element of the header: its name, how many rows it says it has, and what is in a row."""

    name: str
    count: int
    properties: list[tuple[str, str]]


@dataclass(frozen=True)
class PlyHeader:
    """What stands before the data. `length` is its size in bytes."""

    order: str
    elements: list[Element]
    comments: list[str]
    length: int


def read_ply_header(path: Path) -> PlyHeader:
    """The header of a binary PLY.

    Raises:
        InputError: no such file, empty, not a PLY, a text PLY, or a header that can't be understood.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEADER)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not head.startswith(b"ply"):
        raise InputError(f"{path}: is not a PLY file; it must begin with 'ply'")
    end = head.find(b"end_header")
    line_end = head.find(b"\n", end)
    if end < 0 or line_end < 0:
        raise InputError(f"{path}: its header has no end_header; the file is damaged or cut off")
    try:
        lines = head[:end].decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: its header is not plain text; the file is damaged") from error
    return _parsed(path, lines[1:], line_end + 1)


def read_ply_elements(path: Path, header: PlyHeader, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The rows of some elements, as structured arrays; what follows the last of them is not looked at.

    Raises:
        InputError: the file is shorter than its header says.
    """
    size, offset, found = path.stat().st_size, header.length, {}
    wanted = {element.name for element in header.elements} & set(names)
    with path.open("rb") as file:
        for element in header.elements:
            if wanted == set(found):
                break
            if any(kind == "list" for _, kind in element.properties):
                raise InputError(f"{path}: element {element.name} has lists; splat files have numbers only")
            row = np.dtype([(name, header.order + kind) for name, kind in element.properties])
            if element.count * row.itemsize > size - offset:
                raise InputError(
                    f"{path}: says that it holds {element.count} rows of {element.name}, "
                    f"but ends after {(size - offset) // max(row.itemsize, 1)}"
                )
            if element.name in wanted:
                file.seek(offset)
                found[element.name] = np.fromfile(file, dtype=row, count=element.count)
            offset += element.count * row.itemsize
    return found


def columns(path: Path, rows: np.ndarray, names: list[str]) -> np.ndarray:
    """Some properties of every row, as float64, one column each.

    Raises:
        InputError: a property is missing.
    """
    missing = [name for name in names if name not in (rows.dtype.names or ())]
    if missing:
        raise InputError(f"{path}: has no property {missing[0]}; it holds no Gaussian splats")
    table = np.empty((len(rows), len(names)))
    for k, name in enumerate(names):
        table[:, k] = rows[name]
    return table


def _parsed(path: Path, lines: list[str], length: int) -> PlyHeader:
    order, elements, comments = None, [], []
    for line in lines:
        words = line.split()
        match words:
            case []:
                pass
            case ["comment" | "obj_info", *_]:
                comments.append(" ".join(words[1:]))
            case ["format", kind, _]:
                order = _ORDERS.get(kind)
                if order is None:
                    raise InputError(f"{path}: is a PLY of format {kind}; binary ones are read")
            case ["element", name, count] if count.isdecimal() and len(count) < 19:
                elements.append(Element(name, int(count), []))
            case ["property", "list", _, _, name] if elements:
                elements[-1].properties.append((name, "list"))
            case ["property", kind, name] if elements and kind in _TYPES:
                if name in (known for known, _ in elements[-1].properties):
                    raise InputError(f"{path}: its header names the property {name} twice")
                elements[-1].properties.append((name, _TYPES[kind]))
            case _:
                raise InputError(f"{path}: its header has a line that no PLY has: {line[:60]!r}")
    if order is None or not elements:
        raise InputError(f"{path}: its header has no format or no element; the file is damaged")
    return PlyHeader(order, elements, comments, length)
