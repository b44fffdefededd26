"""`maquette normals PHOTO... -o DIR`: normal maps, confidences and contact sheets of photos."""

import argparse
import json
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli import photometric, video
from maquette.app.cli.inputs import expand, hint_at_normals, require_distinct_stems
from maquette.app.cli.method_options import Extras, check_settings, settings_of
from maquette.app.cli.parser import (
    Parser,
    add_frame_options,
    add_output_options,
    add_prediction_options,
    show_warnings_in_one_line,
)
from maquette.app.method_names import read_method, with_weights
from maquette.catalogue import FORMAT_SUFFIXES, METHODS, Method
from maquette.errors import InputError
from maquette.io.files import require_writable

if TYPE_CHECKING:
    from rich.progress import Progress

    from maquette.app.predictors import Predictor
    from maquette.io.normal_maps import Format
    from maquette.types import NormalMap, Photo


def main(argv: list[str]) -> int:
    """Run the verb; returns 0, or 2 if a photo of a batch failed."""
    if photometric.is_asked_for(argv):
        return photometric.main(argv, "normals")
    if video.is_asked_for(argv):
        return video.main(argv, "normals")
    options = _parse(argv)
    photos = expand(options.photo)
    require_distinct_stems(photos)
    if options.confidence and not read_method(options.method).may_know_its_confidence:
        raise InputError(f"--confidence: the method {options.method} doesn't know its own; use --method nirne")
    _check_tile(options)
    writers = {method: extras for method in METHODS if (extras := _extras(method)) is not None}
    outputs = {method: extras.OUTPUTS for method, extras in writers.items()}
    check_settings(options, [options.method], len(photos), outputs=outputs)
    if options.method in writers:
        writers[options.method].check(options, photos)
    require_writable(options.output, "-o")
    show_warnings_in_one_line()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.app.predictors import build_predictor

    settings = settings_of(options, options.method)
    predictor = build_predictor(options.method, options.weights, options.device, options.detail_px, settings)
    extras = _extras(options.method)
    if extras is not None:
        extras.require_fitting(predictor, options)
    failed = _run_all(photos, options, predictor)
    if failed and len(photos) > 1:
        names = ", ".join(str(path) for path in failed)
        done = len(photos) - len(failed)
        print(f"maquette: {done} of {len(photos)} photos done; failed: {names}", file=sys.stderr)
    return 2 if failed else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser(
        "normals",
        "Surface normals of photos: a normal map and a contact sheet of each. Several photos"
        " of one object under other lights: --method photometric --help. A moving picture: --video --help.",
    )
    parser.add_argument(
        "photo", nargs="+", metavar="PHOTO", help="png, jpg, webp, tiff or exr; a folder of them; a glob"
    )
    add_output_options(parser)
    parser.add_argument("--confidence", action="store_true", help="write how far each normal can be trusted, 0 to 1")
    parser.add_argument("--height", action="store_true", help="write the height map of the normals, 16 bits or float")
    parser.add_argument("--report", action="store_true", help="write a page with a light to move and a relief to turn")
    parser.add_argument("--json", action="store_true", help="one JSON object a photo and line on stdout")
    groups = add_prediction_options(parser)
    add_frame_options(parser)
    for method in METHODS:
        if (extras := _extras(method)) is not None:
            extras.add_outputs(groups[method])
    return parser.parse_args(argv)


def _check_tile(options: argparse.Namespace) -> None:
    """Raise an InputError for what `--tile` can't be together with."""
    if not options.tile:
        return
    if options.mask not in ("auto", "none"):  # auto is what nobody asked for
        raise InputError(f"--tile --mask {options.mask}: a map that repeats fills its frame; leave --mask out")
    outputs = _outputs(options, options.method)
    if outputs or not _known(options.method).fills_frame:
        given = f"--{outputs[0]}" if _known(options.method).fills_frame else f"--method {options.method}"
        raise InputError(f"--tile {given}: is for an object; --tile is for a surface that fills the frame")


def _outputs(options: argparse.Namespace, method: str) -> list[str]:
    """What the method is to write beside the normals."""
    extras = _extras(method)
    return [] if extras is None else [name for name in extras.OUTPUTS if getattr(options, name) is not None]


def _extras(method: str) -> Extras | None:
    """The module of what only this method writes."""
    path = _known(method).extras
    return import_module(path) if path else None  # pyright: ignore[reportReturnType]


def _known(method: str) -> Method:
    """The method's entry; a model of one's own has nothing for itself."""
    return METHODS.get(method) or Method(method, "", "")


