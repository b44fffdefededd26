"""From what stands on the command line to a list of photo files."""

import glob
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.catalogue import ARRAY_SUFFIX, OTHER_PICTURE_SUFFIXES, PHOTO_SUFFIXES
from maquette.errors import InputError

if TYPE_CHECKING:
    from maquette.types import Photo

# What the verbs themselves write is no photo: a folder may be worked on twice, or be its own output.
_OWN_OUTPUT = re.compile(r"\.(normals|confidence|height|sheet|texture|history)\.\w+$")


def is_normal_map(path: Path) -> bool:
    """Whether a file is taken for a normal map without being told: named as the verbs name one, or an NPY file."""
    return path.suffix.lower() == ARRAY_SUFFIX or re.search(r"\.normals\.\w+$", path.name) is not None


def hint_at_normals(photo: "Photo", path: Path, advice: str) -> None:
    """Warn if what was read as a photo looks like a normal map.

    Args:
        photo: as read.
        path: its file.
        advice: what to do then.
    """
    from maquette.methods.mistaken import looks_like_normals

    if looks_like_normals(photo):
        warnings.warn(f"{path}: looks like a normal map, and is taken for a photo; {advice}", stacklevel=2)


def expand(arguments: list[str]) -> list[Path]:
    """Files as they are, the photos in folders (not below them), and the photos that a glob matches.

    A file that doesn't exist stays in the list: the work on it fails, and on the others goes on. Of pictures in a
    folder, or that a glob matches, that are of a kind that isn't read, one line on stderr tells.

    Raises:
        InputError: a folder or glob holds no photo.
    """
    paths: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand_one(argument):
            paths.setdefault(path.resolve(), path)
    return list(paths.values())


def require_distinct_stems(paths: list[Path]) -> None:
    """Raise an InputError if two photos would write the same file."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would both write {path.stem}.normals; rename one, or give each its own -o"
            )


def in_order(paths: list[Path]) -> list[Path]:
    """Photos in alphabetical order put in the order of the numbers in their names; another order kept."""
    if paths != sorted(paths):
        return paths
    return sorted(paths, key=_by_numbers)


def _expand_one(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        return _photos_among(list(path.iterdir()), f"{argument}: no photo in this folder", argument)
    if not path.exists() and glob.has_magic(argument):
        matches = [Path(match) for match in glob.glob(argument, recursive=True)]
        return _photos_among(matches, f"{argument}: matches no photo", argument)
    return [path]


def _photos_among(paths: list[Path], none: str, argument: str) -> list[Path]:
    found, unread = _photos(paths), _unread(paths)
    if not found:
        raise InputError(f"{none} ({', '.join(sorted(PHOTO_SUFFIXES))}){f'; {unread}' if unread else ''}")
    if unread:
        print(f"maquette: {argument}: {unread}", file=sys.stderr)
    return found


def _unread(paths: list[Path]) -> str:
    """How many pictures of which kinds aren't read, and what to do about them; empty if there are none."""
    others = sorted(path for path in paths if path.suffix.lower() in OTHER_PICTURE_SUFFIXES and path.is_file())
    if not others:
        return ""
    kinds = ", ".join(sorted({path.suffix.lower() for path in others}))
    disguised = [path.name for path in others if _is_jpeg(path)]
    hint = f"; {', '.join(disguised)} is JPEG by content: name the file itself" if disguised else ""
    return f"{len(others)} file{'s'[: len(others) > 1]} not read: {kinds}; convert to png or jpg{hint}"


def _is_jpeg(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(3) == b"\xff\xd8\xff"
    except OSError:
        return False


def _photos(paths: list[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and not _OWN_OUTPUT.search(path.name)
    )


def _by_numbers(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
