"""Grasps tried in MuJoCo: from a splat, from the true mesh, and at random.

    python benchmarks/grasp_mujoco.py [--oracle-splat] [--weights NAME|DIR] [--quick] [--json] [--objects N]
        [--draws N] [--seed S] [--split test] [--picture PNG]

Objects are procedural ones of all categories, of the split `test`, hammer and lamp among them, which no network trains
on; each is scaled to a box of 150 mm diagonal. Everything gets the best grasp of one object and one trial:

    splat    the network's splat of one picture, view 64 of the spiral, at 128 pixels (`--weights`)
    oracle   a perfect splat: 2000 flat Gaussians on the true surface, their normals without a side (`--oracle-splat`)
    mesh     2000 points of the true surface with the field's own normals; the same search
    random   a random axis through the middle region that the opening spans, a random approach; no further look

Objects and physics are those of `grasp_objects.py` and `grasp_trials.py`. Rates come with
Wilson's 95 % interval. A grasp that was not found is a failure and counted by itself. `--json` prints one flat object;
a ratio to a rate of zero is null.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import harness
import numpy as np
from grasp_objects import SPLAT_POINTS, Target, make_target, oracle_splat, surface_samples
from grasp_trials import FRICTION, GRIPPER, OUTCOMES, Pose, Trial, draw_lift, try_grasp

from maquette.errors import InputError
from maquette.io.files import write_bytes
from maquette.io.images import encode_png
from maquette.methods.gsn import GSN
from maquette.synth.datasets.multiview.making import draw
from maquette.synth.datasets.multiview.spec import HELD_OUT, SPLITS
from maquette.synth.solids.categories import CATEGORIES
from maquette.tools.grasp.plan import DRAWS, find_grasps
from maquette.tools.grasp.surface import GraspSurface, surface_of_gaussians, surface_of_points
from maquette.types import Gaussians

CENTRAL = 0.15  # of the diagonal: how far from the middle random axes pass at most


def main(argv: list[str] | None = None) -> int:
    """Try, print; returns 0."""
    options = _parse(argv)
    sources = _sources(options)
    trials: dict[str, list[tuple[str, Trial]]] = {name: [] for name in sources}
    frames: list[np.ndarray] = []
    begun = time.perf_counter()
    objects = [(category, k) for k in range(options.objects) for category in CATEGORIES]
    for number, (category, k) in enumerate(objects):
        target = make_target(category, k, options.seed, SPLITS.index(options.split))
        for name, source in sources.items():
            pose = source(target)
            look = partial(draw_lift, frames) if options.picture and name == "oracle" and k == 0 else None
            trial = Trial("no grasp found") if pose is None else try_grasp(target, pose, look)
            trials[name].append((category, trial))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {len(objects)} objects", end="", file=sys.stderr)
    seconds = time.perf_counter() - begun
    if options.picture and frames:
        middle = len(frames) // 2
        rows = [np.concatenate(frames[:middle], 1), np.concatenate(frames[middle : 2 * middle], 1)]
        write_bytes(options.picture, encode_png(np.concatenate(rows)))
    harness.show(options, flat, table, trials, seconds)
    return 0


def splat_grasp(target: Target, gaussians: Gaussians, draws: int = DRAWS) -> Pose | None:
    """The best grasp of a splat in the camera's frame, in the world."""
    return _best(target, surface_of_gaussians(gaussians), target.camera_to_world[:3, :3], draws)


def mesh_grasp(target: Target, draws: int = DRAWS) -> Pose | None:
    """The best grasp of the true surface."""
    points, normals = surface_samples(target, SPLAT_POINTS)
    return _best(target, surface_of_points(points / target.metres, normals), np.eye(3), draws)


def random_grasp(target: Target, most_draws: int = 200) -> Pose | None:
    """A random axis through the middle region along which the object is no wider than the opening."""
    random = np.random.default_rng([crc32(target.category.encode()), target.number])
    points, _ = surface_samples(target, SPLAT_POINTS)
    half = GRIPPER.finger_width_mm / 2000
    for _ in range(most_draws):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        turn[:, 1] = np.cross(turn[:, 2], turn[:, 0])
        through = random.normal(size=3)
        through *= CENTRAL * target.metres * random.random() ** (1 / 3) / np.linalg.norm(through)
        local = (points - through) @ turn
        between = local[np.all(np.abs(local[:, 1:]) < half, axis=1), 0]
        if len(between) and np.ptp(between) < GRIPPER.widest_mm / 1000:
            middle = (between.min() + between.max()) / 2
            return Pose(through + middle * turn[:, 0], turn, GRIPPER.opening_mm / 1000)
    return None


