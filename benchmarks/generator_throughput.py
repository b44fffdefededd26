"""Throughput of the data engine: shapes, G-buffers and photos a second, and how long training waits for them.

    python benchmarks/generator_throughput.py [--quick] [--json] [--cpu]

Everything is measured on one thread and on two, each in a process of its own, at the data engine's sizes (a grid
of 128^3, G-buffers of 128 pixels). What is compared, to peers of the same run:

    shapes      a random solid from its seed        marching cubes of its grid, by scikit-image
    gbuffers    `trace`: normals, positions, eight  Mitsuba 3, `scalar_rgb`, one sample a pixel of the same view's
                shadow rays and 16 of occlusion     normals, positions and depth: no secondary ray
    photos      `photograph`, sixteen at a time     Mitsuba 3, `scalar_rgb`, the view path-traced at 16 samples a
                                                    pixel, two bounces, under a constant sky and one light

A ratio is our rate over the peer's, so above 1 we are faster. `wait` is the share of a training step's time that
goes into making its batch, over a short run of the preset `small` at 64 pixels; it has no peer.
`--cpu` counts processor time instead of wall time: on a machine that is busy with something else, the rates per
core are right that way (all threads' time is added up); the wait stays in wall time.
`--json` prints one flat object of ratios; what could not run is null, with its reason on stderr. The peer needs
the extra: pip install 'maquette[render]'.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

THREADS = (1, 2)
SIZE_PX = 128
DISTANCE = 4.0
FIELD_RAD = 0.62  # the unit cube's corners just fit
NAMES = ("shapes", "gbuffers", "photos")

Clock = Callable[[], float]
Rates = dict[str, float | None]  # per second: NAMES, NAMES with "_peer"; "wait", a share


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="a few of each; under a minute")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of wall time")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.threads:
        clock = time.process_time if options.cpu else time.perf_counter
        print(json.dumps(measure(options.threads, options.quick, clock)))
        return 0
    flags = [*(["--quick"] if options.quick else []), *(["--cpu"] if options.cpu else [])]
    found = {threads: _in_a_process(threads, flags) for threads in THREADS}
    harness.show(options, ratios, table, found)
    return 0


def ratios(found: dict[int, Rates]) -> dict[str, float | None]:
    """`shapes_1`, `gbuffers_2`, ...: our rate over the peer's; `wait_1`, `wait_2`: shares."""
    flat: dict[str, float | None] = {}
    for threads, rates in found.items():
        for name in NAMES:
            flat[f"{name}_{threads}"] = harness.over(rates.get(name), rates.get(f"{name}_peer"))
        wait = rates.get("wait")
        flat[f"wait_{threads}"] = None if wait is None else round(wait, 4)
    return flat


def table(found: dict[int, Rates]) -> str:
    """The same in Markdown, with the rates behind the ratios."""
    flat = ratios(found)
    lines = harness.head("threads | what | per second | peer per second | ratio", "rlr")
    for threads, rates in found.items():
        for name in NAMES:
            cells = (rates.get(name), rates.get(f"{name}_peer"), flat[f"{name}_{threads}"])
            lines.append(f"| {threads} | {name} | {' | '.join(map(harness.number, cells))} |")
        wait = rates.get("wait")
        lines.append(f"| {threads} | training waits for data | {'' if wait is None else f'{100 * wait:.0f} %'} | | |")
    return "\n".join(lines)


def measure(threads: int, quick: bool, clock: Clock) -> Rates:
    """All rates of this process, which must have been started with as many threads."""
    import torch

    from maquette.synth.solids.shapes import grid_mesh, sample_solid

    torch.set_num_threads(threads)
    count = 3 if quick else 16
    sample_solid(1, 0)  # compiles
    started = clock()
    solids = [sample_solid(0, index)[0] for index in range(count)]
    rates: Rates = {"shapes": count / (clock() - started)}
    started = clock()
    meshes = [grid_mesh(solid.grid) for solid in solids]
    rates["shapes_peer"] = count / (clock() - started)
    rates |= _gbuffers_and_photos(solids, 1 if quick else 4, clock)
    rates |= _peers(meshes, threads, clock)
    rates["wait"] = _wait(4 if quick else 24)
    return rates


