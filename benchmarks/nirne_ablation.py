"""What each part of NiRNE is worth: the pretrained encoder, the noise stream, stage two, edges in the loss, detail.

    python benchmarks/nirne_ablation.py [--quick] [--json] [--steps N] [--run runs/ablation] [--data ../shared/data]

Every variant sees the same number of photos, at 64 px, in the size of the shipped network, and is scored on the same
photos of held-out shapes: NE, the mean angle, and SNE, the mean where the true normals bend. With `--data`, also on
real photos and on the validation set, at 128 px. Each is a ratio to the full method in the same run; below 1 is better
than it.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import harness
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.losses import angle, masked_mean
from maquette.nets.encoder import published_weights
from maquette.nets.nirne import PRESETS, NiRNENet
from maquette.synth.datasets.dataset import DatasetSpec, generate
from maquette.synth.datasets.shards import ShapeData
from maquette.train.nirne.config import NirnePhase, NirneTraining
from maquette.train.nirne.data import make_batch
from maquette.train.nirne.recipe import fresh_weights, train_nirne

SIDE = 64
NET = replace(PRESETS["small"], size_px=SIDE)
TINY = replace(PRESETS["tiny"], size_px=SIDE)
STAGE_TWO = 0.15  # of the steps
BENT = 0.25  # `bend` above this is an edge, about 15 degrees a pixel
REAL = ("diligent", "luces", "validation")


def main(argv: list[str] | None = None) -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = harness.arguments(
        __doc__, quick="a rehearsal of seconds: its numbers mean nothing", json="print ratios only"
    )
    parser.add_argument("--steps", type=int, default=1500, help="of every variant, 16 photos each")
    parser.add_argument("--run", type=Path, default=Path("runs/ablation"), help="data sets and checkpoints")
    parser.add_argument("--data", type=Path, help="folder of the real photos; without it they aren't scored")
    parser.add_argument("--variants", nargs="*", help="only these; the others are read from the run folder if done")
    options = parser.parse_args(argv)
    steps, shapes = (8, 8) if options.quick else (options.steps, 160)
    root = options.run / ("quick" if options.quick else f"{steps}")
    folders = _data(options.run, shapes)
    scores = {}
    for name, config in variants(options.quick, steps).items():
        target = root / name / "scores.json"
        if not target.exists() and (options.variants is None or name in options.variants):
            random = options.quick or name == "random_encoder"
            initial = fresh_weights(config, None if random else published_weights(config.net.encoder))
            trained = train_nirne(config, folders, root / name, init=initial, report=_progress(name, config.steps))
            found = score(trained, folders["held-out"]) | (_real(trained, options.data) if options.data else {})
            target.write_text(json.dumps(found))
        if target.exists():
            scores[name] = json.loads(target.read_text())
    harness.show(options, ratios, table, scores)
    return 0


def ratios(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Of every score to the full method's."""
    full = scores["full"]
    return {f"{name}_{key}": value / full[key] for name, row in scores.items() for key, value in row.items()}


def variants(quick: bool, steps: int) -> dict[str, NirneTraining]:
    """The full method, and what it is without one part of it."""
    net = TINY if quick else NET
    phase = NirnePhase(SIDE, steps, 16, 1e-3, 1e-5)
    first = replace(phase, steps=round(steps * (1 - STAGE_TWO)))
    second = replace(phase, steps=steps - first.steps, lr=1e-4, stage=2, data="sharp")
    full = NirneTraining(net, (phase,), bf16=not quick)
    return {
        "full": full,
        "random_encoder": full,
        "no_noise_stream": replace(full, net=replace(net, noisy_channels=(0, 0, 0))),
        "with_stage_two": replace(full, phases=(first, second)),
        "no_edges_in_the_loss": replace(full, edges=0.0),
        "no_detailed_shapes": replace(full, phases=(replace(phase, data="plain"),)),
    }


def table(scores: dict[str, dict[str, float]]) -> str:
    """In Markdown, degrees."""
    columns = list(next(iter(scores.values())))
    lines = harness.head(f"variant | {' | '.join(columns)}", "lr")
    for name, row in scores.items():
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(f'{row[key]:.2f}' for key in columns)} |")
    return "\n".join(lines)


@torch.no_grad()
def score(model: NiRNENet, folder: Path) -> dict[str, float]:
    """NE and SNE in degrees over every view of a data set, in fixed photos."""
    data = ShapeData(folder)
    phase = NirnePhase(SIDE, 1, 16, 0, 0)
    ne, sne, count = 0.0, 0.0, 0
    for step in range(max(len(data) // phase.batch, 1)):
        batch = make_batch(data, phase, 5, step)
        normal, _ = model(batch.photo, batch.mask)
        theta = angle(normal, batch.normal)
        sharp = batch.solid * (bend(batch.normal, batch.solid) > BENT)
        ne += math.degrees(float(masked_mean(theta, batch.solid)))
        sne += math.degrees(float((theta * sharp).sum() / sharp.sum().clamp_min(1)))
        count += 1
    return {"ne": ne / count, "sne": sne / count}


def bend(normal: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]) -> Tensor:
    """In 0..1: how much the normal changes over a pixel, saturating at about 60 degrees; 0 at the silhouette."""
    change = torch.zeros_like(mask)
    for axis in (2, 3):
        inner = normal.shape[axis] - 1
        both = mask.narrow(axis, 0, inner) * mask.narrow(axis, 1, inner)
        step = (normal.narrow(axis, 1, inner) - normal.narrow(axis, 0, inner)).square().sum(1, keepdim=True) * both
        for side in (0, 1):  # a change counts for both of its pixels
            here = change.narrow(axis, side, inner)
            here.copy_(torch.maximum(here, step))
    return change.sqrt().clamp(max=1)


def _data(run: Path, shapes: int) -> dict[str, Path]:
    specs = {
        "shapes": DatasetSpec(shapes, 0, size_px=SIDE),
        "plain": DatasetSpec(shapes, 0, size_px=SIDE, detail=0.0),
        "sharp": DatasetSpec(max(shapes // 4, 8), 1, size_px=SIDE, detail=1.0),
        "held-out": DatasetSpec(max(shapes // 4, 8), 900_000, views=4, size_px=SIDE),
    }
    folders = {name: run / f"{name}-{spec.count}" for name, spec in specs.items()}
    for name, spec in specs.items():
        generate(folders[name], spec)
        print(f"data: {folders[name]}", file=sys.stderr)
    return folders


def _real(model: NiRNENet, data: Path) -> dict[str, float]:
    """Mean errors on photos, at twice the training size. They choose nothing: they are for the report."""
    from maquette.bench.normals.evaluate import evaluate
    from maquette.bench.normals.report import as_json
    from maquette.bench.normals.sets import SETS
    from maquette.methods.nirne import NiRNE as Method

    method = Method(model, detail_px=2 * SIDE)
    cache = Path("runs/pathtraced")
    results = {name: evaluate(SETS[name](data, cache), {"nirne": method}, lambda _: None) for name in REAL}
    found = as_json(results, {})["sets"]
    return {name: float(found[name]["mean"]["nirne"]["mean"]) for name in REAL}


def _progress(name: str, steps: int) -> Callable[[dict[str, float]], None]:
    def report(line: dict[str, float]) -> None:
        if line["step"] % 100 == 0:
            print(f"{name}: step {line['step']} of {steps}, {line['train_deg']:.1f} deg", file=sys.stderr)

    return report


if __name__ == "__main__":
    sys.exit(main())
