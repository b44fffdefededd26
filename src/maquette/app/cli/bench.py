"""`maquette bench normals --data DIR`: scores of methods on photos with measured normals."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.app.cli.method_options import add_settings, check_settings, settings_of
from maquette.app.cli.parser import (
    METHOD_HELP,
    WITH_WEIGHTS,
    Parser,
    add_detail_option,
    method_text,
    show_warnings_in_one_line,
)
from maquette.app.method_names import read_method, weights_of
from maquette.catalogue import BENCH_SETS
from maquette.errors import InputError

if TYPE_CHECKING:
    from maquette.app.predictors import Predictor

SETS = tuple(name for name, each in BENCH_SETS.items() if not each.chooses)
_MANY = 2  # photos, or more: a method is shown all of them
NO_MASK = ", no mask"  # after a method's name, in the table
CHOOSING = tuple(name for name, each in BENCH_SETS.items() if each.chooses)  # only where they are asked for


def main(argv: list[str]) -> int:
    """Run the verb: print the table, save it with pictures; returns 0, or 2 if a set couldn't be run."""
    options = _parse(argv)
    weighted = [name for name in options.method if weights_of(name, None)]
    if options.weights is not None and len(weighted) > 1:
        raise InputError(
            f"--weights {options.weights}: are those of one method; {', '.join(weighted)} each have their own"
        )
    if not options.data.is_dir():
        raise InputError(f"--data {options.data}: no such folder; give the one that holds diligent, luces, ...")

    check_settings(options, options.method, photos=_MANY)

    from maquette.app.predictors import build_predictor
    from maquette.bench.normals.evaluate import SetResult, evaluate
    from maquette.bench.normals.report import as_json, markdown
    from maquette.bench.normals.sets import SETS as LOADERS
    from maquette.io.files import require_writable

    require_writable(options.output, "-o")
    show_warnings_in_one_line()
    predictors = {
        label: build_predictor(name, options.weights, options.device, options.detail_px, settings_of(options, name))
        for label, name in _labels(options.method).items()
    }
    with_twins = _with_twins(predictors, options.masks)
    results = {}
    for name in options.sets:
        asked = predictors if not BENCH_SETS[name].masked else with_twins
        try:
            samples = LOADERS[name](options.data, options.cache)
            results[name] = evaluate(samples, asked, lambda done, name=name: _progress(f"{name} {done}"))
        except InputError as error:
            # A set that can't be run stays in the table, with its reason, beside those that can.
            results[name] = SetResult(missing=str(error))
            print(f"maquette: {name} not run: {error}", file=sys.stderr)
    weights = {name: weights_of(name, options.weights) for name in predictors if weights_of(name, options.weights)}
    about = {"weights": weights, "detail_px": options.detail_px} if weights else {}
    found = as_json(results, about)
    table = markdown(results)
    _save(options.output, results, found, table)
    print(json.dumps(found) if options.json else table.rstrip())
    return 2 if any(result.missing for result in results.values()) else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Parser("bench", __doc__ or "")
    parser.add_argument("task", choices=["normals"], help="what is scored")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the photos and meshes")
    parser.add_argument(
        "--sets",
        nargs="+",
        choices=tuple(BENCH_SETS),
        default=list(SETS),
        help=f"default: all but {', '.join(CHOOSING)}, which is what choices are made by",
    )
    parser.add_argument(
        "--method",
        nargs="+",
        type=method_text,
        default=["flat", "inflate", "nirne"],
        metavar="METHOD",
        help=METHOD_HELP,
    )
    parser.add_argument(
        "--masks",
        choices=["given", "none", "both"],
        default="given",
        help="what methods are told of an object's place: its mask, nothing, or each in turn, in rows beside each"
        " other; scored are the object's pixels alone; default: %(default)s",
    )
    parser.add_argument("--weights", metavar="NAME|DIR", help=f"of {WITH_WEIGHTS}; default: their own")
    parser.add_argument("--device", default="cpu", metavar="auto|cpu|cuda", help="default: %(default)s")
    add_detail_option(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/pathtraced"),
        metavar="DIR",
        help="where path-traced photos are kept; default: %(default)s",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/bench"),
        metavar="DIR",
        help="where bench.md, bench.json and pictures go; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_settings(parser)
    return parser.parse_args(argv)


def _with_twins(predictors: "dict[str, Predictor]", masks: str) -> "dict[str, Predictor]":
    """The methods, beside or in place of each one that isn't told where the object is."""
    found: dict[str, Predictor] = {}
    for label, predict in predictors.items():
        if masks != "none":
            found[label] = predict
        if masks != "given":
            found[label + NO_MASK] = lambda photo, predict=predict: predict(replace(photo, mask=None))
    return found


def _labels(methods: list[str]) -> dict[str, str]:
    """The methods by the names that they have in the table.

    Raises:
        InputError: two of them would have the same.
    """
    labels: dict[str, str] = {}
    for name in methods:
        other = labels.setdefault(read_method(name).label, name)
        if other != name:
            raise InputError(f"--method {other} {name}: both would be called {read_method(name).label}; rename one")
    return labels


def _save(folder: Path, results: dict, found: dict, table: str) -> None:
    from maquette.bench.normals.pictures import calibration_plot, strips
    from maquette.io.files import atomic_path, write_bytes

    write_bytes(folder / "bench.md", table.encode())
    write_bytes(folder / "bench.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, result in results.items():
        if result.missing:
            continue
        with atomic_path(folder / f"{name}.png") as partial:
            strips(result).save(partial)
        for method, curves in found["sets"][name]["calibration"].items():
            with atomic_path(folder / f"{name}.{method}.calibration.png") as partial:
                calibration_plot(curves, f"{method} on {name}").save(partial)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
