"""`maquette render SPLAT`: Gaussians as a picture from one camera, or as a film around them."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.parser import SPLAT_FILES, Parser
from maquette.catalogue import AXES, MAP_SUFFIXES, PICTURE_SUFFIX, RENDERED
from maquette.errors import InputError

if TYPE_CHECKING:
    from maquette.types import Camera, Gaussians

_SIZE = (768, 768)
_MOST_SIDE_PX = 8192
_MOST_FRAMES = 3600
_FILM_GROUND = (0.0, 0.0, 0.0)


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    _check(options)
    start = time.perf_counter()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.app.predictors import resolve_device
    from maquette.io.cameras import read_camera
    from maquette.io.splats.files import read_splat
    from maquette.viz.films import require_film_suffix

    if options.orbit is not None:
        require_film_suffix(options.orbit)
    device = resolve_device(options.device)
    camera = None if options.camera is None else read_camera(options.camera, options.frame)
    gaussians = read_splat(options.splat, options.axes).to(device)
    if options.output is not None:
        _write_picture(options, gaussians, camera)
    if options.orbit is not None:
        _write_film(options, gaussians)
    report = {
        "splat": str(options.splat),
        "gaussians": len(gaussians),
        "picture": None if options.output is None else str(options.output),
        "film": None if options.orbit is None else str(options.orbit),
        "what": options.what,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if options.json:
        print(json.dumps(report))
    else:
        written = " and ".join(str(path) for path in (options.output, options.orbit) if path is not None)
        print(f"{options.splat} -> {written} ({len(gaussians)} Gaussians, {report['seconds']:.1f} s)")
    return 0


def size(text: str) -> tuple[int, int]:
    """`640x480`, for `add_argument(type=...)`."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 1 <= int(side) <= _MOST_SIDE_PX for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; two numbers of pixels up to {_MOST_SIDE_PX}, as 640x480"
        )
    return int(sides[0]), int(sides[1])


def _color(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(word) for word in text.split(","))
    except ValueError:
        red = green = blue = float("nan")
    if not all(0 <= value <= 1 for value in (red, green, blue)):
        raise argparse.ArgumentTypeError(f"{text!r} is no colour; three numbers from 0 to 1, as 1,1,1 for white")
    return red, green, blue


def _frames(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_FRAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_FRAMES}")
    return int(text)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("render", "Gaussians as a picture from one camera, or as a film around them.")
    parser.add_argument("splat", type=Path, metavar="SPLAT", help=SPLAT_FILES)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the picture, a .png; normals and depth also .exr or .npy"
    )
    parser.add_argument("--orbit", type=Path, metavar="MP4|GIF", help="a film once around the vertical axis")
    parser.add_argument("--frames", type=_frames, default=72, metavar="N", help="of the film; default: %(default)s")
    parser.add_argument(
        "--camera",
        type=Path,
        metavar="JSON",
        help="of the picture: nerfstudio's transforms.json, or one camera of it; default: from the front, all of it",
    )
    parser.add_argument("--frame", metavar="NAME", help="which of the camera file's frames, by its file_path")
    parser.add_argument(
        "--size", type=size, metavar="WxH", help=f"default: the camera's, or else {_SIZE[0]}x{_SIZE[1]}"
    )
    parser.add_argument("--what", choices=RENDERED, default="color", help="default: %(default)s")
    parser.add_argument(
        "--background",
        type=_color,
        metavar="R,G,B",
        help="display values from 0 to 1; default: transparent, in films black",
    )
    parser.add_argument("--axes", choices=AXES, help="of the file: right|left, up|down, back|forward; default: its own")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="default: a CUDA GPU if there is one")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(argv)


def _check(options: argparse.Namespace) -> None:
    if options.output is None and options.orbit is None:
        raise InputError("nothing to write: give -o PICTURE.png, --orbit FILM.mp4, or both")
    if options.camera is not None and options.output is None:
        raise InputError("--camera: is for a picture; give -o PICTURE.png (a film goes its own way around)")
    if options.frame is not None and options.camera is None:
        raise InputError("--frame: names a frame of a camera file; give --camera transforms.json")
    if options.background is not None and options.what != "color":
        raise InputError(f"--background: {options.what} has no background; leave it out")
    kinds = MAP_SUFFIXES if options.what in ("normals", "depth") else (PICTURE_SUFFIX,)
    if options.output is not None and options.output.suffix.lower() not in kinds:
        raise InputError(f"{options.output}: a picture of {options.what} must end in {' or '.join(kinds)}")


def _write_picture(options: argparse.Namespace, gaussians: "Gaussians", camera: "Camera | None") -> None:
    from maquette.geometry.viewpoints import facing, resized
    from maquette.viz.splat_pictures import extent, write_view

    if camera is None:
        low, high = extent(gaussians)
        camera = facing(low, high, *(options.size or _SIZE))
    elif options.size is not None:
        camera = resized(camera, *options.size)
    write_view(options.output, gaussians, camera, options.what, options.background)


def _write_film(options: argparse.Namespace, gaussians: "Gaussians") -> None:
    from maquette.geometry.viewpoints import turntable
    from maquette.viz.films import write_film
    from maquette.viz.splat_pictures import extent, film

    (low, high), (width, height) = extent(gaussians), options.size or _SIZE
    cameras = turntable(low, high, width, height, options.frames)
    frames = film(gaussians, _watched(cameras), options.what, options.background or _FILM_GROUND)
    write_film(options.orbit, frames)


def _watched(cameras: "list[Camera]") -> "Iterator[Camera]":
    """The cameras under a progress bar."""
    from rich.console import Console
    from rich.progress import track

    hidden = not sys.stderr.isatty()
    yield from track(cameras, "film", console=Console(stderr=True), transient=True, disable=hidden)
