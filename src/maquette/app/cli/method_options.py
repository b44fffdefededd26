"""The options of each method, as `maquette.catalogue` lists them: the same for every verb with `--method`.

A setting that several methods have is one option. What a method can write beside the normals is in its own module
(`Method.extras`), which the verb `normals` alone asks.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from maquette.app.method_names import read_method
from maquette.catalogue import METHODS, NORMAL_MAP_SUFFIXES, NORMALS_METHODS, Method, Range, Setting
from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES

if TYPE_CHECKING:
    from rich.progress import Progress

    from maquette.types import NormalMap, Photo


@runtime_checkable
class Extras(Protocol):
    """A module of what one method writes beside its normals."""

    OUTPUTS: tuple[str, ...]  # its options, as attributes

    def add_outputs(self, parser: argparse._ArgumentGroup) -> None:
        """Add the options of `OUTPUTS`."""
        ...

    def check(self, options: argparse.Namespace, photos: list[Path]) -> None:
        """Raise an InputError for outputs that don't fit the number of photos."""
        ...

    def require_fitting(self, method: Any, options: argparse.Namespace) -> None:
        """Raise an InputError for outputs that the method, now that it is loaded, can't give."""
        ...

    def run(
        self, method: Any, photo: "Photo", stem: str, options: argparse.Namespace, progress: "Progress"
    ) -> "tuple[NormalMap, dict[str, Any]]":
        """Predict, and write what was asked for; the map, and what `--json` adds."""
        ...


def add_settings(parser: argparse.ArgumentParser, methods: Iterable[str] = NORMALS_METHODS) -> dict[str, Any]:
    """Add the settings of methods, a group each; returns the groups by the methods' names."""
    groups, known = {}, set()
    for name in methods:
        method = METHODS[name]
        if not method.settings and not method.extras:
            continue
        groups[name] = parser.add_argument_group(f"--method {name}: {method.about}")
        for setting in method.settings:
            if setting.name not in known:
                known.add(setting.name)
                _add(groups[name], setting, method)
    return groups


def settings_of(options: argparse.Namespace, method: str) -> dict[str, Any]:
    """What was asked of a method, by the names of its settings."""
    given = {setting.name: getattr(options, setting.attribute, None) for setting in _settings(method)}
    return {name: value for name, value in given.items() if value is not None}


def check_settings(
    options: argparse.Namespace,
    methods: list[str],
    photos: int,
    known: Iterable[str] = NORMALS_METHODS,
    outputs: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Raise an InputError for options of other methods, or that don't fit each other or the number of photos.

    Args:
        options: of a parser with `add_settings`.
        methods: that were asked for.
        photos: how many each of them is to work on.
        known: whose settings the parser has.
        outputs: options of what a method writes beside the normals, if the parser has them.
    """
    allowed = {setting.name for method in methods for setting in _settings(method)}
    for name in known:
        names = [setting.name for setting in METHODS[name].settings if setting.name not in allowed]
        names += (outputs or {}).get(name, ()) if name not in methods else ()
        given = [f"--{each}" for each in names if getattr(options, each.replace("-", "_"), None) is not None]
        if given:
            raise InputError(f"{', '.join(given)}: belongs to --method {name}; the method here is {', '.join(methods)}")
    for method in methods:
        _check_start(options, method, photos)


def is_map(start: object) -> bool:
    """Whether a setting of the kind `normals` names a file, and no method."""
    return isinstance(start, str) and Path(start).suffix.lower() in NORMAL_MAP_SUFFIXES


def whole(range: Range) -> Callable[[str], int]:
    """For `add_argument(type=...)`: a whole number within a range."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) not in range:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {range}")
        return int(text)

    return read


def number(range: Range) -> Callable[[str], float]:
    """For `add_argument(type=...)`: a number within a range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if value not in range:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {range}")
        return value

    return read


def _settings(method: str) -> tuple[Setting, ...]:
    known = METHODS.get(method)  # a model of one's own has none
    return () if known is None else known.settings


def _add(group: Any, setting: Setting, method: Method) -> None:
    kinds: dict[str, Callable[[str], Any]] = {
        "whole": whole(setting.range),
        "number": number(setting.range),
        "normals": _start(method.name),
    }
    choices = tuple(CAMERA_FRAMES) if setting.kind == "convention" else setting.choices or None
    kind = kinds.get(setting.kind, str)
    group.add_argument(f"--{setting.name}", type=kind, choices=choices, metavar=setting.metavar, help=setting.help)


def _start(method: str) -> Callable[[str], str]:
    """Another method or the file of a normal map, checked as far as that needs nothing heavy."""

    def read(text: str) -> str:
        if text == method:
            raise argparse.ArgumentTypeError(f"{method} starts from another method, or from a normal map")
        if is_map(text):
            if not Path(text).is_file():
                raise argparse.ArgumentTypeError(f"{text}: no such file")
            return text
        try:
            read_method(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(f"{error}, or the file of a normal map") from None
        return text

    return read


def _check_start(options: argparse.Namespace, method: str, photos: int) -> None:
    """What a method starts from, against the device and the photos."""
    settings = {setting.kind: setting for setting in _settings(method)}
    if "normals" not in settings:
        return
    start = settings["normals"]
    value = getattr(options, start.attribute)
    part = METHODS[method].cpu_part
    if part and options.device not in ("auto", "cpu") and (value is None or is_map(value)):
        raise InputError(
            f"--device {options.device}: is that of --{start.name} METHOD; the {part} itself runs on the CPU"
        )
    convention = settings.get("convention")
    if convention is not None and getattr(options, convention.attribute) is not None and not is_map(value):
        raise InputError(f"--{convention.name}: is that of a normal map, and --{start.name} gives none")
    if is_map(value) and photos > 1:
        raise InputError(f"--{start.name} {value}: is the map of one photo; {photos} are given")
