"""What `--method` accepts, and what it means; nothing heavy is imported to tell a wrong one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.catalogue import FOREIGN_FORMS, FOREIGN_WITHOUT_CONFIDENCE, METHODS, NORMALS_METHODS
from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES


@dataclass(frozen=True)
class MethodName:
    """A `--method`, taken apart.

    Attributes:
        kind: a name of `maquette.catalogue.NORMALS_METHODS`, `hf`, `onnx`, or `python`.
        path: folder or file of `hf` and `onnx`; what stands before the colon of `python`; else empty.
        detail: the frame of `onnx`, if one was given; what stands after the colon of `python`.
    """

    kind: str
    path: str = ""
    detail: str = ""

    @property
    def label(self) -> str:
        """A short name, fit for a table's head and for a file's name."""
        if self.kind in ("hf", "onnx"):
            return f"{self.kind}-{Path(self.path).resolve().stem}"
        return f"{Path(self.path).stem}.{self.detail}" if self.kind == "python" else self.kind

    @property
    def may_know_its_confidence(self) -> bool:
        """False if a map of this method never carries a concentration."""
        if self.kind in METHODS:
            return METHODS[self.kind].knows_confidence
        return self.kind not in FOREIGN_WITHOUT_CONFIDENCE


def weights_of(method: str, weights: str | None) -> str:
    """The weights that a method works with: those that were given, or its own; empty if it has none to choose."""
    known = METHODS.get(method)
    if known is None or "weights" not in known.asks:
        return ""
    return known.weights if weights is None else weights


def with_weights(method: str, weights: str | None) -> str:
    """A method and its weights, for people."""
    name = weights_of(method, weights)
    return f"{method} ({name})" if name else method


def read_method(text: str) -> MethodName:
    """Take a method's name apart.

    `onnx:FILE@FRAME` says in which frame (`opengl`, `directx`, `opencv`, `dsine`, ...) the model's normals are;
    without it, the model's own metadata must.

    Raises:
        InputError: no such method; a folder or file that isn't there.
    """
    if text in NORMALS_METHODS:
        return MethodName(text)
    kind, colon, rest = text.partition(":")
    if not colon or not kind or not rest:
        raise InputError(f"invalid choice: {text!r} (choose from {', '.join(NORMALS_METHODS)}, {FOREIGN_FORMS})")
    if kind == "hf":
        return _hf(rest)
    if kind == "onnx":
        return _onnx(rest)
    path, _, function = text.rpartition(":")
    if path.endswith(".py"):
        _require(path, "file", "give the Python file that holds the function")
    elif not all(part.isidentifier() for part in path.split(".")):
        raise InputError(f"invalid choice: {text!r} ({path!r} is no module's name; the forms are {FOREIGN_FORMS})")
    if not all(part.isidentifier() for part in function.split(".")):
        raise InputError(f"invalid choice: {text!r} ({function!r} is no function's name)")
    return MethodName("python", path, function)


def _hf(path: str) -> MethodName:
    _require(path, "folder", "nothing is downloaded: fetch the pipeline yourself and give its folder")
    if not (Path(path) / "model_index.json").is_file():
        raise InputError(f"hf:{path}: holds no model_index.json; give the folder of a MarigoldNormalsPipeline")
    return MethodName("hf", path)


def _onnx(rest: str) -> MethodName:
    path, at, frame = rest.rpartition("@")
    if not at or Path(rest).exists():  # a name may hold an @ of its own
        path, frame = rest, ""
    elif frame not in CAMERA_FRAMES:
        raise InputError(f"onnx:{rest}: {frame!r} is no frame; give one of {', '.join(CAMERA_FRAMES)}")
    _require(path, "file", "give an ONNX model, such as `maquette export nirne` writes")
    return MethodName("onnx", path, frame)


def _require(path: str, what: Literal["file", "folder"], advice: str) -> None:
    found = Path(path).is_dir() if what == "folder" else Path(path).is_file()
    if not found:
        raise InputError(f"{path}: no such {what}; {advice}")
