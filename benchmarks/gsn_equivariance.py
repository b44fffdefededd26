"""GSN's equivariance: how unlike turning the image is to turning the splat, by the angle.

    python benchmarks/gsn_equivariance.py [--quick] [--json] [--weights NAME|DIR ...] [--data DIR] [--picture FILE.png]

The shown view of each test object is turned counter-clockwise about its middle, its splat turned back, and compared
with the splat of the view as it is: by the Extended Chamfer Distance (weights 0.1), and by the PSNR of one seen
against the other, from the shown camera and, as means of both, from the right and from above. `truth` is the PSNR
of the turned-back splat against true views: a splat that collapsed to one round blob would turn perfectly, and lose
here. The peer is a method that ignores the turn and makes the same splat again: `ECD share` is the distance over
the peer's; below 1 is better. Several weights are several rows, such as those that were trained with and without
the ECD.

Angles are 0 to 345 degrees in steps of 15; 0 is a check, and in no mean. --json prints one flat object. --quick
makes a tiny data set, takes four angles and, unless --weights names others, a network with random weights.
--picture draws both errors over the angle.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


import harness
from curves import Chart, draw_charts
from gsn_bench import QUICK, TurnErrors, load_gsns, mean_errors, turn_errors
from novel_views import test_objects, trials

from maquette.io.files import atomic_path
from maquette.synth.datasets.multiview.objects import generate

STEP_DEG, QUICK_STEP_DEG = 15, 90
MARKS_DEG = (45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)  # of the picture
TRUE_VIEWS = 5

Found = dict[str, list[TurnErrors]]  # by weights, one an angle


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0, or 2 if what was asked for isn't there."""
    options = _parse(argv)
    return harness.in_scratch(lambda folder: _run(options, folder))


def table(found: Found, angles: list[int]) -> str:
    """Markdown: means over the angles but 0, then the ECD's share by angle."""
    lines = harness.head("weights | ECD | ECD share | shown, dB | aside, dB | truth, dB | truth unturned, dB", "lr")
    for name, errors in found.items():
        mean = mean_errors(errors[1:])
        lines.append(
            f"| {name} | {mean.ecd:.4f} | {share(mean):.3f} | {mean.shown_db:.2f} | {mean.aside_db:.2f} |"
            f" {mean.true_db:.2f} | {errors[0].true_db:.2f} |"
        )
        lines.append(f"| {name}, turn ignored | {mean.ignored_ecd:.4f} | 1 | {mean.ignored_db:.2f} | | | |")
    lines += ["", *harness.head(" | ".join(["ECD share at", *map(str, angles[1:])]), "lr")]
    for name, errors in found.items():
        lines.append(harness.row([name, *(f"{share(error):.2f}" for error in errors[1:])]))
    return "\n".join(lines)


def share(errors: TurnErrors) -> float:
    """Of the distance of a method that ignores the turn."""
    return errors.ecd / errors.ignored_ecd if errors.ignored_ecd > 0 else math.nan


def flat(found: Found) -> dict[str, float | None]:
    """One flat object: means over the angles but 0, by `WEIGHTS_MEASURE`."""
    values = {}
    for name, errors in found.items():
        mean = mean_errors(errors[1:])
        measures = vars(mean) | {"ecd_share": share(mean), "true_unturned_db": errors[0].true_db}
        values |= {f"{name}_{key}": value for key, value in measures.items()}
    return harness.finite(values)


def charts(found: Found, angles: list[int]) -> list[Chart]:
    """The ECD, and the PSNR against true views, over the angle, with what ignoring the turn would give."""
    ecd = {name: [error.ecd for error in errors] for name, errors in found.items()}
    first = next(iter(found))
    ecd[f"{first}, turn ignored"] = [error.ignored_ecd for error in found[first]]
    axis, xs = "turned by, degrees", [float(angle) for angle in angles]
    return [
        Chart("Extended Chamfer Distance", axis, xs, ecd, MARKS_DEG),
        Chart(
            "PSNR of one splat against the other, seen from aside, dB",
            axis,
            xs[1:],
            {name: [error.aside_db for error in errors[1:]] for name, errors in found.items()},
            MARKS_DEG,
        ),
        Chart(
            "PSNR against true views, dB",
            axis,
            xs,
            {name: [error.true_db for error in errors] for name, errors in found.items()},
            MARKS_DEG,
        ),
    ]


def _run(options: argparse.Namespace, folder: Path) -> int:
    if options.quick:
        generate(folder, QUICK)
        options.data = folder
    data = test_objects(options.data)
    nets = load_gsns(options.weights, data, options.quick)
    angles = list(range(0, 360, QUICK_STEP_DEG if options.quick else STEP_DEG))
    cases = list(trials(data, TRUE_VIEWS, options.objects))
    found: Found = {}
    for name, net in nets.items():
        found[name] = turn_errors(net, cases, angles)
        print(f"{name}: {len(cases)} objects, {len(angles)} angles", file=sys.stderr)
    if options.picture is not None:
        with atomic_path(options.picture) as partial:
            draw_charts(charts(found, angles)).save(partial)
    print(json.dumps(flat(found)) if options.json else table(found, angles))
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(
        __doc__, quick="a tiny data set of its own, four angles; under a minute", json="one flat object of numbers"
    )
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME|DIR")
    parser.add_argument("--data", type=Path, default=Path("runs/gsn/test"), help="default: %(default)s")
    parser.add_argument("--objects", type=int, metavar="N", help="of each category; default: all")
    parser.add_argument("--picture", type=Path, help="draw the errors over the angle")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
