"""Methods by name: the callable from `Photo` to `NormalMap` that a verb was asked for."""

from collections.abc import Callable
from pathlib import Path

import torch

from maquette.app.method_names import read_method, weights_of
from maquette.errors import InputError
from maquette.types import NormalMap, Photo

Predictor = Callable[[Photo], NormalMap]


def build_predictor(method: str, weights: str | None, device: str, detail_px: int | None) -> Predictor:
    """A method, ready to be called.

    Args:
        method: `nirne`, `rose`, both of them (`auto`), `clone` from a neutral start, one of the baselines `inflate` and
            `flat`, or a foreign model in one of the forms of `maquette.app.method_names`: `hf:FOLDER`,
            `onnx:FILE[@FRAME]`, `MODULE:FUNCTION`, `FILE.py:FUNCTION`.
        weights: name or folder of the weights of NiRNE or RoSE, None for those that ship; for `auto`, those of RoSE,
            beside which its calibration lies. `clone` takes what ships with it.
        device: `auto`, `cpu`, or a CUDA device as torch names it; a Python function chooses its own.
        detail_px: of NiRNE, see there, None for its default; other methods work at the photo's own resolution.

    Raises:
        InputError: no such method, the device isn't there, or the weights or the model can't be loaded.
    """
    asked = read_method(method)
    if asked.kind == "hf":
        from maquette.methods.adapters.hf import Marigold

        return Marigold.from_folder(Path(asked.path), resolve_device(device))
    if asked.kind == "onnx":
        from maquette.methods.adapters.onnx import OnnxMethod

        return OnnxMethod.from_file(Path(asked.path), asked.detail or None, device)
    if asked.kind == "python":
        from maquette.methods.adapters.python import load_function

        return load_function(asked.path, asked.detail)
    if method == "flat":
        from maquette.methods.baselines import flat

        return flat
    if method == "inflate":
        from maquette.methods.baselines import inflate

        return inflate
    if method == "clone":
        from maquette.methods.clone.method import CLONE

        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: the loop of clone runs on the CPU; give cpu or auto")
        return CLONE.from_pretrained()
    weights = weights_of(method, weights)
    if method == "rose":
        from maquette.methods.rose import RoSE

        return RoSE.from_pretrained(weights, resolve_device(device))
    if method == "auto":
        from maquette.methods.auto import auto

        return auto(weights, resolve_device(device), detail_px)
    from maquette.methods.nirne import NiRNE

    return NiRNE.from_pretrained(weights, device=resolve_device(device), detail_px=detail_px)


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
