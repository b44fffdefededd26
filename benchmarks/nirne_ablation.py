"""NiRNE's ablations at equal compute: without the noise stream, without stage two, without detailed shapes.

    python benchmarks/nirne_ablation.py [--quick] [--json] [--steps N] [--run runs/ablation]

Every variant gets the same number of floating-point operations (counted, not timed), at half the width of the
shipped network and 64 px, and is scored on the same photos of held-out shapes: NE, the mean angle, and SNE, the
mean where the true normals bend. Each is a ratio to the full method in the same run; below 1 is better than it.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from maquette.losses import angle, masked_mean
from maquette.nets.nirne import NiRNE, NiRNEConfig
from maquette.synth.dataset import DatasetSpec, generate
from maquette.synth.shards import ShapeData
from maquette.train.batches import make_batch
from maquette.train.config import Phase, TrainConfig
from maquette.train.nirne import bend, train

SIDE = 64
NET = NiRNEConfig((16, 40, 80, 128), (1, 2, 2, 2), (16, 32, 48), size_px=SIDE)
TINY = NiRNEConfig((8, 16, 16, 16), (1, 1, 1, 1), (8, 8, 8), heads=2, size_px=SIDE)
STAGE_TWO = 0.15  # of the compute
BENT = 0.25  # `bend` above this is an edge, about 15 degrees a pixel


def main() -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rehearsal of seconds: its numbers mean nothing")
    parser.add_argument("--json", action="store_true", help="print ratios only")
    parser.add_argument("--steps", type=int, default=2000, help="of the full method, both stages")
    parser.add_argument("--run", type=Path, default=Path("runs/ablation"), help="data sets and checkpoints")
    parser.add_argument("--variants", nargs="*", help="only these; the others are read from the run folder if done")
    options = parser.parse_args()
    net, steps, shapes = (TINY, 12, 8) if options.quick else (NET, options.steps, 160)
    root = options.run / ("quick" if options.quick else f"{steps}")
    specs = {
        "shapes": DatasetSpec(shapes, 0, size_px=SIDE),
        "plain": DatasetSpec(shapes, 0, size_px=SIDE, detail=0.0),
        "sharp": DatasetSpec(max(shapes // 4, 8), 1, size_px=SIDE, detail=1.0),
        "held-out": DatasetSpec(max(shapes // 8, 8), 900_000, views=4, size_px=SIDE),
    }
    folders = {name: options.run / f"{name}-{spec.count}" for name, spec in specs.items()}
    for name, spec in specs.items():
        generate(folders[name], spec)
        print(f"data: {folders[name]}", file=sys.stderr)
    scores = {}
    for name, config in variants(net, steps).items():
        target = root / name / "scores.json"
        if not target.exists() and (options.variants is None or name in options.variants):
            trained = train(config, folders, root / name, report=_progress(name, config.steps))
            target.write_text(json.dumps(score(trained, folders["held-out"])))
        if target.exists():
            scores[name] = json.loads(target.read_text())
    if options.json:
        full = scores["full"]
        ratios = {f"{name}_{key}": value[key] / full[key] for name, value in scores.items() for key in ("ne", "sne")}
        print(json.dumps(ratios))
        return 0
    print("| variant | NE, deg | SNE, deg |\n|---|---|---|")
    for name, value in scores.items():
        print(f"| {name.replace('_', ' ')} | {value['ne']:.2f} | {value['sne']:.2f} |")
    return 0


def variants(net: NiRNEConfig, steps: int) -> dict[str, TrainConfig]:
    """The four runs, with as many steps as make their compute equal."""
    single = replace(net, noisy_channels=(0, 0, 0))
    first = round(steps * (1 - STAGE_TWO))
    second = steps - first
    # Stage two's backward pass stops at the frozen weights, so its steps are cheaper.
    budget = first * flops(net) + second * flops(net, stage=2)
    alone = Phase(SIDE, round(budget / flops(net)), 16, 5e-4, 2e-5)
    one = replace(alone, steps=first)
    two = Phase(SIDE, second, 16, 1e-4, 1e-5, stage=2, data="sharp")
    without = replace(alone, steps=round(budget / flops(single)))
    return {
        "full": TrainConfig(net, (one, two)),
        "no_noise_stream": TrainConfig(single, (without,)),
        "no_stage_two": TrainConfig(net, (alone,)),
        "no_detailed_shapes": TrainConfig(net, (replace(one, data="plain"), replace(two, data="plain"))),
    }


def flops(net: NiRNEConfig, stage: int = 1) -> int:
    """Floating-point operations of a training step on one photo."""
    model = NiRNE(net)
    if stage == 2:
        model.requires_grad_(False)
        for parameter in model.stage_two_parameters():
            parameter.requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        normal, kappa = model(torch.rand(1, 3, SIDE, SIDE), torch.ones(1, 1, SIDE, SIDE))
        (normal.sum() + kappa.sum()).backward()
    return counter.get_total_flops()


@torch.no_grad()
def score(model: NiRNE, folder: Path) -> dict[str, float]:
    """NE and SNE in degrees over every view of a data set, in fixed photos."""
    data = ShapeData(folder)
    phase = Phase(data.spec.size_px, 1, 16, 0, 0)
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


def _progress(name: str, steps: int) -> Callable[[dict[str, float]], None]:
    def report(line: dict[str, float]) -> None:
        if line["step"] % 100 == 0:
            print(f"{name}: step {line['step']} of {steps}, {line['train_deg']:.1f} deg", file=sys.stderr)

    return report


if __name__ == "__main__":
    sys.exit(main())
