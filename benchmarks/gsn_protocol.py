"""GSN by the protocol of ShapeNet-SRN: PSNR, SSIM and LPIPS of new views, known categories and held-out ones apart.

    python benchmarks/gsn_protocol.py [--quick] [--json] [--weights NAME|DIR ...] [--data DIR] [--views N]

Every method is shown view 64 of each test object and scored on the other 250, or on `--views` of them, evenly
spread; the mean over an object's views, then over objects. In a data set whose spiral has another number of views,
the one shown is at the same place along it. Beside the weights stand

    blind          weights that were trained on blank images and are shown one (--blind): a learned mean splat
    mean splat     slot by slot, the mean of the first weights' splats of 200 training images (--train)
    cube           the canonical cube that GSN's splats deviate from
    input, white   the shown view itself, and the background, whatever is asked for

LPIPS (VGG-16) is measured where the package `lpips` and its weights are installed; nothing is downloaded. --json
prints one flat object; what could not be measured is null. --quick makes a tiny data set and, unless --weights
names others, takes a network with random weights. --picture FILE.png shows objects of each category: what was
shown, true views, and the first weights' views beneath.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import harness
import novel_views as views
import torch
from gsn_bench import QUICK, as_method, load_gsn, load_gsns, mean_splat, splats_of, training_images
from jaxtyping import UInt8
from novel_views import HELD_OUT, KNOWN, Method, Score, Trial
from torch import Tensor

from maquette.io.images import write_png8
from maquette.nets.gsn import GSNNet, canonical_cube
from maquette.synth.datasets.multiview.objects import generate
from maquette.synth.datasets.multiview.reading import ViewsDataset

MEAN_OF = 200  # training images
PICTURE_VIEWS = 5
QUICK_VIEWS = 4

Found = dict[str, dict[str, Score]]  # by method and group


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0, or 2 if what was asked for isn't there."""
    options = _parse(argv)
    return harness.in_scratch(lambda folder: _run(options, folder))


def methods(nets: dict[str, GSNNet], blind: GSNNet | None, train: ViewsDataset | None) -> dict[str, Method]:
    """By the names of the table's rows.

    Args:
        nets: GSN's weights; the first are those whose splats' mean is taken.
        blind: weights that were trained on blank images.
        train: training objects; without them there is no mean splat.
    """
    first = next(iter(nets.values()))
    found: dict[str, Method] = {name: as_method(net) for name, net in nets.items()}
    if blind is not None:
        found["blind"] = as_method(blind, blind=True)
    if train is not None:
        found["mean splat"] = views.fixed_splat(mean_splat(first, training_images(train, MEAN_OF)))
    return found | {
        "cube": views.fixed_splat(canonical_cube(first.config)),
        "input": views.repeated,
        "white": views.all_white,
    }


def table(found: Found) -> str:
    """Markdown: PSNR, SSIM and LPIPS of known and of held-out categories; then PSNR by category."""
    groups = [group for group in (KNOWN, HELD_OUT) if any(group in by_group for by_group in found.values())]
    categories = sorted({group for by_group in found.values() for group in by_group} - {KNOWN, HELD_OUT})
    lines = harness.head(" | ".join(["method", *(f"PSNR, {group} | SSIM | LPIPS" for group in groups)]), "lr")
    for method, by_group in found.items():
        scores = [by_group[group] for group in groups]
        lines.append(harness.row([method, *map(_cells, scores)]))
    lines += ["", *harness.head(" | ".join(["PSNR", *categories]), "lr")]
    for method, by_group in found.items():
        lines.append(harness.row([method, *(f"{by_group[name].psnr_db:.2f}" for name in categories)]))
    return "\n".join(lines)


def flat(found: Found) -> dict[str, float | None]:
    """One flat object: `METHOD_GROUP_MEASURE`, spaces as underscores."""
    return {
        f"{method}_{group}_{measure}".replace(" ", "_"): value
        for method, by_group in found.items()
        for group, score in by_group.items()
        for measure, value in vars(score).items()
    }


def picture(net: GSNNet, cases: list[Trial]) -> UInt8[Tensor, "height width 3"]:
    """A block an object, two blocks a row: above, what is shown, true views, true normals; beneath, the splat's."""
    blocks = []
    for case in cases:
        splat = splats_of(net, case.image[None]).gaussians(0)
        seen = views.views_of_splat(splat, [case.shown, *case.cameras])
        above, beneath = [case.image, *case.rgb], [output.color.permute(2, 0, 1) for output in seen]
        if case.normals is not None and case.mask is not None:
            above.append(case.normals[-1] / 2 + 0.5 + 0.5 * (1 - case.mask[-1]))
            normals, alpha = seen[-1].normals.permute(2, 0, 1), seen[-1].alpha
            beneath.append((normals / 2 + 0.5) * alpha + 1 - alpha)
        blocks.append(torch.cat([torch.cat(above, 2), torch.cat(beneath, 2)], 1))
    blocks += [torch.ones_like(blocks[0])] * (len(blocks) % 2)
    gap = torch.ones(3, blocks[0].shape[1], 16)
    rows = [torch.cat([left, gap, right], 2) for left, right in zip(blocks[::2], blocks[1::2], strict=True)]
    return (torch.cat(rows, 1).clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8)


def _run(options: argparse.Namespace, folder: Path) -> int:
    if options.quick:
        generate(folder, QUICK)
        options.data = options.train = folder
        options.views = QUICK_VIEWS
    data = views.test_objects(options.data)
    nets = load_gsns(options.weights, data, options.quick)
    train = None
    if options.train is not None and options.train.is_dir():
        train = ViewsDataset(options.train, split="train")
    else:
        print(f"mean splat: not run: no training objects at {options.train}", file=sys.stderr)
    blind = None if options.blind is None else load_gsn(options.blind, data)
    lpips, why = views.find_lpips()
    if lpips is None:
        print(f"LPIPS: not run: {why}", file=sys.stderr)
    held_out = views.held_out_categories(options.data)
    if options.picture is not None:
        shown = list(views.trials(data, PICTURE_VIEWS, objects=1))
        write_png8(options.picture, picture(next(iter(nets.values())), shown))
    scores = views.evaluate(
        views.trials(data, options.views, options.objects),
        methods(nets, blind, train),
        lpips,
        lambda name: print(name, file=sys.stderr),
    )
    found = {method: views.by_group(of_method, held_out) for method, of_method in scores.items()}
    harness.show(options, flat, table, found)
    return 0


def _cells(score: Score) -> str:
    lpips = "" if score.lpips is None else f"{score.lpips:.3f}"
    return f"{score.psnr_db:.2f} | {score.ssim:.3f} | {lpips}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(
        __doc__, quick="a tiny data set of its own; under a minute", json="one flat object of numbers"
    )
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME|DIR", help="the first are the headline")
    parser.add_argument("--blind", metavar="NAME|DIR", help="weights that were trained on blank images")
    parser.add_argument("--data", type=Path, default=Path("runs/gsn/test"), help="default: %(default)s")
    parser.add_argument("--train", type=Path, default=Path("runs/gsn/train"), help="default: %(default)s")
    parser.add_argument("--views", type=int, metavar="N", help="views of each object that are scored; default: all")
    parser.add_argument("--objects", type=int, metavar="N", help="of each category; default: all")
    parser.add_argument("--picture", type=Path, help="write a contact sheet")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
