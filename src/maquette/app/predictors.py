"""Methods by name: the callable from `Photo` to `NormalMap` that a verb was asked for."""

from collections.abc import Callable

import torch

from maquette.errors import InputError
from maquette.types import NormalMap, Photo

Predictor = Callable[[Photo], NormalMap]


def build_predictor(method: str, weights: str, device: str) -> Predictor:
    """A method, ready to be called.

    Args:
        method: `nirne`, or one of the baselines `inflate` and `flat`.
        weights: name or folder of a network's weights; baselines have none.
        device: `auto`, `cpu`, or a CUDA device as torch names it.

    Raises:
        InputError: the device isn't there, or the weights can't be loaded.
    """
    if method == "flat":
        from maquette.methods.baselines import flat

        return flat
    if method == "inflate":
        from maquette.methods.baselines import inflate

        return inflate
    from maquette.methods.nirne import NiRNE

    return NiRNE.from_pretrained(weights, device=resolve_device(device))


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
