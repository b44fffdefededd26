"""Cameras and lights for G-buffers: how a solid is framed and where its lights stand."""

from math import radians, sin, tan

import numpy as np

from maquette.render.gbuffer import DISTANT, POINT, ObjectCamera
from maquette.synth.solids.assemblies import ASSEMBLIES
from maquette.synth.solids.expanses import EXPANSES

LIGHTS = 8  # two distant, one frontal, one near point, four samples of one area light
AREA_SAMPLES = 4
_HOLLOW = ("pottery", "scooped", "relief", "pile", "table")  # families that are worth looking into from above


def shape_view(rng: np.random.Generator, grid: np.ndarray, family: str, size_px: int) -> ObjectCamera:
    """A square view of a shape of any family: an object at a random scale, or a frame that an expanse fills.

    Objects are half as wide as the frame up to as wide; one in eight is a close-up.
    """
    if family in EXPANSES:
        return expanse_view(rng, size_px, family == "clutter")
    return object_view(rng, surface_points(grid), family, size_px)


def object_view(rng: np.random.Generator, points: np.ndarray, family: str, size_px: int) -> ObjectCamera:
    """A square view of an object by points (n, 3) on its surface, at a random scale."""
    return frame(rng, points, _pose(rng, family), size_px, fill=(0.5, 0.99))


def sample_view(rng: np.random.Generator, grid: np.ndarray, family: str, size_px: int) -> ObjectCamera:
    """A square view of a solid from a random side, framed as `frame` does it.

    Two thirds of the objects stand upright; the rest, and the roll, are anyhow.
    """
    return random_view(rng, surface_points(grid), family, size_px)


def random_view(rng: np.random.Generator, points: np.ndarray, family: str, size_px: int) -> ObjectCamera:
    """The same of points (n, 3) on the surface."""
    return frame(rng, points, _pose(rng, family), size_px)


def _pose(rng: np.random.Generator, family: str) -> np.ndarray:
    """The camera's right, up and backward, as columns."""
    backward = _direction(rng, family)
    up = np.array([0.0, 1.0, 0.0]) if abs(backward[1]) < 0.99 else np.array([0.0, 0.0, 1.0])
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    roll = rng.uniform(-np.pi, np.pi) if rng.random() < 0.12 else rng.normal(0, 0.12)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    return np.stack([right, up, backward], 1)


def expanse_view(rng: np.random.Generator, size_px: int, standing: bool) -> ObjectCamera:
    """A square view of the plane y = 0 that sees nothing beyond 0.94 of the cube, tilted by up to 50 degrees.

    Args:
        rng: draws it.
        size_px: side of the image.
        standing: things stand on the plane: from further away, tilted by 15 to 55 degrees.
    """
    while True:
        tilt = radians(rng.uniform(15, 55) if standing else float(np.clip(abs(rng.normal(0, 20)), 0, 50)))
        azimuth, roll = rng.uniform(-np.pi, np.pi, 2)
        backward = np.array([sin(tilt) * np.sin(azimuth), np.cos(tilt), sin(tilt) * np.cos(azimuth)])
        right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
        up = np.cross(backward, right)
        roll = rng.normal(0, 0.1) if standing else roll
        right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        orthographic = bool(rng.random() < 0.1)
        half = tan(radians(float(np.exp(rng.uniform(np.log(4), np.log(55))))) / 2)
        target = np.array([rng.uniform(-0.3, 0.3), 0.0, rng.uniform(-0.3, 0.3)])
        # Where the corners of the frame meet the plane, for a camera at a distance of 1 from the target.
        aside = np.array([(x, y) for x in (-half, half) for y in (-half, half)]) @ np.stack([right, up])
        along = np.broadcast_to(-backward, aside.shape) if orthographic else aside - backward
        if along[:, 1].max() > -0.2:
            continue
        start = aside if orthographic else backward
        feet = start - along * (start[..., 1:2] / along[:, 1:2])
        room = np.where(feet > 0, 0.94 - target, 0.94 + target)[:, ::2] / np.abs(feet[:, ::2]).clip(1e-9)
        distance = float(room.min()) * rng.uniform(0.75 if standing else 0.45, 1.0)
        if not orthographic and distance * backward[1] < 0.5:  # too near to what rises from the plane
            continue
        focal_px = size_px / 2 / (half * distance if orthographic else half)
        position = target + (4.0 if orthographic else distance) * backward
        pose = np.concatenate([np.stack([right, up, backward], 1), position[:, None]], 1)
        return ObjectCamera(pose, size_px, size_px, float(focal_px), (size_px / 2, size_px / 2), orthographic)


