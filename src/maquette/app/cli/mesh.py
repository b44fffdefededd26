"""`maquette mesh PHOTO|NORMALS -o FILE`: a textured surface, or a solid relief for a printer."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.inputs import hint_at_normals, is_normal_map
from maquette.app.cli.method_options import check_settings, settings_of
from maquette.app.cli.parser import CONVENTIONS, Parser, add_prediction_options, show_warnings_in_one_line
from maquette.app.method_names import with_weights
from maquette.catalogue import (
    MESH_WRITE_SUFFIXES,
    RELIEF_BASE_MM,
    RELIEF_WIDTH_MM,
    SOLID_MESH_SUFFIX,
    TEXTURED_TEXT_SUFFIX,
)
from maquette.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.types import Camera, Depth, Mesh, NormalMap, Photo

_GRID_PX = 1024
# Files hold 32-bit floats: between sizes that lie further apart than these, the smaller one would be rounded away.
_SIZES_MM = (0.01, 1e4)
_RANGES = {"size_mm": _SIZES_MM, "depth_mm": _SIZES_MM, "base_mm": _SIZES_MM, "focal_px": (1.0, 1e9)}


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    _check(options)
    show_warnings_in_one_line()
    start = time.perf_counter()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.io.images import to_srgb8
    from maquette.io.meshes import texture_path, write_mesh
    from maquette.methods.masks import mask_share

    if (
        options.output.suffix.lower() == TEXTURED_TEXT_SUFFIX
        and texture_path(options.output).resolve() == options.input.resolve()
    ):
        raise InputError(f"-o {options.output}: its texture would overwrite {options.input}; give another name")
    normal_map, confidence, photo = _surface(options)
    mesh, depth, camera = _mesh(options, normal_map, confidence)
    if photo is not None:
        mesh = replace(mesh, textures=(to_srgb8(photo.rgb),))
    written = write_mesh(options.output, mesh)
    page = None
    if options.report and photo is not None:
        page = options.output.with_suffix(".report.html")
        _write_report(page, options, photo, normal_map, depth, camera)
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    report = {
        "input": str(options.input),
        "mesh": str(written[0]),
        "files": [str(path) for path in written],
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "solid": _is_solid(options),
        "extent": [round(side, 6) for side in extent.tolist()],
        "unit_mm": mesh.unit_mm,
        "settled": depth.settled,
        "mask_share": None if photo is None else mask_share(photo),
        "report": None if page is None else str(page),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if options.json:
        print(json.dumps(report), flush=True)
    else:
        print(f"{options.input} -> {options.output} ({len(mesh.faces)} triangles, {report['seconds']:.1f} s)")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        "mesh",
        "A photo, or a normal map, as triangles: an open surface with the photo on it, or, if a size in"
        " millimetres is given or the file is an .stl, a watertight relief with walls and a flat back.",
    )
    parser.add_argument("input", type=Path, metavar="PHOTO|NORMALS")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"its suffix is one of {', '.join(MESH_WRITE_SUFFIXES)}",
    )
    parser.add_argument("--size-mm", type=float, metavar="W", help=f"width of the relief; default: {RELIEF_WIDTH_MM:g}")
    parser.add_argument(
        "--depth-mm", type=float, metavar="D", help="its lowest to its highest point; default: true proportions"
    )
    parser.add_argument(
        "--base-mm", type=float, metavar="B", help=f"thickness under its lowest point; default: {RELIEF_BASE_MM:g}"
    )
    parser.add_argument(
        "--focal-px",
        type=float,
        metavar="F",
        help="focal length of the input in its pixels, its centre in the middle; default: orthographic",
    )
    parser.add_argument(
        "--grid-px",
        type=int,
        default=_GRID_PX,
        metavar="N",
        help="longer side of the grid of vertices; larger inputs are averaged; default: %(default)s",
    )
    parser.add_argument(
        "--normals", action="store_true", help="the input is a normal map (*.normals.* and *.npy always are)"
    )
    parser.add_argument(
        "--convention", choices=CONVENTIONS, default="opengl", help="of a normal map; default: %(default)s"
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="write a page, FILE.report.html, with a light to move and a relief to turn",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    add_prediction_options(parser)
    return parser.parse_args(argv)


def _check(options: argparse.Namespace) -> None:
    if options.output.suffix.lower() not in MESH_WRITE_SUFFIXES:
        raise InputError(f"-o {options.output}: a mesh ends in one of {', '.join(MESH_WRITE_SUFFIXES)}")
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:  # NaN compares false
            raise InputError(f"--{name.replace('_', '-')} {value:g}: must be a number from {low:g} to {high:g}")
    if options.report and (options.normals or is_normal_map(options.input)):
        raise InputError(
            f"--report: shows a photo beside its normals, but {options.input} is a normal map; give a photo"
        )
    if options.grid_px < 16:
        raise InputError(f"--grid-px {options.grid_px}: must be at least 16")
    check_settings(options, [options.method], photos=1)


def _is_solid(options: argparse.Namespace) -> bool:
    sizes = (options.size_mm, options.depth_mm, options.base_mm)
    return options.output.suffix.lower() == SOLID_MESH_SUFFIX or any(size is not None for size in sizes)


def _surface(options: argparse.Namespace) -> "tuple[NormalMap, Tensor | None, Photo | None]":
    """Normals, how far they can be trusted if the method knows, and the photo if there is one."""
    from maquette.app.predictors import build_predictor
    from maquette.geometry.directional import confidence_from_concentration
    from maquette.io.images import read_photo
    from maquette.io.normal_maps import read_normal_map
    from maquette.methods.masks import cut_out

    path = options.input
    if options.normals or is_normal_map(path):
        normal_map = read_normal_map(path, options.convention)
        _require_facing(path, normal_map, options.convention)
        return normal_map, None, None
    photo = read_photo(path)
    hint_at_normals(photo, path, "give --normals")
    photo = cut_out(photo, options.mask)
    settings = settings_of(options, options.method)
    normal_map = build_predictor(options.method, options.weights, options.device, options.detail_px, settings)(photo)
    confidence = None
    if normal_map.concentration is not None:
        confidence = confidence_from_concentration(normal_map.concentration)
    return normal_map, confidence, photo


def _require_facing(path: Path, normal_map: "NormalMap", convention: str) -> None:
    """Raise an InputError if most normals face away, as no camera can see them: their depth would be a spike."""
    away = float((normal_map.normals[..., 2][normal_map.mask] < 0).float().mean())
    if away > 0.5:
        raise InputError(
            f"{path}: {away:.0%} of its normals face away from the viewer in the frame {convention}; give its own"
            " --convention (`maquette check-normals` finds it)"
        )


def _mesh(
    options: argparse.Namespace, normal_map: "NormalMap", confidence: "Tensor | None"
) -> "tuple[Mesh, Depth, Camera | None]":
    """The mesh, and the depth and the camera that it comes from."""
    import torch

    from maquette.geometry.integrate import integrate
    from maquette.methods.relief import solid, surface
    from maquette.types import Camera
    from maquette.viz.pictures import shrink_image, shrink_normals

    width = normal_map.mask.shape[1]
    grid = shrink_normals(normal_map, options.grid_px)
    if confidence is not None:
        confidence = shrink_image(confidence[..., None].expand_as(normal_map.normals), options.grid_px)[..., 0]
        confidence = confidence.clamp(0, 1)
    camera = None
    if options.focal_px is not None:
        rows, columns = grid.mask.shape
        focal_px = options.focal_px * columns / width
        pose = torch.eye(4, dtype=torch.float64)
        camera = Camera(columns, rows, focal_px, (columns / 2, rows / 2), pose)
    depth = integrate(grid, camera, confidence)
    if not _is_solid(options):
        return surface(depth, grid, camera), depth, camera
    size_mm, base_mm = options.size_mm or RELIEF_WIDTH_MM, options.base_mm or RELIEF_BASE_MM
    return solid(depth, grid, camera, size_mm, options.depth_mm, base_mm), depth, camera


def _write_report(
    path: Path,
    options: argparse.Namespace,
    photo: "Photo",
    normal_map: "NormalMap",
    depth: "Depth",
    camera: "Camera | None",
) -> None:
    import torch

    from maquette.app.report.report import write_report

    method = with_weights(options.method, options.weights)
    known = torch.where(depth.mask, depth.depth, torch.nan)
    write_report(path, photo, normal_map, known, camera, {"Method": method, "Mesh": options.output.name})
