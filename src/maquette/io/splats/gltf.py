"""Binary glTF with `KHR_gaussian_splatting`, written.

Points with activated values: linear scales, opacity 0 to 1, quaternions (x, y, z, w), and harmonics degree by degree.
glTF is right-handed with y up and its front towards +z, which is maquette's frame. `COLOR_0`, for viewers that only
know points, is the constant colour in linear light, as glTF has it.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch

from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.files import write_bytes
from maquette.io.images import srgb_to_linear
from maquette.io.splats.raw import RawSplats
from maquette.types import SH_COUNTS

_NAME = "KHR_gaussian_splatting"
_COLOR_SPACES = {"srgb": "srgb_rec709_display", "linear": "lin_rec709_display"}
_FLOAT, _USHORT, _ARRAY_BUFFER, _POINTS = 5126, 5123, 34962, 0
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_MOST_DEGREE = 3
_MOST_BYTES = 2**32 - 1


def write_gltf(path: Path, raw: RawSplats) -> None:
    """Write a `.glb`; nothing is quantised. Albedo and features have no place in the extension.

    Raises:
        InputError: harmonics of degree 4, more than 4 GB, or the file can't be written.
    """
    degree = SH_COUNTS.index(raw.sh.shape[1])
    if degree > _MOST_DEGREE:
        raise InputError(f"cannot write {path}: harmonics of degree {degree}; glTF has them up to {_MOST_DEGREE}")
    attributes: dict[str, np.ndarray] = {
        "POSITION": raw.mean,
        "COLOR_0": _fallback_color(raw),
        f"{_NAME}:ROTATION": np.roll(raw.rotation, -1, axis=-1),
        f"{_NAME}:SCALE": raw.scale,
        f"{_NAME}:OPACITY": raw.opacity[:, None],
    }
    for l in range(degree + 1):
        for n in range(2 * l + 1):
            attributes[f"{_NAME}:SH_DEGREE_{l}_COEF_{n}"] = raw.sh[:, l * l + n]
    accessors, views, blobs, offset = [], [], [], 0
    for k, values in enumerate(attributes.values()):
        blob = np.ascontiguousarray(values).tobytes()  # rows of 4-byte words: aligned as they are
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(blob), "target": _ARRAY_BUFFER})
        accessors.append(_accessor(k, values))
        blobs.append(blob)
        offset += len(blob)
    accessors[0] |= {"min": raw.mean.min(0).tolist(), "max": raw.mean.max(0).tolist()}
    primitive = {
        "attributes": {name: k for k, name in enumerate(attributes)},
        "mode": _POINTS,
        "extensions": {
            _NAME: {
                "kernel": "ellipse",
                "colorSpace": _COLOR_SPACES[raw.encoding],
                "projection": "perspective",
                "sortingMethod": "cameraDistance",
            }
        },
    }
    scene = {
        "asset": {"version": "2.0", "generator": "maquette"},
        "extensionsUsed": [_NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
    write_bytes(path, _glb(path, scene, b"".join(blobs)))


def _accessor(view: int, values: np.ndarray) -> dict:
    accessor = {
        "bufferView": view,
        "componentType": _FLOAT if values.dtype == np.float32 else _USHORT,
        "count": len(values),
        "type": _TYPES[values.shape[1]],
    }
    return accessor if values.dtype == np.float32 else accessor | {"normalized": True}


def _fallback_color(raw: RawSplats) -> np.ndarray:
    color = np.clip(0.5 + DC * raw.sh[:, 0], 0, 1)
    if raw.encoding == "srgb":
        color = srgb_to_linear(torch.from_numpy(color)).numpy()
    return np.rint(np.concatenate([color, raw.opacity[:, None]], axis=1) * 65535).astype("<u2")


def _glb(path: Path, scene: dict, binary: bytes) -> bytes:
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    if total > _MOST_BYTES:
        raise InputError(f"cannot write {path}: {total} bytes; a .glb holds 4 GB")
    head = struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
