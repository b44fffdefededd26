"""The meshes that join a data set's procedural objects: which files they are, known by their content."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import InputError
from maquette.io.meshes import companions

SUFFIXES = (".glb", ".obj", ".ply")  # whose companions are known


@dataclass(frozen=True)
class MeshFile:
    """A mesh of the data set: its path below the folder of meshes, with slashes, and the digest of its content.

    The digest is of the file and, after it, of those that its colours come from (an OBJ's materials and pictures).
    """

    name: str
    sha256: str


def find_meshes(folder: Path) -> tuple[MeshFile, ...]:
    """The meshes in a folder and those below it, by name.

    Raises:
        InputError: there is none, or one can't be read.
    """
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not paths:
            raise InputError(f"--meshes {folder}: holds no {', '.join(SUFFIXES)}; give a folder of meshes")
        return tuple(MeshFile(path.relative_to(folder).as_posix(), _digest(path)) for path in paths)
    except OSError as error:
        raise InputError(f"--meshes {folder}: cannot be read: {error.strerror}") from error


def listed_meshes(rows: Iterable[Mapping[str, Any]]) -> tuple[MeshFile, ...]:
    """The meshes as a manifest lists them; a row that is none raises `KeyError` or `TypeError`."""
    return tuple(MeshFile(str(mesh["name"]), str(mesh["sha256"])) for mesh in rows)


def mesh_section(meshes: Iterable[MeshFile]) -> str:
    """The end of a datasheet, which names the meshes; empty if there is none."""
    rows = "".join(f"- `{mesh.name}`, sha256 {mesh.sha256}\n" for mesh in meshes)
    return f"\n## Meshes\n\n{rows}" if rows else ""


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for part in (path, *companions(path)):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