def frame(
    rng: np.random.Generator,
    points: np.ndarray,
    rotation: np.ndarray,
    size_px: int,
    fill: tuple[float, float] | None = None,
) -> ObjectCamera:
    """A square view of points with a margin, or, one time in ten, a close-up of a part of them.

    Fields of view run from 4 to 60 degrees (log-uniform), one camera in ten is orthographic.

    Args:
        rng: draws the framing.
        points: (n, 3), on the surface.
        rotation: (3, 3), the camera's right, up and backward as columns.
        size_px: side of the image.
        fill: the share of the frame that the points take, drawn from this range, instead of the margin.
    """
    center = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - center, axis=1).max())
    orthographic = bool(rng.random() < 0.1)
    half_fov = radians(float(np.exp(rng.uniform(np.log(4), np.log(60))))) / 2
    distance = 4.0 if orthographic else 1.05 * radius / sin(half_fov)
    pose = np.concatenate([rotation, (center + distance * rotation[:, 2])[:, None]], 1)
    local = (points - pose[:, 3]) @ pose[:, :3]
    flat = local[:, :2] if orthographic else local[:, :2] / -local[:, 2:]
    low, high = flat.min(0), flat.max(0)
    margin = rng.uniform(0.01, 0.16) if fill is None else (1 / rng.uniform(*fill) - 1) / 2
    extent = float((high - low).max()) * (1 + 2 * margin)
    middle = (low + high) / 2
    if rng.random() < 0.1:  # a close-up: the object leaves the frame
        middle = flat[int(rng.integers(len(flat)))] * 0.5 + middle * 0.5
        extent = (extent if fill is None else float((high - low).max())) * rng.uniform(0.3, 0.7)
        margin = margin if fill is None else 0.0
    focal = size_px / extent
    room = margin / (1 + 2 * margin)
    middle = middle + rng.uniform(-1, 1, 2) * (min(0.02, room) if fill is None else 0.95 * room) * extent
    center_px = (size_px / 2 - middle[0] * focal, size_px / 2 + middle[1] * focal)
    return ObjectCamera(pose, size_px, size_px, focal, (float(center_px[0]), float(center_px[1])), orthographic)


def sample_lights(rng: np.random.Generator, view: ObjectCamera, grounded: bool = False) -> np.ndarray:
    """(LIGHTS, 4) in the object frame, as `maquette.render.gbuffer.trace` takes them.

    All shine from the viewer's side: a photographer's lights do. Distant ones lie within 85 degrees of the
    viewing axis, the frontal one within 30, the point light 1.3 to 5 units from the centre. Where all that is seen
    is `grounded`, on the plane y = 0, none shines from below or along it.
    """
    to_object = view.camera_to_object[:, :3]
    target = view.camera_to_object[:, 3] - to_object[:, 2] * _target_distance(view)
    directions = [_within(rng, 85.0), _within(rng, 85.0), _within(rng, 30.0)]
    near = _within(rng, 75.0) * rng.uniform(1.3, 5.0)
    axis, spread = _within(rng, 80.0), tan(radians(rng.uniform(4, 30)))
    area = [axis + spread * rng.normal(size=3) * 0.6 for _ in range(AREA_SAMPLES)]
    directions += [a / np.linalg.norm(a) for a in area]
    lights = np.zeros((LIGHTS, 4))
    lights[:3, :3] = np.stack(directions[:3]) @ to_object.T
    lights[3, :3] = target + to_object @ near
    lights[4:, :3] = np.stack(directions[3:]) @ to_object.T
    if grounded:
        lights[:, 1] = np.where(lights[:, 1] < 0.2, 0.2 + 0.5 * np.abs(lights[:, 1]), lights[:, 1])
        lights[:3, :3] /= np.linalg.norm(lights[:3, :3], axis=1, keepdims=True)
        lights[4:, :3] /= np.linalg.norm(lights[4:, :3], axis=1, keepdims=True)
    lights[:, 3] = DISTANT
    lights[3, 3] = POINT
    return lights


def lights_to_camera(lights: np.ndarray, view: ObjectCamera) -> np.ndarray:
    """The same lights in the camera frame."""
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    moved = lights.copy()
    point = lights[:, 3] == POINT
    moved[:, :3] = np.where(point[:, None], lights[:, :3] - origin, lights[:, :3]) @ rotation
    return moved


def surface_points(grid: np.ndarray) -> np.ndarray:
    """Object coordinates of inside samples that have an outside neighbour along an axis."""
    inside = grid < 0
    core = inside.copy()
    for axis in range(3):
        core &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    points = np.argwhere(inside & ~core)[:, ::-1]
    return points * (2.0 / (grid.shape[0] - 1)) - 1.0


def _direction(rng: np.random.Generator, family: str) -> np.ndarray:
    """Unit vector from the object towards the camera."""
    azimuth = rng.uniform(-np.pi, np.pi)
    if family == "relief" and rng.random() < 0.7:
        azimuth, elevation = rng.normal(0, 0.5), rng.normal(0, 0.4)
    elif family in _HOLLOW and rng.random() < 0.65:
        elevation = radians(rng.uniform(25, 88))
    elif family in ASSEMBLIES and rng.random() < 0.88:  # they stand, and people walk around them
        elevation = radians(float(np.clip(rng.normal(16, 15), -10, 75)))
        azimuth = rng.normal(0, 1.0) if rng.random() < 0.6 else azimuth
    elif rng.random() < 0.65:
        elevation = radians(float(np.clip(rng.normal(15, 20), -60, 85)))
    else:
        elevation = np.arcsin(rng.uniform(-1, 1))
    c = np.cos(elevation)
    return np.array([c * np.sin(azimuth), np.sin(elevation), c * np.cos(azimuth)])


def _within(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Camera-frame unit vector within an angle of the viewing axis, uniform in that angle."""
    theta, phi = radians(degrees) * np.sqrt(rng.random()) ** 1.2, rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])


def _target_distance(view: ObjectCamera) -> float:
    """Distance from the camera to the centre of [-1, 1]^3, along the viewing axis."""
    return float(view.camera_to_object[:, 3] @ view.camera_to_object[:, 2])
