"""`maquette normals PHOTO... --method clone`: what it writes beside the normals.

NAME.history.png, .mp4   --history: the curves of the loop's terms, and the loop as a film
NAME.splat.ply           --splat: the fitted Gaussians, with normals and albedo
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from maquette.methods.clone.loop import Round
    from maquette.methods.clone.method import CLONE
    from maquette.types import NormalMap, Photo

OUTPUTS = ("history", "splat")
_FILM_RATE = 12


def add_outputs(group: argparse._ArgumentGroup) -> None:
    """What `--method clone` alone can write."""
    group.add_argument("--history", action="store_true", default=None, help="write the loop's curves and a film of it")
    group.add_argument(
        "--splat", action="store_true", default=None, help="write the Gaussians, to relight, view and render"
    )


def check(options: argparse.Namespace, photos: list[Path]) -> None:
    """All outputs fit any number of photos."""


def require_fitting(method: "CLONE", options: argparse.Namespace) -> None:
    """Every CLONE can give all outputs."""


def run(
    method: "CLONE", photo: "Photo", stem: str, options: argparse.Namespace, progress: "Progress"
) -> "tuple[NormalMap, dict[str, Any]]":
    """Fit one photo and write what was asked for beside its normals; returns these, and what `--json` adds."""
    from maquette.io.images import write_png8
    from maquette.io.splats.files import write_splat
    from maquette.methods.clone.method import FINE_SHARE
    from maquette.viz.clone_history import History, curves
    from maquette.viz.films import write_film

    history = History(photo) if options.history else None
    task = progress.add_task(stem, total=method.config.iterations + max(method.config.iterations // FINE_SHARE, 1))
    show = _follow(progress, task, stem)

    def report(iteration: int, terms: dict[str, float], seen: "Round") -> None:
        show(iteration, terms)
        if history is not None:
            history.record(iteration, terms, seen)

    try:
        result = method.fit(photo, report)
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
