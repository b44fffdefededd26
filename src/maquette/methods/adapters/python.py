"""A person's own function as a method: `MODULE:FUNCTION` or `FILE.py:FUNCTION`, and what it must keep to."""

import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

import torch

from maquette.errors import InputError
from maquette.types import NormalMap, Photo

_LENGTH_TOLERANCE = 1e-2  # half-precision models are that far from unit length

Method = Callable[[Photo], NormalMap]


def load_function(module: str, function: str) -> Method:
    """The callable that a person named, with its results checked (see `checked`).

    Args:
        module: a module's dotted name, as `import` takes it, or the path of a `.py` file.
        function: its name in the module; dots reach into objects.

    Raises:
        InputError: no such module or name, the module can't be imported, or what is there can't be called.
    """
    where = f"{module}:{function}"
    try:
        found = operator.attrgetter(function)(_import(module))
    except AttributeError:
        raise InputError(f"--method {where}: {module} has no {function!r}") from None
    if not callable(found):
        raise InputError(f"--method {where}: is a {type(found).__name__}; a callable Photo -> NormalMap is needed")
    return checked(cast(Method, found), where)


def checked(method: Method, name: str) -> Method:
    """The same method, whose maps are held to what `NormalMap` promises.

    Normals must be finite and, on the mask, of unit length to 1 %; the photo's size must be kept. What lies
    outside the mask is set to zero, lengths are made exact, and tensors come to the CPU.

    Args:
        method: what to call.
        name: what to call it in messages.

    The returned method raises an InputError that names what is wrong with a map.
    """

    def run(photo: Photo) -> NormalMap:
        found = method(photo)
        if not isinstance(found, NormalMap):
            raise InputError(f"{name}: returned a {type(found).__name__}; a maquette.types.NormalMap is needed")
        normals, mask = found.normals.detach().cpu().float(), found.mask.cpu()
        for what, tensor, shape in (("normals", normals, photo.rgb.shape), ("mask", mask, photo.rgb.shape[:2])):
            if tensor.shape != shape:
                raise InputError(f"{name}: its {what} are {tuple(tensor.shape)}, {photo.name} needs {tuple(shape)}")
        if mask.dtype != torch.bool:
            raise InputError(f"{name}: its mask holds {mask.dtype}; torch.bool is needed")
        length = normals.norm(dim=-1)[mask]
        if not bool(torch.isfinite(length).all()):
            raise InputError(f"{name}: its normals of {photo.name} hold NaN or infinity")
        if len(length) and float((length - 1).abs().max()) > _LENGTH_TOLERANCE:
            raise InputError(
                f"{name}: its normals of {photo.name} are {float(length.min()):.3g} to {float(length.max()):.3g} long;"
                " unit length is needed where the mask is true"
            )
        exact = normals / normals.norm(dim=-1, keepdim=True).clamp_min(0.5)
        kappa = None if found.concentration is None else found.concentration.detach().cpu().float()
        return NormalMap(torch.where(mask[..., None], exact, 0.0), mask, kappa)

    return run


def _import(module: str) -> ModuleType:
    try:
        if not module.endswith(".py"):
            return importlib.import_module(module)
        name = Path(module).stem
        spec = importlib.util.spec_from_file_location(name, module)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(name, loaded)  # dataclasses look their module up
        spec.loader.exec_module(loaded)
        return loaded
    except (ImportError, OSError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--method {module}: can't be imported ({reason}); is it installed, is the name right?"
        ) from error
