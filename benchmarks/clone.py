"""CLONE's table: what each part of the loop gives, from a neutral start and from NiRNE; normals, photo, and relighting.

    python benchmarks/clone.py --data DATA [--only NAME...] [--starts neutral nirne] [--run runs/clone-bench] [--json]
    python benchmarks/clone.py --quick [--json]

Photos: DiLiGenT's ball and bear, five objects of LUCES, and scans that are path-traced under known lights and cached.
Rows, for each photo and each start:

    initial     the first normals; explained with one albedo and the light that suits; relit with a guessed albedo
    gaussians   3DGS only: the normals of the fitted Gaussians
    refiner     the network on the first normals, fitted to the photo
    no-gate     both, fused half and half
    all         both, and the gate

    photo       the albedo shortcut: the photo itself, whatever the light (as albedo on flat normals it is the same)
    truth       the true normals, relit as the initial ones are

Measures: the mean angular error (deg); the reprojection error at held-out pixels (display values); the relighting
error, that of the fitted Gaussians under each held-out light (root mean square over the photo's, at the best exposure;
shadows that are cast count in every row); how far the normals moved; and what the first ones were expected to be wrong
by. Time and memory of a fit are measured in processes of their own, as ratios to NiRNE on the same photo.

Rows are kept in --run under a name made of weights, settings and code: a run that was stopped goes on where it was.
These sets are for evaluation only. `--json` prints one flat object of ratios.
"""

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import harness
import torch
from lit_photos import LitSample, lit_samples, relit_map_error, relit_splat_error, unchanged_error

import maquette
from maquette.bench.normals.datasets import Sample
from maquette.errors import InputError
from maquette.geometry.directional import expected_angle
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network, weights_folder
from maquette.io.files import write_bytes
from maquette.methods.baselines import inflate
from maquette.methods.clone.loop import LoopConfig
from maquette.methods.clone.method import CLONE, FINE_PX, GUESS_RAD
from maquette.methods.framing import object_window
from maquette.methods.nirne import NiRNE
from maquette.methods.tiles import resize
from maquette.metrics import angular_error_deg
from maquette.nets.refiner import RefinerConfig, RefinerNet
from maquette.shading.lambert import lambert
from maquette.types import NormalMap, Photo

STARTS = ("neutral", "nirne")
VARIANTS = ("initial", "gaussians", "refiner", "no-gate", "all")
MEASURES = {
    "mean_deg": "mean, deg",
    "reprojection": "reprojection",
    "relighting": "relighting",
    "moved_deg": "moved, deg",
    "seconds": "s",
}
SIZES_PX, QUICK_SIZES_PX = (256, 512), (64,)
QUICK_ITERATIONS = 3
ROOMS = ("geometry", "gaussians", "shading", "render", "nets", "methods")  # whose code the rows depend on
WEIGHT_FILES = ("config.json", "model.safetensors")
THREADS = 2

