"""The argument parser of the verbs, and the options that several of them share."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from maquette.app.cli.method_options import add_settings, whole
from maquette.app.method_names import read_method
from maquette.catalogue import (
    AUTO_NIRNE_WEIGHTS,
    DEFAULT_METHOD,
    DETAIL_PX,
    DETAIL_RANGE_PX,
    FOREIGN_FORMS,
    FORMAT_SUFFIXES,
    MASK_FORMS,
    METHODS,
    NORMALS_METHODS,
    SPLAT_SUFFIXES,
    TILED_DETAIL_PX,
)
from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.methods.mask_choice import read_choice

CONVENTIONS = tuple(CAMERA_FRAMES)
FORMATS = tuple(FORMAT_SUFFIXES)
METHOD_HELP = f"{', '.join(NORMALS_METHODS)}, or a model of one's own: {FOREIGN_FORMS}; default: %(default)s"


def either(words: Sequence[str]) -> str:
    """`.ply, .spz or .sog`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


WITH_WEIGHTS = either([name for name in NORMALS_METHODS if "weights" in METHODS[name].asks])
SPLAT_FILES = f"a {either(SPLAT_SUFFIXES)}"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that tells a mistake in one line, as everything else here does."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"maquette {verb}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with the usage above it."""
        raise InputError(f"{message} (see {self.prog} --help)")


def method_text(text: str) -> str:
    """A `--method`, checked as far as that needs nothing heavy; for `add_argument(type=...)`."""
    try:
        read_method(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Where normal maps go, and in which frame and format."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--convention", choices=CONVENTIONS, default="opengl", help="default: %(default)s")
    parser.add_argument("--format", choices=FORMATS, default="png16", help="default: %(default)s")


def mask_text(text: str) -> str:
    """A `--mask`, checked as far as that needs no photo; for `add_argument(type=...)`."""
    try:
        read_choice(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--mask ")) from None
    return text


def add_mask_option(parser: argparse.ArgumentParser, auto: str = "alpha, else what stands out by U^2-Net-p") -> None:
    """Where the object is; `auto` says what that word does."""
    parser.add_argument(
        "--mask",
        type=mask_text,
        default="auto",
        metavar=MASK_FORMS,
        help=f"where the object is: a mask file; auto (the default): {auto}; alpha: the photo's own; none: the whole"
        " frame; grabcut: alpha, else GrabCut; box, point: what stands out there, in pixels from the top-left corner;"
        " rembg: by a model of an installed rembg",
    )


def add_prediction_options(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """How normals are predicted from a photo; returns the groups of options that methods have for themselves."""
    add_mask_option(parser)
    parser.add_argument("--method", type=method_text, default=DEFAULT_METHOD, metavar="METHOD", help=METHOD_HELP)
    parser.add_argument(
        "--weights",
        metavar="NAME|DIR",
        help=f"of {WITH_WEIGHTS}: weights that ship, or a folder with config.json and model.safetensors; default:"
        " the method's own",
    )
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="default: a CUDA GPU if there is one")
    add_detail_option(parser)
    return add_settings(parser)


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    """What is made of a photo that a surface fills."""
    parser.add_argument(
        "--tile",
        action="store_true",
        help="the photo repeats, and its map shall, too: no seam where copies meet; all of the frame, as --mask none",
    )
    parser.add_argument(
        "--level", action="store_true", help="turn the map so that the surface faces the viewer in the mean"
    )


def add_detail_option(parser: argparse.ArgumentParser) -> None:
    """How finely NiRNE looks."""
    parser.add_argument(
        "--detail-px",
        type=whole(DETAIL_RANGE_PX),
        metavar="N",
        help="nirne looks as finely as N pixels across the object (time grows with N squared), 0: at its training size;"
        f" default: {DETAIL_PX}, or {TILED_DETAIL_PX} for weights without a guide ({AUTO_NIRNE_WEIGHTS}, auto)",
    )


def show_warnings_in_one_line() -> None:
    """Print what the library warns of as `maquette: warning: ...` on stderr."""

    def show(message: Warning | str, *_: object) -> None:
        print(f"maquette: warning: {message}", file=sys.stderr)

    warnings.showwarning = show
    warnings.simplefilter("always", UserWarning)
