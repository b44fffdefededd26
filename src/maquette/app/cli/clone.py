"""`maquette normals PHOTO... --method clone`: its own options, and what it writes beside the normals.

NAME.history.png, .mp4   --history: the curves of the loop's terms, and the loop as a film
NAME.splat.ply           --splat: the fitted Gaussians, with normals and albedo
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli.inputs import PHOTO_SUFFIXES
from maquette.app.cli.parser import CONVENTIONS
from maquette.app.method_names import read_method
from maquette.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from maquette.app.predictors import Predictor
    from maquette.methods.clone.loop import Round
    from maquette.methods.clone.method import CLONE
    from maquette.types import NormalMap, Photo

_MAP_SUFFIXES = PHOTO_SUFFIXES | {".npy"}
_MOST_ITERATIONS = 100_000
_OPTIONS = ("init", "init_convention", "refiner", "iterations", "history", "splat")
_FILM_RATE = 12


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `--method clone` alone has."""
    group = parser.add_argument_group("--method clone: one photo explained by Gaussians, a light, a refiner and a gate")
    group.add_argument(
        "--init",
        type=_init,
        metavar="METHOD|MAP",
        help="normals to start from: any other method, or a normal map as large as the photo"
        " (.png, .exr, .npy, ...); default: a neutral start from the silhouette",
    )
    group.add_argument("--init-convention", choices=CONVENTIONS, help="of the MAP; default: opengl")
    group.add_argument("--refiner", metavar="NAME|DIR", help="weights of refiner and gate; default: clone-small")
    group.add_argument(
        "--iterations", type=_iterations, metavar="N", help="at most; it stops before if nothing gets better"
    )
    group.add_argument("--history", action="store_true", default=None, help="write the loop's curves and a film of it")
    group.add_argument(
        "--splat", action="store_true", default=None, help="write the Gaussians, to relight, view and render"
    )


def check(options: argparse.Namespace, photos: list[Path]) -> None:
    """Raise an InputError for options that don't fit the method, each other, or the number of photos."""
    if options.method != "clone":
        given = [f"--{name.replace('_', '-')}" for name in _OPTIONS if getattr(options, name) is not None]
        if given:
            raise InputError(f"{', '.join(given)}: belongs to --method clone; the method here is {options.method}")
        return
    if options.device not in ("auto", "cpu") and (options.init is None or _is_map(options.init)):
        raise InputError(f"--device {options.device}: is that of --init METHOD; the loop itself runs on the CPU")
    if options.init_convention is not None and not _is_map(options.init):
        raise InputError("--init-convention: is that of a normal map, and --init gives none")
    if _is_map(options.init) and len(photos) > 1:
        raise InputError(f"--init {options.init}: is the map of one photo; {len(photos)} are given")


def build(options: argparse.Namespace) -> "CLONE":
    """The method with its weights, its start and its length.

    Raises:
        InputError: weights or map can't be read.
    """
    from maquette.methods.clone.loop import LoopConfig
    from maquette.methods.clone.method import CLONE

    config = LoopConfig() if options.iterations is None else LoopConfig(iterations=options.iterations)
    return CLONE.from_pretrained(options.refiner or "clone-small", _first(options), config)


def _first(options: argparse.Namespace) -> "Predictor | None":
    """What gives the normals to start from; `None` for the neutral start."""
    from maquette.app.predictors import build_predictor
    from maquette.io.normal_maps import read_normal_map

    if options.init is None:
        return None
    if _is_map(options.init):
        given = read_normal_map(Path(options.init), options.init_convention or "opengl")
        return lambda _: given
    return build_predictor(options.init, options.weights, options.device, options.detail_px)


def run(
    clone: "CLONE", photo: "Photo", stem: str, options: argparse.Namespace, progress: "Progress"
) -> "tuple[NormalMap, dict[str, Any]]":
    """Fit one photo and write what was asked for beside its normals; returns these, and what `--json` adds."""
    from maquette.app.clone_history import History, curves
    from maquette.app.video import write_film
    from maquette.io.images import write_png8
    from maquette.io.splats.files import write_splat
    from maquette.methods.clone.method import FINE_SHARE

    history = History(photo) if options.history else None
    task = progress.add_task(stem, total=clone.config.iterations + max(clone.config.iterations // FINE_SHARE, 1))
    show = _follow(progress, task, stem)

    def report(iteration: int, terms: dict[str, float], seen: "Round") -> None:
        show(iteration, terms)
        if history is not None:
            history.record(iteration, terms, seen)

    try:
        result = clone.fit(photo, report)
    finally:
        progress.remove_task(task)
    added = {
        "first": options.init or "neutral",
        "iterations": result.iterations,
        "held_out_error": round(result.held_out, 6),
        "moved_deg": round(result.moved_deg, 4),
        "history": None,
        "film": None,
        "splat": None,
    }
    base = options.output / stem
    if history is not None:
        picture, film = base.with_name(f"{stem}.history.png"), base.with_name(f"{stem}.history.mp4")
        write_png8(picture, curves(history))
        write_film(film, history.frames, _FILM_RATE)
        added |= {"history": str(picture), "film": str(film)}
    if options.splat:
        added["splat"] = str(write_splat(base.with_name(f"{stem}.splat.ply"), result.gaussians))
    return result.normal_map, added


def _follow(progress: "Progress", task: "TaskID", stem: str) -> Callable[[int, dict[str, float]], None]:
    """Tells the bar of one photo where its loop is, and the held-out error where it was last looked at."""
    error = ""

    def show(iteration: int, terms: dict[str, float]) -> None:
        nonlocal error
        if "held_out" in terms:
            error = f", held-out error {terms['held_out']:.4f}"
        progress.update(task, completed=iteration, description=f"{stem}: iteration {iteration}{error}")

    return show


def _is_map(init: str | None) -> bool:
    return init is not None and Path(init).suffix.lower() in _MAP_SUFFIXES


def _init(text: str) -> str:
    """A `--init`, checked as far as that needs nothing heavy."""
    if text == "clone":
        raise argparse.ArgumentTypeError("clone starts from another method, or from a normal map")
    if _is_map(text):
        if not Path(text).is_file():
            raise argparse.ArgumentTypeError(f"{text}: no such file")
        return text
    try:
        read_method(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{error}, or the file of a normal map") from None
    return text


def _iterations(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_ITERATIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_ITERATIONS}")
    return int(text)
