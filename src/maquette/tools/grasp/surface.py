"""The surface of a splat: points with outward normals, from Gaussians whose normals have no side.

The body of a splat is where the joint opacity of its Gaussians is a half or more (`maquette.tools.grasp.opacity`): a
few opaque Gaussians make one, and so do many faint ones that overlap. Of each Gaussian in it, one line goes outward
from its mean, and its surface point is where that line leaves the body; the mean, if it doesn't.

Which way is outward is told by what can be seen. The splat is rendered from directions d all around; a Gaussian that
lies no deeper than the median depth at its pixel is seen from there, and votes for the side of its thinnest axis n that
faces d. The sum of those directions, made unit, is g:

    n <- n sign(sum_seen n.d),   line: f n + (1 - f) g,   f = 1 - s_1^2 / s_2^2

The rounder a Gaussian is, the less its thinnest axis says: its flatness f, of its two smallest scales, is 1 for discs
and 0 for balls. Inside walls of a cup are seen through its mouth, so they are told from its outside. What no direction
sees lies inside of the object: nothing can touch it there, and it is no contact, but still in the way.

A surface point's normal is f n + (1 - f) a, made unit, with a the unit fall of the joint opacity there: the axis for
discs, and what the neighbours make of it for balls.

Then single noisy normals are mended by their nearest neighbours j, weighted by opacity and by likeness, so that edges
and the two sides of a wall stay apart:

    n_i <- sum_j o_j max(0, n_i.n_j)^2 n_j, made unit

(These rules are our choice.)
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from maquette.errors import InputError
from maquette.geometry.rotation import quaternion_to_matrix
from maquette.render.splat.rasterize import rasterize
from maquette.tools.grasp.opacity import OpacityField, ends_of, field_of, joint_opacity
from maquette.types import Camera, Gaussians

MOST_POINTS = 6000
LEAST_POINTS = 16
_VIEWS, _VIEW_PX = 64, 96
_NEIGHBOURS = 4
_MENDING = 8  # neighbours that mend a normal
_STRAY = 6.0  # times the usual distance to the neighbours, and a Gaussian floats
_LEVEL = 0.5  # of the joint opacity, where the body ends
_LONGEST = 4.0  # standard deviations along a line outward
_LEAST_COSINE = 0.1  # seen more sideways than this, a Gaussian's depth says little


@dataclass(frozen=True)
class GraspSurface:
    """What can be touched, and what is in the way; lengths in scene units.

    Attributes:
        points: on the surface.
        normals: unit, outward.
        axes: two tangents at every point, unit, perpendicular.
        reach: how far a point stands for the surface along them.
        opacity: weights of the points, above 0 to 1; of a splat, the joint opacity at the Gaussians' means.
        exposed: seen from somewhere outside, so that a finger may touch it.
        strays: Gaussians left out since they float beside the object.
        faint: Gaussians left out since the joint opacity at their means is too small.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    axes: Float[np.ndarray, "n 2 3"]
    reach: Float[np.ndarray, "n 2"]
    opacity: Float[np.ndarray, " n"]
    exposed: Bool[np.ndarray, " n"]
    strays: int = 0
    faint: int = 0

    @property
    def diagonal(self) -> float:
        """Of the box around the points, along the frame's axes; it changes as the object turns."""
        return float(np.linalg.norm(np.ptp(self.points, axis=0)))

    @property
    def radius(self) -> float:
        """The largest distance of a point to the center."""
        return float(np.linalg.norm(self.points - self.center, axis=1).max())

    @property
    def spacing(self) -> float:
        """The median reach: how finely the surface is told."""
        return float(np.median(self.reach))

    @property
    def center(self) -> Float[np.ndarray, "3"]:
        """Mean of the surface: points weighted by opacity and by how much surface they stand for."""
        weights = self.opacity * self.reach.prod(1)
        return (weights[:, None] * self.points).sum(0) / weights.sum()


