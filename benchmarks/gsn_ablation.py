"""GSN's claims, at equal steps, data and seed: what the cube, the ECD and its weight, and the losses are worth.

    python benchmarks/gsn_ablation.py [--quick] [--json] [--steps 1500] [--data DIR] [--held-out DIR] [--only NAME ...]

Every variant trains the preset `small` from the same random weights on the same batches, three fifths of the steps
at 64 pixels and the rest at 128, and is scored on test objects by the protocol (benchmarks/gsn_protocol.py) and by
what turning the image does (benchmarks/gsn_equivariance.py):

    full           cube, ECD with weight 0.1, normals
    no ecd         without the second pass; `ecd 0.01`, `ecd 1` are other weights
    stop turned    the ECD's gradient doesn't reach the splat of the turned image
    no cube        positions and scales from nothing: direct regression by a network of the same size
    blind          is shown blank images, without ECD: the best single splat for all objects
    no normals     without the loss of normals

`difference` is PSNR over `full`, object by object, with its standard error, over all test objects. Steps are equal,
time isn't: see `s / step`. A run is kept under --out and goes on where it was killed; its weights lie in
OUT/weights/NAME. With --json one flat object. --quick: three steps of two variants, a tiny network and a tiny data
set of its own.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import harness
import novel_views as views
import torch
from gsn_bench import QUICK, TurnErrors, as_method, mean_errors, turn_errors
from novel_views import HELD_OUT, KNOWN, Score, Trial

from maquette.io.checkpoints import save_checkpoint
from maquette.nets.gsn import PRESETS, GSNNet
from maquette.runs.schedule import Phase
from maquette.synth.datasets.multiview.objects import generate
from maquette.train.gsn.config import TRAINING, GSNLoss, GSNTraining
from maquette.train.gsn.recipe import train_gsn


def _loss(**values: object) -> Callable[[GSNTraining], GSNTraining]:
    return lambda config: replace(config, loss=replace(config.loss, **values))


def _blind(config: GSNTraining) -> GSNTraining:
    # The ECD would ask of the one splat that it be round.
    return replace(config, blind=True, loss=replace(config.loss, ecd=0.0))


VARIANTS: dict[str, Callable[[GSNTraining], GSNTraining]] = {
    "full": lambda config: config,
    "no ecd": _loss(ecd=0.0),
    "ecd 0.01": _loss(ecd=0.01),
    "ecd 1": _loss(ecd=1.0),
    "stop turned": _loss(stop="turned"),
    "no cube": lambda config: replace(config, net=replace(config.net, cube=False)),
    "blind": _blind,
    "no normals": _loss(normal=0.0),
}
ANGLES_DEG = tuple(range(45, 360, 45))
TRUE_VIEWS = 5
BATCH = 8


@dataclass(frozen=True)
class Found:
    """Of a variant.

    Attributes:
        scores: of the test objects, by category.
        turns: means over the angles.
        step_s: median seconds of a step of the last phase; nan if it wasn't trained.
    """

    scores: dict[str, list[Score]]
    turns: TurnErrors
    step_s: float


def main(argv: list[str] | None = None) -> int:
    """Train what isn't there, score, print; returns 0, or 2 if what was asked for isn't there."""
    options = _parse(argv)
    return harness.in_scratch(lambda folder: _run(options, folder))


def base_config(steps: int, quick: bool = False) -> GSNTraining:
    """The full variant's run."""
    first = max(steps * 3 // 5, 1)
    small = TRAINING["small"].phases[0]
    sizes = (32, 64) if quick else (64, 128)
    phases = (
        Phase(sizes[0], first, BATCH, small.lr, small.lr_end),
        Phase(sizes[1], max(steps - first, 1), BATCH, small.lr_end, small.lr_end / 100),
    )
    config = replace(TRAINING["small"], phases=phases, loss=GSNLoss(ecd=0.1))
    return replace(config, net=PRESETS["tiny"]) if quick else config


def score(net: GSNNet, blind: bool, cases: Sequence[Trial], step_s: float) -> Found:
    """A variant's numbers; of a blind one, whose splat no turn changes, the errors of what it makes of blank images."""
    scores = views.evaluate(cases, {"": as_method(net, blind)})[""]
    if blind:
        cases = [replace(case, image=torch.ones_like(case.image)) for case in cases]
    short = [_fewer_views(case) for case in cases]
    return Found(scores, mean_errors(turn_errors(net, short, ANGLES_DEG)), step_s)


def difference(found: Found, full: Found) -> tuple[float, float]:
    """Mean of the objects' PSNR over `full`'s, and its standard error."""
    pairs = zip(_psnr(found), _psnr(full), strict=True)
    differences = [one - other for one, other in pairs]
    spread = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
    return fmean(differences), spread


def table(found: dict[str, Found], held_out: Sequence[str]) -> str:
    """Markdown: a row a variant."""
    lines = harness.head(
        "variant | PSNR, known | SSIM | PSNR, held out | SSIM | difference | ECD"
        " | ECD share | aside, dB | truth, dB | s / step",
        "lr",
    )
    for name, of_variant in found.items():
        groups = views.by_group(of_variant.scores, held_out)
        cells = []
        for group in (KNOWN, HELD_OUT):
            mean = groups.get(group)
            cells += ["", ""] if mean is None else [f"{mean.psnr_db:.2f}", f"{mean.ssim:.3f}"]
        cells.append("{:+.2f} ± {:.2f}".format(*difference(of_variant, found["full"])) if "full" in found else "")
        turns = of_variant.turns
        cells += [f"{turns.ecd:.4f}", f"{_share(turns):.3f}", f"{turns.aside_db:.2f}", f"{turns.true_db:.2f}"]
        lines.append(harness.row([name, *cells, f"{of_variant.step_s:.2f}"]))
    return "\n".join(lines)


def flat(found: dict[str, Found], held_out: Sequence[str]) -> dict[str, float | None]:
    """One flat object, by `VARIANT_MEASURE`, spaces as underscores."""
    values: dict[str, float | None] = {}
    for name, of_variant in found.items():
        for group, mean in views.by_group(of_variant.scores, held_out).items():
            if group in (KNOWN, HELD_OUT):
                values |= {f"{name}_{group}_psnr_db": mean.psnr_db, f"{name}_{group}_ssim": mean.ssim}
        if "full" in found:
            values[f"{name}_difference_db"] = difference(of_variant, found["full"])[0]
        values |= {f"{name}_ecd": of_variant.turns.ecd, f"{name}_ecd_share": _share(of_variant.turns)}
        values |= {f"{name}_aside_db": of_variant.turns.aside_db, f"{name}_turned_truth_db": of_variant.turns.true_db}
    return harness.finite({key.replace(" ", "_"): value for key, value in values.items()})


def _share(turns: TurnErrors) -> float:
    return turns.ecd / turns.ignored_ecd if turns.ignored_ecd > 0 else math.nan


def _psnr(found: Found) -> list[float]:
    return [score.psnr_db for _, scores in sorted(found.scores.items()) for score in scores]


def _fewer_views(case: Trial) -> Trial:
    """With `TRUE_VIEWS` of its scored views, evenly spread."""
    kept = torch.linspace(0, len(case.cameras) - 1, min(TRUE_VIEWS, len(case.cameras))).round().int().tolist()
    cameras, numbers = [case.cameras[k] for k in kept], tuple(case.views[k] for k in kept)
    return replace(case, rgb=case.rgb[kept], cameras=cameras, views=numbers, mask=None, normals=None)


def trained(name: str, options: argparse.Namespace) -> tuple[GSNNet, bool, float]:
    """A variant's network, whether it is blind, and the median seconds of a step of its last phase."""
    config = VARIANTS[name](base_config(options.steps, options.quick))
    steps: list[float] = []
    slug = name.replace(" ", "-")

    def report(line: dict[str, float]) -> None:
        if int(line["step"]) % 100 == 0:
            print(f"{name}: {int(line['step'])} steps, loss {line['loss']:.4f}", file=sys.stderr)

    net = train_gsn(config, options.data, options.out / slug, report=report)
    save_checkpoint(options.out / "weights" / slug, config.net, net.state_dict(), torch.float32)
    first = config.phases[0].steps
    log = (options.out / slug / "log.jsonl").read_text().splitlines()
    steps = [line["step_s"] for line in map(json.loads, log) if line["step"] > first]
    return net, config.blind, median(steps)


def _run(options: argparse.Namespace, folder: Path) -> int:
    if options.quick:
        generate(folder / "data", QUICK)
        options.data = options.held_out = folder / "data"
        options.out, options.steps, options.only, options.views = folder, 3, ["full", "blind"], 4
    data = views.test_objects(options.held_out)
    held_out = views.held_out_categories(options.held_out)
    nets = {name: trained(name, options) for name in options.only}
    cases = list(views.trials(data, options.views, options.objects))
    found = {}
    for name, (net, blind, step_s) in nets.items():
        found[name] = score(net, blind, cases, step_s)
        print(f"{name}: scored", file=sys.stderr)
    harness.show(options, flat, table, found, held_out)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(
        __doc__, quick="three steps of two variants; under a minute", json="one flat object of numbers"
    )
    parser.add_argument("--steps", type=int, default=1500, help="of each variant; default: %(default)s")
    parser.add_argument("--data", type=Path, default=Path("runs/gsn/train"), help="default: %(default)s")
    parser.add_argument("--held-out", type=Path, default=Path("runs/gsn/test"), help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/gsn-ablation"), help="default: %(default)s")
    parser.add_argument("--views", type=int, default=25, metavar="N", help="of each object; default: %(default)s")
    parser.add_argument("--objects", type=int, metavar="N", help="of each category; default: all")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
