"""Seconds that RoSE takes for a photo, by steps of Euler's method, as ratios to NiRNE in the same run.

    python benchmarks/rose_latency.py [--quick] [--json] [--weights rose-small]

One photo of 512 pixels, two CPU threads, the method alone: no start of Python, no file. Weights are drawn at random if
the named ones aren't there, which changes no time. Each case is run once before it is timed; its time is the least of
the repeats. `guided` is four steps with guidance, so eight passes. NiRNE works as it does by default: mirrored, with
tiles. --json prints one flat object of ratios; --quick leaves out the 25 steps.
"""

import sys
import time

import harness
import torch

from maquette.errors import InputError
from maquette.methods.nirne import NiRNE
from maquette.methods.rose import RoSE
from maquette.nets.rose import PRESETS, RoSENet
from maquette.types import Photo

CASES = {"1": (1, 1.0), "4": (4, 1.0), "guided": (4, 2.5), "25": (25, 1.0)}  # steps, guidance
SIZE_PX = 512
QUICK_STEPS = 4


def main(argv: list[str] | None = None) -> int:
    """Measure, print."""
    parser = harness.arguments(__doc__, quick="without 25 steps; under a minute")
    parser.add_argument("--weights", default="rose-small", metavar="NAME|DIR", help="default: %(default)s")
    options = parser.parse_args(argv)
    harness.two_threads()
    photo = _ball()
    net = _network(options.weights)
    nirne = NiRNE.from_pretrained()
    seconds = {"nirne": _seconds(lambda: nirne(photo), 3)}
    for name, (steps, guidance) in CASES.items():
        if options.quick and steps > QUICK_STEPS:
            continue
        rose = RoSE(net, steps, guidance)
        seconds[name] = _seconds(lambda rose=rose: rose(photo), 1 if steps > QUICK_STEPS else 3)
    harness.show(options, ratios, table, seconds)
    return 0


def ratios(seconds: dict[str, float]) -> dict[str, float | None]:
    """Of every case to NiRNE."""
    return {f"rose_{k}": harness.over(value, seconds["nirne"], 3) for k, value in seconds.items() if k != "nirne"}


def table(seconds: dict[str, float]) -> str:
    """Markdown: a row a case."""
    lines = harness.head("case | seconds | over NiRNE", "lr")
    for name, value in seconds.items():
        label = {"nirne": "NiRNE", "guided": "RoSE, 4 steps, guided"}.get(name, f"RoSE, {name} steps")
        lines.append(f"| {label} | {value:.2f} | {value / seconds['nirne']:.2f} |")
    return "\n".join(lines)


def _network(weights: str) -> RoSENet:
    try:
        return RoSE.from_pretrained(weights).net
    except InputError as error:
        print(f"{error}; random weights are timed", file=sys.stderr)
        torch.manual_seed(0)
        return RoSENet(PRESETS["small"])


def _seconds(job, repeats: int) -> float:
    job()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        job()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _ball() -> Photo:
    """A ball of clay, lit from above the viewer's right shoulder."""
    axis = (torch.arange(SIZE_PX) + 0.5) / SIZE_PX * 2 - 1
    x, y = axis.expand(SIZE_PX, -1), -axis[:, None].expand(-1, SIZE_PX)
    squared = (x / 0.9).square() + (y / 0.9).square()
    z = (1 - squared).clamp_min(0).sqrt()
    lit = ((x / 0.9 + y / 0.9 + 2 * z) / 6**0.5).clamp_min(0)
    return Photo((0.6 * lit)[..., None].expand(-1, -1, 3) + 0.02, squared < 1)


if __name__ == "__main__":
    sys.exit(main())
