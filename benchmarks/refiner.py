"""CLONE's refiner and gate alone, one step on many maps: what goes in, what comes out, on renders of held-out shapes.

    python benchmarks/refiner.py [--quick] [--json] [--weights clone-small] [--data runs/held-out]

For each kind of input: mean angular error in degrees of the input and of the refined and fused maps, how badly input
and fused map explain images of the object under other lights, and how many photos the fused map is better on. With
--json, ratios of the fused map to its input; below 1 is better. The data is generated if it isn't there.
"""

import sys
from pathlib import Path

import harness

from maquette.io.checkpoints import load_network
from maquette.methods.nirne import NiRNE
from maquette.nets.refiner import RefinerConfig, RefinerNet
from maquette.synth.datasets.dataset import DatasetSpec, generate, read_manifest
from maquette.train.refiner.scores import Scores, score_refiner
from maquette.train.shapes import HELD_OUT_SEED


def main(argv: list[str] | None = None) -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = harness.arguments(__doc__, quick="16 photos of 64 pixels", json="print ratios only")
    parser.add_argument("--weights", default="clone-small", help="of the refiner: a name or a folder")
    parser.add_argument("--predictor", default="nirne-small", help="weights that make the predicted inputs")
    parser.add_argument("--data", type=Path, default=Path("runs/held-out"))
    options = parser.parse_args(argv)
    harness.two_threads()
    spec = DatasetSpec(48, HELD_OUT_SEED, views=4, size_px=128)
    generate(options.data, read_manifest(options.data) if (options.data / "manifest.json").exists() else spec)
    model = load_network(options.weights, RefinerConfig, RefinerNet).eval().requires_grad_(False)
    predictor = NiRNE.from_pretrained(options.predictor).net
    size, photos = (64, 16) if options.quick else (model.config.size_px, 192)
    scores = score_refiner(model, predictor, options.data, size, photos=photos)
    harness.show(options, ratios, table, scores)
    return 0


def ratios(scores: dict[tuple[str, str], Scores]) -> dict[str, float]:
    """Error of the fused map over that of its input, of angles and of reprojection."""
    found = {}
    for label in dict.fromkeys(label for label, _ in scores):
        given, fused = scores[label, "given"], scores[label, "fused"]
        found[f"{label}_degrees"] = float(fused.degrees.mean() / given.degrees.mean())
        found[f"{label}_reprojection"] = float(fused.missed.mean() / given.missed.mean())
    return found


def table(scores: dict[tuple[str, str], Scores]) -> str:
    """Markdown: a row a kind of input."""
    lines = harness.head(
        "input | input, deg | refined, deg | fused, deg | photos better"
        " | worst photo, deg | reprojection of input | of fused",
        "lr",
    )
    for label in dict.fromkeys(label for label, _ in scores):
        given, refined, fused = (scores[label, what] for what in ("given", "refined", "fused"))
        change = fused.degrees - given.degrees
        lines.append(
            f"| {label.replace('_', ', ')} | {given.degrees.mean():.2f} | {refined.degrees.mean():.2f} "
            f"| {fused.degrees.mean():.2f} | {100 * (change < 0).float().mean():.0f} % | {change.max():+.1f} "
            f"| {given.missed.mean():.3f} | {fused.missed.mean():.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
