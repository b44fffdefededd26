"""`maquette convert MAP -o OUT --from F --to G`: a normal map from one frame to another, nothing else touched."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.parser import FORMATS, Parser
from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES, IDENTITY, Matrix, describe

if TYPE_CHECKING:
    from torch import Tensor

TEXTURE_FRAMES: dict[str, Matrix] = {  # what is stored, relative to (along u, along v, along the normal)
    "tangent": IDENTITY,
    "tangent-directx": CAMERA_FRAMES["directx"].matrix,
}
VIEWS = (*CAMERA_FRAMES, "world")
TEXTURES = (*TEXTURE_FRAMES, "object")


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    source, target = options.source, options.to
    _require_one_kind(source, target)
    moves = source != target
    if "world" in (source, target) and moves and options.camera is None:
        raise InputError("--camera: world needs the camera's pose; give transforms.json or a 4x4 camera_to_world")
    if "object" in (source, target) and moves and options.mesh is None:
        raise InputError("--mesh: object space needs the mesh that the texture lies on, with texture coordinates")

    from maquette.io.frame_conversion import format_for, read_stored_map, turned, write_stored_map

    format_for(options.output, options.format, None)  # its name is looked at before the map is
    stored = read_stored_map(options.map)
    format = format_for(options.output, options.format, stored.largest)
    height, width = stored.vectors.shape[:2]
    to_common = _matrix(source, options, width, height).transpose(-1, -2)
    neutral = (0.0, 0.0, -1.0) if source == "opencv" else (0.0, 0.0, 1.0)
    result = turned(stored, _matrix(target, options, width, height) @ to_common, neutral)
    write_stored_map(options.output, result, format, (0.0, 0.0, -1.0) if target == "opencv" else (0.0, 0.0, 1.0))
    report = {
        "map": str(options.map),
        "output": str(options.output),
        "from": source,
        "to": target,
        "axes": _axes(target),
        "format": format,
        "normals": int(result.is_normal.sum()),
    }
    print(
        json.dumps(report)
        if options.json
        else f"{options.map} ({source}) -> {options.output} ({target}: {report['axes']})"
    )
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("convert", "A normal map from one frame to another; what isn't a normal is left alone.")
    parser.add_argument("map", type=Path, metavar="MAP", help="png, tiff, exr or npy")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a .png, .exr or .npy to write")
    frames = (*VIEWS, *TEXTURES)
    parser.add_argument("--from", dest="source", choices=frames, required=True, help="the frame that MAP is in")
    parser.add_argument("--to", choices=frames, required=True, help="the frame to write")
    parser.add_argument(
        "--camera",
        type=Path,
        metavar="FILE",
        help="for world: transforms.json, or a 4x4 camera_to_world (json, npy, text); axes x right, y up, z back",
    )
    parser.add_argument(
        "--mesh", type=Path, metavar="FILE", help="for object: the mesh that the texture lies on (glb, gltf, obj)"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="default: by OUT's suffix; a PNG has 8 bits if MAP has, else 16"
    )
    parser.add_argument("--json", action="store_true", help="say on stdout what was done, as one JSON object")
    return parser.parse_args(argv)


def _require_one_kind(source: str, target: str) -> None:
    if (source in VIEWS) != (target in VIEWS):
        view, texture = (source, target) if source in VIEWS else (target, source)
        raise InputError(
            f"--from {source} --to {target}: {view} maps hold what a camera sees, {texture} maps what lies on a"
            f" texture; {', '.join(VIEWS)} convert to each other, and so do {', '.join(TEXTURES)} (a flat tile that"
            " faces the camera is opengl and tangent at once)"
        )


def _matrix(name: str, options: argparse.Namespace, width: int, height: int) -> "Tensor":
    """From the common frame (the camera's, or the tangents') to the stored vector: (3, 3), or one for each texel."""
    import torch

    if name == "world":
        from maquette.io.poses import read_camera_to_world

        if options.camera is None:  # from world to world
            return torch.eye(3, dtype=torch.float64)
        return read_camera_to_world(options.camera, options.map.name)[:3, :3]
    if name == "object":
        from maquette.geometry.tangent import texture_basis
        from maquette.io.meshes import read_mesh

        if options.mesh is None:  # from object to object
            return torch.eye(3, dtype=torch.float64)
        try:
            # Normals of the faces' means, whatever the file's own say: a map made with them stays what it was.
            mesh = replace(read_mesh(options.mesh, max_faces=None), normals=None)
            return texture_basis(mesh, width, height)
        except InputError as error:
            raise InputError(f"--mesh {options.mesh}: {error}") from error
    known = TEXTURE_FRAMES.get(name) or next(frame.matrix for key, frame in CAMERA_FRAMES.items() if key == name)
    return torch.tensor(known, dtype=torch.float64)


def _axes(name: str) -> str:
    if name == "world":
        return "the world's axes"
    if name == "object":
        return "the mesh's axes"
    if name in TEXTURE_FRAMES:
        return f"x along u, y along {'v' if name == 'tangent' else '-v'}, z along the surface's normal"
    return next(describe(frame.matrix) for key, frame in CAMERA_FRAMES.items() if key == name)
