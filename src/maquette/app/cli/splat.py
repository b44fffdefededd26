"""`maquette splat IMAGE -o FILE`: one picture of an object as Gaussians, and as a film around them."""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli.method_options import add_settings, check_settings, settings_of
from maquette.app.cli.parser import Parser, add_mask_option
from maquette.catalogue import METHODS, SPLAT_FORMATS, SPLAT_METHODS, SPLAT_WRITE_SUFFIXES
from maquette.errors import InputError
from maquette.io.files import atomic_path, require_writable

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.types import Camera, Gaussians, Photo

_FILM_PX = 512
_FILM_FRAMES = 72
_CLONE_FRAME = "x right, y up, z towards the viewer; the square about the object spans -1 to 1"


def main(argv: list[str]) -> int:
    """Run the verb; returns 0."""
    options = _parse(argv)
    _check(options)
    start = time.perf_counter()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.io.images import read_photo
    from maquette.viz.films import require_film_suffix

    if options.orbit is not None:
        require_film_suffix(options.orbit)
    photo = read_photo(options.image)
    made = _gsn if options.method == "gsn" else _clone
    with _heard(photo.name) as said:
        gaussians, normals, added = made(options, photo, said)
        _write(options, gaussians, normals)
    report = {
        "image": str(options.image),
        "splat": str(options.output),
        "film": None if options.orbit is None else str(options.orbit),
        "method": options.method,
        "gaussians": len(gaussians),
        "bytes": options.output.stat().st_size,
        **added,
        "axes": SPLAT_FORMATS[options.output.suffix.lower()].axes,
        "warnings": said,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if options.json:
        print(json.dumps(report), flush=True)
    else:
        written = " and ".join(str(path) for path in (options.output, options.orbit) if path is not None)
        sure = "" if added["confidence"] is None else f", confidence {added['confidence']:.2f}"
        print(f"{options.image} -> {written} ({len(gaussians)} Gaussians{sure}, {report['seconds']:.1f} s)")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("splat", "One picture of an object as Gaussians, which any viewer of splats can turn.")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="png, jpg, webp, tiff or exr")
    kinds = ", ".join(SPLAT_WRITE_SUFFIXES)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=f"ends in {kinds}")
    parser.add_argument("--orbit", type=Path, metavar="MP4|GIF", help="a film once around the vertical axis")
    parser.add_argument(
        "--method",
        choices=SPLAT_METHODS,
        default=SPLAT_METHODS[0],
        help="gsn makes the object whole, in one pass of a network; clone fits what the picture shows, in a minute or"
        " more; default: %(default)s",
    )
    add_mask_option(parser, "alpha, else, of a picture on white, what isn't white, else what stands out by U^2-Net-p")
    parser.add_argument(
        "--weights",
        metavar="NAME|DIR",
        help="that ship, or a folder with config.json and model.safetensors; default: the method's own",
    )
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="default: a CUDA GPU if there is one")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    add_settings(parser, SPLAT_METHODS)
    return parser.parse_args(argv)


def _check(options: argparse.Namespace) -> None:
    if options.output.suffix.lower() not in SPLAT_WRITE_SUFFIXES:
        raise InputError(f"-o {options.output}: a splat ends in one of {', '.join(SPLAT_WRITE_SUFFIXES)}")
    for name, path in (("-o", options.output), ("--orbit", options.orbit)):
        if path is not None and path.is_dir():
            raise InputError(f"{name} {path}: it is a folder; give the name of a file")
        if path is not None and path.resolve() == options.image.resolve():
            raise InputError(f"{name} {path}: would overwrite the picture; give another name")
    if options.weights is None:  # an empty name is a mistake of its own
        options.weights = METHODS[options.method].weights
    elif getattr(options, "refiner", None) is not None and options.method == "clone":
        raise InputError("--weights and --refiner: are the same of clone; give one of them")
    part, start = METHODS[options.method].cpu_part, getattr(options, "init", None)
    if part and start is None and options.device not in ("auto", "cpu"):
        raise InputError(f"--device {options.device}: the {part} of {options.method} runs on the CPU; give cpu or auto")
    check_settings(options, [options.method], photos=1, known=SPLAT_METHODS)


