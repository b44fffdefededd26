"""`maquette video CLIP|FRAMES... -o DIR`: normal maps of a moving picture that don't flicker.

`maquette normals --video` is the same.

The clip is a video file, or photos in order (a folder or a glob: by the numbers in their names). A map is written for
each frame, NAME.000000.normals.png and on, and a film of them all, NAME.normals.mp4.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.inputs import expand, in_order
from maquette.app.cli.method_options import check_settings, settings_of
from maquette.app.cli.parser import Parser, add_output_options, add_prediction_options, show_warnings_in_one_line
from maquette.catalogue import FORMAT_SUFFIXES, SMOOTHING, VIDEO_SUFFIXES
from maquette.errors import InputError
from maquette.geometry.frames import camera_frame, describe
from maquette.io.files import require_writable

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from maquette.tools.steady import SteadyFrame
    from maquette.types import NormalMap, Photo


_MANY = 2  # frames, or more: of a video file, nobody has counted them


def is_asked_for(argv: list[str]) -> bool:
    """Whether the arguments of `maquette normals` ask for a video, which has options of its own."""
    return "--video" in argv


def main(argv: list[str], verb: str = "video") -> int:
    """Run the verb, or `normals --video`, which is the same; returns 0."""
    for option in ("--tile", "--level"):
        if option in argv:
            asked = "--video" if verb == "normals" else verb
            raise InputError(f"{asked} {option}: is for single photos of a surface; leave one of the two out")
    options = _parse(argv, verb)
    source = _source(options.clip)
    check_settings(options, [options.method], photos=max(len(source), _MANY))
    require_writable(options.output, "-o")
    show_warnings_in_one_line()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.app.predictors import build_predictor
    from maquette.io.films import frame_rate
    from maquette.methods.masks import mask_share
    from maquette.viz.films import write_film

    start = time.perf_counter()
    name = source[0].parent.name if len(source) > 1 and Path(options.clip[0]).is_dir() else source[0].stem
    rate = options.frame_rate or (frame_rate(source[0]) if _is_video(source[0]) else 24.0)
    settings = settings_of(options, options.method)
    predictor = build_predictor(options.method, options.weights, options.device, options.detail_px, settings)
    written: list[Path] = []
    measured: list[SteadyFrame] = []
    shares: list[float] = []

    def frames() -> "Iterator[UInt8[Tensor, 'height width 3']]":
        from maquette.io.normal_maps import write_normal_map
        from maquette.tools.steady import steady
        from maquette.viz.pictures import normals_in_colour

        def predicted() -> "Iterator[tuple[Photo, NormalMap]]":
            for photo in _photos(source, options.mask):
                shares.append(mask_share(photo))
                yield photo, predictor(photo)

        for number, result in enumerate(steady(predicted(), options.smoothing)):
            path = options.output / f"{name}.{number:06d}.normals{FORMAT_SUFFIXES[options.format]}"
            write_normal_map(path, result.normal_map, options.convention, options.format)
            written.append(path)
            measured.append(result)
            if sys.stderr.isatty():
                print(f"\rframe {number + 1}", end="", file=sys.stderr, flush=True)
            yield normals_in_colour(result.normal_map)

    film = options.output / f"{name}.normals.mp4"
    write_film(film, frames(), rate)
    report = {
        "clip": str(source[0]) if len(source) == 1 else [str(path) for path in source],
        "frames": len(written),
        "normals": [str(path) for path in written],
        "film": str(film),
        "flicker_deg": _mean([frame.flicker_deg for frame in measured]),
        "raw_flicker_deg": _mean([frame.raw_flicker_deg for frame in measured]),
        "mask_share": _mean(shares),
        "convention": options.convention,
        "frame": describe(camera_frame(options.convention).matrix),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if options.json:
        print(json.dumps(report), flush=True)
    else:
        flicker = "" if report["flicker_deg"] is None else (
            f"; flicker {report['flicker_deg']:.2f} deg a frame, {report['raw_flicker_deg']:.2f} without smoothing"
        )  # fmt: skip
        print(f"{len(written)} frames -> {film} ({report['seconds']:.1f} s{flicker})", flush=True)
    return 0


def _parse(argv: list[str], verb: str = "video") -> argparse.Namespace:
    parser = Parser(verb, "Normal maps of a video or of photos in order, smoothed along the motion.")
    parser.add_argument("clip", nargs="+", metavar="CLIP", help="a video file; or a folder, a glob or files of frames")
    asked = "this way of working" if verb == "normals" else argparse.SUPPRESS
    parser.add_argument("--video", action="store_true", help=asked)
    add_output_options(parser)
    parser.add_argument(
        "--smoothing", type=_share, default=SMOOTHING, metavar="S",
        help="share of the past where nothing changed, 0 (none) to below 1; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--frame-rate", type=_rate, metavar="FPS", help="of the film; default: the clip's, or 24 for photos"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    add_prediction_options(parser)
    return parser.parse_args(argv)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to below 1")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 240:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 240")
    return value


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _source(arguments: list[str]) -> list[Path]:
    """One video file, or the frames in order."""
    if any(_is_video(Path(argument)) for argument in arguments):
        if len(arguments) > 1:
            raise InputError(f"--video: {len(arguments)} inputs, one of them a video file; give one video at a time")
        path = Path(arguments[0])
        if not path.is_file():
            raise InputError(f"{path}: no such video file")
        return [path]
    return in_order(expand(arguments))


def _photos(source: list[Path], mask: str) -> "Iterator[Photo]":
    from maquette.io.films import read_frames
    from maquette.io.images import read_photo
    from maquette.methods.masks import cut_out

    for photo in read_frames(source[0]) if _is_video(source[0]) else map(read_photo, source):
        yield cut_out(photo, mask)


def _mean(values: list[float]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if not math.isnan(value)]
    return round(sum(known) / len(known), 4) if known else None
