"""A model of the user's own rembg, for masks: only if both are there already."""

import os
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.methods.framing import display
from maquette.types import Photo

_TRUSTING = "MODEL_CHECKSUM_DISABLED"  # rembg then takes the file that is there, and doesn't fetch the one it knows


def alpha_by_rembg(photo: Photo, name: str) -> Float[Tensor, "height width"]:
    """What a model finds; nothing is ever downloaded.

    Raises:
        InputError: no rembg, no file of that model, or a failure of rembg.
    """
    if find_spec("rembg") is None:
        raise InputError(f"--mask rembg:{name}: rembg isn't installed; pip install 'rembg[cpu]', or use --mask auto")
    places = _places_of_rembg(name)
    if not any(place.is_file() for place in places):
        raise InputError(
            f"--mask rembg:{name}: no file {places[0]}, and maquette downloads nothing; `rembg d {name}` fetches it"
        )
    before = os.environ.get(_TRUSTING)
    os.environ[_TRUSTING] = "1"
    try:
        rembg: Any = import_module("rembg")
        codes = (display(photo).numpy() * 255).round().astype(np.uint8)
        found = np.asarray(rembg.remove(codes, session=_session(name), only_mask=True))
    except Exception as error:  # whatever a stranger's library throws
        raise InputError(f"--mask rembg:{name}: rembg failed ({' '.join(str(error).split())[:200]})") from error
    finally:
        del os.environ[_TRUSTING]
        if before is not None:
            os.environ[_TRUSTING] = before
    if found.shape != codes.shape[:2] or found.dtype != np.uint8:
        raise InputError(f"--mask rembg:{name}: answers {found.dtype} {found.shape}; one mask of the photo is needed")
    return torch.from_numpy(found.astype(np.float32) / 255)


@lru_cache(maxsize=1)
def _session(name: str) -> Any:
    rembg: Any = import_module("rembg")
    return rembg.new_session(name)


def _places_of_rembg(name: str) -> list[Path]:
    """Where rembg keeps a model: U2NET_HOME, or ~/.u2net as it was, or ~/.rembg as newer ones have it."""
    data = os.environ.get("XDG_DATA_HOME")
    flat = Path(os.environ.get("U2NET_HOME") or Path(data or "~") / ".u2net").expanduser()
    home = os.environ.get("U2NET_HOME") or os.environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
    return [flat / f"{name}.onnx", Path(home).expanduser() / "models" / name / f"{name}.onnx"]