def _run_all(photos: list[Path], options: argparse.Namespace, predictor: "Predictor") -> list[Path]:
    """Work through the photos; a bad one is reported and left behind. Returns those that failed."""
    from rich.console import Console
    from rich.progress import Progress

    failed = []
    # A photo is soon done, but by a loop.
    hidden = (len(photos) == 1 and not _known(options.method).slow) or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as progress:
        task = progress.add_task("normals", total=len(photos))
        for path in photos:
            try:
                report = _run_one(path, options, predictor, progress)
            except InputError as error:
                failed.append(path)
                report = {"photo": str(path), "error": str(error)}
                print(f"maquette: {error}", file=sys.stderr)
            if options.json:
                print(json.dumps(report), flush=True)
            elif "error" not in report:
                print(f"{report['photo']} -> {report['normals']} ({report['seconds']:.1f} s)", flush=True)
            progress.advance(task)
    return failed


def _run_one(path: Path, options: argparse.Namespace, predictor: "Predictor", progress: "Progress") -> dict[str, Any]:
    """Predict one photo and write its files; returns what `--json` prints."""
    from maquette.geometry.directional import confidence_from_concentration
    from maquette.geometry.frames import camera_frame, describe
    from maquette.io.images import read_photo, write_png8
    from maquette.io.normal_maps import write_confidence, write_normal_map
    from maquette.methods.masks import cut_out, mask_share
    from maquette.viz.pictures import contact_sheet

    start = time.perf_counter()
    photo = read_photo(path)
    hint_at_normals(photo, path, "mesh and relight take one with --normals, convert and check-normals as it is")
    if options.tile and photo.mask is not None:
        warnings.warn(f"{path}: --tile: what is transparent is taken for surface, too", stacklevel=1)
    photo = cut_out(photo, "none" if options.tile else options.mask)
    normal_map, added = _predict(photo, options, predictor, progress, path)
    if options.confidence and normal_map.concentration is None:
        raise InputError(f"{path}: --confidence: the method {options.method} doesn't know its own; leave it out")

    suffix = FORMAT_SUFFIXES[options.format]
    normals = options.output / f"{path.stem}.normals{suffix}"
    write_normal_map(normals, normal_map, options.convention, options.format, photo.alpha)
    confidence = None
    if options.confidence and normal_map.concentration is not None:
        confidence = options.output / f"{path.stem}.confidence{suffix}"
        values = confidence_from_concentration(normal_map.concentration)
        write_confidence(confidence, values * normal_map.mask, options.format)
    height, height_range_px = None, None
    if options.height:
        height = options.output / f"{path.stem}.height{suffix}"
        height_range_px = _write_height(height, normal_map, options.format)
    sheet = options.output / f"{path.stem}.sheet.png"
    write_png8(sheet, contact_sheet(photo, normal_map))
    frame = describe(camera_frame(options.convention).matrix)
    report = None
    if options.report:
        report = options.output / f"{path.stem}.report.html"
        method = with_weights(options.method, options.weights)
        _write_report(report, photo, normal_map, {"Method": method, "Normal map": f"{normals.name}: {frame}"})
    return {
        "photo": str(path),
        "normals": str(normals),
        "confidence": None if confidence is None else str(confidence),
        "height": None if height is None else str(height),
        "height_range_px": height_range_px,
        "sheet": str(sheet),
        "report": None if report is None else str(report),
        "convention": options.convention,
        "frame": frame,
        "mask_share": mask_share(photo),
        **added,
        "seconds": round(time.perf_counter() - start, 3),
    }


def _predict(
    photo: "Photo", options: argparse.Namespace, predictor: "Predictor", progress: "Progress", path: Path
) -> "tuple[NormalMap, dict[str, Any]]":
    """The map, and what `--json` tells of it beside the rest."""
    added: dict[str, Any] = {}
    if options.tile:
        from maquette.methods.whole_frame import seam_ratio, tiled

        normal_map = tiled(predictor, photo)
        added = {"seam_ratio": round(seam_ratio(normal_map), 3)}
    elif (extras := _extras(options.method)) is not None:
        normal_map, added = extras.run(predictor, photo, path.stem, options, progress)
    else:
        normal_map = predictor(photo)
    if options.level:
        from maquette.methods.whole_frame import level, tilt_deg

        added["tilt_deg"] = round(tilt_deg(normal_map), 3)
        normal_map = level(normal_map)
    return normal_map, added


def _write_height(path: Path, normal_map: "NormalMap", format: "Format") -> list[float]:
    """Integrate and write; returns the range of heights inside the mask, in pixels."""
    import torch

    from maquette.geometry.directional import confidence_from_concentration
    from maquette.geometry.integrate import integrate
    from maquette.io.height_maps import write_height_map
    from maquette.methods.relief import heights_px

    concentration = normal_map.concentration
    confidence = None if concentration is None else confidence_from_concentration(concentration)
    heights = torch.from_numpy(heights_px(integrate(normal_map, confidence=confidence)))
    low, high = write_height_map(path, heights, normal_map.mask.cpu(), format)
    return [round(low, 4), round(high, 4)]


def _write_report(path: Path, photo: "Photo", normal_map: "NormalMap", facts: dict[str, str]) -> None:
    from maquette.app.report.report import relief_depth, write_report

    write_report(path, photo, normal_map, relief_depth(normal_map), facts=facts)
