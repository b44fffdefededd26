"""G-buffers of triangle meshes, on the CPU: rays against triangles in a tree of boxes.

A mesh needs no inside: open surfaces, several pieces and flipped windings are taken as they are, each triangle seen
from both sides. Normals are smooth over edges that bend by less than `CREASE_RAD`, sharp over the others. The signed
distance grids of `maquette.render.gbuffer` would ask for a closed surface and round off what is finer than a cell.

Object frame: the mesh lies within [-1, 1]^3, as a solid does.
"""

from dataclasses import dataclass
from math import acos, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from maquette.render.gbuffer import OCCLUSION_RAYS, POINT, GBuffer, ObjectCamera

CREASE_RAD = float(np.deg2rad(40))
_LEAF = 4  # triangles
_SHARED = 512  # a vertex of more triangles than this has the facets' own normals: smoothing would take a square of it
_OFFSET = 1e-4  # of secondary rays, off the surface


class Triangles(NamedTuple):
    """Triangles in the order of their tree, and the tree: a node's left child is the next node.

    Attributes:
        corners: (n, 3, 3).
        normals: (n, 3, 3), unit, at the corners, on the side that the winding calls outside.
        face: (n,) number of the triangle in the mesh it was built of.
        low, high: (nodes, 3) boxes.
        first: (nodes,) of a leaf its first triangle, of another node its right child.
        count: (nodes,) triangles of a leaf; 0 of another node.
    """

    corners: np.ndarray
    normals: np.ndarray
    face: np.ndarray
    low: np.ndarray
    high: np.ndarray
    first: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Hits:
    """Where on the mesh a pixel looks.

    Attributes:
        face: (H, W) int64, number of the triangle; -1 where there is none.
        weight: (H, W, 3) float32, of its corners; they sum to 1.
    """

    face: np.ndarray
    weight: np.ndarray


def triangulate(vertices: np.ndarray, faces: np.ndarray) -> Triangles:
    """Normals and the tree of a mesh.

    Args:
        vertices: (n, 3), shared by the triangles that are to look smooth together.
        faces: (m, 3); triangles without area are left out.
    """
    corners = vertices.astype(np.float64)[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    kept = np.flatnonzero(length > 1e-14)
    corners, faces = corners[kept], faces[kept].astype(np.int64)
    normals = _corner_normals(corners, faces, cross[kept] / length[kept, None], len(vertices), np.cos(CREASE_RAD))
    order, low, high, first, count = _tree(corners, corners.mean(1))
    return Triangles(corners[order], normals[order], kept[order], low, high, first, count)


@njit(cache=True)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True)
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(cache=True)
def _along(a, s, b):
    """a + s b."""
    return a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]


@njit(cache=True)
def _unit(a):
    s = 1.0 / max(sqrt(_dot(a, a)), 1e-12)
    return a[0] * s, a[1] * s, a[2] * s


@njit(cache=True)
def _row(array, k):
    return array[k, 0], array[k, 1], array[k, 2]


@njit(cache=True)
def _corner_normals(corners, faces, facets, vertex_count, crease_cosine):
    """At each corner the mean of the facets' normals around its vertex, by their angle there, within the crease."""
    n = faces.shape[0]
    angle = np.empty((n, 3))
    start = np.zeros(vertex_count + 1, np.int64)
    for f in range(n):
        for c in range(3):
            here = _row(corners[f], c)
            a = _unit(_along(_row(corners[f], (c + 1) % 3), -1.0, here))
            b = _unit(_along(_row(corners[f], (c + 2) % 3), -1.0, here))
            angle[f, c] = acos(min(max(_dot(a, b), -1.0), 1.0))
            start[faces[f, c] + 1] += 1
    for v in range(vertex_count):
        start[v + 1] += start[v]
    around = np.empty((3 * n, 2), np.int64)
    filled = start[:-1].copy()
    for f in range(n):
        for c in range(3):
            around[filled[faces[f, c]], 0], around[filled[faces[f, c]], 1] = f, c
            filled[faces[f, c]] += 1
    normals = np.empty((n, 3, 3))
    for f in range(n):
        own = _row(facets, f)
        for c in range(3):
            v = faces[f, c]
            total = (0.0, 0.0, 0.0)
            if start[v + 1] - start[v] <= _SHARED:
                for k in range(start[v], start[v + 1]):
                    other = _row(facets, around[k, 0])
                    if _dot(other, own) > crease_cosine:
                        total = _along(total, angle[around[k, 0], around[k, 1]], other)
            if _dot(total, total) < 1e-18:
                total = own
            normals[f, c, 0], normals[f, c, 1], normals[f, c, 2] = _unit(total)
    return normals


