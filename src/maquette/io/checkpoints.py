"""Weights with the configuration that they belong to: `config.json` beside `model.safetensors`.

Both are plain data; nothing in them is ever executed. Loading is strict: a field too many or too few, or of
another type, is an error and not a surprise in the results.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.io.files import write_bytes

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


def save_checkpoint(
    directory: Path | str, config: Any, state_dict: Mapping[str, Tensor], dtype: torch.dtype = torch.float16
) -> None:
    """Write `config.json` and `model.safetensors`; each is whole or absent.

    Args:
        directory: made if it isn't there; other files in it stay.
        config: a dataclass of numbers, strings, booleans, None, tuples of them, and such dataclasses.
        state_dict: floating tensors are stored as `dtype`, others as they are.
        dtype: half precision by default, which halves the file.

    Raises:
        InputError: the folder can't be written, or a weight is not finite in `dtype`.
    """
    directory = Path(directory)
    tensors = {}
    for name, tensor in state_dict.items():
        stored = tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        if not bool(torch.isfinite(stored).all()):
            raise InputError(f"{directory / WEIGHTS_NAME}: {name} is not finite as {dtype}; not saved")
        tensors[name] = stored.clone(memory_format=torch.contiguous_format)
    write_bytes(directory / WEIGHTS_NAME, save(tensors))  # save_file would hide it from other users
    text = json.dumps(dataclasses.asdict(config), indent=2) + "\n"
    write_bytes(directory / CONFIG_NAME, text.encode())


def load_checkpoint(directory: Path | str, config_type: type[Config]) -> tuple[Config, dict[str, Tensor]]:
    """Read what `save_checkpoint` wrote.

    Args:
        directory: the folder with both files.
        config_type: the dataclass that the configuration must fit, field by field.

    Returns:
        The configuration, and the tensors on the CPU, floating ones as float32.

    Raises:
        InputError: a file is missing, cut off or damaged, or a field is missing, unknown or mistyped.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; a checkpoint is {CONFIG_NAME} + {WEIGHTS_NAME}")
    config_path, weights_path = directory / CONFIG_NAME, directory / WEIGHTS_NAME
    for path in (config_path, weights_path):
        if not path.is_file():
            raise InputError(f"{path}: no such file; a checkpoint is {CONFIG_NAME} + {WEIGHTS_NAME}")
    config = read_config(config_path, config_type)
    try:
        tensors = load_file(weights_path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{weights_path}: is cut off or no safetensors file") from error
    state = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return config, state


def read_config(path: Path, config_type: type[Config]) -> Config:
    """A dataclass from a JSON file, field by field.

    Raises:
        InputError: no such file, no JSON, or a field is missing, unknown, mistyped, or out of its range.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: is not JSON, or is cut off") from error
    return _typed(content, config_type, str(path))


def load_network(weights: str | Path, config_type: type[Config], network_type: Callable[[Config], Network]) -> Network:
    """A network with its weights, on the CPU.

    Args:
        weights: a name that ships, or a folder.
        config_type: the dataclass of its configuration.
        network_type: makes the network of it.

    Raises:
        InputError: no such weights, or files that don't fit each other.
    """
    config, tensors = load_checkpoint(weights_folder(weights), config_type)
    network = network_type(config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{weights}: the weights don't fit their configuration ({reason})") from None
    return network


def read_fields(weights: str | Path) -> frozenset[str]:
    """The names of the fields of weights' configuration; none, if it isn't an object in JSON.

    Raises:
        InputError: no such weights.
    """
    path = weights_folder(weights) / CONFIG_NAME
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return frozenset()  # loading it tells why
    return frozenset(content) if isinstance(content, dict) else frozenset()


def weights_folder(weights: str | Path) -> Path:
    """The folder of a name or path; a name wins only if no such folder exists."""
    if not str(weights):  # as a path, it would be the working folder
        raise InputError("no such weights: the name is empty; give a name or a folder")
    path = Path(weights)
    if path.is_dir():
        return path
    shipped = Path(str(resources.files("maquette.weights")))
    if (shipped / str(weights)).is_dir():
        return shipped / str(weights)
    names = sorted(p.name for p in shipped.iterdir() if (p / "config.json").exists())
    raise InputError(f"{weights}: no such weights; give a folder or one of: {', '.join(names) or '(none ship)'}")


def _typed(value: Any, expected: Any, where: str) -> Any:
    """A JSON value as the type that a dataclass field asks for, or an InputError that names the place."""
    if dataclasses.is_dataclass(expected):
        return _typed_dataclass(value, expected, where)
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is tuple and isinstance(value, list):
        return _typed_tuple(value, arguments, where)
    if origin in (typing.Union, types.UnionType):
        return _typed_union(value, arguments, where)
    if origin is Literal and value in arguments:
        return value
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if expected in (int, str, bool, types.NoneType) and type(value) is expected:
        return value
    name = expected.__name__ if isinstance(expected, type) and not arguments else str(expected)
    raise InputError(f"{where}: is {value!r}; {name} is needed")


def _typed_dataclass(value: Any, expected: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: is {value!r}; an object with named fields is needed")
    hints = typing.get_type_hints(expected)
    fields = {field.name for field in dataclasses.fields(expected) if field.init}
    for complaint, names in (("lacks", fields - value.keys()), ("has the unknown", value.keys() - fields)):
        if names:
            raise InputError(f"{where}: {complaint} field {', '.join(sorted(names))} ({expected.__name__})")
    return expected(**{name: _typed(value[name], hints[name], f"{where}: {name}") for name in fields})


def _typed_tuple(value: list[Any], arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise InputError(f"{where}: has {len(value)} entries; {len(arguments)} are needed")
    return tuple(_typed(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True)))


def _typed_union(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    for argument in arguments:
        try:
            return _typed(value, argument, where)
        except InputError:
            continue
    raise InputError(f"{where}: is {value!r}; {' or '.join(str(a) for a in arguments)} is needed")