@contextmanager
def _heard(name: str) -> Iterator[list[str]]:
    """What is warned of, without the picture's name; printed on stderr when all is done."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield said
    said += [str(warning.message).removeprefix(f"{name}: ") for warning in caught]
    for line in said:
        print(f"maquette: warning: {name}: {line}", file=sys.stderr)


def _gsn(
    options: argparse.Namespace, photo: "Photo", said: list[str]
) -> "tuple[Gaussians, Tensor | None, dict[str, Any]]":
    """The object, with outward normals, and what `--json` tells of it."""
    from maquette.app.predictors import resolve_device
    from maquette.methods.gsn import GSN, outward_normals
    from maquette.methods.masks import cut_out

    method = GSN.from_pretrained(options.weights, resolve_device(options.device))
    if options.mask != "auto":  # by itself, the method takes the alpha, or looks what is white
        photo = cut_out(photo, options.mask)
    _require_places(options)
    result = method.splat(photo)
    said += result.warnings
    distance = method.net.config.distance
    frame = (
        "x right, y up, z towards the viewer; origin in the middle of the object; unit the diagonal of its box;"
        f" seen from (0, 0, {distance:g})"
    )
    gaussians = result.gaussians.cpu()
    return (
        gaussians,
        outward_normals(gaussians),
        {
            "confidence": round(result.confidence, 4),
            "mask_share": round(result.mask_share, 4),
            "model_seconds": round(result.seconds, 4),
            "frame": frame,
            "camera": _described(result.camera),
        },
    )


def _clone(
    options: argparse.Namespace, photo: "Photo", said: list[str]
) -> "tuple[Gaussians, Tensor | None, dict[str, Any]]":
    """What the picture shows of the object, and what `--json` tells of it; nothing is known of a confidence."""
    from rich.console import Console
    from rich.progress import Progress

    from maquette.app.predictors import build_method
    from maquette.methods.masks import cut_out, mask_share

    settings = {"refiner": options.weights, **settings_of(options, options.method)}
    method = build_method(options.method, device=options.device, settings=settings)
    photo = cut_out(photo, options.mask)
    _require_places(options)
    start = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("clone", total=None)
        result = method.fit(photo, lambda iteration, *_: progress.update(task, description=f"iteration {iteration}"))
    return (
        result.gaussians,
        None,
        {
            "confidence": None,
            "mask_share": mask_share(photo),
            "model_seconds": round(time.perf_counter() - start, 4),
            "frame": _CLONE_FRAME,
            "camera": None,
        },
    )


def _described(camera: "Camera") -> dict[str, Any]:
    """The camera that sees the splat where the picture shows the object."""
    return {
        "size_px": [camera.width, camera.height],
        "focal_px": round(camera.focal_px, 4),
        "center_px": list(camera.center_px),
        "distance": round(float(camera.camera_to_world[2, 3]), 6),
    }


def _require_places(options: argparse.Namespace) -> None:
    """Raise an InputError if a file can't be written, before the work whose result belongs there."""
    require_writable(options.output.parent, "-o")
    if options.orbit is not None:
        require_writable(options.orbit.parent, "--orbit")


def _write(options: argparse.Namespace, gaussians: "Gaussians", normals: "Tensor | None") -> None:
    """The splat and the film, both or neither."""
    from maquette.geometry.viewpoints import turntable
    from maquette.io.splats.files import write_splat
    from maquette.viz.films import write_film
    from maquette.viz.splat_pictures import extent, film

    with ExitStack() as stack:
        splat = stack.enter_context(atomic_path(options.output))
        write_splat(splat, gaussians, normals=normals)
        if options.orbit is not None:
            turn = stack.enter_context(atomic_path(options.orbit))
            cameras = turntable(*extent(gaussians), _FILM_PX, _FILM_PX, _FILM_FRAMES)
            write_film(turn, film(gaussians, _watched(cameras), "color", (1.0, 1.0, 1.0)))


def _watched(cameras: "list[Camera]") -> "Iterator[Camera]":
    """The cameras under a progress bar."""
    from rich.console import Console
    from rich.progress import track

    hidden = not sys.stderr.isatty()
    yield from track(cameras, "film", console=Console(stderr=True), transient=True, disable=hidden)