Row = dict[str, float | None]
Found = dict[tuple[str, str, str], Row]  # by photo, start and variant


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, print; returns 0, or 2 if a photo could not be measured."""
    options = _parse(argv)
    if options.case:
        print(json.dumps(_seconds(options.case, options.size, options.refiner, _config(options))))
        return 0
    sources = {"quick-blobs": quick_sample} if options.quick else lit_samples(options.data, options.cache)
    names = [name for name in sources if not options.only or any(part in name for part in options.only)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (Path(scratch) if options.quick else options.run) / _fingerprint(options)
        found, failed = measure({name: sources[name] for name in names}, options, folder)
        sizes = QUICK_SIZES_PX if options.quick else SIZES_PX
        costs = {} if options.no_time else {size: _costs(size, options, folder) for size in sizes}
    harness.show(options, ratios, table, found, costs)
    return 2 if failed else 0


def measure(
    sources: dict[str, Callable[[], LitSample]], options: argparse.Namespace, folder: Path
) -> tuple[Found, list[str]]:
    """Every row, from its file where there is one; and the photos that could not be measured."""
    refiner = load_network(options.refiner, RefinerConfig, RefinerNet)
    nirne = NiRNE.from_pretrained("nirne-small") if "nirne" in options.starts else None
    found: Found = {}
    failed = []
    for name, load in sources.items():
        try:
            rows = _rows_of(name, load, refiner, nirne, options, folder)
        except InputError as error:
            failed.append(name)
            print(f"{name}: not run: {error}", file=sys.stderr)
            continue
        found |= rows
    return found, failed


def _rows_of(
    name: str,
    load: Callable[[], LitSample],
    refiner: RefinerNet,
    nirne: NiRNE | None,
    options: argparse.Namespace,
    folder: Path,
) -> Found:
    wanted = [("", "photo"), ("", "truth")] + [(start, variant) for start in options.starts for variant in VARIANTS]
    found: Found = {}
    case, first = None, {}
    for start, variant in wanted:
        path = folder / f"{name}.{start or 'any'}.{variant}.json"
        if not path.exists():
            case = case or load()
            if start and start not in first:
                given = inflate(case.sample.photo) if start == "neutral" or nirne is None else nirne(case.sample.photo)
                first[start] = given
            row = _anchor(case, variant) if not start else _fit(case, first[start], variant, refiner, _config(options))
            write_bytes(path, (json.dumps(row) + "\n").encode())
            print(f"{name} {start} {variant}: {row}", file=sys.stderr)
        found[name, start, variant] = json.loads(path.read_text())
    return found


def _fit(case: LitSample, first: NormalMap, variant: str, refiner: RefinerNet, config: LoopConfig) -> Row:
    """Run the loop in one of its variants. `initial` is its state before the first step."""
    begun = time.perf_counter()
    if variant == "initial":
        # With one iteration, the state that is kept is the one that it begins with.
        config = replace(config, iterations=1, stages="gaussians")
    else:
        config = replace(config, stages=variant)
    start = inflate if first.concentration is None else lambda _: first
    result = CLONE(refiner, start, config).fit(case.sample.photo)
    seconds = time.perf_counter() - begun
    normals = first if variant == "initial" else result.normal_map
    known = first.concentration
    told = torch.full(first.mask.shape, GUESS_RAD) if known is None else expected_angle(known)
    if variant == "initial":
        error = relit_map_error(case, first, result.camera.width)
    else:
        error = relit_splat_error(case, result.gaussians, result.camera)
    return {
        "mean_deg": _mean_deg(normals, case.sample),
        "reprojection": result.held_out,
        "relighting": error,
        "moved_deg": 0.0 if variant == "initial" else result.moved_deg,
        "told_deg": math.degrees(float(told[first.mask].mean())),
        "iterations": 0 if variant == "initial" else result.iterations,
        "seconds": None if variant == "initial" else seconds,
    }


def _anchor(case: LitSample, variant: str) -> Row:
    """What a method must beat, and what none can reach."""
    side = min(object_window(case.sample.photo).height, FINE_PX)
    error = relit_map_error(case, case.sample.truth, side) if variant == "truth" else unchanged_error(case, side)
    return {"mean_deg": None, "relighting": error}


def _mean_deg(found: NormalMap, sample: Sample) -> float:
    normals = found.normals * found.mask[..., None]
    return float(angular_error_deg(normals, sample.truth.normals, sample.truth.mask).mean())


def quick_sample() -> LitSample:
    """Two spheres that touch, in two colours, under one light; and under two others. No file is needed."""
    side = 64
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    heights, fields = [], []
    for across, up, radius in ((-0.25, -0.1, 0.6), (0.4, 0.3, 0.45)):
        squared = radius**2 - (x - across) ** 2 - (y - up) ** 2
        heights.append(squared.clamp_min(0).sqrt() * (squared > 0))
        fields.append(torch.stack([x - across, y - up, squared.clamp_min(0).sqrt()], -1))
    nearer = torch.stack(heights).argmax(0)
    mask = torch.stack(heights).amax(0) > 0
    normals = torch.where(mask[..., None], unit(torch.stack(fields)[nearer, *torch.meshgrid(
        torch.arange(side), torch.arange(side), indexing="ij")]), torch.zeros(3))  # fmt: skip
    stripes = ((6 * (x + y)).sin() > 0)[..., None]
    albedo = torch.where(stripes, torch.tensor([0.7, 0.3, 0.2]), torch.tensor([0.3, 0.5, 0.7]))
    lights = unit(torch.tensor([[0.4, 0.5, 0.77], [-0.6, 0.2, 0.77], [0.3, -0.6, 0.74]]))
    seen, *held = [lambert(normals, light, albedo) * mask[..., None] for light in lights]
    sample = Sample("blobs", "light 0", Photo(seen, mask, "blobs"), NormalMap(normals, mask))
    return LitSample("quick", sample, tuple(zip(held, lights[1:].unbind(), strict=True)))


def table(found: Found, costs: dict[int, Row]) -> str:
    """Means by family, then every photo, then whether a start was made worse, then time and memory."""
    families = sorted({name.split("-")[0] for name, _, _ in found})
    parts = [
        _rows_table(
            "mean of the photos of", {(f, s, v): _mean(found, f, s, v) for f in families for s, v in _kinds(found)}
        )
    ]
    parts.append(_rows_table("photo", found))
    parts.append(_safety_table(found))
    if costs:
        lines = harness.head("photo | s, CLONE | s, NiRNE | times | MiB, CLONE | MiB, NiRNE | times", "rr")
        for size, cost in costs.items():
            cells = [
                cost[key] for key in ("clone_seconds", "nirne_seconds", "seconds", "clone_mib", "nirne_mib", "memory")
            ]
            lines.append(harness.row([f"{size} x {size}", *map(_cell, cells)]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def ratios(found: Found, costs: dict[int, Row]) -> dict[str, float | None]:
    """One flat object: errors over the first normals', relighting over the albedo shortcut's, time over NiRNE's.

    `worse_than_told` counts photos that ended up worse by more than the first normals were expected to be wrong.
    """
    flat: dict[str, float | None] = {}
    for family in sorted({name.split("-")[0] for name, _, _ in found}):
        shortcut = _mean(found, family, "", "photo")
        for start, variant in _kinds(found):
            if not start or variant == "initial":
                continue
            here, initial = _mean(found, family, start, variant), _mean(found, family, start, "initial")
            key = f"{family}_{start}_{variant.replace('-', '_')}"
            flat[f"{key}_mean"] = _share(here, initial, "mean_deg")
            flat[f"{key}_reprojection"] = _share(here, initial, "reprojection")
            flat[f"{key}_relighting"] = _share(here, shortcut, "relighting")
    flat["worse_than_told"] = float(sum(change > (told or 0.0) for _, _, change, _, told in _changes(found)))
    for size, cost in costs.items():
        flat[f"seconds_{size}"], flat[f"memory_{size}"] = cost["seconds"], cost["memory"]
    return flat


def _rows_table(what: str, rows: Found) -> str:
    lines = harness.head(" | ".join([what, "start", "variant", *MEASURES.values()]), "lllr")
    for (name, start, variant), row in rows.items():
        lines.append(harness.row([name, start, variant, *(_cell(row.get(key)) for key in MEASURES)]))
    return "\n".join(lines)


def _safety_table(found: Found) -> str:
    """Of the whole loop: what it changed, and what could have been known before."""
    lines = harness.head(
        "photo | start | change, deg | moved, deg | expected error of the start, deg | worse by more than that",
        "llrrrl",
    )
    for name, start, change, moved, told in _changes(found):
        verdict = "yes" if change > (told or 0.0) else "no"
        lines.append(f"| {name} | {start} | {change:+.2f} | {_cell(moved)} | {_cell(told)} | {verdict} |")
    return "\n".join(lines)


def _changes(found: Found) -> list[tuple[str, str, float, float | None, float | None]]:
    """Photo, start, change of the mean error, how far the normals moved, expected error of the start."""
    changes = []
    for (name, start, variant), row in found.items():
        begun = found.get((name, start, "initial"), {}).get("mean_deg")
        ended = row.get("mean_deg")
        if variant == "all" and begun is not None and ended is not None:
            changes.append((name, start, ended - begun, row["moved_deg"], row["told_deg"]))
    return changes


def _kinds(found: Found) -> list[tuple[str, str]]:
    return list(dict.fromkeys((start, variant) for _, start, variant in found))


def _mean(found: Found, family: str, start: str, variant: str) -> Row:
    """Over the photos of a family that have the measure."""
    rows = [row for (name, s, v), row in found.items() if (name.split("-")[0], s, v) == (family, start, variant)]
    means: Row = {}
    for key in {key for row in rows for key in row}:
        values = [value for row in rows if (value := row.get(key)) is not None]
        means[key] = fmean(values) if values else None
    return means


def _share(row: Row, reference: Row, key: str) -> float | None:
    return harness.over(row.get(key), reference.get(key))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def _costs(size: int, options: argparse.Namespace, folder: Path) -> Row:
    """Seconds and peak memory of a fit and of NiRNE on one photo, and their ratios."""
    path = folder / f"costs-{size}.json"
    if not path.exists():
        found: Row = {}
        for case in ("clone", "nirne"):
            found[f"{case}_seconds"], found[f"{case}_mib"] = _process(case, size, options)
        found["seconds"] = _over(found, "seconds")
        found["memory"] = _over(found, "mib")
        if None in found.values():  # to be measured again
            return found
        write_bytes(path, (json.dumps(found) + "\n").encode())
    return json.loads(path.read_text())


def _over(found: Row, what: str) -> float | None:
    return harness.over(found[f"clone_{what}"], found[f"nirne_{what}"])


def _process(case: str, size: int, options: argparse.Namespace) -> tuple[float | None, float | None]:
    command = [sys.executable, __file__, "--case", case, "--size", str(size), "--refiner", str(options.refiner)]
    if options.iterations:
        command += ["--iterations", str(options.iterations)]
    process = harness.run(f"{case} at {size}", command, THREADS, quiet=False)
    return (None, None) if process is None else (float(process.output), process.peak_mib)


def _seconds(case: str, size: int, refiner: str, config: LoopConfig) -> float:
    """Of one photo whose object fills it, when all is loaded and compiled."""
    torch.set_num_threads(THREADS)
    small = quick_sample().sample.photo
    assert small.mask is not None
    rgb = resize(small.rgb.permute(2, 0, 1)[None], size)[0].permute(1, 2, 0).clamp_min(0)
    mask = resize(small.mask[None, None].float(), size)[0, 0] > 0.5
    photo = Photo(rgb, mask, f"{size}")
    if case == "nirne":
        run = NiRNE.from_pretrained("nirne-small")
        run(small)
    else:
        run = CLONE.from_pretrained(refiner, config=config)
        CLONE(run.refiner, config=replace(config, iterations=1))(small)
    begun = time.perf_counter()
    run(photo)
    return time.perf_counter() - begun


def _config(options: argparse.Namespace) -> LoopConfig:
    return LoopConfig(iterations=options.iterations) if options.iterations else LoopConfig()


def _fingerprint(options: argparse.Namespace) -> str:
    """Of weights, settings and code: rows of another method are not taken for this one's."""
    source = Path(maquette.__file__).parent
    code = [path for room in ROOMS for path in sorted((source / room).rglob("*.py"))]
    weights = [weights_folder(name) / file for name in (options.refiner, "nirne-small") for file in WEIGHT_FILES]
    digest = hashlib.sha256(repr(_config(options)).encode())
    for path in [*code, source / "losses.py", Path(__file__).with_name("lit_photos.py"), *weights]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(__doc__, quick="one drawn object, a short loop: its numbers mean nothing")
    parser.add_argument("--data", type=Path, help="folder of diligent, luces and meshes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="photos whose name holds one of these")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--refiner", default="clone-small", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--iterations", type=int, metavar="N", help="of the loop; default: the method's own")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/clone-bench"), help="where rows are kept; default: %(default)s"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/pathtraced"), help="of renders; default: %(default)s")
    parser.add_argument("--no-time", action="store_true", help="leave time and memory out")
    parser.add_argument("--case", choices=("clone", "nirne"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick and not options.iterations:
        options.iterations = QUICK_ITERATIONS
    if options.data is None and not options.quick and not options.case:
        parser.error("--data is needed (or --quick)")
    return options


if __name__ == "__main__":
    sys.exit(main())
