"""G-buffers of signed fields: normal, position, depth, mask, shadows and ambient occlusion, on the CPU.

A blended or displaced field is no true distance, so stepping by its value overshoots and leaves holes. Rays
here march the sign of a sampled grid instead: blocks of cells without a sign change are skipped by a distance
transform over blocks, the rest is stepped by half a cell, and a bracketed root is refined on the field itself,
whose gradient at the scale of a pixel gives the normal. Features finer than the grid thus appear in the
normals, and the silhouette is that of the grid's iso-surface.

Object frame: the solid lies within [-1, 1]^3.
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy import ndimage

from maquette.geometry.field import SolidField, evaluate, gradient, part_at, sample_grid, sample_near

BLOCK = 4  # cells along the side of a block of empty space
DISTANT, POINT = 0, 1  # kinds of light

# Directions of the occlusion rays about +z, cosine-weighted, so that their plain mean is the occlusion.
OCCLUSION_RAYS = np.array(
    [
        (sqrt(u) * np.cos(a), sqrt(u) * np.sin(a), sqrt(1 - u))
        for u, a in (((i + 0.5) / 16, i * 2.399963) for i in range(16))
    ]
)


class Solid(NamedTuple):
    """A field with what a marcher needs: its grid and the distance, in blocks, to the nearest surface block.

    Attributes:
        field: the definition.
        grid: (side, side, side) float32 samples over [-1, 1]^3, order (z, y, x).
        skip: chessboard distance of every block to the nearest block with a sign change.
    """

    field: SolidField
    grid: np.ndarray
    skip: np.ndarray


@dataclass(frozen=True)
class ObjectCamera:
    """Where a G-buffer is seen from, in numbers that compiled code can read.

    Attributes:
        camera_to_object: (3, 4), camera axes x right, y up, z backward.
        width, height, focal_px, center_px, orthographic: as in `maquette.types.Camera`.
    """

    camera_to_object: np.ndarray
    width: int
    height: int
    focal_px: float
    center_px: tuple[float, float]
    orthographic: bool = False


@dataclass(frozen=True)
class GBuffer:
    """What a camera sees of a solid; zero outside the mask.

    Attributes:
        normal: (H, W, 3) float32, unit, camera frame.
        position: (H, W, 3) float32, camera frame.
        mask: (H, W) bool.
        lit: (L, H, W) bool, true where the surface faces light l and nothing stands between them.
        openness: (H, W) float32, 1 minus the cosine-weighted ambient occlusion.
        opening: (H, W, 3) float32, unit, camera frame: the mean of the unoccluded occlusion rays; the normal where
            all are blocked.
        part: (H, W) uint8, the part of the object that the point belongs to, from 1.
    """

    normal: np.ndarray
    position: np.ndarray
    mask: np.ndarray
    lit: np.ndarray
    openness: np.ndarray
    opening: np.ndarray
    part: np.ndarray

    @staticmethod
    def empty(height: int, width: int, lights: int) -> "GBuffer":
        """One that sees nothing."""
        return GBuffer(
            normal=np.zeros((height, width, 3), np.float32),
            position=np.zeros((height, width, 3), np.float32),
            mask=np.zeros((height, width), bool),
            lit=np.zeros((lights, height, width), bool),
            openness=np.zeros((height, width), np.float32),
            opening=np.zeros((height, width, 3), np.float32),
            part=np.zeros((height, width), np.uint8),
        )


def solidify(field: SolidField, side: int) -> Solid:
    """Sample the field, keep its largest connected piece, close it at the border of the cube."""
    if len(field.first) == 2:
        grid = sample_grid(field, side)
    else:  # many primitives, whose fields may fall up to twice as fast as a distance
        grid = sample_near(field, side, BLOCK, 2.0 * sqrt(3) * BLOCK / (side - 1) + field.warp[5] / 2)
    labels, count = ndimage.label(grid < 0)  # pyright: ignore[reportGeneralTypeIssues]
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        crumbs = (labels > 0) & (labels != 1 + int(sizes.argmax()))
        grid[crumbs] = np.abs(grid[crumbs])
    for face in (grid[0], grid[-1], grid[:, 0], grid[:, -1], grid[:, :, 0], grid[:, :, -1]):
        np.maximum(face, 1e-3, out=face)
    return Solid(field, grid, block_distance(grid))


def block_distance(grid: np.ndarray) -> np.ndarray:
    """Chessboard distance, in blocks, to the nearest block whose corners change sign; 0 on those blocks."""
    empty = ~_surface_blocks(grid, BLOCK)
    if empty.all():
        return np.full(empty.shape, empty.shape[0], np.int32)
    return np.asarray(ndimage.distance_transform_cdt(empty, metric="chessboard")).astype(np.int32)


@njit(cache=True)
def _surface_blocks(grid: np.ndarray, block: int) -> np.ndarray:
    cells = grid.shape[0] - 1
    count = (cells + block - 1) // block
    surface = np.zeros((count, count, count), np.bool_)
    for k in range(count):
        for j in range(count):
            for i in range(count):
                inside, outside = False, False
                for z in range(k * block, min(k * block + block, cells) + 1):
                    for y in range(j * block, min(j * block + block, cells) + 1):
                        for x in range(i * block, min(i * block + block, cells) + 1):
                            if grid[z, y, x] < 0:
                                inside = True
                            else:
                                outside = True
                surface[k, j, i] = inside and outside
    return surface


@njit(cache=True, inline="always")
def _trilinear(grid: np.ndarray, x: float, y: float, z: float) -> float:
    """The grid at grid coordinates (cells), clamped."""
    last = grid.shape[0] - 1.001
    x, y, z = min(max(x, 0.0), last), min(max(y, 0.0), last), min(max(z, 0.0), last)
    i, j, k = int(x), int(y), int(z)
    x -= i
    y -= j
    z -= k
    a = grid[k, j, i] * (1.0 - x) + grid[k, j, i + 1] * x
    b = grid[k, j + 1, i] * (1.0 - x) + grid[k, j + 1, i + 1] * x
    c = grid[k + 1, j, i] * (1.0 - x) + grid[k + 1, j, i + 1] * x
    d = grid[k + 1, j + 1, i] * (1.0 - x) + grid[k + 1, j + 1, i + 1] * x
    a += (b - a) * y
    c += (d - c) * y
    return a + (c - a) * z


@njit(cache=True)
def march(
    grid: np.ndarray,
    skip: np.ndarray,
    ox: float, oy: float, oz: float,
    dx: float, dy: float, dz: float,
    reach: float,
) -> float:  # fmt: skip
    """First t in (0, reach] at which origin + t * direction enters the solid; -1 if it doesn't.

    Origin and the unit direction are in object units. The result is a root of the trilinear grid, to 1/100
    of a cell.
    """
    near, far = 0.0, reach
    for o, d in ((ox, dx), (oy, dy), (oz, dz)):  # clip to the cube
        if abs(d) < 1e-12:
            if abs(o) > 1.0:
                return -1.0
            continue
        a, b = (-1.0 - o) / d, (1.0 - o) / d
        near, far = max(near, min(a, b)), min(far, max(a, b))
    if near >= far:
        return -1.0
    scale = (grid.shape[0] - 1) * 0.5
    cell = 1.0 / scale
    side = BLOCK * cell
    last = skip.shape[0] - 1
    ix, iy, iz = _inverse(dx), _inverse(dy), _inverse(dz)
    t, step = near, 0.5 * cell
    while t < far:
        x, y, z = ox + t * dx + 1.0, oy + t * dy + 1.0, oz + t * dz + 1.0
        i, j, k = min(int(x / side), last), min(int(y / side), last), min(int(z / side), last)
        blocks = skip[k, j, i]
        if blocks > 0:  # to the end of the empty cube around this block
            a = ((i + blocks if dx > 0.0 else i + 1 - blocks) * side - x) * ix
            b = ((j + blocks if dy > 0.0 else j + 1 - blocks) * side - y) * iy
            c = ((k + blocks if dz > 0.0 else k + 1 - blocks) * side - z) * iz
            t += max(min(a, min(b, c)), 0.0) + 1e-3 * cell
            step = 0.5 * cell
            continue
        ahead = t + step
        value = _trilinear(
            grid, (ox + ahead * dx + 1.0) * scale, (oy + ahead * dy + 1.0) * scale, (oz + ahead * dz + 1.0) * scale
        )
        if value < 0.0:
            low, high = t, ahead
            for _ in range(7):
                t = 0.5 * (low + high)
                value = _trilinear(
                    grid, (ox + t * dx + 1.0) * scale, (oy + t * dy + 1.0) * scale, (oz + t * dz + 1.0) * scale
                )
                if value < 0.0:
                    high = t
                else:
                    low = t
            return 0.5 * (low + high) if low < reach else -1.0
        t = ahead
        step = max(min(0.5 * value, cell), 0.25 * cell)  # where it is near, shorter than a graze
    return -1.0


@njit(cache=True, inline="always")
def _inverse(d: float) -> float:
    return 1.0 / d if abs(d) > 1e-12 else (1e12 if d > 0.0 else -1e12)


@njit(cache=True)
def _refine(field: SolidField, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, t: float, cell: float):
    """The field's own root within a cell of the grid's, if there is one; else the grid's."""
    low, high = t - cell, t + cell
    at_low = evaluate(field, ox + low * dx, oy + low * dy, oz + low * dz)
    at_high = evaluate(field, ox + high * dx, oy + high * dy, oz + high * dz)
    if at_low <= 0.0 or at_high >= 0.0:
        return t
    for _ in range(4):
        t = low + (high - low) * min(max(at_low / (at_low - at_high), 0.1), 0.9)
        value = evaluate(field, ox + t * dx, oy + t * dy, oz + t * dz)
        if value < 0.0:
            high, at_high = t, value
        else:
            low, at_low = t, value
        if abs(value) < 1e-5:
            break
    return t


