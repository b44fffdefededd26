"""Methods by name: the callable from `Photo` to `NormalMap` that a verb was asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from maquette.app.method_names import MethodName, read_method, weights_of
from maquette.catalogue import METHODS, NORMAL_MAP_SUFFIXES, Method, Setting, resolve
from maquette.errors import InputError
from maquette.types import NormalMap, Photo

Predictor = Callable[[Photo], NormalMap]


def build_predictor(
    method: str, weights: str | None, device: str, detail_px: int | None, settings: dict[str, Any] | None = None
) -> Predictor:
    """A method, ready to be called.

    Args:
        method: a name of `maquette.catalogue.NORMALS_METHODS`, or a foreign model in one of the forms of
            `maquette.app.method_names`: `hf:FOLDER`, `onnx:FILE[@FRAME]`, `MODULE:FUNCTION`, `FILE.py:FUNCTION`.
        weights: name or folder of the weights of NiRNE or RoSE, None for those that ship; for `auto`, those of RoSE,
            beside which its calibration lies. `clone` takes what ships with it.
        device: `auto`, `cpu`, or a CUDA device as torch names it; a Python function chooses its own.
        detail_px: of NiRNE, see there, None for its default; other methods work at the photo's own resolution.
        settings: of the method's own, by their names in the catalogue; what isn't there is as the method has it.

    Raises:
        InputError: no such method, the device isn't there, or the weights or the model can't be loaded.
    """
    asked = read_method(method)
    if asked.kind in METHODS:
        return build_method(asked.kind, weights, device, detail_px, settings)
    return _foreign(asked, device)


def build_method(
    name: str,
    weights: str | None = None,
    device: str = "auto",
    detail_px: int | None = None,
    settings: dict[str, Any] | None = None,
) -> Any:
    """A method of the catalogue, ready to be called with what it takes; arguments and errors as `build_predictor`."""
    method, given = METHODS[name], dict(settings or {})
    if not method.asks and not method.settings:
        return resolve(method.path)
    _require_device(method, device, given)
    arguments: dict[str, Any] = {}
    if "weights" in method.asks:
        arguments["weights"] = weights_of(name, weights)
    if "device" in method.asks:
        arguments["device"] = resolve_device(device)
    if "detail_px" in method.asks:
        arguments["detail_px"] = detail_px
    convention = _convention(method, given)
    for setting in method.settings:
        if setting.keyword and setting.name in given:
            value = given[setting.name]
            if setting.kind == "normals":
                value = _start(value, convention, weights, device, detail_px)
            arguments[setting.keyword] = value
    return resolve(method.path)(**arguments)


def resolve_device(device: str) -> str:
    """`auto` as a CUDA GPU if there is one, else the CPU; other names checked.

    Raises:
        InputError: no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"--device {device}: unknown; give auto, cpu or cuda") from error
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: no such CUDA GPU here; give cpu or auto")
    if kind.type not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: not supported; give auto, cpu or cuda")
    return device


def _foreign(asked: MethodName, device: str) -> Predictor:
    if asked.kind == "hf":
        from maquette.methods.adapters.hf import Marigold

        return Marigold.from_folder(Path(asked.path), resolve_device(device))
    if asked.kind == "onnx":
        from maquette.methods.adapters.onnx import OnnxMethod

        return OnnxMethod.from_file(Path(asked.path), asked.detail or None, device)
    from maquette.methods.adapters.python import load_function

    return load_function(asked.path, asked.detail)


def _of_kind(method: Method, kind: str) -> Setting | None:
    return next((setting for setting in method.settings if setting.kind == kind), None)


def _convention(method: Method, given: dict[str, Any]) -> Any:
    setting = _of_kind(method, "convention")
    return "opengl" if setting is None else given.get(setting.name, "opengl")


def _require_device(method: Method, device: str, given: dict[str, Any]) -> None:
    """What runs on the CPU alone takes another device only for the method that it starts from."""
    start = _of_kind(method, "normals")
    if method.cpu_part and device not in ("auto", "cpu") and (start is None or start.name not in given):
        raise InputError(f"--device {device}: the {method.cpu_part} of {method.name} runs on the CPU; give cpu or auto")


def _start(
    value: Predictor | NormalMap | Path | str, convention: Any, weights: str | None, device: str, detail_px: int | None
) -> Predictor:
    """What gives the normals to start from: a method, the file of a map, a map, or a callable as it is."""
    from maquette.io.normal_maps import read_normal_map

    if isinstance(value, str | Path):
        if Path(value).suffix.lower() not in NORMAL_MAP_SUFFIXES:
            return build_predictor(str(value), weights, device, detail_px)
        value = read_normal_map(value, convention)
    if not isinstance(value, NormalMap):
        return value
    known = value
    return lambda _: known
