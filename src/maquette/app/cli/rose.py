"""`maquette normals PHOTO... --method rose`: its own options, and what it writes beside the normals.

FILE.gif, .mp4, .png   --frames FILE: the object under the ring of lights, as a film or as one strip
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.method_names import weights_of
from maquette.errors import InputError
from maquette.io.files import require_writable

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from maquette.methods.rose import RoSE
    from maquette.types import NormalMap, Photo

_OPTIONS = ("steps", "guidance", "solver", "frames")
_SOLVERS = ("robust", "paper")
_MOST_STEPS = 1000
_MOST_GUIDANCE = 20.0
_FRAME_SUFFIXES = (".gif", ".mp4", ".png")
_FRAME_RATE = 6


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `--method rose` alone has."""
    group = parser.add_argument_group("--method rose: the object imagined under a ring of lights, then solved")
    group.add_argument(
        "--steps", type=_steps, metavar="N", help=f"of the imagination, 1 to {_MOST_STEPS}; more is slower"
    )
    group.add_argument(
        "--guidance",
        type=_guidance,
        metavar="G",
        help=f"how much the photo's say is exaggerated, 0 to {_MOST_GUIDANCE:g}; 1 is none, others take twice the time",
    )
    group.add_argument("--solver", choices=_SOLVERS, help="which frames a pixel believes; default: robust")
    group.add_argument(
        "--frames", type=Path, metavar="FILE", help="write what was imagined: a film (.gif, .mp4) or a strip (.png)"
    )


def check(options: argparse.Namespace, photos: list[Path]) -> None:
    """Raise an InputError for options that don't fit the method or the number of photos."""
    if options.method != "rose":
        given = [f"--{name}" for name in _OPTIONS if getattr(options, name) is not None]
        if given:
            raise InputError(f"{', '.join(given)}: belongs to --method rose; the method here is {options.method}")
        return
    if options.frames is None:
        return
    if options.frames.suffix.lower() not in _FRAME_SUFFIXES:
        raise InputError(f"--frames {options.frames}: must end in one of {', '.join(_FRAME_SUFFIXES)}")
    if len(photos) > 1:
        raise InputError(f"--frames {options.frames}: is the file of one photo; {len(photos)} are given")
    require_writable(options.frames.parent, "--frames")


def build(options: argparse.Namespace) -> "RoSE":
    """The method with its weights.

    Raises:
        InputError: the weights can't be read, or know no frames to write.
    """
    from maquette.app.predictors import resolve_device
    from maquette.methods.rose import RoSE

    asked = {name: getattr(options, name) for name in ("steps", "guidance", "solver")}
    given = {name: value for name, value in asked.items() if value is not None}
    weights = weights_of("rose", options.weights)
    method = RoSE.from_pretrained(weights, resolve_device(options.device), **given)
    if options.frames is not None and method.net.config.predicts == "normals":
        raise InputError(f"--frames {options.frames}: {weights} predicts normals directly and imagines no frames")
    return method


def run(method: "RoSE", photo: "Photo", options: argparse.Namespace) -> "tuple[NormalMap, dict[str, Any]]":
    """Predict, and write the frames if they were asked for; returns the map, and what `--json` adds."""
    imagined = method.imagine(photo)
    if options.frames is not None and imagined.frames is not None:
        _write_frames(options.frames, imagined.frames)
    return imagined.normal_map, {
        "steps": method.steps,
        "guidance": method.guidance,
        "solver": method.solver,
        "frames": None if options.frames is None else str(options.frames),
    }


def _write_frames(path: Path, frames: "Float[Tensor, 'frames side side']") -> None:
    """Shadings as a screen shows them, as large as the network imagined them."""
    import torch

    from maquette.app.video import write_film
    from maquette.io.images import to_srgb8, write_png8

    pictures = [to_srgb8(frame[..., None].expand(-1, -1, 3)) for frame in frames]
    if path.suffix.lower() == ".png":
        write_png8(path, torch.cat(pictures, dim=1))
    else:
        write_film(path, pictures, _FRAME_RATE)


def _steps(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_STEPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_STEPS}")
    return int(text)


def _guidance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST_GUIDANCE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {_MOST_GUIDANCE:g}")
    return value
