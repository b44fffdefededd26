"""`maquette normals PHOTO... --method rose`: what it writes beside the normals.

FILE.gif, .mp4, .png   --frames FILE: the object under the ring of lights, as a film or as one strip
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.method_names import weights_of
from maquette.catalogue import FILM_SUFFIXES, PICTURE_SUFFIX
from maquette.errors import InputError
from maquette.io.files import require_writable

if TYPE_CHECKING:
    from jaxtyping import Float
    from rich.progress import Progress
    from torch import Tensor

    from maquette.methods.rose import RoSE
    from maquette.types import NormalMap, Photo

OUTPUTS = ("frames",)
_FRAME_SUFFIXES = (*sorted(FILM_SUFFIXES), PICTURE_SUFFIX)
_FRAME_RATE = 6


def add_outputs(group: argparse._ArgumentGroup) -> None:
    """What `--method rose` alone can write."""
    group.add_argument(
        "--frames", type=Path, metavar="FILE", help="write what was imagined: a film (.gif, .mp4) or a strip (.png)"
    )


def check(options: argparse.Namespace, photos: list[Path]) -> None:
    """Raise an InputError for a file of frames that is none, or is one for several photos."""
    if options.frames is None:
        return
    if options.frames.suffix.lower() not in _FRAME_SUFFIXES:
        raise InputError(f"--frames {options.frames}: must end in one of {', '.join(_FRAME_SUFFIXES)}")
    if len(photos) > 1:
        raise InputError(f"--frames {options.frames}: is the file of one photo; {len(photos)} are given")
    require_writable(options.frames.parent, "--frames")


def require_fitting(method: "RoSE", options: argparse.Namespace) -> None:
    """Raise an InputError if frames are asked of a network that imagines none."""
    if options.frames is not None and method.net.config.predicts == "normals":
        weights = weights_of(options.method, options.weights)
        raise InputError(f"--frames {options.frames}: {weights} predicts normals directly and imagines no frames")


def run(
    method: "RoSE", photo: "Photo", stem: str, options: argparse.Namespace, progress: "Progress"
) -> "tuple[NormalMap, dict[str, Any]]":
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

    from maquette.io.images import to_srgb8, write_png8
    from maquette.viz.films import write_film

    pictures = [to_srgb8(frame[..., None].expand(-1, -1, 3)) for frame in frames]
    if path.suffix.lower() == PICTURE_SUFFIX:
        write_png8(path, torch.cat(pictures, dim=1))
    else:
        write_film(path, pictures, _FRAME_RATE)