def surface_of_gaussians(gaussians: Gaussians, least_opacity: float = 0.3, seed: int = 0) -> GraspSurface:
    """The surface that a splat shows; see the module's page.

    Args:
        gaussians: of one object, without its ground; any frame, which is also the result's.
        least_opacity: joint, at the mean of a Gaussian that counts.
        seed: which ones are left if there are more than MOST_POINTS.

    Raises:
        InputError: it is hardly anywhere opaque enough, or lies in one place.
    """
    kinds = (gaussians.mean, gaussians.scale, quaternion_to_matrix(gaussians.rotation.double()), gaussians.opacity)
    mean, scale, turn, own = (_array(value) for value in kinds)
    field = field_of(mean, turn, scale, own)
    chosen, joint, faint, strays = _body(field, least_opacity, seed)
    mean, scale, turn, own = mean[chosen], scale[chosen], turn[chosen], own[chosen]
    order = np.argsort(scale, axis=1, kind="stable")
    axes = np.take_along_axis(turn.transpose(0, 2, 1), order[..., None], axis=1)  # thinnest first
    scale = np.take_along_axis(scale, order, axis=1)
    flat = (1 - (scale[:, 0] / np.maximum(scale[:, 1], 1e-12)) ** 2)[:, None]
    sided, seen_from, exposed = _seen(gaussians, mean, axes[:, 0], scale[:, 0])
    out = _unit(flat * sided + (1 - flat) * seen_from, sided)
    along = np.linalg.norm(np.einsum("nij,nj->ni", axes, out) * scale, axis=1)
    # A single huge Gaussian must not make all ways long.
    longest = _LONGEST * np.minimum(along, 3 * np.median(along))
    ends = ends_of(field, mean, out, longest, _LEVEL)
    fall = np.where(ends.leaves[:, None], _unit(ends.fall, out), out)
    normals = _unit(flat * sided + (1 - flat) * fall, out)
    places = mean + ends.depth[:, None] * out
    normals = _mended(places, normals, joint * exposed)
    reach = scale[:, 1:] * np.sqrt(2 * np.log(np.maximum(2 * own, 1)))[:, None]
    tangents = _tilted(axes[:, 1:], axes[:, 0], normals)
    return _with_neighbours(GraspSurface(places, normals, tangents, reach, joint, exposed, strays, faint))


