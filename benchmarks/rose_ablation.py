"""RoSE's claim and its ablations, at equal data, steps and network: which of the paper's orderings hold at our scale?

    python benchmarks/rose_ablation.py [--quick] [--json] [--only NAME ...] [--steps 500] [--run runs/rose-ablation]

Every variant trains the video model of `rose-small` from nothing over its frozen VAE, on the same photos, and is scored
on the same photos of held-out shapes: mean angular error in degrees at 1, 4 and 25 steps of the sampler, by both
solvers; signal-to-noise of the shadings; and how far the integrated surface is from the true one, in percent of the
object's width. "normals" is the control: the same frames, but each a component of the normals, and no solver. Each
variant is kept under --run: one that is there is scored and not trained again. With --json, errors relative to the
variant "shading" at one step; below 1 is better. --picture FILE.png shows "shading" and "normals" side by side. Data is
generated if it isn't there.
"""

import argparse
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import harness
import torch
from jaxtyping import UInt8
from torch import Tensor

from maquette.catalogue import RingSolver
from maquette.geometry.integrate import integrate
from maquette.io.checkpoints import load_network
from maquette.io.images import write_png8
from maquette.losses import angle, masked_mean
from maquette.methods.rose import imagine, to_normals
from maquette.metrics import psnr_db
from maquette.nets.rose import RoseConfig, RoSENet
from maquette.runs.schedule import Phase
from maquette.shading.exposure import decode, encode, normalise_exposure
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.synth.datasets.dataset import DatasetSpec, generate, read_manifest
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.photo import Surfaces, photograph
from maquette.train.rose.config import TRAINING, RoseTraining
from maquette.train.rose.recipe import train_rose
from maquette.train.shapes import HELD_OUT_SEED
from maquette.types import Camera, NormalMap

VARIANTS: dict[str, dict[str, Any]] = {
    "shading": {},
    "normals": {"predicts": "normals"},
    "no tokens": {"sees_tokens": False},
    "no latent": {"sees_latent": False},
    "6 lights": {"frames": 6},
    "12 lights": {"frames": 12},
    "colour": {"grey": False},
}
SIZE_PX, BATCH = 64, 8

Scores = dict[str, list[float]]  # by photo
SOLVERS: tuple[RingSolver, ...] = ("robust", "paper")


def main(argv: list[str] | None = None) -> int:
    """Train what isn't there, score, print."""
    parser = harness.arguments(__doc__, quick="2 variants, 3 steps of training, 4 photos", json="print ratios only")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=500, help="of the optimiser")
    parser.add_argument("--weights", default="rose-small", help="whose VAE is used: a name or a folder")
    parser.add_argument("--data", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--held-out", type=Path, default=Path("runs/held-out"))
    parser.add_argument("--run", type=Path, default=Path("runs/rose-ablation"))
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--picture", type=Path, help="write photos, true and imagined frames, and normals")
    options = parser.parse_args(argv)
    harness.two_threads()
    folder = tempfile.TemporaryDirectory() if options.quick else None
    if folder is not None:
        options.only, options.steps, options.photos = ["shading", "normals"], 3, 4
        options.run = Path(folder.name)
        options.data, options.held_out = options.run / "shapes", options.run / "held-out"
    for place, spec in (
        (options.data, DatasetSpec(8 if options.quick else 744, views=2 if options.quick else 8, size_px=128)),
        (options.held_out, DatasetSpec(8 if options.quick else 48, HELD_OUT_SEED, views=4, size_px=128)),
    ):
        generate(place, read_manifest(place) if (place / "manifest.json").exists() else spec, shapes=744)
    base = load_network(options.weights, RoseConfig, RoSENet)
    scores, nets = {}, {}
    for name in options.only:
        net = nets[name] = trained(name, base, options)
        scores[name] = score(net, options.held_out, options.photos, (1, 4) if options.quick else (1, 4, 25))
        print(name, {key: round(mean(values), 2) for key, values in scores[name].items()}, file=sys.stderr)
    if options.picture is not None:
        shown = {name: nets[name] for name in ("shading", "normals") if name in nets}
        write_png8(options.picture, picture(shown, options.held_out))
    harness.show(options, ratios, table, scores)
    return 0


def trained(name: str, base: RoSENet, options: argparse.Namespace) -> RoSENet:
    """The variant, trained over the VAE of `base`, or read from the run folder."""
    if not isinstance(base.config, RoseConfig):
        raise TypeError("the ablation is of the small backbone")
    config = RoseTraining(
        replace(base.config, **VARIANTS[name]),
        (Phase(SIZE_PX, options.steps, BATCH, 6e-4, 6e-6, shapes=744, stage=2),),
        bf16=True,
        log_sigma=TRAINING["small"].log_sigma,
    )
    torch.manual_seed(config.seed)
    fresh = config.build()
    fresh.vae.load_state_dict(base.vae.state_dict())
    fresh.latent_std.copy_(base.latent_std)
    run = options.run / name.replace(" ", "-")

    def report(line: dict[str, float]) -> None:
        if int(line["step"]) % 50 == 0:
            print(f"{name}: {int(line['step'])} steps, loss {line['loss']:.4f}", file=sys.stderr)

    return train_rose(config, {"shapes": options.data}, run, report=report, init=fresh.state_dict())


@torch.no_grad()
def score(net: RoSENet, folder: Path, photos: int, samplings: tuple[int, ...]) -> Scores:
    """Errors of fixed photos of held-out shapes."""
    data = ShapeData(folder)
    factor = data.spec.size_px // SIZE_PX
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:photos]
    found: Scores = {}

    def keep(key: str, value: float) -> None:
        found.setdefault(key, []).append(value)

    for index in order:
        surfaces = data.batch([index], factor)
        rng = torch.Generator().manual_seed(index)
        seen = normalise_exposure(decode(photograph(surfaces, rng)), surfaces.mask)
        for steps in samplings:
            with torch.autocast("cpu", torch.bfloat16):
                frames = imagine(net, seen, surfaces.mask, steps).float()
            shading = net.config.predicts == "shading"
            for solver in SOLVERS if shading else SOLVERS[:1]:
                normal = to_normals(net, frames, solver)
                error = masked_mean(angle(normal, surfaces.normal), surfaces.mask)
                keep(f"{steps}_{solver}_deg", math.degrees(float(error)))
                if steps == 1 and solver == "robust":
                    keep("surface_percent", surface_error(normal, surfaces, data.camera(index, factor)))
            if steps == 1 and shading:
                keep("shading_db", shading_psnr(frames, surfaces))
    return found


