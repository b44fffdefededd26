"""What GSN's confidence, which looks at the given picture alone, tells of views that the network didn't see.

    python benchmarks/gsn_confidence.py DATA [--weights NAME|DIR] [--quick] [--json]

DATA is a folder of `maquette dataset views`, of objects that the weights weren't trained on, with masks. Of each
object, two views are given to the network, one at a time; the splat is compared with others of its views as the
confidence compares it with the given one: overlap of silhouettes times one minus the error of colours. Printed:
Spearman's rank correlation of both, and the unseen views' mean score among the thirds of the pictures of least,
middle and most confidence. The peer is the best that can be said without looking at the picture, one number for all:
a mean error of `constant`; `error` is that of the confidence, made straight by a line. --json prints one flat
object; --quick takes an object of each category.
"""

import argparse
import json
import sys
from pathlib import Path

import harness
import numpy as np
import torch
from scipy.stats import rankdata

from maquette.errors import InputError
from maquette.methods.gsn import GSN, agreement_of, confidence_of
from maquette.render.splat.rasterize import rasterize
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.train.gsn.data import ViewCache, views_of

GIVEN = (0.15, 0.45)  # which views are given: shares of their number
UNSEEN, QUICK_UNSEEN = 6, 3  # how many others of an object
SIZE_PX = 128


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0, or 2 if what was asked for isn't there."""
    parser = harness.arguments(__doc__, quick="an object of each category", json="one flat object")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--weights", default="gsn-small", metavar="NAME|DIR")
    options = parser.parse_args(argv)
    try:
        rows = _rows(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    found = _told(np.array(rows))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:<22}{value:8.3f}" for name, value in found.items()))
    return 0


def _rows(options: argparse.Namespace) -> list[tuple[float, float]]:
    """Those of all objects, or of one of each category."""
    data = ViewsDataset(options.data)
    gsn, cache = GSN.from_pretrained(options.weights), ViewCache(data)
    chosen = [data.categories.index(name) for name in sorted(set(data.categories))]
    rows = []
    for index in chosen if options.quick else range(len(data)):
        rows += _object(gsn, cache, index, QUICK_UNSEEN if options.quick else UNSEEN)
    return rows


def _object(gsn: GSN, cache: ViewCache, index: int, unseen: int) -> list[tuple[float, float]]:
    """The confidence and the unseen views' mean score, for each view of an object that is given."""
    stored = cache.stored(index)
    count = len(stored.rgb)
    rows = []
    for share in GIVEN:
        given = int(share * count)
        others = [(given + 1 + int(k * (count - 1) / unseen)) % count for k in range(unseen)]
        rgb, cameras, mask, _ = views_of(stored, [given, *others], SIZE_PX)
        if mask is None:
            raise InputError(f"{cache.data.folders[index]}: has no masks; data of `maquette dataset views` have them")
        shown = gsn.show((rgb[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        result = gsn.result(shown)
        scores = []
        for place in range(1, 1 + unseen):
            with torch.no_grad():
                seen = rasterize(result.gaussians, cameras[place], background=torch.ones(3))
            scores.append(confidence_of(*agreement_of(seen, rgb[place].permute(1, 2, 0), mask[place, 0] > 0.5)))
        rows.append((result.confidence, float(np.mean(scores))))
    return rows


def _told(rows: np.ndarray) -> dict[str, float]:
    confidence, unseen = rows.T
    order = np.argsort(confidence)
    thirds = [float(unseen[part].mean()) for part in np.array_split(order, 3)]
    line = np.polyval(np.polyfit(confidence, unseen, 1), confidence)
    error, constant = (float(np.abs(unseen - guess).mean()) for guess in (line, unseen.mean()))
    return {
        "pictures": float(len(rows)),
        "confidence": float(confidence.mean()),
        "unseen": float(unseen.mean()),
        "rank_correlation": float(np.corrcoef(rankdata(confidence), rankdata(unseen))[0, 1]),
        "unseen_least_confident": thirds[0],
        "unseen_middle": thirds[1],
        "unseen_most_confident": thirds[2],
        "error": error,
        "constant": constant,
        "error_over_constant": error / constant,
    }


if __name__ == "__main__":
    raise SystemExit(main())
