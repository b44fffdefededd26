"""First hits of a camera's rays on a triangle mesh: float64, Moeller and Trumbore 1997, no acceleration but a bound.

Independent of the marcher that it judges: it knows triangles and a camera, neither a grid nor a field.
"""

from typing import NamedTuple

import numpy as np


class Hits(NamedTuple):
    """Per pixel: whether a triangle was hit, depth along -z, unit facet normal in the camera frame."""

    mask: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


def raycast(vertices: np.ndarray, faces: np.ndarray, view) -> Hits:
    """Cast one ray through every pixel centre of a `maquette.render.gbuffer.ObjectCamera`.

    A triangle is tested against the pixels in the bounding box of its projection, and against no others.
    """
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    corners = ((vertices.astype(np.float64) - origin) @ rotation)[faces]
    scale = np.ones(corners.shape[:2]) if view.orthographic else -corners[..., 2]
    u = view.center_px[0] + view.focal_px * corners[..., 0] / scale - 0.5
    v = view.center_px[1] - view.focal_px * corners[..., 1] / scale - 0.5
    first_u, last_u = _range(u, view.width)
    first_v, last_v = _range(v, view.height)
    depth = np.full(view.height * view.width, np.inf)
    facet = np.full(view.height * view.width, -1)
    for du in range(int((last_u - first_u).max(initial=0)) + 1):
        for dv in range(int((last_v - first_v).max(initial=0)) + 1):
            some = np.flatnonzero((first_u + du <= last_u) & (first_v + dv <= last_v))
            pixel_u, pixel_v = first_u[some] + du, first_v[some] + dv
            hit, z = _intersect(corners[some], pixel_u, pixel_v, view)
            pixel, z, some = (pixel_v * view.width + pixel_u)[hit], z[hit], some[hit]
            order = np.argsort(-z, kind="stable")  # the nearest writes last
            pixel, z, some = pixel[order], z[order], some[order]
            closer = z < depth[pixel]
            depth[pixel[closer]], facet[pixel[closer]] = z[closer], some[closer]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    shape = (view.height, view.width)
    mask = facet >= 0
    return Hits(
        mask.reshape(shape),
        np.where(mask, depth, 0).reshape(shape),
        (normals[facet] * mask[:, None]).reshape(*shape, 3),
    )


def _range(coordinates: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel centre within the three projected corners, clipped to the image."""
    first = np.ceil(coordinates.min(1) - 1e-9).astype(int)
    last = np.floor(coordinates.max(1) + 1e-9).astype(int)
    return np.clip(first, 0, count), np.clip(last, -1, count - 1)


def _intersect(corners: np.ndarray, pixel_u: np.ndarray, pixel_v: np.ndarray, view) -> tuple[np.ndarray, np.ndarray]:
    """Whether ray i meets triangle i, and at which depth; both faces count."""
    x = (pixel_u + 0.5 - view.center_px[0]) / view.focal_px
    y = (view.center_px[1] - pixel_v - 0.5) / view.focal_px
    zero, one = np.zeros_like(x), np.ones_like(x)
    start = np.stack([x, y, zero], 1) if view.orthographic else np.zeros((len(x), 3))
    along = np.stack([zero, zero, -one] if view.orthographic else [x, y, -one], 1)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(along, edge2)
    determinant = (edge1 * p).sum(1)
    safe = np.where(np.abs(determinant) < 1e-18, np.inf, determinant)
    offset = start - corners[:, 0]
    q = np.cross(offset, edge1)
    a, b, t = (offset * p).sum(1) / safe, (along * q).sum(1) / safe, (edge2 * q).sum(1) / safe
    inside = (a >= -1e-9) & (b >= -1e-9) & (a + b <= 1 + 1e-9) & (t > 0) & np.isfinite(safe)
    return inside, t
