"""An ONNX model as a method, run by onnxruntime: our own export, or a stranger's that keeps to the contract.

The contract, in the file's metadata (all keys but `maquette.frame` have a default):

    maquette.frame          of the normals: opengl, directx, opencv, dsine, ...; a caller may say it instead
    maquette.input          linear | srgb (0..1, the default) | srgb255 (0..255) | imagenet (srgb, standardised)
    maquette.framing        photo (all of it, the default) | object (a square about the mask, black around it)
    maquette.size_px        the longer side that the photo is resized to; default 512
    maquette.size_multiple  sides are padded to multiples of this; default 32

Inputs, float32: the photo (N, 3, H, W), under any name, and, if the model wants one, `mask` (N, 1, H, W), 1 on
the object. A model with fixed H and W gets exactly those. Outputs: `normals` or `normal`, or else the only output
of three channels, (N, 3, H, W) or (N, H, W, 3); of any length but zero, which means "no normal here"; and, if the
model has one, the concentration `kappa` (N, 1, H, W).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.frames import camera_frame
from maquette.geometry.vectors import unit
from maquette.methods.framing import display, mask_of, object_window, photo_window, resize
from maquette.types import NormalMap, Photo

INPUTS = ("linear", "srgb", "srgb255", "imagenet")
FRAMINGS = ("photo", "object")
SHORTEST = 0.1  # models needn't normalise; a vector that is all but zero has no direction
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation, sRGB in 0..1


@dataclass(frozen=True)
class Contract:
    """What a model expects and what it answers; the fields are the module's metadata keys."""

    frame: str
    input: str = "srgb"
    framing: str = "photo"
    size_px: int = 512
    size_multiple: int = 32

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], name: str, frame: str | None = None) -> "Contract":
        """Read a model's metadata; a `frame` that the caller gives goes before the model's own.

        Raises:
            InputError: no frame, or a value that isn't one of the contract's.
        """
        own = {key.removeprefix("maquette."): value for key, value in metadata.items() if key.startswith("maquette.")}
        frame = frame or own.get("frame")
        if not frame:
            raise InputError(
                f"{name}: doesn't say in which frame its normals are; say it, as in onnx:{name}@opengl,"
                " or write it into the file's metadata as maquette.frame"
            )
        camera_frame(frame)
        values = {}
        for key, allowed in (("input", INPUTS), ("framing", FRAMINGS)):
            values[key] = own.get(key, getattr(cls, key))
            if values[key] not in allowed:
                raise InputError(f"{name}: maquette.{key} is {values[key]!r}; it must be one of {', '.join(allowed)}")
        for key, largest in (("size_px", 8192), ("size_multiple", 512)):
            text = own.get(key, str(getattr(cls, key)))
            if not text.isdecimal() or not 1 <= int(text) <= largest:
                raise InputError(f"{name}: maquette.{key} is {text!r}; it must be a whole number in 1..{largest}")
            values[key] = int(text)
        return cls(frame, **values)


