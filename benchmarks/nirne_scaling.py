"""NiRNE's learning curves: held-out error over the number of shapes, the size of the network and of the photos.

    python benchmarks/nirne_scaling.py [--quick] [--json] [--steps N] [--run runs/scaling]

One run in the middle (160 shapes, half of the shipped network's width, 64 px) and, from it, one thing changed at a
time, each for the same number of steps and photos. Scored on the same photos of held-out shapes. Ratios are to the
run in the middle; below 1 is better than it.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from nirne_ablation import NET, SIDE, TINY, flops

from maquette.nets.nirne import NiRNEConfig
from maquette.synth.dataset import DatasetSpec, generate
from maquette.train.config import Phase, TrainConfig
from maquette.train.nirne import train, validate


@dataclass(frozen=True)
class Point:
    """One run of a curve."""

    name: str
    net: NiRNEConfig
    shapes: int
    size_px: int


def main() -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rehearsal of seconds: its numbers mean nothing")
    parser.add_argument("--json", action="store_true", help="print ratios only")
    parser.add_argument("--steps", type=int, default=1500, help="of every run")
    parser.add_argument("--run", type=Path, default=Path("runs/scaling"), help="data sets and checkpoints")
    options = parser.parse_args()
    steps = 6 if options.quick else options.steps
    middle = Point("middle", TINY if options.quick else NET, 8 if options.quick else 160, SIDE)
    runs = points(middle)
    root = options.run / ("quick" if options.quick else f"{steps}")
    most = max(point.shapes for point in runs)
    shapes, held_out = options.run / f"shapes-{most}", options.run / f"held-out-{max(most // 16, 8)}"
    generate(shapes, DatasetSpec(most, 0, size_px=2 * SIDE))
    generate(held_out, DatasetSpec(max(most // 16, 8), 900_000, views=4, size_px=2 * SIDE))
    scores = {}
    for point in runs:
        target = root / point.name / "score.json"
        if not target.exists():
            phase = Phase(point.size_px, steps, 16, 5e-4, 2e-5, shapes=point.shapes)
            trained = train(TrainConfig(point.net, (phase,)), {"shapes": shapes}, root / point.name)
            target.write_text(json.dumps(validate(trained, held_out, point.size_px, "cpu")[0]))
        scores[point.name] = json.loads(target.read_text())
        print(f"{point.name}: {scores[point.name]:.2f} deg", file=sys.stderr)
    if options.json:
        print(json.dumps({name: value / scores["middle"] for name, value in scores.items()}))
        return 0
    print(
        "| run | shapes | widest level | GFLOP a step and photo | px | held out, deg |\n|---|---:|---:|---:|---:|---:|"
    )
    for point in runs:
        # The count is at the middle's side; convolutions, nearly all of it, grow with the area.
        cost = flops(point.net) / 1e9 * (point.size_px / SIDE) ** 2
        print(
            f"| {point.name.replace('_', ' ')} | {point.shapes} | {point.net.channels[3]} | {cost:.2f} "
            f"| {point.size_px} | {scores[point.name]:.2f} |"
        )
    return 0


def points(middle: Point) -> list[Point]:
    """The middle and its neighbours; shapes by factors of four, widths and photos by factors of two."""
    few, fewer, many = (math.ceil(middle.shapes * factor) for factor in (1 / 4, 1 / 16, 4))
    return [
        replace(middle, name="sixteenth_of_the_shapes", shapes=fewer),
        replace(middle, name="quarter_of_the_shapes", shapes=few),
        middle,
        replace(middle, name="four_times_the_shapes", shapes=many),
        replace(middle, name="half_the_width", net=_widened(middle.net, 1 / 2)),
        replace(middle, name="twice_the_width", net=_widened(middle.net, 2)),
        replace(middle, name="twice_the_side", size_px=2 * middle.size_px),
    ]


def _widened(net: NiRNEConfig, factor: float) -> NiRNEConfig:
    """Every level's channels times `factor`, in multiples of 8."""

    def scaled(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(8, round(c * factor / 8) * 8) for c in channels)

    heads = max(1, round(net.heads * factor))
    return replace(net, channels=scaled(net.channels), noisy_channels=scaled(net.noisy_channels), heads=heads)


if __name__ == "__main__":
    sys.exit(main())
