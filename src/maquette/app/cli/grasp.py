"""`maquette grasp SPLAT --gripper-mm 80`: where a gripper with two parallel fingers could take hold of an object."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.app.cli.parser import SPLAT_FILES, Parser
from maquette.catalogue import AXES
from maquette.errors import InputError

if TYPE_CHECKING:
    from maquette.tools.grasp.gripper import Gripper
    from maquette.tools.grasp.plan import Grasp, Plan

ASSUMED_OBJECT_MM = 150.0  # of the box's diagonal: something that a hand holds
_MOST_MM = 1e6
_MOST_COUNT = 1000
_FRAME = "x right, y up, z towards the viewer"


def main(argv: list[str]) -> int:
    """Run the verb; returns 0, also if nothing can be grasped: that is an answer, and says why."""
    options = _parse(argv)
    start = time.perf_counter()

    # torch is imported only now, when all that can be wrong with the command line has been said
    from maquette.io.splats.files import read_splat
    from maquette.tools.grasp.plan import find_grasps
    from maquette.tools.grasp.surface import surface_of_gaussians

    gripper = _gripper(options)
    gaussians = read_splat(options.splat, options.axes)
    try:
        surface = surface_of_gaussians(gaussians, seed=options.seed)
    except InputError as error:
        raise InputError(f"{options.splat}: {error}") from None
    assumed = options.object_mm is None and options.unit_mm is None
    unit_mm = options.unit_mm or (options.object_mm or ASSUMED_OBJECT_MM) / surface.diagonal
    if assumed:
        print(
            f"maquette: warning: a splat has no size; the diagonal of the object's box is assumed to be"
            f" {ASSUMED_OBJECT_MM:g} mm; --object-mm or --unit-mm says what it is",
            file=sys.stderr,
        )
    plan = find_grasps(surface, gripper, unit_mm, friction=options.mu, count=options.count, seed=options.seed)
    report = {
        "splat": str(options.splat),
        "gaussians": len(gaussians),
        "surface": {
            "points": len(surface.points),
            "too_faint": surface.faint,
            "strays": surface.strays,
            "hidden": int((~surface.exposed).sum()),
        },
        "frame": _FRAME,
        "size": "assumed" if assumed else "given",
        "object_mm": _digits(surface.diagonal * unit_mm),
        "unit_mm": _digits(unit_mm),
        "gripper": asdict(gripper),
        "mu": options.mu,
        "grasps": [_told(grasp, unit_mm) for grasp in plan.grasps],
        "fitting": plan.fitting,
        "rejected": plan.rejected,
        "seconds": round(time.perf_counter() - start, 3),
    }
    print(json.dumps(report) if options.json else _table(report, plan))
    return 0


def _positive(most: float, what: str) -> Callable[[str], float]:
    """For `add_argument(type=...)`: above 0, up to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}; it must lie above 0, up to {most:g}")
        return value

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _finger(text: str) -> tuple[float, float, float]:
    try:
        width, thickness, length = (float(word) for word in text.lower().split("x"))
    except ValueError:
        width = thickness = length = math.nan
    if not all(0 < side <= _MOST_MM for side in (width, thickness, length)):
        raise argparse.ArgumentTypeError(f"{text!r} is no finger; width, thickness and length in mm, as 20x10x55")
    return width, thickness, length


