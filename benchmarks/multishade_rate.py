"""How many samples of MultiShade a second, on one process, on two, and on a local Ray cluster of two CPUs.

    python benchmarks/multishade_rate.py [--quick] [--json] [--size-px N]

Each way runs `synth.datasets.multishade.shards.generate` in a process of its own, on the same procedural shapes with
six views each and on as many meshes (a ball of 20,480 triangles), and is timed from outside: starting Python, compiled
code from its cache, starting workers and the cluster are in it, since whoever waits for the data waits for them too.
The peer of all is one process. Numba and torch have a thread each in every process, so that what is compared is
processes. `start_...` is the same with nothing to make but one tiny shard: what starting costs, as a share of the run
on one process; the longer the run, the less it counts. One shard is one process's work, so `start_workers_2` begins no
workers: that is counted as work.

`--quick` makes two shards of meshes alone, one view of each, by one process and by two. It leaves Ray to the whole
run, since a cluster alone takes a good part of a minute to start twice, and shapes, since their compilation does where
no cache holds it yet. `--json` prints one flat object of ratios: `workers_2`, `ray_2` (samples a second over those of
one process), `workers_2_without_start`, `ray_2_without_start` (both less what starting costs), `start_1`,
`start_workers_2`, `start_ray_2` (shares). What did not run is null, with its reason on stderr. Ray comes with
`pip install 'maquette[scale]'`.
"""

import json
import sys
import tempfile
from pathlib import Path

import harness

WAYS = {"1": {}, "workers_2": {"workers": 2}, "ray_2": {"workers": 2, "ray": "local"}}
QUICK_WAYS = ("1", "workers_2")
SHARDS, QUICK_SHARDS = 4, 2  # half of them of shapes, half of meshes; the quick ones are of meshes alone
VIEWS, QUICK_VIEWS = 6, 1
OBJECTS_PER_SHARD = 8

RUN = """
import json, sys
from pathlib import Path
from maquette.synth.datasets.multishade.shards import generate
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
if __name__ == "__main__":
    folder, meshes, spec, way = sys.argv[1:]
    found = find_meshes(Path(meshes))
    generate(Path(folder), MultiShadeSpec(**json.loads(spec), meshes=found), Path(meshes), **json.loads(way))
"""

Seconds = dict[str, float | None]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="meshes alone, no Ray; under a minute on two cores")
    parser.add_argument("--size-px", type=int, default=128)
    options = parser.parse_args(argv)
    objects = (QUICK_SHARDS if options.quick else SHARDS) * OBJECTS_PER_SHARD
    shapes, views = (0, QUICK_VIEWS) if options.quick else (objects // 2, VIEWS)
    ways = {name: way for name, way in WAYS.items() if name in QUICK_WAYS or not options.quick}
    for name in WAYS.keys() - ways.keys():
        print(f"{json.dumps(WAYS[name])}: not run: --quick leaves it to the whole run", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        few, many = _meshes(place / "few", 1), _meshes(place / "many", objects - shapes)
        tiny = {"count": 0, "views": 1, "size_px": 16}
        real = {"count": shapes, "views": views, "size_px": options.size_px}
        _timed(place / "compiled", few, tiny | {"count": min(shapes, 1)}, {})  # into the cache, for all that follow
        start = {name: _timed(place / f"start_{name}", few, tiny, way) for name, way in ways.items()}
        whole = {name: _timed(place / name, many, real, way) for name, way in ways.items()}
    print(json.dumps(ratios(start, whole)) if options.json else table(start, whole, objects * views))
    return 0


def ratios(start: Seconds, whole: Seconds) -> dict[str, float | None]:
    """What `--json` prints, of the seconds by those names of `WAYS` that ran."""
    one, flat = whole["1"], {}
    for name in list(WAYS)[1:]:
        flat[name] = harness.over(one, whole.get(name))
        flat[f"{name}_without_start"] = harness.over(_less(one, start["1"]), _less(whole.get(name), start.get(name)))
    return flat | {f"start_{name}": harness.over(start.get(name), one) for name in WAYS}


def table(start: Seconds, whole: Seconds, samples: int) -> str:
    """The same in Markdown, with the rates behind the ratios."""
    flat = ratios(start, whole)
    lines = harness.head("way | samples a second | to one process | without starting | starting, s", "lr")
    for name in whole:
        rate = harness.over(samples, whole[name])
        cells = (rate, flat.get(name), flat.get(f"{name}_without_start"), start[name])
        lines.append(f"| {name} | {' | '.join(map(harness.number, cells))} |")
    return "\n".join(lines)


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _meshes(folder: Path, count: int) -> Path:
    import trimesh

    folder.mkdir()
    for number in range(count):
        trimesh.creation.icosphere(5, 1 + number).export(folder / f"{number:03d}.ply")
    return folder


def _timed(folder: Path, meshes: Path, spec: dict[str, int], way: dict[str, object]) -> float | None:
    """Seconds of wall time of a process that makes a data set; None, with the reason on stderr, if it fails."""
    script = folder.with_suffix(".py")
    script.write_text(RUN)  # a file, since workers begin by importing it
    command = [sys.executable, str(script), str(folder), str(meshes), json.dumps(spec), json.dumps(way)]
    process = harness.run(json.dumps(way), command, threads=1)
    return None if process is None else process.seconds


if __name__ == "__main__":
    sys.exit(main())