def surface_of_points(points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> GraspSurface:
    """The surface of points whose outward unit normals are known, as of a mesh; all of them are exposed.

    Raises:
        InputError: there are hardly any, or they lie in one place.
    """
    if len(points) < LEAST_POINTS:
        raise InputError(f"a surface takes {LEAST_POINTS} points; here are {len(points)}")
    least = np.abs(normals).argmin(1)
    first = np.cross(normals, np.eye(3)[least])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    axes = np.stack([first, np.cross(normals, first)], 1)
    ones = np.ones(len(points))
    return _with_neighbours(
        GraspSurface(points.astype(float), normals.astype(float), axes, np.zeros((len(points), 2)), ones, ones > 0)
    )


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere (Fibonacci's spiral)."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    across = np.sqrt(1 - z * z)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], 1)


def _with_neighbours(surface: GraspSurface) -> GraspSurface:
    """Let every point reach its neighbours, so that no line slips through between them."""
    distance = KDTree(surface.points).query(surface.points, k=_NEIGHBOURS + 1)[0][:, -1]
    if not surface.diagonal > 0 or not distance.max() > 0:
        raise InputError("the points of the surface lie in one place")
    return replace(surface, reach=np.maximum(surface.reach, distance[:, None]))


def _mended(points: np.ndarray, normals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Normals with sides, averaged over themselves and their neighbours; those of weight 0 mend none."""
    _, near = KDTree(points).query(points, k=min(_MENDING + 1, len(points)))
    alike = np.maximum(np.einsum("ik,ijk->ij", normals, normals[near]), 0) ** 2
    mean = np.einsum("ij,ijk->ik", alike * weights[near], normals[near])
    return _unit(mean, normals)


def _tilted(tangents: np.ndarray, axis: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Tangents (n, 2, 3) by the least rotation that takes their axis, either way round, to the normal (Rodrigues)."""
    axis = axis * np.where((axis * normals).sum(1) < 0, -1, 1)[:, None]
    turn = np.cross(axis, normals)[:, None]
    once = np.cross(turn, tangents)
    return tangents + once + np.cross(turn, once) / (1 + (axis * normals).sum(1))[:, None, None]


def _unit(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), otherwise)


def _body(field: OpacityField, least: float, seed: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The numbers of the Gaussians that make the body, the joint opacity at their means; how many are faint or stray.

    Of more than MOST_POINTS that are opaque by themselves, others aren't needed; of less, the others are asked.
    """
    random = np.random.default_rng(seed)
    opaque = field.opacity >= least
    asked = np.flatnonzero(~opaque)
    if int(opaque.sum()) < MOST_POINTS:
        asked = random.permutation(asked)[:MOST_POINTS]
        opaque[asked] = joint_opacity(field, field.mean[asked]) >= least
    body = np.flatnonzero(opaque)
    if len(body) < LEAST_POINTS:
        raise InputError(
            f"the splat has {len(body)} Gaussians where its opacity is {least:g} or more; a surface takes"
            f" {LEAST_POINTS}"
        )
    stray = _strays(field.mean[body])
    chosen = body[~stray]
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(random.permutation(chosen)[:MOST_POINTS])
    return chosen, joint_opacity(field, field.mean[chosen]), int((~opaque).sum()), int(stray.sum())


def _strays(points: np.ndarray) -> np.ndarray:
    """Points much further from their neighbours than is usual."""
    distance = KDTree(points).query(points, k=_NEIGHBOURS + 1)[0][:, 1:].mean(1)
    return distance > _STRAY * max(float(np.median(distance)), 1e-12)


def _seen(
    gaussians: Gaussians, means: np.ndarray, normals: np.ndarray, thickness: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals on the side from where they are seen, the unit mean of where from, and which ones are seen at all.

    Both are the normals as they came where nothing is seen.
    """
    low, high = means.min(0), means.max(0)
    middle, size = (low + high) / 2, max(float(np.linalg.norm(high - low)), 1e-12)
    focal = 0.9 * _VIEW_PX / size
    plain = replace(gaussians, sh=gaussians.sh[:, :1], albedo=None, features=None)
    votes, seen_from = np.zeros(len(means)), np.zeros_like(means)
    for direction in sphere_directions(_VIEWS):
        camera = _camera(middle + size * direction, direction, focal)
        with torch.no_grad():
            depth = _array(rasterize(plain, camera).median_depth)
        local = (means - _array(camera.camera_to_world)[:3, 3]) @ _array(camera.camera_to_world)[:3, :3]
        column = (_VIEW_PX / 2 + focal * local[:, 0]).astype(int).clip(0, _VIEW_PX - 1)
        row = (_VIEW_PX / 2 - focal * local[:, 1]).astype(int).clip(0, _VIEW_PX - 1)
        front = depth[row, column]
        facing = normals @ direction
        # Within its pixel a plane seen at an angle changes its depth by the tangent of it.
        slack = thickness + (0.5 + np.sqrt(1 - np.minimum(facing**2, 1)) / np.maximum(np.abs(facing), 0.3)) / focal
        seen = (-local[:, 2] <= front + slack) & (front > 0)
        votes += np.where(seen & (np.abs(facing) > _LEAST_COSINE), facing, 0)
        seen_from += np.where(seen[:, None], direction, 0)
    sided = normals * np.where(votes < 0, -1, 1)[:, None]
    return sided, _unit(seen_from, sided), votes != 0


def _camera(place: np.ndarray, back: np.ndarray, focal: float) -> Camera:
    """An orthographic camera that looks along -back."""
    right = np.cross(np.eye(3)[np.abs(back).argmin()], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(back, right), back, place], 1)
    half = _VIEW_PX / 2
    return Camera(_VIEW_PX, _VIEW_PX, focal, (half, half), torch.from_numpy(pose), orthographic=True)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