def _parse(argv: list[str]) -> argparse.Namespace:
    length = _positive(_MOST_MM, "length in mm")
    parser = Parser(
        "grasp", "Where a gripper with two parallel fingers could take hold of a splat's object; docs/grasping.md."
    )
    parser.add_argument("splat", type=Path, metavar="SPLAT", help=f"{SPLAT_FILES} of one object")
    parser.add_argument("--gripper-mm", type=length, required=True, metavar="N", help="how far the gripper opens")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--object-mm",
        type=length,
        metavar="N",
        help=f"diagonal of the object's box; default: {ASSUMED_OBJECT_MM:g} is assumed, with a warning",
    )
    size.add_argument(
        "--unit-mm", type=length, metavar="N", help="instead: what a unit of the file is, 1000 for metres"
    )
    parser.add_argument(
        "--finger-mm",
        type=_finger,
        metavar="WxTxL",
        help="width, thickness and length of a finger; default: in proportion to the opening, 20x10x55 at 80",
    )
    parser.add_argument(
        "--mu", type=_positive(10.0, "coefficient of friction"), default=0.5, help="friction; default: %(default)s"
    )
    parser.add_argument(
        "--count", type=_whole(1, _MOST_COUNT), default=10, metavar="N", help="grasps at most; default: %(default)s"
    )
    parser.add_argument("--seed", type=_whole(0, 2**32), default=0, metavar="N", help="of the search; default: 0")
    parser.add_argument("--axes", choices=AXES, help="of the file: right|left, up|down, back|forward; default: its own")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(argv)


def _gripper(options: argparse.Namespace) -> "Gripper":
    from maquette.tools.grasp.gripper import usual_gripper, with_fingers

    gripper = usual_gripper(options.gripper_mm)
    return gripper if options.finger_mm is None else with_fingers(gripper, *options.finger_mm)


def _told(grasp: "Grasp", unit_mm: float) -> dict[str, Any]:
    """A grasp in numbers: lengths in millimetres and in units of the splat, axes in maquette's frame."""
    return {
        "score": round(grasp.score, 4),
        "parts": {name: round(value, 4) for name, value in grasp.parts.items()},
        "position_mm": _digits(grasp.position * unit_mm),
        "position": _digits(grasp.position),
        "rotation": _digits(grasp.rotation),
        "closing_axis": _digits(grasp.closing),
        "approach_axis": _digits(grasp.approach),
        "width_mm": _digits(grasp.width * unit_mm),
        "width": _digits(grasp.width),
        "opening_mm": _digits(grasp.opening * unit_mm),
        "opening": _digits(grasp.opening),
        "gap_mm": _digits(grasp.gap * unit_mm),
        "gap": _digits(grasp.gap),
        "contacts_mm": _digits(grasp.contacts * unit_mm),
        "contacts": _digits(grasp.contacts),
        "normals": _digits(grasp.normals),
        "angles_deg": [_digits(math.degrees(angle)) for angle in grasp.angles_rad],
    }


def _digits(value: Any) -> Any:
    """A number, or nested lists of numbers, to six significant digits."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_digits(item) for item in value] if isinstance(value, list) else float(f"{value:.6g}")


def _table(report: dict[str, Any], plan: "Plan") -> str:
    size = f"{report['object_mm']:.0f} mm across{', assumed' if report['size'] == 'assumed' else ''}"
    gripper = f"gripper of {report['gripper']['opening_mm']:g} mm, friction {report['mu']:g}"
    lines = [f"{report['splat']}: {report['gaussians']} Gaussians, {size}; {gripper}"]
    if plan.grasps:
        lines.append(f"{'':>3} {'score':>6} {'width':>7} {'position (mm)':>26} {'closing':>21} {'approach':>21}")
    for number, grasp in enumerate(plan.grasps, 1):
        position = " ".join(f"{value:8.1f}" for value in grasp.position * plan.unit_mm)
        closing, approach = (" ".join(f"{value:6.2f}" for value in axis) for axis in (grasp.closing, grasp.approach))
        width = grasp.width * plan.unit_mm
        lines.append(f"{number:>3} {grasp.score:6.3f} {width:7.1f} {position} {closing:>21} {approach:>21}")
    rejected = ", ".join(f"{count} {reason}" for reason, count in plan.rejected.items() if count)
    counts = f"{plan.fitting} hands fit; rejected: {rejected or 'none'}"
    lines.append(counts if plan.grasps else f"no grasp was found: {counts}")
    return "\n".join([*lines, f"axes: {report['frame']}; {report['seconds']:.1f} s"])