@njit(cache=True)
def _grid_normal(grid: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    scale = (grid.shape[0] - 1) * 0.5
    gx, gy, gz = (x + 1.0) * scale, (y + 1.0) * scale, (z + 1.0) * scale
    nx = _trilinear(grid, gx + 1.0, gy, gz) - _trilinear(grid, gx - 1.0, gy, gz)
    ny = _trilinear(grid, gx, gy + 1.0, gz) - _trilinear(grid, gx, gy - 1.0, gz)
    nz = _trilinear(grid, gx, gy, gz + 1.0) - _trilinear(grid, gx, gy, gz - 1.0)
    length = max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    return nx / length, ny / length, nz / length


@njit(cache=True, parallel=True)
def _trace(
    field,
    grid,
    skip,
    pose,
    width,
    height,
    focal,
    cx,
    cy,
    orthographic,
    lights,
    rays,
    normal,
    position,
    mask,
    lit,
    openness,
    opening,
    part,
):
    cell = 2.0 / (grid.shape[0] - 1)
    for v in prange(height):
        for u in range(width):
            x, y = (u + 0.5 - cx) / focal, (cy - v - 0.5) / focal
            if orthographic:
                px, py, pz, qx, qy, qz = x, y, 0.0, 0.0, 0.0, -1.0
            else:
                length = sqrt(x * x + y * y + 1.0)
                px, py, pz, qx, qy, qz = 0.0, 0.0, 0.0, x / length, y / length, -1.0 / length
            ox = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
            oy = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
            oz = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
            dx = pose[0, 0] * qx + pose[0, 1] * qy + pose[0, 2] * qz
            dy = pose[1, 0] * qx + pose[1, 1] * qy + pose[1, 2] * qz
            dz = pose[2, 0] * qx + pose[2, 1] * qy + pose[2, 2] * qz
            t = march(grid, skip, ox, oy, oz, dx, dy, dz, 1e6)
            if t < 0.0:
                continue
            t = _refine(field, ox, oy, oz, dx, dy, dz, t, cell)
            hx, hy, hz = ox + t * dx, oy + t * dy, oz + t * dz
            # The normal is averaged over about a pixel, as a camera averages what it sees.
            pixel = (1.0 if orthographic else t) / focal
            nx, ny, nz = gradient(field, hx, hy, hz, max(0.5 * pixel, 1e-3))
            if nx * dx + ny * dy + nz * dz > -0.02:
                nx, ny, nz = _grid_normal(grid, hx, hy, hz)
                facing = nx * dx + ny * dy + nz * dz
                if facing > -0.02:  # a visible point can't face away: bring it back to the horizon
                    nx, ny, nz = nx - (facing + 0.02) * dx, ny - (facing + 0.02) * dy, nz - (facing + 0.02) * dz
                    length = max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
                    nx, ny, nz = nx / length, ny / length, nz / length
            mask[v, u] = True
            part[v, u] = part_at(field, hx, hy, hz)
            position[v, u, 0] = px + t * qx
            position[v, u, 1] = py + t * qy
            position[v, u, 2] = pz + t * qz
            for a in range(3):  # object to camera: the transposed rotation
                normal[v, u, a] = pose[0, a] * nx + pose[1, a] * ny + pose[2, a] * nz
            # Secondary rays start off the surface, by more than the grid is wrong.
            gx, gy, gz = _grid_normal(grid, hx, hy, hz)
            sx, sy, sz = hx + 1.6 * cell * gx, hy + 1.6 * cell * gy, hz + 1.6 * cell * gz
            for n in range(lights.shape[0]):
                lx, ly, lz, reach = lights[n, 0], lights[n, 1], lights[n, 2], 1e6
                if lights[n, 3] == POINT:
                    lx, ly, lz = lx - sx, ly - sy, lz - sz
                    reach = sqrt(lx * lx + ly * ly + lz * lz)
                    lx, ly, lz = lx / reach, ly / reach, lz / reach
                if nx * lx + ny * ly + nz * lz > 0.0:
                    lit[n, v, u] = march(grid, skip, sx, sy, sz, lx, ly, lz, reach) < 0.0
            # Any tangent frame will do: the set of directions is nearly isotropic.
            ax, ay, az = (0.0, -gz, gy) if abs(gx) < 0.7 else (gz, 0.0, -gx)
            length = sqrt(ax * ax + ay * ay + az * az)
            ax, ay, az = ax / length, ay / length, az / length
            bx, by, bz = gy * az - gz * ay, gz * ax - gx * az, gx * ay - gy * ax
            open_rays, sum_x, sum_y, sum_z = 0, 0.0, 0.0, 0.0
            for n in range(rays.shape[0]):
                lx = rays[n, 0] * ax + rays[n, 1] * bx + rays[n, 2] * gx
                ly = rays[n, 0] * ay + rays[n, 1] * by + rays[n, 2] * gy
                lz = rays[n, 0] * az + rays[n, 1] * bz + rays[n, 2] * gz
                if march(grid, skip, sx, sy, sz, lx, ly, lz, 1e6) < 0.0:
                    open_rays += 1
                    sum_x, sum_y, sum_z = sum_x + lx, sum_y + ly, sum_z + lz
            openness[v, u] = open_rays / rays.shape[0]
            length = sqrt(sum_x * sum_x + sum_y * sum_y + sum_z * sum_z)
            if length < 1e-6:
                sum_x, sum_y, sum_z, length = nx, ny, nz, 1.0
            for a in range(3):
                opening[v, u, a] = (pose[0, a] * sum_x + pose[1, a] * sum_y + pose[2, a] * sum_z) / length


def trace(solid: Solid, view: ObjectCamera, lights: np.ndarray, rays: np.ndarray = OCCLUSION_RAYS) -> GBuffer:
    """Ray-cast a solid.

    Args:
        solid: from `solidify`.
        view: the camera.
        lights: (L, 4) object frame; xyz and kind: `DISTANT`, a unit direction towards the light, or `POINT`,
            a position.
        rays: (n, 3) unit vectors about +z that sample the occlusion, at least one.
    """
    h, w = view.height, view.width
    buffers = GBuffer.empty(h, w, len(lights))
    _trace(
        *solid, view.camera_to_object, w, h, view.focal_px, *view.center_px, view.orthographic, lights, rays,
        buffers.normal, buffers.position, buffers.mask, buffers.lit, buffers.openness, buffers.opening, buffers.part,
    )  # fmt: skip
    return buffers
