"""A data set's manifest: the spec that its bytes follow from, written before them and held to ever after."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from maquette.errors import InputError
from maquette.io.files import write_bytes

NAME = "manifest.json"
Spec = TypeVar("Spec")


def open_manifest(
    folder: Path, spec: Any, kind: str, read: Callable[[Path], Any], datasheet: Callable[[Any], str]
) -> None:
    """Write manifest and datasheet, or check that the manifest that is there asks for the same data set.

    Args:
        folder: of the data set.
        spec: what the data set is, a dataclass.
        kind: of data set, the verb of `maquette dataset` that makes it.
        read: gives the spec of such a data set on disk.
        datasheet: tells a spec in words.

    Raises:
        InputError: it asks for another one, or the folder can't be written.
    """
    path = folder / NAME
    if path.exists():
        there = read(folder)
        if there != spec:
            raise InputError(
                f"{path}: holds another data set ({differences(there, spec)});"
                " choose an empty folder or the same options"
            )
    else:
        write_bytes(path, (json.dumps({"kind": kind} | asdict(spec), indent=2) + "\n").encode())
    sheet = folder / "datasheet.md"
    if not sheet.exists():
        write_bytes(sheet, datasheet(spec).encode())


def differences(there: Any, asked: Any) -> str:
    """Which fields of two specs differ, in words; of the meshes only that they do."""
    told, others = [], asdict(asked)
    for name, value in asdict(there).items():
        if value != others[name]:
            told.append(
                "its meshes are others or have changed"
                if name == "meshes"
                else f"{name} {value} there, {others[name]} here"
            )
    return ", ".join(told)


def read_manifest(folder: Path, kind: str, title: str, build: Callable[[dict[str, Any]], Spec]) -> Spec:
    """The spec of a data set on disk.

    Args:
        folder: of the data set.
        kind: of data set, the verb of `maquette dataset` that makes it.
        title: of that kind, for whoever reads a message.
        build: makes the spec of the other values; may raise `ValueError`, `TypeError`, `KeyError` or `AttributeError`.

    Raises:
        InputError: the manifest isn't there, or isn't one of this kind.
    """
    path = folder / NAME
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or values.pop("kind", None) != kind:
            raise ValueError("of another kind")
        return build(values)
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there; make the data set with `maquette dataset {kind} -o {folder} --count N`"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise InputError(f"{path}: not a manifest of {title} ({error})") from None


def require_numbers(values: Mapping[str, Any], but: str, types: tuple[type, ...]) -> None:
    """That all values are whole numbers, and the one of a name may be of these types, too; else raise `TypeError`."""
    for name, value in values.items():
        if type(value) is not int and not (name == but and type(value) in types):
            raise TypeError(f"{name} is {value!r}; a number is needed")
