"""From what stands on the command line to a list of photo files."""

import glob
import re
from pathlib import Path

from maquette.errors import InputError

PHOTO_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr"}
SPLAT_SUFFIXES = (".ply", ".splat", ".ksplat", ".spz", ".sog")
# What the verbs themselves write is no photo: a folder may be worked on twice, or be its own output.
_OWN_OUTPUT = re.compile(r"\.(normals|confidence|height|sheet|texture|history)\.\w+$")


def is_normal_map(path: Path) -> bool:
    """Whether a file is taken for a normal map without being told: named as the verbs name one, or an NPY file."""
    return path.suffix.lower() == ".npy" or re.search(r"\.normals\.\w+$", path.name) is not None


def expand(arguments: list[str]) -> list[Path]:
    """Files as they are, the photos in folders (not below them), and the photos that a glob matches.

    A file that doesn't exist stays in the list: the work on it fails, and on the others goes on.

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
        found = _photos(list(path.iterdir()))
        if not found:
            raise InputError(f"{argument}: no photo in this folder ({', '.join(sorted(PHOTO_SUFFIXES))})")
        return found
    if not path.exists() and glob.has_magic(argument):
        found = _photos([Path(match) for match in glob.glob(argument, recursive=True)])
        if not found:
            raise InputError(f"{argument}: matches no photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
        return found
    return [path]


def _photos(paths: list[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and not _OWN_OUTPUT.search(path.name)
    )


def _by_numbers(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
