"""NiRNE, RoSE, their plain mean, and both fused by calibrated precisions (`--method auto`), on held-out renders.

    python benchmarks/fusion.py [--quick] [--json] [--rose rose-small] [--data runs/held-out runs/held-out-512]

Of the dataset that the calibration was fitted on, the odd shapes alone are looked at, which it never saw; of the other
all. Mean and median angular error in degrees, means over photos, and on how many photos of a set a combination is
better than the better one of its two sources. --json: errors as ratios to NiRNE's. --quick: 8 photos a set.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import harness
import torch
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.io.checkpoints import read_config, weights_folder
from maquette.methods.auto import CALIBRATION_NAME, AutoConfig, auto
from maquette.methods.fusion import fuse
from maquette.metrics import angular_error_deg
from maquette.train.fusion import half_of
from maquette.types import NormalMap, Photo

METHODS = ("nirne", "rose", "mean", "auto")
QUICK_PHOTOS = 8

Errors = dict[str, list[tuple[float, float]]]  # by method: mean and median of each photo


def main(argv: list[str] | None = None) -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = harness.arguments(__doc__, quick=f"{QUICK_PHOTOS} photos of each set", json="print ratios only")
    parser.add_argument("--rose", default="rose-small", metavar="NAME|DIR", help="with the calibration beside them")
    parser.add_argument("--photos", type=int, help="at most so many of each set")
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("runs/held-out"), Path("runs/held-out-512")])
    options = parser.parse_args(argv)
    harness.two_threads()
    photos = QUICK_PHOTOS if options.quick else options.photos
    found = {}
    for index, folder in enumerate(options.data):
        if not folder.is_dir():
            print(f"{folder}: not there; not run", file=sys.stderr)
            continue
        whole = chain(half_of(folder, 1, photos), half_of(folder, 0, photos) if index else ())
        found[folder.name] = errors(options.rose, whole)
    harness.show(options, ratios, table, found)
    return 0


def errors(rose: str, photos: Iterator[tuple[Photo, Tensor]]) -> Errors:
    """Mean and median error of every photo."""
    method = auto(rose)
    calibration = read_config(weights_folder(rose) / CALIBRATION_NAME, AutoConfig).calibration
    found: Errors = {name: [] for name in METHODS}
    for photo, truth in photos:
        first, second = method.first(photo), method.second(photo)
        both = unit(first.normals + second.normals + torch.tensor([0.0, 0.0, 1e-6])) * first.mask[..., None]
        maps = (first, second, NormalMap(both, first.mask), fuse(first, second, calibration))
        for name, normal_map in zip(METHODS, maps, strict=True):
            error = angular_error_deg(normal_map.normals, truth, first.mask)
            found[name].append((float(error.mean()), float(error.median())))
    return found


def ratios(found: dict[str, Errors]) -> dict[str, float]:
    """Mean error of each method over NiRNE's, by set."""
    flat = {}
    for name, by_method in found.items():
        means = {method: sum(mean for mean, _ in values) for method, values in by_method.items()}
        flat |= {f"{name}_{method}": round(means[method] / means["nirne"], 4) for method in METHODS[1:]}
    return flat


def table(found: dict[str, Errors]) -> str:
    """Markdown: a row a set and method."""
    lines = harness.head("set | photos | method | mean, deg | median, deg | better than both", "lrlr")
    for name, by_method in found.items():
        best = [min(a[0], b[0]) for a, b in zip(by_method["nirne"], by_method["rose"], strict=True)]
        for method, values in by_method.items():
            count = len(values)
            mean, median = (sum(value[i] for value in values) / count for i in range(2))
            better = sum(value[0] < other for value, other in zip(values, best, strict=True)) / count
            share = f"{100 * better:.0f} %" if method in METHODS[2:] else ""
            lines.append(f"| {name} | {count} | {method} | {mean:.2f} | {median:.2f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
