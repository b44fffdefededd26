"""One grasp tried in MuJoCo: a gripper of boxes comes in, closes, lifts and shakes.

The gripper has the boxes of `maquette.tools.grasp.gripper`, opens to 80 mm and closes with 10 N a finger; friction
0.5 at all contacts, elliptic cones; the object has 1000 kg/m3. One trial:

    way in   the opened gripper comes straight in over 100 mm; touching the object deeper than 1 mm is a failure
    close    0.8 s; the object floats, without gravity
    lift     gravity comes on within 0.2 s, and the gripper rises 100 mm within 1 s
    shake    15 mm at 3 Hz, along one horizontal axis and then the other, 1 s each; then 0.5 s of rest

Held: both fingers touch the object, whose grasped point has moved by less than 20 mm in the gripper's frame, and which
has turned in it by less than 45 degrees, since the fingers closed. MuJoCo is an optional part:
`pip install maquette[robot]`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from grasp_objects import Target, centroid

from maquette.errors import InputError
from maquette.tools.grasp.gripper import Gripper

GRIPPER = Gripper(80.0)
FRICTION, FORCE_N, DENSITY = 0.5, 10.0, 1000.0
WAY_IN_MM, TOUCH_MM = 100.0, 1.0
CLOSING_M_PER_S = 0.1
CLOSE_S, GRAVITY_S, LIFT_S, SHAKE_S, REST_S = 0.8, 0.2, 1.0, 1.0, 0.5
LIFT_M, SHAKE_M, SHAKE_HZ = 0.1, 0.015, 3.0
MOST_MOVED_MM, MOST_TURNED_DEG = 20.0, 45.0
TIMESTEP_S = 0.002
OUTCOMES = ("held", "no grasp found", "way in blocked", "not held")


def load_mujoco() -> Any:
    """MuJoCo's module, whose stubs leave most of it out.

    Raises:
        InputError: it isn't installed.
    """
    try:
        return import_module("mujoco")
    except ImportError:
        raise InputError("trying grasps needs MuJoCo; pip install 'maquette[robot]'") from None


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


def try_grasp(target: Target, pose: Pose, look: Callable[[Any, Any], None] | None = None) -> Trial:
    """One trial, as the page says; `look` is called with MuJoCo's model and data once the object should be lifted."""
    mujoco = load_mujoco()
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
    mujoco = load_mujoco()
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
    thing.ipos = centroid(target)
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
    mujoco = load_mujoco()
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
    mujoco = load_mujoco()
    data.qpos[3:5] = pose.opening / 2
    for back_mm in np.linspace(WAY_IN_MM, 0, 21):
        data.qpos[:3] = -pose.rotation[:, 2] * back_mm / 1000
        mujoco.mj_forward(model, data)
        if data.ncon and float(data.contact.dist[: data.ncon].min()) < -TOUCH_MM / 1000:
            return True
    return False


def _run(model: Any, data: Any, seconds: float, path: Callable[[float], np.ndarray] | None = None) -> None:
    mujoco = load_mujoco()
    start = data.time
    while data.time - start < seconds:
        if path is not None:
            data.ctrl[:3] = path(data.time - start)
        mujoco.mj_step(model, data)


def _relative(data: Any, contact_local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grasped point and the object's axes in the gripper's frame."""
    thing, base = data.body("object"), data.body("base")
    turn, hand = thing.xmat.reshape(3, 3), base.xmat.reshape(3, 3)
    return hand.T @ (thing.xpos + turn @ contact_local - base.xpos), hand.T @ turn


def _touching(model: Any, data: Any) -> set[str]:
    """The fingers that touch the object."""
    names = {model.geom(int(geom)).name for geom in data.contact.geom[: data.ncon].ravel()}
    return names & {"left", "right"}


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    mujoco = load_mujoco()
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
    return quaternion


def draw_lift(frames: list[np.ndarray], model: Any, data: Any) -> None:
    """Add a picture of the gripper and what it holds, from the side on which the fingers are seen."""
    mujoco = load_mujoco()
    camera = mujoco.MjvCamera()
    camera.lookat[:] = data.body("object").xipos
    camera.distance, camera.azimuth, camera.elevation = 0.3, 60, -20
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.35, 0.6
    with mujoco.Renderer(model, 240, 240) as renderer:
        renderer.update_scene(data, camera)
        frame = renderer.render().copy()
    frame[(frame == 0).all(-1)] = 255  # nothing is there
    frames.append(frame)