def _gbuffers_and_photos(solids: list[Any], repeats: int, clock: Clock) -> Rates:
    import numpy as np
    import torch

    from maquette.render.gbuffer import ObjectCamera, trace
    from maquette.synth.datasets.dataset import pack
    from maquette.synth.datasets.shards import unpack
    from maquette.synth.looks.photo import photograph
    from maquette.synth.views import lights_to_camera, sample_lights

    pose = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, DISTANCE]])
    focal_px = SIZE_PX / 2 / np.tan(FIELD_RAD / 2)
    view = ObjectCamera(pose, SIZE_PX, SIZE_PX, float(focal_px), (SIZE_PX / 2, SIZE_PX / 2))
    lights = sample_lights(np.random.default_rng(0), view)
    trace(solids[0], view, lights)  # compiles
    started = clock()
    buffers = [trace(solid, view, lights) for solid in solids for _ in range(repeats)]
    rates: Rates = {"gbuffers": len(buffers) / (clock() - started)}
    row = [pack(buffers[n % len(buffers)], view, lights_to_camera(lights, view)) for n in range(16)]
    surfaces = unpack({key: torch.from_numpy(np.stack([r[key] for r in row])) for key in row[0]})
    rng = torch.Generator().manual_seed(0)
    photograph(surfaces, rng)  # loads textures and environments
    started = clock()
    for _ in range(2 * repeats):
        photograph(surfaces, rng)
    rates["photos"] = 16 * 2 * repeats / (clock() - started)
    return rates


def _peers(meshes: list[Any], threads: int, clock: Clock) -> Rates:
    """Mitsuba's renders of the same meshes by the same camera."""
    try:
        import drjit
        import mitsuba as mi
    except ImportError:
        print("gbuffers, photos: no peer: needs Mitsuba 3; pip install 'maquette[render]'", file=sys.stderr)
        return {}
    import trimesh

    mi.set_variant("scalar_rgb")
    drjit.set_thread_count(threads)
    with tempfile.TemporaryDirectory() as folder:
        shapes = []
        for number, (vertices, faces) in enumerate(meshes):
            path = Path(folder, f"{number}.ply")
            trimesh.Trimesh(vertices, faces, process=False).export(path)
            shapes.append({"type": "ply", "filename": str(path)})
        aovs = {"type": "aov", "aovs": "normal:sh_normal,position:position,depth:depth"}
        path_tracer = {"type": "path", "max_depth": 3}
        return {
            "gbuffers_peer": _renders_per_second(mi, shapes, aovs, 1, clock),
            "photos_peer": _renders_per_second(mi, shapes, path_tracer, 16, clock),
        }


def _renders_per_second(
    mi: Any, shapes: list[dict[str, Any]], integrator: dict[str, Any], samples: int, clock: Clock
) -> float:
    """Loading and building the acceleration structure aren't counted, as our grids aren't."""
    sensor = {
        "type": "perspective",
        "fov": FIELD_RAD * 57.29577951308232,
        "to_world": mi.ScalarTransform4f().look_at(origin=[0, 0, DISTANCE], target=[0, 0, 0], up=[0, 1, 0]),
        "sampler": {"type": "independent", "sample_count": samples},
        "film": {"type": "hdrfilm", "width": SIZE_PX, "height": SIZE_PX, "rfilter": {"type": "box"}},
    }
    light = {"type": "directional", "direction": [-0.5, -0.5, -0.7]}
    common = {"type": "scene", "integrator": integrator, "sensor": sensor, "sky": {"type": "constant"}, "light": light}
    scenes = [mi.load_dict(common | {"shape": shape}) for shape in shapes]
    mi.render(scenes[0])
    started = clock()
    for scene in scenes:
        mi.render(scene)
    return len(scenes) / (clock() - started)


def _wait(steps: int) -> float:
    """Share of the time of training steps that the making of their batches takes; the first two aren't counted."""
    from maquette.nets.nirne import PRESETS
    from maquette.synth.datasets.dataset import DatasetSpec, generate
    from maquette.train.nirne.config import NirnePhase, NirneTraining
    from maquette.train.nirne.recipe import train_nirne

    lines: list[dict[str, float]] = []
    config = NirneTraining(PRESETS["small"], (NirnePhase(64, steps + 2, 16, 1e-4, 1e-4),))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        generate(data, DatasetSpec(4, views=4, size_px=SIZE_PX))
        train_nirne(config, {"shapes": data}, Path(folder, "run"), report=lines.append)
    data_s, step_s = (sum(line[key] for line in lines[2:]) for key in ("data_s", "step_s"))
    return data_s / (data_s + step_s)


def _in_a_process(threads: int, flags: list[str]) -> Rates:
    """`measure` in a process of its own; empty, with the reason on stderr, if it fails."""
    return (
        harness.run_case(f"{threads} threads", __file__, ["--threads", str(threads), *flags], threads, quiet=False)
        or {}
    )


if __name__ == "__main__":
    sys.exit(main())