@njit(cache=True)
def _tree(corners, centroid):
    """Split at the median of the longest side of the centroids' box, down to `_LEAF` triangles."""
    n = corners.shape[0]
    order = np.arange(n)
    low, high = np.empty((2 * n + 1, 3)), np.empty((2 * n + 1, 3))
    first, count = np.zeros(2 * n + 1, np.int64), np.zeros(2 * n + 1, np.int64)
    stack = np.empty((128, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, n, -1
    top, used = 1, 0
    while top > 0:
        top -= 1
        begin, end, parent = stack[top, 0], stack[top, 1], stack[top, 2]
        node = used
        used += 1
        if parent >= 0:
            first[parent] = node
        axis, extent = 0, -1.0
        for a in range(3):
            small = large = centroid[order[begin], a]
            below = above = corners[order[begin], 0, a]
            for k in range(begin, end):
                small, large = min(small, centroid[order[k], a]), max(large, centroid[order[k], a])
                for c in range(3):
                    below, above = min(below, corners[order[k], c, a]), max(above, corners[order[k], c, a])
            low[node, a], high[node, a] = below, above
            if large - small > extent:
                axis, extent = a, large - small
        if end - begin <= _LEAF:
            first[node], count[node] = begin, end - begin
            continue
        piece, keys = order[begin:end].copy(), np.empty(end - begin)
        for k in range(end - begin):
            keys[k] = centroid[piece[k], axis]
        ranks = np.argsort(keys, kind="mergesort")  # stable: the same tree on every machine
        for k in range(end - begin):
            order[begin + k] = piece[ranks[k]]
        middle = (begin + end) // 2
        stack[top, 0], stack[top, 1], stack[top, 2] = middle, end, node
        stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = begin, middle, -1
        top += 2
    return order, low[:used].copy(), high[:used].copy(), first[:used].copy(), count[:used].copy()


@njit(cache=True)
def _enters(low, high, node, ox, oy, oz, ix, iy, iz, reach):
    """Distance at which a ray enters a box; infinite if it misses it within reach."""
    a, b = (low[node, 0] - ox) * ix, (high[node, 0] - ox) * ix
    near, far = min(a, b), max(a, b)
    a, b = (low[node, 1] - oy) * iy, (high[node, 1] - oy) * iy
    near, far = max(near, min(a, b)), min(far, max(a, b))
    a, b = (low[node, 2] - oz) * iz, (high[node, 2] - oz) * iz
    near, far = max(near, min(a, b)), min(far, max(a, b))
    return near if near <= far * (1.0 + 1e-9) and far > 0.0 and near < reach else np.inf


@njit(cache=True)
def _inverse(d):
    return 1.0 / d if abs(d) > 1e-12 else (1e12 if d >= 0.0 else -1e12)


@njit(cache=True)
def cast(triangles, ox, oy, oz, dx, dy, dz, reach, any_will_do):
    """The nearest triangle on a ray, or just any: (index, distance, weight of corner 1, of corner 2); -1 if none.

    Both sides of a triangle count (Moeller and Trumbore 1997). The direction is of unit length.
    """
    corners, _, _, low, high, first, count = triangles
    ix, iy, iz = _inverse(dx), _inverse(dy), _inverse(dz)
    best, best_u, best_v, found = reach, 0.0, 0.0, -1
    stack = np.empty(128, np.int64)
    stack[0] = 0
    top = 1
    while top > 0:
        top -= 1
        node = stack[top]
        if _enters(low, high, node, ox, oy, oz, ix, iy, iz, best) == np.inf:
            continue
        if count[node] == 0:
            left, right = node + 1, first[node]
            a = _enters(low, high, left, ox, oy, oz, ix, iy, iz, best)
            b = _enters(low, high, right, ox, oy, oz, ix, iy, iz, best)
            if a > b:
                left, right, a, b = right, left, b, a
            if b < np.inf:
                stack[top] = right
                top += 1
            if a < np.inf:
                stack[top] = left
                top += 1
            continue
        for k in range(first[node], first[node] + count[node]):
            px, py, pz = corners[k, 0, 0], corners[k, 0, 1], corners[k, 0, 2]
            ax, ay, az = corners[k, 1, 0] - px, corners[k, 1, 1] - py, corners[k, 1, 2] - pz
            bx, by, bz = corners[k, 2, 0] - px, corners[k, 2, 1] - py, corners[k, 2, 2] - pz
            qx, qy, qz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
            det = ax * qx + ay * qy + az * qz
            if abs(det) < 1e-16:
                continue
            tx, ty, tz = ox - px, oy - py, oz - pz
            u = (tx * qx + ty * qy + tz * qz) / det
            if u < -1e-9 or u > 1.0 + 1e-9:
                continue
            rx, ry, rz = ty * az - tz * ay, tz * ax - tx * az, tx * ay - ty * ax
            v = (dx * rx + dy * ry + dz * rz) / det
            if v < -1e-9 or u + v > 1.0 + 1e-9:
                continue
            t = (bx * rx + by * ry + bz * rz) / det
            if 0.0 < t < best:
                best, best_u, best_v, found = t, u, v, k
                if any_will_do:
                    return found, best, best_u, best_v
    return found, best, best_u, best_v


@njit(cache=True)
def _blocked(triangles, s, d, reach):
    return cast(triangles, s[0], s[1], s[2], d[0], d[1], d[2], reach, True)[0] >= 0


@njit(cache=True)
def _surface(triangles, k, u, v, d, hit):
    """Where a ray along d meets triangle k: the smooth normal, turned to the viewer, and where new rays start.

    They start on the curved surface that the smooth normals belong to, not on the facet: else facets shadow
    themselves where smooth shading still sees the light (Hanika 2021).
    """
    corner, normals = triangles.corners[k], triangles.normals[k]
    p = _row(corner, 0)
    facet = _unit(_cross(_along(_row(corner, 1), -1.0, p), _along(_row(corner, 2), -1.0, p)))
    side = 1.0 if _dot(facet, d) < 0.0 else -1.0  # seen from behind, its outside is here
    n = (0.0, 0.0, 0.0)
    start = _along(hit, side * _OFFSET, facet)
    for c in range(3):
        w = 1.0 - u - v if c == 0 else (u if c == 1 else v)
        outward = _row(normals, c)
        n = _along(n, side * w, outward)
        above = side * _dot(_along(hit, -1.0, _row(corner, c)), outward)
        if above < 0.0:
            start = _along(start, -w * above * side, outward)
    n = _unit(n)
    away = _dot(n, d) + 0.02
    if away > 0.0:  # a visible point can't face away: bring it back to the horizon
        n = _unit(_along(n, -away, d))
    return n, start


@njit(cache=True, parallel=True)
def _trace(
    triangles, pose, width, height, focal, cx, cy, orthographic, lights, rays,
    normal, position, mask, lit, openness, opening, face, weight,
):  # fmt: skip
    for y in prange(height):
        for x in range(width):
            px, py = (x + 0.5 - cx) / focal, (cy - y - 0.5) / focal
            if orthographic:
                origin, towards = (px, py, 0.0), (0.0, 0.0, -1.0)
            else:
                origin, towards = (0.0, 0.0, 0.0), _unit((px, py, -1.0))
            right, up, backward = (
                (pose[0, 0], pose[1, 0], pose[2, 0]),
                (pose[0, 1], pose[1, 1], pose[2, 1]),
                (pose[0, 2], pose[1, 2], pose[2, 2]),
            )
            o = _along(_along((pose[0, 3], pose[1, 3], pose[2, 3]), origin[0], right), origin[1], up)
            d = _along(_along(_along((0.0, 0.0, 0.0), towards[0], right), towards[1], up), towards[2], backward)
            k, t, u, v = cast(triangles, o[0], o[1], o[2], d[0], d[1], d[2], 1e6, False)
            if k < 0:
                continue
            n, start = _surface(triangles, k, u, v, d, _along(o, t, d))
            mask[y, x] = True
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = _dot(right, n), _dot(up, n), _dot(backward, n)
            position[y, x, 0], position[y, x, 1], position[y, x, 2] = _along(origin, t, towards)
            face[y, x] = triangles.face[k]
            weight[y, x, 0], weight[y, x, 1], weight[y, x, 2] = 1.0 - u - v, u, v
            for j in range(lights.shape[0]):
                l, reach = (lights[j, 0], lights[j, 1], lights[j, 2]), 1e6
                if lights[j, 3] == POINT:
                    l = _along(l, -1.0, start)
                    reach = sqrt(_dot(l, l))
                    l = _unit(l)
                if _dot(n, l) > 0.0:
                    lit[j, y, x] = not _blocked(triangles, start, l, reach)
            # Any tangent frame will do: the set of directions is nearly isotropic.
            a = _unit((0.0, -n[2], n[1]) if abs(n[0]) < 0.7 else (n[2], 0.0, -n[0]))
            b = _cross(n, a)
            free, mx, my, mz = 0, 0.0, 0.0, 0.0
            for j in range(rays.shape[0]):
                l = _along(_along(_along((0.0, 0.0, 0.0), rays[j, 0], a), rays[j, 1], b), rays[j, 2], n)
                if not _blocked(triangles, start, l, 1e6):
                    free, mx, my, mz = free + 1, mx + l[0], my + l[1], mz + l[2]
            openness[y, x] = free / rays.shape[0]
            if mx * mx + my * my + mz * mz < 1e-12:
                mx, my, mz = n
            mean = _unit((mx, my, mz))
            opening[y, x, 0], opening[y, x, 1] = _dot(right, mean), _dot(up, mean)
            opening[y, x, 2] = _dot(backward, mean)


def trace_mesh(
    triangles: Triangles, view: ObjectCamera, lights: np.ndarray, rays: np.ndarray = OCCLUSION_RAYS
) -> tuple[GBuffer, Hits]:
    """Ray-cast a mesh; arguments and G-buffer as of `maquette.render.gbuffer.trace`, all of it one part."""
    h, w = view.height, view.width
    buffer = GBuffer.empty(h, w, len(lights))
    hits = Hits(face=np.full((h, w), -1, np.int64), weight=np.zeros((h, w, 3), np.float32))
    _trace(
        triangles, view.camera_to_object, w, h, view.focal_px, *view.center_px, view.orthographic, lights,
        rays, buffer.normal, buffer.position, buffer.mask, buffer.lit, buffer.openness, buffer.opening,
        hits.face, hits.weight,
    )  # fmt: skip
    buffer.part[buffer.mask] = 1
    return buffer, hits
