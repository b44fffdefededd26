"""Normals to depth, with its steps kept.

A pixel (u right, v down) sees the point (x d, y d, -d) of a pinhole camera, where (x, y) is its place on the
image plane, or (x, y, -d) of an orthographic one. That a normal n is orthogonal to both derivatives of the
point gives, with the focal length f,

    pinhole        q = f log d,   m = n_z - n_x x - n_y y
    orthographic   q = f d,       m = n_z

    m dq/du = n_x,   m dq/dv = -n_y

so that q counts in pixels in both cases. `maquette.geometry.bilateral` solves for q.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.bilateral import Problem, reweighted
from maquette.geometry.camera import image_plane
from maquette.types import Camera, Depth, NormalMap

# A pixel that nobody trusts still counts this much: what surrounds it decides, but it falls nowhere.
_SMALLEST_CONFIDENCE = 1e-3


def pixel_camera(width: int, height: int) -> Camera:
    """An orthographic camera whose scene unit is a pixel."""
    return Camera(width, height, 1.0, (width / 2, height / 2), torch.eye(4, dtype=torch.float64), orthographic=True)


def integrate(
    normal_map: NormalMap,
    camera: Camera | None = None,
    confidence: Float[Tensor, "height width"] | None = None,
    anchors: Float[Tensor, "height width"] | None = None,
    anchor_weight: float = 1.0,
    sharpness: float = 2.0,
    tolerance: float = 1e-4,
    max_rounds: int = 150,
) -> Depth:
    """The depth whose normals these are, by bilateral normal integration (Cao et al., ECCV 2022).

    Args:
        normal_map: any mask, with islands and holes. Normals that face away count as if seen at 84 degrees.
        camera: its size and intrinsics; without one, `pixel_camera`.
        confidence: 0 to 1, the weight of every pixel's normal; all 1 if not given.
        anchors: known depths, NaN where there is none; positive for a pinhole camera.
        anchor_weight: what an anchor that is missed by a pixel's width costs, in units of a slope that is
            missed by 1.
        sharpness: k of the paper; 0 smooths over all steps, as a Poisson solve does.
        tolerance: of the energy, relative, between two rounds.
        max_rounds: at most so many.

    Raises:
        InputError: an empty mask; normals, confidences or anchors that are not finite, or out of range; maps
            and a camera that differ in size; no anchor inside the mask.
    """
    _check(normal_map, camera, confidence, anchors)
    _check_numbers(anchor_weight, sharpness, tolerance, max_rounds)
    camera = camera or pixel_camera(normal_map.mask.shape[1], normal_map.mask.shape[0])
    mask = normal_map.mask.cpu().numpy()
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))
    inside = mask[box]
    normals = normal_map.normals.detach().cpu().double().numpy()[box]
    facing = normals[..., 2]
    if not camera.orthographic:
        plane = image_plane(camera).cpu().double().numpy()[box]
        facing = facing - (normals[..., :2] * plane).sum(-1)
    weights = np.ones(inside.shape) if confidence is None else confidence.detach().cpu().double().numpy()[box]
    wanted, weight, offset = _anchors(anchors, anchor_weight, camera, mask, box)
    problem = Problem(
        inside,
        np.where(inside, facing, 0),
        np.where(inside, normals[..., 0], 0),
        np.where(inside, -normals[..., 1], 0),
        np.where(inside, weights.clip(_SMALLEST_CONFIDENCE), 0),
        wanted,
        weight,
    )
    solution = reweighted(problem, sharpness, tolerance, max_rounds)
    labels, count = ndimage.label(inside)  # pyright: ignore[reportGeneralTypeIssues]
    q = _placed(solution.q, labels, count, weight > 0) + offset
    found = q / camera.focal_px if camera.orthographic else np.exp((q / camera.focal_px).clip(-700, 700))
    depth, piece = np.zeros(mask.shape), np.full(mask.shape, -1)
    depth[box] = np.where(inside, found, 0)
    piece[box] = labels - 1
    return Depth(
        torch.from_numpy(depth), torch.from_numpy(mask), torch.from_numpy(piece), solution.rounds, solution.settled
    )


def _anchors(
    anchors: Tensor | None, anchor_weight: float, camera: Camera, mask: np.ndarray, box: tuple[slice, ...]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Wanted q, its weight, and the mean that was taken off it, so that small differences keep their digits."""
    if anchors is None:
        nothing = np.zeros(mask[box].shape)
        return nothing, nothing.copy(), 0.0
    depth = anchors.detach().cpu().double().numpy()[box]
    known = np.isfinite(depth) & mask[box]
    q = camera.focal_px * (depth[known] if camera.orthographic else np.log(depth[known]))
    offset = float(q.mean())
    wanted = np.zeros(known.shape)
    wanted[known] = q - offset
    return wanted, known * anchor_weight, offset


def _placed(q: np.ndarray, labels: np.ndarray, count: int, anchored: np.ndarray) -> np.ndarray:
    """Each piece without an anchor moved to mean 0, or to the mean of those with one."""
    means = np.bincount(labels.ravel(), q.ravel(), count + 1) / np.maximum(np.bincount(labels.ravel()), 1)
    held = np.zeros(count + 1, bool)
    held[np.unique(labels[anchored])] = True
    among_held = held[labels] & (labels > 0)
    middle = float(q[among_held].mean()) if among_held.any() else 0.0
    return q - np.where(held, 0.0, means - middle)[labels]


def _check(normal_map: NormalMap, camera: Camera | None, confidence: Tensor | None, anchors: Tensor | None) -> None:
    mask = normal_map.mask
    if not bool(mask.any()):
        raise InputError("integration: the mask is empty; at least one pixel with a normal is needed")
    sizes = {"normals": normal_map.normals, "confidence": confidence, "anchors": anchors}
    for name, field in sizes.items():
        if field is not None and field.shape[:2] != mask.shape:
            raise InputError(f"integration: {name} and mask differ in size: {_size(field)} and {_size(mask)}")
    if camera is not None and (camera.height, camera.width) != tuple(mask.shape):
        raise InputError(f"integration: the camera is {camera.width}x{camera.height}, the map {_size(mask)}")
    _require(torch.isfinite(normal_map.normals).all(-1) | ~mask, "normals are NaN or infinite; finite ones are needed")
    if confidence is not None:
        _require(
            ((confidence >= 0) & (confidence <= 1)) | ~mask, "confidences are no numbers from 0 to 1"
        )  # NaN is none  # fmt: skip
    if anchors is not None:
        known = torch.isfinite(anchors) & mask
        _require(~torch.isinf(anchors), "anchors are infinite; NaN says that there is none")
        if not bool(known.any()):
            raise InputError("integration: no anchor lies inside the mask; give at least one, or None")
        if camera is not None and not camera.orthographic:
            _require((anchors > 0) | ~known, "anchors are not positive; a pinhole camera sees depths above 0")


def _check_numbers(anchor_weight: float, sharpness: float, tolerance: float, max_rounds: int) -> None:
    for name, value in (("anchor_weight", anchor_weight), ("sharpness", sharpness), ("tolerance", tolerance)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"integration: {name} is {value}; a finite number that isn't negative is needed")
    if max_rounds < 1:
        raise InputError(f"integration: max_rounds is {max_rounds}; at least 1 is needed")


def _require(good: Tensor, what: str) -> None:
    if not bool(good.all()):
        row, column = (~good).nonzero()[0].tolist()
        raise InputError(f"integration: {int((~good).sum())} {what}; the first is at x={column}, y={row}")


def _size(field: Tensor) -> str:
    return f"{field.shape[1]}x{field.shape[0]}"
