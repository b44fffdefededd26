"""Grasps tried in MuJoCo: from a splat, from the true mesh, and at random.

    python benchmarks/grasp_mujoco.py [--oracle-splat] [--weights NAME|DIR] [--quick] [--json] [--objects N]
        [--seed S] [--picture PNG]

Objects are procedural ones of all categories, of the split `test`, hammer and lamp among them, which no network trains
on; each is scaled to a box of 150 mm diagonal. Everything gets the best grasp of one object and one trial:

    splat    the network's splat of one picture, view 64 of the spiral, at 128 pixels (`--weights`)
    oracle   a perfect splat: 2000 flat Gaussians on the true surface, their normals without a side (`--oracle-splat`)
    mesh     2000 points of the true surface with the field's own normals; the same search
    random   a random axis through the middle region that the opening spans, a random approach; no further look

Physics: the object is a union of convex hulls, one for each block of 6^3 cells of its distance grid (128^3) that the
surface passes through; 1000 kg/m3. The gripper has the boxes of `maquette.methods.grasp.gripper`, opens to 80 mm and
closes with 10 N a finger; friction 0.5 at all contacts, elliptic cones. One trial:

    way in   the opened gripper comes straight in over 100 mm; touching the object deeper than 1 mm is a failure
    close    0.8 s; the object floats, without gravity
    lift     gravity comes on within 0.2 s, and the gripper rises 100 mm within 1 s
    shake    15 mm at 3 Hz, along one horizontal axis and then the other, 1 s each; then 0.5 s of rest

Held: both fingers touch the object, whose grasped point has moved by less than 20 mm in the gripper's frame, and which
has turned in it by less than 45 degrees, since the fingers closed. Rates come with Wilson's 95 % interval. A grasp that
was not found is a failure and counted by itself. `--json` prints one flat object; a ratio to a rate of zero is null.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError

from maquette.errors import InputError
from maquette.geometry.field import gradient
from maquette.geometry.rotation import facing_rotation
from maquette.io.files import write_bytes
from maquette.io.images import encode_png
from maquette.methods.grasp.gripper import Gripper
from maquette.methods.grasp.plan import Plan, find_grasps
from maquette.methods.grasp.surface import surface_of_gaussians, surface_of_points
from maquette.render.gbuffer import Solid
from maquette.synth.categories import CATEGORIES, sample_thing
from maquette.synth.multiview.cameras import CONDITION_VIEW, RADIUS, SPIRAL_VIEWS, look_at_origin, spiral_places
from maquette.synth.multiview.making import TO_WORLD, Placed, draw, place_thing
from maquette.synth.multiview.spec import HELD_OUT, SPLITS
from maquette.synth.parts import Thing
from maquette.synth.shapes import grid_mesh
from maquette.types import Gaussians

mujoco: Any = import_module("mujoco")  # its stubs leave most of it out
OBJECT_MM = 150.0
GRIPPER = Gripper(80.0)
FRICTION, FORCE_N, DENSITY = 0.5, 10.0, 1000.0
SPLAT_POINTS = 2000
BLOCK = 6  # cells along the side of a convex piece
WAY_IN_MM, TOUCH_MM = 100.0, 1.0
CLOSING_M_PER_S = 0.1
CLOSE_S, GRAVITY_S, LIFT_S, SHAKE_S, REST_S = 0.8, 0.2, 1.0, 1.0, 0.5
LIFT_M, SHAKE_M, SHAKE_HZ = 0.1, 0.015, 3.0
MOST_MOVED_MM, MOST_TURNED_DEG = 20.0, 45.0
TIMESTEP_S = 0.002
CENTRAL = 0.15  # of the diagonal: how far from the middle random axes pass at most
OUTCOMES = ("held", "no grasp found", "way in blocked", "not held")


class Target(NamedTuple):
    """An object in the world (metres, z up, its box's middle at the origin) and the camera of its picture.

    Attributes:
        category, number: which of the test objects.
        placed: as the views are drawn from.
        metres: of a unit of the views' world.
        vertices, faces: its surface.
        pieces: convex pieces, each the vertices of a hull.
        volume: cubic metres.
        camera_to_world: (4, 4) of the condition view, in the views' world.
    """

    category: str
    number: int
    placed: Placed
    metres: float
    vertices: np.ndarray
    faces: np.ndarray
    pieces: list[np.ndarray]
    volume: float
    camera_to_world: np.ndarray


class Pose(NamedTuple):
    """A grasp in the world: metres; columns of the rotation are closing axis, y, approach."""

    position: np.ndarray
    rotation: np.ndarray
    opening: float


@dataclass(frozen=True)
class Trial:
    """What became of one grasp.

    Attributes:
        outcome: one of OUTCOMES.
        moved_mm, turned_deg: of the object in the gripper since the fingers closed.
    """

    outcome: str
    moved_mm: float = math.nan
    turned_deg: float = math.nan


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
            look = partial(_draw, frames) if options.picture and name == "oracle" and k == 0 else None
            trial = Trial("no grasp found") if pose is None else try_grasp(target, pose, look)
            trials[name].append((category, trial))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {len(objects)} objects", end="", file=sys.stderr)
    seconds = time.perf_counter() - begun
    if options.picture and frames:
        middle = len(frames) // 2
        rows = [np.concatenate(frames[:middle], 1), np.concatenate(frames[middle : 2 * middle], 1)]
        write_bytes(options.picture, encode_png(np.concatenate(rows)))
    print(json.dumps(flat(trials, seconds)) if options.json else table(trials, seconds))
    return 0


def make_target(category: str, number: int, seed: int = 0, split: int = 2) -> Target:
    """A test object as `maquette dataset views` draws it, scaled, with its convex pieces."""
    where = [seed, crc32(category.encode()), split, number, 0]
    placed = place_thing(sample_thing(category, np.random.default_rng(where)))
    assert isinstance(placed.tracer, Solid)
    metres = OBJECT_MM / 1000
    grid = placed.tracer.grid
    vertices, faces = grid_mesh(grid)

    def to_world(points: np.ndarray) -> np.ndarray:
        return metres * placed.scale * (points - placed.middle) @ TO_WORLD.T

    pieces = [to_world(piece) for piece in convex_pieces(grid, vertices)]
    pose = look_at_origin(spiral_places(SPIRAL_VIEWS, RADIUS)[CONDITION_VIEW : CONDITION_VIEW + 1])[0]
    corners = to_world(vertices)[faces]
    volume = abs(float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))) / 6
    return Target(category, number, placed, metres, to_world(vertices), faces, pieces, volume, pose)


def convex_pieces(grid: np.ndarray, vertices: np.ndarray) -> list[np.ndarray]:
    """Hulls of what a solid fills of each block of its grid, of those blocks that its surface passes through.

    Args:
        grid: (z, y, x) signed samples over [-1, 1]^3.
        vertices: (n, 3) of its marching cubes, which lie on the edges of the grid.

    Returns:
        The vertices of each hull. Blocks share their borders, so that the pieces leave no gaps.
    """
    cells = grid.shape[0] - 1
    places = (vertices.astype(float) + 1) * cells / 2
    nodes = places.round()
    places = np.where(np.abs(places - nodes) < 1e-4, nodes, places)  # along the grid they are, but for single precision
    inside = np.argwhere(grid < 0)[:, ::-1].astype(float)
    members: dict[tuple[int, ...], list[np.ndarray]] = {}
    touched: set[tuple[int, ...]] = set()
    for points in (places, inside):
        for shift in np.ndindex(2, 2, 2):  # what lies on a border belongs to both sides
            on_border = points % BLOCK == 0
            block = (points // BLOCK).astype(int) - np.array(shift)
            chosen = np.all(on_border | (np.array(shift) == 0), axis=1)
            order = np.lexsort(block[chosen].T)
            keys, sorted_points = block[chosen][order], points[chosen][order]
            cuts = np.flatnonzero(np.any(np.diff(keys, axis=0), axis=1)) + 1
            for key, group in zip(np.split(keys, cuts), np.split(sorted_points, cuts), strict=True):
                if len(group):
                    members.setdefault(tuple(int(v) for v in key[0]), []).append(group)
        touched = touched or set(members)
    pieces = []
    for key in sorted(touched):
        points = np.concatenate(members[key])
        try:
            hull = ConvexHull(points)
        except (QhullError, ValueError):  # flat: a neighbour holds it
            continue
        if hull.volume > 1e-3:  # of a cell; less is a sliver
            pieces.append(points[hull.vertices] * (2 / cells) - 1)
    return pieces


def surface_samples(target: Target, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over the true surface by area, in the world, and the field's own outward normals there."""
    random = np.random.default_rng(0)
    corners = target.vertices[target.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    steps = (np.arange(count) + random.random(count)) / count
    chosen = np.searchsorted(np.cumsum(area) / area.sum(), steps).clip(0, len(area) - 1)
    u, v = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([1 - u, u * (1 - v), u * v], 1)
    points = (corners[chosen] * weights[..., None]).sum(1)
    scale = target.metres * target.placed.scale
    local = points @ TO_WORLD / scale + target.placed.middle
    assert isinstance(target.placed.shape, Thing)
    field = target.placed.shape.field
    normals = np.array([gradient(field, x, y, z, 2e-3) for x, y, z in local]) @ TO_WORLD.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return points, normals


def oracle_splat(target: Target) -> Gaussians:
    """A perfect splat in the frame of the condition view's camera, origin in the object's middle, diagonal 1."""
    points, normals = surface_samples(target, SPLAT_POINTS)
    turn = target.camera_to_world[:3, :3]
    corners = target.vertices[target.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    across = 0.7 * math.sqrt(area / SPLAT_POINTS) / target.metres
    random = np.random.default_rng(1)
    sided = torch.from_numpy(normals @ turn * np.where(random.random(len(points)) < 0.5, -1, 1)[:, None]).float()
    scale = torch.tensor([across, across, 0.05 * across]).expand(len(points), 3).contiguous()
    mean = torch.from_numpy(points @ turn / target.metres).float()
    grey = torch.zeros(len(points), 1, 3)
    return Gaussians(mean, scale, facing_rotation(sided), torch.full((len(points),), 0.95), grey, encoding="srgb")


def load_network(weights: str) -> Callable[[np.ndarray], Gaussians]:
    """The network that makes a splat of a picture (H, W, 3) uint8 on white, in the frame of `oracle_splat`."""
    from maquette.methods.gsn import GSN  # pyright: ignore[reportMissingImports]

    return GSN.from_pretrained(weights)


def splat_grasp(target: Target, gaussians: Gaussians) -> Pose | None:
    """The best grasp of a splat in the camera's frame, in the world."""
    plan = find_grasps(surface_of_gaussians(gaussians), GRIPPER, 1000 * target.metres, friction=FRICTION, count=1)
    return _in_world(plan, target.camera_to_world[:3, :3])


def mesh_grasp(target: Target) -> Pose | None:
    """The best grasp of the true surface."""
    points, normals = surface_samples(target, SPLAT_POINTS)
    surface = surface_of_points(points / target.metres, normals)
    return _in_world(find_grasps(surface, GRIPPER, 1000 * target.metres, friction=FRICTION, count=1), np.eye(3))


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


def try_grasp(target: Target, pose: Pose, look: Callable[[Any, Any], None] | None = None) -> Trial:
    """One trial, as the page says; `look` is called with MuJoCo's model and data once the object should be lifted."""
    model = build_model(target, pose)
    data = mujoco.MjData(model)
    if _blocked(model, data, pose):
        return Trial("way in blocked")
    mujoco.mj_resetData(model, data)
    data.qpos[3:5] = pose.opening / 2
    contact_local = pose.position  # the object's own frame is the world's at the start
    data.ctrl[3:5] = -FORCE_N
    model.opt.gravity[:] = 0
    _run(model, data, CLOSE_S)
    before = _relative(data, contact_local)
    start = data.time
    while data.time - start < GRAVITY_S:
        model.opt.gravity[2] = -9.81 * (data.time - start) / GRAVITY_S
        mujoco.mj_step(model, data)
    model.opt.gravity[2] = -9.81
    _run(model, data, LIFT_S, lambda t: np.array([0, 0, LIFT_M * (1 - math.cos(math.pi * t / LIFT_S)) / 2]))
    if look is not None:
        look(model, data)
    for axis in range(2):
        swing = np.eye(3)[axis] * SHAKE_M
        _run(
            model,
            data,
            SHAKE_S,
            lambda t, swing=swing: np.array([0, 0, LIFT_M]) + swing * math.sin(2 * math.pi * SHAKE_HZ * t),
        )
    _run(model, data, REST_S, lambda _: np.array([0, 0, LIFT_M]))
    after = _relative(data, contact_local)
    moved = 1000 * float(np.linalg.norm(after[0] - before[0]))
    cosine = (np.trace(before[1].T @ after[1]) - 1) / 2
    turned = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
    held = _touching(model, data) == {"left", "right"} and moved < MOST_MOVED_MM and turned < MOST_TURNED_DEG
    return Trial("held" if held else "not held", moved, turned)


def build_model(target: Target, pose: Pose) -> Any:
    """Object and gripper: fingers on slides, both on a base that three stiff actuators move."""
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP_S
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # The gripper first, so that its joints are the first five of qpos: three of the base, two of the fingers.
    rub: dict[str, Any] = {"friction": [FRICTION, 0.003, 0.0001], "condim": 4}
    base = spec.worldbody.add_body(name="base", pos=pose.position, quat=_quaternion(pose.rotation))
    for k in range(3):  # joint axes are the body's own; these are the world's
        base.add_joint(name=f"move{k}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=pose.rotation[k].tolist())
    _add_boxes(base, rub)
    thing = spec.worldbody.add_body(name="object")
    thing.add_freejoint()
    low, high = target.vertices.min(0), target.vertices.max(0)
    mass = DENSITY * target.volume
    sides = high - low
    thing.explicitinertial = True
    thing.mass = mass
    thing.ipos = _centroid(target)
    thing.inertia = mass / 12 * ((sides**2).sum() - sides**2)
    for number, piece in enumerate(target.pieces):
        spec.add_mesh(name=f"piece{number}", uservert=piece.ravel().tolist())
        thing.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"piece{number}", contype=1, conaffinity=2,
            rgba=[0.8, 0.6, 0.4, 1], **rub,
        )  # fmt: skip
    for name in ("move0", "move1", "move2"):
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=2e4, kv=600)
    for name in ("left", "right"):
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_motor()
    # Fingers of a parallel gripper are coupled; else what they hold would drift along the closing axis.
    coupling = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1="left", name2="right")
    coupling.objtype = mujoco.mjtObj.mjOBJ_JOINT
    coupling.data[:5] = [0, 1, 0, 0, 0]
    return spec.compile()


def _add_boxes(base: Any, rub: dict[str, Any]) -> None:
    """The palm on the base, and a body with a slide for each finger; pads face the origin."""
    g = GRIPPER
    palm = np.array([g.opening_mm / 2 + g.finger_thickness_mm, g.palm_width_mm / 2, 20]) / 1000
    box = {"type": mujoco.mjtGeom.mjGEOM_BOX, "contype": 2, "conaffinity": 1, **rub}
    base.add_geom(
        name="palm", size=palm.tolist(), pos=[0, 0, -g.finger_length_mm / 1000 - 0.02], mass=1.0,
        rgba=[0.3, 0.3, 0.35, 0.4], **box,
    )  # fmt: skip
    half = np.array([g.finger_thickness_mm, g.finger_width_mm, g.finger_length_mm + g.tip_mm]) / 2000
    for name, side in (("left", -1), ("right", 1)):
        finger = base.add_body(name=name)
        finger.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[side, 0, 0], damping=[FORCE_N / CLOSING_M_PER_S, 0, 0],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE, range=[0, g.opening_mm / 2000 + 1e-3],
        )  # fmt: skip
        finger.add_geom(
            name=name, size=half.tolist(), mass=0.1, rgba=[0.45, 0.5, 0.6, 1],
            pos=[side * half[0], 0, (g.tip_mm - g.finger_length_mm) / 2000], **box,
        )  # fmt: skip