def shading_psnr(frames: Tensor, surfaces: Surfaces) -> float:
    """Of the imagined shadings, over the object."""
    true = shading_frames((surfaces.normal * surfaces.mask).movedim(1, -1), ring_lights(frames.shape[1]))[:, 0]
    inside = surfaces.mask[0, 0] > 0
    return psnr_db(((frames[0].mean(1) + 1) / 2)[:, inside], true[:, inside])


def surface_error(normal: Tensor, surfaces: Surfaces, camera: Camera) -> float:
    """Root mean square distance in depth of the integrated surface from the true one, percent of the object's width.

    What normals can't tell, the distance of each piece, is fitted.
    """
    mask = surfaces.mask[0, 0] > 0
    depth = integrate(NormalMap(normal[0].permute(1, 2, 0) * mask[..., None], mask), camera)
    true = -surfaces.position[0, 2].double()
    missed = torch.zeros_like(true)
    for piece in range(int(depth.piece.max()) + 1):
        here = depth.piece == piece
        if camera.orthographic:
            missed[here] = depth.depth[here] - depth.depth[here].mean() - (true[here] - true[here].mean())
        else:
            scale = (true[here] * depth.depth[here]).sum() / depth.depth[here].square().sum()
            missed[here] = scale * depth.depth[here] - true[here]
    across = surfaces.position[0, :2, mask]
    width = float((across.amax(1) - across.amin(1)).max())
    return 100 * float(missed[mask].square().mean().sqrt()) / width


@torch.no_grad()
def picture(nets: dict[str, RoSENet], folder: Path, photos: int = 5) -> UInt8[Tensor, "height width 3"]:
    """A block a photo: the photo and the true frames; beneath, for every variant, its normals and its frames."""
    data = ShapeData(folder)
    factor = data.spec.size_px // SIZE_PX
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:photos]
    rows = []
    for index in order:
        surfaces = data.batch([index], factor)
        photo = photograph(surfaces, torch.Generator().manual_seed(index))
        seen = normalise_exposure(decode(photo), surfaces.mask)
        lights = ring_lights(9)
        true = shading_frames((surfaces.normal * surfaces.mask).movedim(1, -1), lights)[:, 0, None].expand(
            -1, 3, -1, -1
        )
        rows.append([photo[0], surfaces.normal[0] / 2 + 0.5, *encode(true.clamp_min(0))])
        for net in nets.values():
            frames = imagine(net, seen, surfaces.mask, 1).float()
            normals = to_normals(net, frames)[0] * surfaces.mask[0]
            grey = ((frames[0].mean(1, keepdim=True).expand(-1, 3, -1, -1) + 1) / 2).clamp(0, 1)
            grey = encode(grey) if net.config.predicts == "shading" else grey
            rows.append([torch.zeros_like(photo[0]), normals / 2 + 0.5, *(grey * surfaces.mask)])
    sheet = torch.cat([torch.cat(row, 2) for row in rows], 1)
    return (sheet.permute(1, 2, 0) * 255).round().to(torch.uint8)


def ratios(scores: dict[str, Scores]) -> dict[str, float]:
    """Of every variant, the error at one step by the robust solver over that of "shading"."""
    whole = mean(scores["shading"]["1_robust_deg"])
    return {f"{name}_degrees": mean(found["1_robust_deg"]) / whole for name, found in scores.items()}


def table(scores: dict[str, Scores]) -> str:
    """Markdown: a row a variant; means, and how far each is from "shading" at one step, photo by photo."""
    keys = {key for found in scores.values() for key in found}
    by_steps = sorted((key for key in keys if key.endswith("deg")), key=lambda key: (int(key.split("_")[0]), key))
    columns = [*by_steps, *sorted(keys - set(by_steps))]
    lines = harness.head(" | ".join(["variant", *columns, "difference"]), "lr")
    for name, found in scores.items():
        cells = [f"{mean(found[key]):.2f}" if key in found else "" for key in columns]
        pairs = zip(found["1_robust_deg"], scores.get("shading", found)["1_robust_deg"], strict=True)
        differences = [one - other for one, other in pairs]
        spread = stdev(differences) / math.sqrt(len(differences))
        lines.append(harness.row([name, *cells, f"{mean(differences):+.2f} ± {spread:.2f}"]))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