def _best(target: Target, surface: GraspSurface, turn: np.ndarray, draws: int) -> Pose | None:
    """The best grasp of a surface in views' units, turned from its frame into the world's."""
    plan = find_grasps(surface, GRIPPER, 1000 * target.metres, friction=FRICTION, count=1, draws=draws)
    if not plan.grasps:
        return None
    best = plan.grasps[0]
    return Pose(target.metres * turn @ best.position, turn @ best.rotation, target.metres * best.opening)


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval (1927): (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    if trials == 0:
        return 0.0, 1.0
    p, square = successes / trials, z * z / trials
    half = z * math.sqrt(p * (1 - p) / trials + square / (4 * trials))
    return (p + square / 2 - half) / (1 + square), (p + square / 2 + half) / (1 + square)


def flat(trials: dict[str, list[tuple[str, Trial]]], seconds: float) -> dict[str, float | int | None]:
    """Rates, intervals and outcomes of every source, all objects and held-out categories alone; ratios to random."""
    found: dict[str, float | int | None] = {}
    for name, all_tried in trials.items():
        kinds = {name: all_tried, f"{name}, held-out categories": [t for t in all_tried if t[0] in HELD_OUT]}
        for label, tried in kinds.items():
            held = sum(trial.outcome == "held" for _, trial in tried)
            low, high = wilson(held, len(tried))
            found[f"{label}: trials"] = len(tried)
            found[f"{label}: rate"] = round(held / len(tried), 4) if tried else None
            found[f"{label}: low"], found[f"{label}: high"] = round(low, 4), round(high, 4)
        for outcome in OUTCOMES:
            found[f"{name}: {outcome}"] = sum(trial.outcome == outcome for _, trial in all_tried)
    chance = found.get("random: rate")
    for name in trials:
        rate = found[f"{name}: rate"]
        found[f"{name} over random"] = round(rate / chance, 4) if rate is not None and chance else None
    return found | {"seconds": round(seconds, 1)}


def table(trials: dict[str, list[tuple[str, Trial]]], seconds: float) -> str:
    """The same in Markdown, with the rate of every category."""
    lines = harness.head(
        "grasps from | objects | held | 95 % | held-out categories | no grasp found | way in blocked | not held", "lr"
    )
    numbers = flat(trials, seconds)

    def share(label: str) -> str:
        rate, low, high = (numbers[f"{label}: {key}"] for key in ("rate", "low", "high"))
        return "none | " if rate is None else f"{100 * rate:.0f} % | {100 * (low or 0):.0f} to {100 * (high or 0):.0f}"

    for name, tried in trials.items():
        held_out = share(f"{name}, held-out categories").replace(" | ", ", ")
        counts = " | ".join(str(numbers[f"{name}: {outcome}"]) for outcome in OUTCOMES[1:])
        lines.append(f"| {name} | {len(tried)} | {share(name)} | {held_out} | {counts} |")
    categories = sorted({category for tried in trials.values() for category, _ in tried})
    lines += ["", *harness.head(f"held of | {' | '.join(trials)}", "lr")]
    for category in categories:
        cells = []
        for tried in trials.values():
            outcomes = [trial.outcome == "held" for name, trial in tried if name == category]
            cells.append(f"{sum(outcomes)}/{len(outcomes)}")
        lines.append(f"| {category} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{seconds:.0f} s"])


def _sources(options: argparse.Namespace) -> dict[str, Callable[[Target], Pose | None]]:
    sources: dict[str, Callable[[Target], Pose | None]] = {}
    if not options.oracle_splat:
        network = GSN.from_pretrained(options.weights)

        def from_picture(target: Target) -> Pose | None:
            rgb, _, _ = draw(target.placed, target.camera_to_world, 128)
            try:
                return splat_grasp(target, network(rgb), options.draws)
            except InputError as error:
                print(f"{target.category} {target.number}: {error}", file=sys.stderr)
                return None

        sources["splat"] = from_picture
    sources["oracle"] = lambda target: splat_grasp(target, oracle_splat(target), options.draws)
    return sources | {"mesh": partial(mesh_grasp, draws=options.draws), "random": random_grasp}


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(
        __doc__, quick="one object of every category, 500 lines; under a minute", json="one flat object"
    )
    parser.add_argument("--oracle-splat", action="store_true", help="without the network")
    parser.add_argument("--weights", default="gsn-small", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--objects", type=int, default=10, help="of each category; default: %(default)s")
    parser.add_argument("--draws", type=int, default=DRAWS, help="lines of a search; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the objects; default: %(default)s")
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose seeds; others are for tuning")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="what the oracle's grasps lifted; MUJOCO_GL=egl")
    options = parser.parse_args(argv)
    if options.quick:
        options.objects, options.draws = 1, 500
    return options


if __name__ == "__main__":
    sys.exit(main())