def _blocked(model: Any, data: Any, pose: Pose) -> bool:
    """Whether the opened gripper touches the object on its straight way in."""
    data.qpos[3:5] = pose.opening / 2
    for back_mm in np.linspace(WAY_IN_MM, 0, 21):
        data.qpos[:3] = -pose.rotation[:, 2] * back_mm / 1000
        mujoco.mj_forward(model, data)
        if data.ncon and float(data.contact.dist[: data.ncon].min()) < -TOUCH_MM / 1000:
            return True
    return False


def _run(model: Any, data: Any, seconds: float, path: Callable[[float], np.ndarray] | None = None) -> None:
    start = data.time
    while data.time - start < seconds:
        if path is not None:
            data.ctrl[:3] = path(data.time - start)
        mujoco.mj_step(model, data)


def _draw(frames: list[np.ndarray], model: Any, data: Any) -> None:
    """Add a picture of the gripper and what it holds, from the side on which the fingers are seen."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = data.body("object").xipos
    camera.distance, camera.azimuth, camera.elevation = 0.3, 60, -20
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.35, 0.6
    with mujoco.Renderer(model, 240, 240) as renderer:
        renderer.update_scene(data, camera)
        frame = renderer.render().copy()
    frame[(frame == 0).all(-1)] = 255  # nothing is there
    frames.append(frame)


def _relative(data: Any, contact_local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grasped point and the object's axes in the gripper's frame."""
    thing, base = data.body("object"), data.body("base")
    turn, hand = thing.xmat.reshape(3, 3), base.xmat.reshape(3, 3)
    return hand.T @ (thing.xpos + turn @ contact_local - base.xpos), hand.T @ turn


