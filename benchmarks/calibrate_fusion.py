"""Measure what the confidences of NiRNE and RoSE are worth, for `--method auto`, and write it beside RoSE's weights.

    python benchmarks/calibrate_fusion.py [--quick] [--json] [--rose rose-small] [-o FOLDER] [--data runs/held-out]

Needed again whenever the weights of either method change: `auto` refuses a calibration of other weights. It is fitted
on the even shapes of a dataset that trained neither method, and checked on the odd ones: by decile of the angle that is
expected, the mean of it and of the true one, for each method as it is, as it is calibrated, and for both as one.

--json prints one flat object: the mean over the deciles of |log(true / expected)| before and after the calibration,
and the errors of the three as ratios to NiRNE's. --quick looks at 12 photos and writes nothing but to -o.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import harness
import torch

from maquette.catalogue import AUTO_NIRNE_WEIGHTS
from maquette.io.checkpoints import weights_folder
from maquette.methods.fusion import Calibration, combine
from maquette.methods.nirne import NiRNE
from maquette.methods.rose import GUIDANCE, STEPS, RoSE
from maquette.metrics import Reliability, angle_between_deg, reliability
from maquette.synth.datasets.dataset import DatasetSpec, generate, read_manifest
from maquette.train.fusion import PixelPairs, calibrate_auto, half_of, look, save_calibration
from maquette.train.shapes import HELD_OUT_SEED

QUICK_PHOTOS = 12
DECILES = 10


def main(argv: list[str] | None = None) -> int:
    """Fit, check, write, print."""
    options = _parse(argv)
    harness.two_threads()
    known = (options.data / "manifest.json").exists()
    generate(
        options.data, read_manifest(options.data) if known else DatasetSpec(48, HELD_OUT_SEED, views=4, size_px=128)
    )
    photos = QUICK_PHOTOS if options.quick else options.photos
    asked = options.steps, options.guidance, options.solver
    config = calibrate_auto(options.data, options.rose, options.nirne, *asked, photos=photos)
    methods = NiRNE.from_pretrained(options.nirne), RoSE.from_pretrained(options.rose, "cpu", *asked)
    checked = check(look(*methods, half_of(options.data, 1, photos)), config.calibration)
    folder = options.output or (None if options.quick else weights_folder(options.rose))
    written = None if folder is None else save_calibration(folder, config)
    if options.json:
        print(json.dumps(ratios(checked)))
        return 0
    print(table(checked))
    law = config.calibration.correlation
    print(f"\ncorrelation of the errors: tanh({law.offset:.3f} + {law.first:.3f} log e1 + {law.second:.3f} log e2)")
    print(f"{config.pixels} pixels of the even shapes")
    print("nothing is written" if written is None else f"written: {written}")
    return 0


def check(seen: PixelPairs, calibration: Calibration) -> dict[str, tuple[Reliability, float]]:
    """Reliability by decile, and the mean error in degrees, of pixels that weren't fitted."""
    mean_of_rms = math.sqrt(math.pi) / 2  # of a Rayleigh distribution, as errors of two normal components have
    errors = calibration.errors(seen.first_rad, seen.second_rad)
    first, second = seen.first.double(), seen.second.double()
    found, deviation = combine(first, second, errors)
    cases = {
        "nirne": (first, seen.first_rad),
        "nirne_calibrated": (first, mean_of_rms * errors.first_rad),
        "rose": (second, seen.second_rad),
        "rose_calibrated": (second, mean_of_rms * errors.second_rad),
        "auto": (found, calibration.fused(deviation)),
    }
    checked = {}
    for name, (normals, expected) in cases.items():
        error = angle_between_deg(normals, seen.truth)
        checked[name] = reliability(torch.rad2deg(expected), error, DECILES), float(error.mean())
    return checked


def ratios(checked: dict[str, tuple[Reliability, float]]) -> dict[str, float]:
    """How far off the deciles are, as a mean of |log ratio|, and errors over NiRNE's."""
    found = {}
    for name, (bins, mean) in checked.items():
        off = [abs(math.log(m / p)) for p, m in zip(bins.predicted_deg, bins.measured_deg, strict=True)]
        found[f"{name}_miscalibration"] = round(sum(off) / len(off), 4)
        if not name.endswith("calibrated"):
            found[f"{name}_error"] = round(mean / checked["nirne"][1], 4)
    return found


def table(checked: dict[str, tuple[Reliability, float]]) -> str:
    """Markdown: a column a method, a row a decile: expected / true angle in degrees."""
    lines = harness.head(" | ".join(["decile", *(name.replace("_", ", ") for name in checked)]), "lr")
    for decile in range(DECILES):
        cells = [f"{bins.predicted_deg[decile]:.1f} / {bins.measured_deg[decile]:.1f}" for bins, _ in checked.values()]
        lines.append(f"| {decile + 1} | {' | '.join(cells)} |")
    gaps = [f"{bins.expected_calibration_error_deg:.2f}" for bins, _ in checked.values()]
    lines.append(f"| mean gap | {' | '.join(gaps)} |")
    lines.append(harness.row(["mean error", *(f"{mean:.2f}" for _, mean in checked.values())]))
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(__doc__, quick=f"{QUICK_PHOTOS} photos to fit and as many to check")
    parser.add_argument("--data", type=Path, default=Path("runs/held-out"), help="made if it isn't there")
    parser.add_argument("--rose", default="rose-small", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--nirne", default=AUTO_NIRNE_WEIGHTS, metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=STEPS, help="of RoSE; default: %(default)s")
    parser.add_argument("--guidance", type=float, default=GUIDANCE, help="of RoSE; default: %(default)s")
    parser.add_argument("--solver", choices=("robust", "paper"), default="robust", help="default: %(default)s")
    parser.add_argument("--photos", type=int, help="at most so many of each half; default: all")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="default: that of RoSE's weights")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