class OnnxMethod:
    """A loaded model: call it with a `Photo`, get a `NormalMap`.

    Attributes:
        session: the `onnxruntime.InferenceSession`.
        contract: what goes in and what comes out.
    """

    def __init__(self, session: Any, contract: Contract, name: str) -> None:
        self.session = session
        self.contract = contract
        self.name = name
        self._photo, self._wants_mask, self._fixed = _inputs(session, name)
        self._normals, self._kappa = _outputs(session, name)

    @classmethod
    def from_file(cls, path: Path, frame: str | None = None, device: str = "auto") -> "OnnxMethod":
        """Load a model.

        Args:
            path: the `.onnx` file.
            frame: of its normals, if its metadata don't say or are wrong.
            device: `auto`, `cpu` or `cuda`; `auto` takes CUDA if this onnxruntime has it.

        Raises:
            InputError: onnxruntime isn't installed or has no CUDA, the file is no whole model, or it doesn't
                keep to the module's contract.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"onnx:{path}: needs onnxruntime; pip install onnxruntime") from error
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if device.startswith("cuda") and not cuda:
            raise InputError(
                f"--device {device}: this onnxruntime has no CUDA; pip install onnxruntime-gpu, or give cpu"
            )
        providers = ["CUDAExecutionProvider"] * (cuda and device != "cpu") + ["CPUExecutionProvider"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; stderr is for people
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions have no common class but this
            raise InputError(f"{path}: not a whole ONNX model that onnxruntime can run ({_line(error)})") from error
        metadata = session.get_modelmeta().custom_metadata_map
        return cls(session, Contract.from_metadata(metadata, str(path), frame), str(path))

    @torch.inference_mode()
    def __call__(self, photo: Photo) -> NormalMap:
        """Normals, and concentration if the model knows it, on the photo's mask (everywhere, if it has none).

        Raises:
            InputError: the mask is empty, or the model fails or answers something else than normals.
        """
        of_object = self.contract.framing == "object"
        window = object_window(photo) if of_object else photo_window(photo)
        solid = window.cut(mask_of(photo)[None].float())
        colour = photo.rgb if self.contract.input == "linear" else display(photo)
        colour = window.cut(colour.permute(2, 0, 1))
        box = self._fixed or (self.contract.size_px, self.contract.size_px)
        scale = min(box[0] / window.height, box[1] / window.width)
        size = max(1, round(window.height * scale)), max(1, round(window.width * scale))
        coverage = resize(solid, size)
        small = resize(colour * solid if of_object else colour, size)
        if of_object:  # the colours at the border aren't darkened by the black around it
            small = small / coverage.clamp_min(1e-3)
        seen = _encoded(small.clamp_min(0), self.contract.input)
        within = (coverage >= 0.5).float() if bool((coverage >= 0.5).any()) else (coverage > 0).float()
        normals, kappa = self._run(self._padded(seen * within if of_object else seen), self._padded(within, zero=True))
        back = (window.height, window.width)
        full = (photo.rgb.shape[0], photo.rgb.shape[1])
        vectors = window.paste(resize(normals[:, : size[0], : size[1]], back), full).permute(1, 2, 0)
        mask = mask_of(photo) & (vectors.norm(dim=-1) > SHORTEST)
        if kappa is not None:
            kappa = window.paste(resize(kappa[:, : size[0], : size[1]], back), full)[0].clamp_min(1e-3) * mask
        return NormalMap(unit(vectors) * mask[..., None], mask, kappa)

    def _padded(
        self, image: Float[Tensor, "channels h w"], zero: bool = False
    ) -> Float[Tensor, "channels height width"]:
        """At the bottom and the right, up to the fixed size or to a multiple."""
        multiple = self.contract.size_multiple
        height, width = self._fixed or (
            -(-image.shape[1] // multiple) * multiple,
            -(-image.shape[2] // multiple) * multiple,
        )
        sides = (0, width - image.shape[2], 0, height - image.shape[1])
        return F.pad(image[None], sides, mode="constant" if zero else "replicate")[0]

    def _run(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normals (3 H W) in the frame of memory, unit or zero, and the concentration (1 H W)."""
        feeds = {self._photo: image[None].numpy()} | ({"mask": mask[None].numpy()} if self._wants_mask else {})
        wanted = [self._normals] + ([self._kappa] if self._kappa else [])
        size = f"{image.shape[2]}x{image.shape[1]}"
        try:
            found = self.session.run(wanted, feeds)
        except Exception as error:
            raise InputError(f"{self.name}: fails on a photo of {size} ({_line(error)})") from error
        normals = torch.from_numpy(np.asarray(found[0], np.float32))
        if normals.ndim == 4 and normals.shape[-1] == 3 and normals.shape[1] != 3:
            normals = normals.permute(0, 3, 1, 2)
        if normals.shape != (1, 3, *image.shape[1:]):
            raise InputError(f"{self.name}: answers {tuple(normals.shape)}; (1, 3, H, W) of {size} is needed")
        if not bool(torch.isfinite(normals).all()):
            raise InputError(f"{self.name}: its normals hold NaN or infinity")
        long = normals[0].norm(dim=0, keepdim=True) > SHORTEST
        memory = torch.tensor(camera_frame(self.contract.frame).matrix, dtype=torch.float32).T
        turned = torch.einsum("ij,jhw->ihw", memory, unit(normals[0], 0) * long)
        return turned, torch.from_numpy(np.asarray(found[1], np.float32))[0] if self._kappa else None


def _encoded(linear_or_srgb: Float[Tensor, "3 h w"], how: str) -> Float[Tensor, "3 h w"]:
    if how == "srgb255":
        return linear_or_srgb * 255
    if how == "imagenet":
        mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in _IMAGENET)
        return (linear_or_srgb - mean) / deviation
    return linear_or_srgb


def _inputs(session: Any, name: str) -> tuple[str, bool, tuple[int, int] | None]:
    """The photo's name, whether there is a mask, and the size if it is fixed."""
    inputs = {one.name: one for one in session.get_inputs()}
    wants_mask = inputs.pop("mask", None) is not None
    if len(inputs) != 1:
        raise InputError(f"{name}: takes the inputs {', '.join(inputs) or 'none'}; one photo, and mask, are supplied")
    ((photo, description),) = inputs.items()
    shape = description.shape
    if description.type != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise InputError(f"{name}: its input {photo} is {description.type} {shape}; float32 (N, 3, H, W) is supplied")
    fixed = (shape[2], shape[3]) if isinstance(shape[2], int) and isinstance(shape[3], int) else None
    return photo, wants_mask, fixed


def _outputs(session: Any, name: str) -> tuple[str, str | None]:
    """The names of the normals and, if there is one, of the concentration."""
    outputs = {one.name: one.shape for one in session.get_outputs()}
    kappa = "kappa" if "kappa" in outputs else None
    for known in ("normals", "normal"):
        if known in outputs:
            return known, kappa
    three = [key for key, shape in outputs.items() if len(shape) == 4 and 3 in (shape[1], shape[3])]
    if len(three) != 1:
        raise InputError(f"{name}: has the outputs {', '.join(outputs)}; one of them must be called normals")
    return three[0], kappa


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