def _touching(model: Any, data: Any) -> set[str]:
    """The fingers that touch the object."""
    names = {model.geom(int(geom)).name for geom in data.contact.geom[: data.ncon].ravel()}
    return names & {"left", "right"}


def _centroid(target: Target) -> np.ndarray:
    """Of the volume: tetrahedra from the origin to every triangle."""
    corners = target.vertices[target.faces].astype(float)
    parts = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return (parts[:, None] * corners.mean(1) * 0.75).sum(0) / parts.sum()


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
    return quaternion


def _in_world(plan: Plan, turn: np.ndarray) -> Pose | None:
    """The best grasp, its frame turned into the world's; plan units are views' units."""
    if not plan.grasps:
        return None
    best, metres = plan.grasps[0], plan.unit_mm / 1000
    return Pose(metres * turn @ best.position, turn @ best.rotation, metres * best.opening)


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
    lines = [
        "| grasps from | objects | held | 95 % | held-out categories | no grasp found | way in blocked | not held |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    numbers = flat(trials, seconds)

    def share(label: str) -> str:
        rate, low, high = (numbers[f"{label}: {key}"] for key in ("rate", "low", "high"))
        return "none | " if rate is None else f"{100 * rate:.0f} % | {100 * (low or 0):.0f} to {100 * (high or 0):.0f}"

    for name, tried in trials.items():
        held_out = share(f"{name}, held-out categories").replace(" | ", ", ")
        counts = " | ".join(str(numbers[f"{name}: {outcome}"]) for outcome in OUTCOMES[1:])
        lines.append(f"| {name} | {len(tried)} | {share(name)} | {held_out} | {counts} |")
    categories = sorted({category for tried in trials.values() for category, _ in tried})
    lines += ["", f"| held of | {' | '.join(trials)} |", f"|---|{'---:|' * len(trials)}"]
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
        network = load_network(options.weights)

        def from_picture(target: Target) -> Pose | None:
            rgb, _, _ = draw(target.placed, target.camera_to_world, 128)
            try:
                return splat_grasp(target, network(rgb))
            except InputError as error:
                print(f"{target.category} {target.number}: {error}", file=sys.stderr)
                return None

        sources["splat"] = from_picture
    sources["oracle"] = lambda target: splat_grasp(target, oracle_splat(target))
    return sources | {"mesh": mesh_grasp, "random": random_grasp}


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle-splat", action="store_true", help="without the network")
    parser.add_argument("--weights", default="gsn-small", metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument("--objects", type=int, default=10, help="of each category; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the objects; default: %(default)s")
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose seeds; others are for tuning")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="what the oracle's grasps lifted; MUJOCO_GL=egl")
    parser.add_argument("--quick", action="store_true", help="one object of every category; under a minute")
    parser.add_argument("--json", action="store_true", help="one flat object")
    options = parser.parse_args(argv)
    if options.quick:
        options.objects = 1
    return options


if __name__ == "__main__":
    sys.exit(main())
