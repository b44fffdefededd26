"""Which reprojection error has its least value at the best normals? Flattened to deepened ones, by five errors.

    python benchmarks/reprojection_bias.py [--quick] [--json] [--data runs/held-out]

A network's normals of held-out renders are deepened (z shrinks) or flattened (z grows) step by step, and so are the
true ones. An error to train with has its minimum where the angular error has it. "known" is the error that training
uses: relative, in linear light, under the renderer's lights. "held" and "free" are the same under lights fitted to the
very normals, with a strong or a weak pull to the renderer's; "lit" leaves out what is dark beside the other images, as
cast shadows are; "display" is the mean absolute error in display values. With --json, every error at every step as a
ratio to that of the network's unchanged normals.
"""

import sys
from pathlib import Path

import harness
import torch
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.losses import angle, masked_mean
from maquette.methods.nirne import NiRNE
from maquette.shading.exposure import decode, encode, normalise_exposure
from maquette.synth.datasets.dataset import DatasetSpec, generate, read_manifest
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.materials import sample_material
from maquette.synth.looks.photo import Surfaces, expose, shade
from maquette.train.refiner.data import guesses
from maquette.train.refiner.reprojection import LitImages, albedo_of, fit_lights, render_views, reprojection, shading
from maquette.train.shapes import HELD_OUT_SEED

FACTORS = (0.7, 0.85, 1.0, 1.2, 1.5)  # of z, before normals are scaled to unit length
LIGHTS = {"known": None, "held": 1.0, "free": 1e-3}


def main(argv: list[str] | None = None) -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = harness.arguments(__doc__, quick="8 photos instead of 64", json="print ratios only")
    parser.add_argument("--predictor", default="nirne-small", help="weights that make the normals")
    parser.add_argument("--data", type=Path, default=Path("runs/held-out"))
    options = parser.parse_args(argv)
    harness.two_threads()
    spec = DatasetSpec(48, HELD_OUT_SEED, views=4, size_px=128)
    generate(options.data, read_manifest(options.data) if (options.data / "manifest.json").exists() else spec)
    data = ShapeData(options.data)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()
    surfaces = data.batch(order[: 8 if options.quick else 64], max(data.spec.size_px // 64, 1))
    rng = torch.Generator().manual_seed(0)
    material = sample_material(surfaces.local, rng)
    seen = normalise_exposure(decode(expose(shade(surfaces, material, rng), surfaces.mask, rng)), surfaces.mask)
    network = NiRNE.from_pretrained(options.predictor).net
    starts = {
        "true": surfaces.normal,
        "predicted": guesses(seen, surfaces.mask, [0] * len(seen), network),
    }
    views = render_views(surfaces, material)
    rows = {
        (name, c): errors(flattened(n, c, surfaces.mask), surfaces, views)
        for name, n in starts.items()
        for c in FACTORS
    }
    harness.show(options, ratios, table, rows)
    return 0


def flattened(normals: Tensor, factor: float, mask: Tensor) -> Tensor:
    """Normals of the surface with all heights divided by `factor`."""
    return unit(normals * normals.new_tensor([1, 1, factor]).reshape(1, 3, 1, 1), 1) * mask


def errors(normals: Tensor, surfaces: Surfaces, views: LitImages) -> dict[str, float]:
    """The angular error in degrees, and the reprojection errors."""
    mask, images = surfaces.mask, views.images
    found = {"degrees": float(masked_mean(angle(normals, surfaces.normal), mask).rad2deg())}
    for name, trust in LIGHTS.items():
        lights = views.lights if trust is None else fit_lights(normals, mask, views, trust)
        found[name] = float(reprojection(normals, mask, images, lights)[0].mean())
    shaded = shading(normals, views.lights)
    share = images / images.amax(1, keepdim=True).clamp_min(1e-4)
    weight = ((share - 0.1) / 0.2).clamp(0.03, 1)
    lit = (weight * shaded * images).sum(1) / (weight * shaded.square()).sum(1).clamp_min(1e-4)
    missed = (weight * (lit[:, None] * shaded - images).square()).sum(1, keepdim=True)
    missed = (missed / (weight * images.square()).sum(1, keepdim=True).clamp_min(1e-4)).sqrt()
    found["lit"] = float(masked_mean(missed, mask))
    white = torch.quantile((images.amax(1, keepdim=True) * mask).flatten(1), 0.97, 1).reshape(-1, 1, 1, 1)
    made = albedo_of(shaded, images)[:, None] * shaded
    shown, wanted = (encode((image / white).clamp(0, 1.5) + 0.005) for image in (made, images))
    found["display"] = float(masked_mean((shown - wanted).abs().mean(1, keepdim=True), mask))
    return found


def table(rows: dict[tuple[str, float], dict[str, float]]) -> str:
    """Markdown: a row a kind of normals and a factor."""
    columns = list(rows["true", 1.0])
    lines = harness.head(f"normals | z times | {' | '.join(columns)}", "lr")
    for (name, factor), row in rows.items():
        lines.append(
            f"| {name} | {factor} | {row['degrees']:.2f} | {' | '.join(f'{row[c]:.4f}' for c in columns[1:])} |"
        )
    return "\n".join(lines)


def ratios(rows: dict[tuple[str, float], dict[str, float]]) -> dict[str, float]:
    """Each error over that of the unchanged predicted normals."""
    base = rows["predicted", 1.0]
    return {
        f"{name}_{factor}_{column}": value / base[column]
        for (name, factor), row in rows.items()
        for column, value in row.items()
    }


if __name__ == "__main__":
    sys.exit(main())
