"""`maquette photometric --lights FILE PHOTO... -o DIR`: many photos of one object, one map.

`maquette normals --method photometric` is the same.

The map's name is that of the folder, if one folder was given, else that of the first photo as the command line
names it. Photos that stand in plain alphabetical order, as a folder, a glob or a shell lists them, are taken
in the order of their numbers instead (2 before 10), because rows of lights are; any other order is kept.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli.inputs import expand, in_order
from maquette.app.cli.parser import (
    CONVENTIONS,
    Parser,
    add_mask_option,
    add_output_options,
    show_warnings_in_one_line,
)
from maquette.catalogue import ENCODINGS, FORMAT_SUFFIXES, LEAST_LIGHTS, MASK_WORDS, SOLVERS, SPHERES
from maquette.errors import InputError
from maquette.geometry.frames import camera_frame, describe
from maquette.methods.mask_choice import searches

if TYPE_CHECKING:
    from maquette.methods.photometric import PhotometricResult
    from maquette.types import Lights, Photo


def is_asked_for(argv: list[str]) -> bool:
    """Whether the arguments of `maquette normals` ask for photometric stereo, which has options of its own."""
    return "--method=photometric" in argv or ("--method", "photometric") in pairwise(argv)


def main(argv: list[str], verb: str = "photometric") -> int:
    """Run the method, as a verb of its own or as a method of `normals`; returns 0."""
    options = _parse(argv, verb)
    paths = in_order([path for path in expand(options.photo) if not _same_file(path, options.mask)])
    _require_photos(paths, options)
    show_warnings_in_one_line()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.geometry.directional import confidence_from_concentration
    from maquette.io.images import write_png8
    from maquette.io.normal_maps import write_confidence, write_normal_map
    from maquette.methods.masks import mask_share
    from maquette.viz.pictures import contact_sheet

    start = time.perf_counter()
    lights = _lights(paths, options)
    scene, result = _solve(paths, lights, options)
    name, suffix = _name(options.photo, paths), FORMAT_SUFFIXES[options.format]
    normals = options.output / f"{name}.normals{suffix}"
    write_normal_map(normals, result.normal_map, options.convention, options.format, scene.alpha)
    confidence = None
    if options.confidence and result.normal_map.concentration is not None:
        confidence = options.output / f"{name}.confidence{suffix}"
        values = confidence_from_concentration(result.normal_map.concentration)
        write_confidence(confidence, values * result.normal_map.mask, options.format)
    sheet = options.output / f"{name}.sheet.png"
    write_png8(sheet, contact_sheet(_shown(result, name), result.normal_map))
    report = {
        "photos": [str(path) for path in paths],
        "normals": str(normals),
        "confidence": None if confidence is None else str(confidence),
        "sheet": str(sheet),
        "convention": options.convention,
        "frame": describe(camera_frame(options.convention).matrix),
        "mask_share": mask_share(scene),
        **_findings(lights, result, options),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if options.json:
        print(json.dumps(report), flush=True)
    else:
        print(f"{len(paths)} photos -> {normals} ({report['seconds']:.1f} s)", flush=True)
    return 0


def _parse(argv: list[str], verb: str) -> argparse.Namespace:
    parser = Parser(verb, "One normal map from several photos of one still object, each under another light.")
    parser.add_argument("photo", nargs="+", metavar="PHOTO", help="at least 3 photos; a folder of them; a glob")
    add_output_options(parser)
    asked = "this method" if verb == "normals" else argparse.SUPPRESS
    parser.add_argument("--method", required=verb == "normals", choices=("photometric",), help=asked)
    parser.add_argument(
        "--lights", type=Path, metavar="FILE",
        help="rows of x y z (towards the light), of x y z r g b, or with the photo's name before",
    )  # fmt: skip
    parser.add_argument(
        "--lights-convention", choices=CONVENTIONS, default="opengl", help="frame of the lights; default: %(default)s"
    )
    parser.add_argument(
        "--intensities", type=Path, metavar="FILE", help="the lights' intensities: one number or three a row"
    )
    parser.add_argument("--sphere", choices=SPHERES, help="instead of --lights: tell them from a ball in the photos")
    parser.add_argument(
        "--sphere-region", metavar="CX,CY,R|FILE", help="the ball's circle in pixels, or a mask of its disc"
    )
    parser.add_argument("--solver", choices=SOLVERS, default="robust",
                        help="which frames a pixel believes; default: %(default)s")  # fmt: skip
    parser.add_argument(
        "--encoding", choices=ENCODINGS, default="auto",
        help="of the photos; auto: 16 bits and EXR are linear, 8 bits sRGB",
    )  # fmt: skip
    add_mask_option(parser, "the first photo's alpha, else what stands out of the mean of the photos by U^2-Net-p")
    parser.add_argument("--confidence", action="store_true", help="write how far each normal can be trusted, 0 to 1")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(argv)


def _require_photos(paths: list[Path], options: argparse.Namespace) -> None:
    if (options.lights is None) == (options.sphere is None):
        raise InputError("--method photometric: give either --lights FILE or --sphere chrome|matte, not both")
    if (options.sphere is None) != (options.sphere_region is None):
        raise InputError("--sphere and --sphere-region CX,CY,R|FILE belong together; give both")
    if options.intensities is not None and options.lights is None:
        raise InputError("--intensities: goes with --lights; a ball tells its own")
    if len(paths) < LEAST_LIGHTS:
        raise InputError(f"--method photometric: {len(paths)} photos; at least {LEAST_LIGHTS} of one view are needed")


def _same_file(path: Path, mask: str) -> bool:
    return mask not in MASK_WORDS and path.resolve() == Path(mask).resolve()


def _name(given: list[str], paths: list[Path]) -> str:
    folder = Path(given[0])
    return folder.resolve().name or "photos" if len(given) == 1 and folder.is_dir() else paths[0].stem


def _photos(paths: list[Path], options: argparse.Namespace, what: str) -> "Iterator[Photo]":
    """The photos, read one after the other under a progress bar."""
    from rich.console import Console
    from rich.progress import track

    from maquette.io.images import read_photo

    hidden = not sys.stderr.isatty()
    for path in track(paths, what, console=Console(stderr=True), transient=True, disable=hidden):
        yield read_photo(path, options.encoding)


def _lights(paths: list[Path], options: argparse.Namespace) -> "Lights":
    from maquette.io.lights import read_lights
    from maquette.methods.photometric import lights_from_sphere, read_circle
    from maquette.shading.solve import check_lights

    if options.sphere is None:
        lights = read_lights(options.lights, paths, options.lights_convention, options.intensities)
    else:
        circle = read_circle(options.sphere_region)
        lights = lights_from_sphere(_photos(paths, options, "lights"), options.sphere, circle)
    check_lights(lights.directions, lights.source)
    return lights


def _solve(paths: list[Path], lights: "Lights", options: argparse.Namespace) -> "tuple[Photo, PhotometricResult]":
    """A photo with the mask of the object, and what all of them together say."""
    from maquette.io.images import read_photo
    from maquette.methods.framing import mask_of
    from maquette.methods.masks import cut_out
    from maquette.methods.photometric import mean_photo, photometric_stereo

    scene = read_photo(paths[0], options.encoding)
    if searches(options.mask) and scene.mask is None:  # no single photo shows all of the object
        scene = mean_photo(_photos(paths, options, "mask"), lights)
    scene = cut_out(scene, options.mask)
    mask = mask_of(scene)
    return scene, photometric_stereo(_photos(paths, options, "normals"), lights, mask, options.solver)


def _shown(result: "PhotometricResult", name: str) -> "Photo":
    """The albedo as the photo of the contact sheet, so exposed that one pixel in a hundred is white."""
    import numpy as np

    from maquette.types import Photo

    mask = result.normal_map.mask
    white = max(float(np.percentile(result.albedo[mask].numpy(), 99)), 1e-12)
    return Photo(result.albedo / white, mask, name)


def _findings(lights: "Lights", result: "PhotometricResult", options: argparse.Namespace) -> dict[str, Any]:
    """What was used and what came out, for `--json`."""
    solution = result.solution
    finite = solution.conditioning[solution.conditioning.isfinite()]
    return {
        "solver": options.solver,
        "encoding": options.encoding,
        "lights": [[round(float(value), 6) for value in light] for light in lights.directions],
        "intensities": [[round(float(value), 6) for value in light] for light in lights.intensities],
        "lights_by_name": lights.named,
        "pixels": int(result.normal_map.mask.sum()),
        "median_residual": round(float(solution.residual.median()), 6),
        "median_conditioning": round(float(finite.median()), 3) if len(finite) else None,
    }
