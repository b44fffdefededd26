"""`maquette relight PHOTO|NORMALS|SPLAT`: an object under a light of one's own, as a picture or as a film."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.inputs import hint_at_normals, is_normal_map
from maquette.app.cli.method_options import check_settings, settings_of
from maquette.app.cli.parser import CONVENTIONS, Parser, add_prediction_options, show_warnings_in_one_line
from maquette.catalogue import AXES, PICTURE_SUFFIX, SPLAT_SUFFIXES
from maquette.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.types import NormalMap

_FILM_PX = 640
_FILM_FRAMES = 72
_SPLAT_PX = 768


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    if options.output is None and options.orbit is None:
        raise InputError("nothing to write: give -o PICTURE.png, --orbit FILM.mp4, or both")
    for name in ("azimuth", "elevation"):
        if not math.isfinite(getattr(options, name)):
            raise InputError(f"--{name}: must be a finite number of degrees")
    if options.output is not None and options.output.suffix.lower() != PICTURE_SUFFIX:
        raise InputError(f"{options.output}: the picture must end in {PICTURE_SUFFIX}")
    for name, output in (("-o", options.output), ("--orbit", options.orbit)):
        if output is not None and _same_file(output, options.input):
            raise InputError(f"{name} {output}: is the input itself, which would be lost; give another name")
    check_settings(options, [options.method], photos=1)
    show_warnings_in_one_line()
    if options.input.suffix.lower() in SPLAT_SUFFIXES:
        return _relight_splat(options)
    if options.axes is not None:
        raise InputError(f"--axes {options.axes}: is that of a splat; {options.input} is none")

    from maquette.io.images import write_srgb
    from maquette.viz.films import require_film_suffix, write_film
    from maquette.viz.pictures import CLAY, orbit, relit, shrink_image, shrink_normals

    if options.orbit is not None:
        require_film_suffix(options.orbit)
    normal_map, albedo, alpha = _surface(options)
    if options.output is not None:
        colour = CLAY if albedo is None else albedo
        picture = relit(normal_map, options.azimuth, options.elevation, colour)
        write_srgb(options.output, picture, normal_map.mask, alpha)
        print(options.output)
    if options.orbit is not None:
        small = shrink_normals(normal_map, _FILM_PX)
        colour = CLAY if albedo is None else shrink_image(albedo, _FILM_PX)
        write_film(options.orbit, orbit(small, options.elevation, _FILM_FRAMES, colour))
        print(options.orbit)
    return 0


def _relight_splat(options: argparse.Namespace) -> int:
    from maquette.app.predictors import resolve_device
    from maquette.app.splat_relight import orbit, picture, relightable
    from maquette.geometry.viewpoints import resized
    from maquette.io.images import write_png8
    from maquette.io.splats.files import read_splat
    from maquette.viz.films import require_film_suffix, write_film

    if options.orbit is not None:
        require_film_suffix(options.orbit)
    gaussians = read_splat(options.input, options.axes).to(resolve_device(options.device))
    scene = relightable(gaussians, str(options.input), _SPLAT_PX, _SPLAT_PX)
    if options.output is not None:
        write_png8(options.output, picture(scene, options.azimuth, options.elevation))
        print(options.output)
    if options.orbit is not None:
        small = replace(scene, camera=resized(scene.camera, _FILM_PX, _FILM_PX))
        write_film(options.orbit, orbit(small, options.elevation, _FILM_FRAMES))
        print(options.orbit)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("relight", "A photo, a normal map, or Gaussians, as a matte object under another light.")
    parser.add_argument(
        "input",
        type=Path,
        metavar="PHOTO|NORMALS|SPLAT",
        help=f"a splat ({', '.join(SPLAT_SUFFIXES)}) is shaded by its albedo and its Gaussians' thinnest axes",
    )
    parser.add_argument(
        "--azimuth",
        type=float,
        default=135.0,
        metavar="DEG",
        help="counter-clockwise from the right: 90 is from above; default: %(default)s",
    )
    parser.add_argument(
        "--elevation",
        type=float,
        default=40.0,
        metavar="DEG",
        help="from the image plane (0) towards the viewer (90); default: %(default)s",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="PNG", help="the picture to write")
    parser.add_argument("--orbit", type=Path, metavar="MP4|GIF", help="a film of a light that goes around")
    parser.add_argument(
        "--normals", action="store_true", help="the input is a normal map (*.normals.* and *.npy always are)"
    )
    parser.add_argument(
        "--convention", choices=CONVENTIONS, default="opengl", help="of a normal map; default: %(default)s"
    )
    parser.add_argument("--axes", choices=AXES, help="of a splat: right|left, up|down, back|forward; default: its own")
    add_prediction_options(parser)
    return parser.parse_args(argv)


def _same_file(output: Path, given: Path) -> bool:
    return output.exists() and given.exists() and output.samefile(given)


def _surface(options: argparse.Namespace) -> "tuple[NormalMap, Tensor | None, Tensor | None]":
    """The normals to light, and the albedo and the alpha if the input has them."""
    from maquette.app.predictors import build_predictor
    from maquette.io.images import read_photo
    from maquette.io.normal_maps import read_normal_map
    from maquette.methods.masks import cut_out
    from maquette.shading.lambert import estimate_albedo

    path = options.input
    if options.normals or is_normal_map(path):
        return read_normal_map(path, options.convention), None, None
    photo = read_photo(path)
    hint_at_normals(photo, path, "give --normals")
    photo = cut_out(photo, options.mask)
    settings = settings_of(options, options.method)
    normal_map = build_predictor(options.method, options.weights, options.device, options.detail_px, settings)(photo)
    return normal_map, estimate_albedo(photo.rgb, normal_map.normals, normal_map.mask), photo.alpha
