"""Files of lights: a direction a row, with or without intensities, in any of the conventions of normal maps.

    x y z               from the surface to the light; any length but zero
    x y z r g b         with the light's intensity in red, green and blue
    name x y z          with the photo's name before either: the rows' order doesn't matter (as in RTI's .lp)

Commas or blanks separate, # begins a comment, and a first row may hold the number of rows alone (as the .lp
files and the lights of the University of Washington's photos do). Beside a file without names, a `filenames.txt`
of as many rows names its rows, and beside a `light_directions.txt`, a `light_intensities.txt` holds its intensities:
DiLiGenT's folders are read as they are.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.frames import CameraFrame, camera_frame, inverse
from maquette.io.decode import require_file
from maquette.types import Lights

_MOST_BYTES = 10_000_000
_NAMES_FILE = "filenames.txt"
_DIRECTIONS_FILE, _INTENSITIES_FILE = "light_directions.txt", "light_intensities.txt"

Row = tuple[int, str | None, list[float]]  # line in the file, the photo's name, the numbers


def read_lights(
    path: Path, photos: list[Path], convention: CameraFrame = "opengl", intensities: Path | None = None
) -> Lights:
    """The lights of the photos; see the module's page for what the file may hold.

    Args:
        path: the file.
        photos: their names find the rows, where the file names any; else their order does.
        convention: the frame of the file; only there is x right, y up, z towards the viewer not certain.
        intensities: a file with one number or three a row, in the rows' order of `path`; goes before what
            `path` or its neighbour hold.

    Raises:
        InputError: a file can't be read or holds something else, there are more or fewer lights than photos
            or none for one of them, a direction is zero, an intensity isn't above zero, or a light doesn't
            stand before the surface (z > 0 in the frame of memory).
    """
    rows = _rows(path)
    named = all(name is not None for _, name, _ in rows)
    if not named:
        rows, named = _with_names_beside(path, rows)
    _require_columns(path, rows, (3, 6))
    strengths = _intensities(path, rows, intensities)
    order = _by_name(path, rows, photos) if named else _by_order(path, rows, photos)
    into_memory = torch.tensor(inverse(camera_frame(convention).matrix), dtype=torch.float64)
    directions = torch.tensor([rows[at][2][:3] for at in order], dtype=torch.float64) @ into_memory.T
    for at, direction in zip(order, directions, strict=True):
        _require_direction(path, rows[at], direction, convention)
    directions = directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    return Lights(directions.float(), strengths[order], str(path), named)


def _rows(path: Path) -> list[Row]:
    """The rows that hold something; a leading count is checked and dropped."""
    require_file(path)
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: has {path.stat().st_size} bytes; a text file of lights is smaller")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no text file; rows of x y z are needed") from error
    rows = []
    for line, content in enumerate(text.splitlines(), start=1):
        words = content.split("#")[0].replace(",", " ").split()
        if words:
            rows.append(_row(path, line, words))
    if rows and rows[0][1] is None and len(rows[0][2]) == 1 and any(len(row[2]) > 1 for row in rows[1:]):
        claimed = rows.pop(0)[2][0]
        if claimed != len(rows):
            raise InputError(f"{path}: its first row announces {claimed:g} rows, {len(rows)} follow")
    if not rows:
        raise InputError(f"{path}: holds no rows; rows of x y z are needed")
    return rows


def _row(path: Path, line: int, words: list[str]) -> Row:
    name = None
    if _number(words[0]) is None and len(words) > 1:
        name, words = words[0], words[1:]
    numbers = [_number(word) for word in words]
    values = [number for number in numbers if number is not None]
    if len(values) < len(numbers):
        wrong = words[numbers.index(None)]
        raise InputError(f"{path}: line {line}: {wrong!r} is no number; rows of x y z are needed")
    if not all(abs(value) < float("inf") for value in values):  # NaN compares false
        raise InputError(f"{path}: line {line}: holds NaN or infinity; finite numbers are needed")
    return line, name, values


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _require_columns(path: Path, rows: list[Row], allowed: tuple[int, int]) -> None:
    columns = len(rows[0][2])
    few, many = allowed
    for line, _, values in rows:
        if len(values) not in allowed or len(values) != columns:
            raise InputError(
                f"{path}: line {line}: holds {len(values)} numbers; {few} or {many} are needed, as many in every row"
            )


def _with_names_beside(path: Path, rows: list[Row]) -> tuple[list[Row], bool]:
    if any(name is not None for _, name, _ in rows):
        line = next(line for line, name, _ in rows if name is None)
        raise InputError(f"{path}: line {line}: names no photo, others do; name all or none")
    beside = path.with_name(_NAMES_FILE)
    if not beside.is_file():
        return rows, False
    names = beside.read_text(errors="replace").split()
    if len(names) != len(rows):
        return rows, False
    return [(line, name, values) for (line, _, values), name in zip(rows, names, strict=True)], True


def _by_name(path: Path, rows: list[Row], photos: list[Path]) -> list[int]:
    """The row of each photo: that of its file name, or of its stem if the file has no suffixes."""
    places: dict[str, int] = {}
    for place, (line, name, _) in enumerate(rows):
        key = Path((name or "").replace("\\", "/")).name
        if places.setdefault(key, place) != place:
            raise InputError(f"{path}: line {line}: names {key} a second time")
    order = []
    for photo in photos:
        place = places.get(photo.name, places.get(photo.stem))
        if place is None:
            raise InputError(f"{path}: holds no light for {photo.name} (its {len(rows)} rows have names)")
        order.append(place)
    return order


def _by_order(path: Path, rows: list[Row], photos: list[Path]) -> list[int]:
    if len(rows) != len(photos):
        raise InputError(f"{path}: holds {len(rows)} lights for {len(photos)} photos; there must be one for each")
    return list(range(len(rows)))


def _intensities(path: Path, rows: list[Row], file: Path | None) -> Float[Tensor, "rows 3"]:
    beside = path.with_name(_INTENSITIES_FILE)
    if file is None and len(rows[0][2]) == 6:
        source, values = path, [(line, numbers[3:]) for line, _, numbers in rows]
    elif file is None and not (path.name == _DIRECTIONS_FILE and beside.is_file()):
        return torch.ones(len(rows), 3)
    else:
        source = file or beside
        given = _rows(source)
        _require_columns(source, given, (1, 3))
        if len(given) != len(rows):
            raise InputError(f"{source}: holds {len(given)} intensities for the {len(rows)} lights of {path}")
        values = [(line, numbers if len(numbers) == 3 else numbers * 3) for line, _, numbers in given]
    for line, numbers in values:
        if min(numbers) <= 0:
            raise InputError(f"{source}: line {line}: an intensity of {min(numbers):g}; it must be above 0")
    return torch.tensor([numbers for _, numbers in values])


def _require_direction(path: Path, row: Row, direction: Float[Tensor, "3"], convention: CameraFrame) -> None:
    line, _, values = row
    shown = " ".join(f"{value:g}" for value in values[:3])
    if not bool((direction != 0).any()):
        raise InputError(f"{path}: line {line}: the light ({shown}) has no direction; a vector of any length is needed")
    if direction[2] <= 0:
        raise InputError(
            f"{path}: line {line}: the light ({shown}) stands behind the surface: in the frame {convention} its z must"
            f" be {_sign_towards_viewer(convention)} 0; is the file in another frame?"
        )


def _sign_towards_viewer(convention: CameraFrame) -> str:
    return "above" if camera_frame(convention).matrix[2][2] > 0 else "below"
