"""Depth to triangles: an open surface as the camera saw it, or a solid relief that can be printed.

A vertex is a pixel's centre. The normals of the vertices are those of the normal map, not of the triangles.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from maquette.catalogue import RELIEF_BASE_MM, RELIEF_WIDTH_MM
from maquette.errors import InputError
from maquette.geometry.camera import image_plane
from maquette.geometry.integrate import pixel_camera
from maquette.geometry.maps import depth_to_points
from maquette.types import Camera, Depth, Mesh, NormalMap

_PLATE_MARGIN = 0.03  # of the longer side, around islands
_SPECK = 1e-3  # of the largest piece: smaller ones are left out of a solid


def surface(depth: Depth, normal_map: NormalMap, camera: Camera | None = None) -> Mesh:
    """The open surface that the camera saw; its bounding box is centred, its longer side across the view is 1.

    Steps are bridged by steep triangles. A pixel that isn't part of a triangle is left out.

    Args:
        depth: from `maquette.geometry.integrate`.
        normal_map: what it was integrated from.
        camera: with which it was; without one, orthographic.

    Raises:
        InputError: no three pixels of the mask form a triangle.
    """
    camera = camera or pixel_camera(depth.mask.shape[1], depth.mask.shape[0])
    points = depth_to_points(depth.depth, camera).numpy()
    faces = _triangles(depth.mask.numpy(), points[..., 2])
    if len(faces) == 0:
        raise InputError("mesh: no three pixels of the mask form a triangle; a larger mask is needed")
    used, faces = np.unique(faces, return_inverse=True)
    vertices = points.reshape(-1, 3)[used]
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - (low + high) / 2) / float((high - low)[:2].max())
    normals = normal_map.normals.double().cpu().numpy().reshape(-1, 3)[used]
    uv = _places(*depth.mask.shape).reshape(-1, 2)[used]
    return _mesh(vertices, faces.reshape(-1, 3), _unit(normals), uv)


def solid(
    depth: Depth,
    normal_map: NormalMap,
    camera: Camera | None = None,
    size_mm: float = RELIEF_WIDTH_MM,
    depth_mm: float | None = None,
    base_mm: float = RELIEF_BASE_MM,
) -> Mesh:
    """A watertight relief: the surface above, walls around it, a flat back; in millimetres, the back at z = 0.

    It covers the squares between four pixels of the mask. If they are in one piece, its outline is theirs;
    islands stand on a rectangular plate, a little larger than all of them, each with its lowest point at the
    plate's level. Of two squares that touch in nothing but a corner one is left out, since the edge of their
    walls would belong to four faces, which no slicer takes. Pieces of less than a thousandth of the largest are
    left out. Across the view it is orthographic, whatever the camera was.

    Args:
        depth, normal_map, camera: as for `surface`.
        size_mm: width.
        depth_mm: from the lowest point of the relief to its highest, stretched or squeezed; None keeps the
            true proportions.
        base_mm: thickness under the lowest point.

    Raises:
        InputError: a size that isn't positive and finite, or a mask without four pixels in a square.
    """
    for name, value in (("size_mm", size_mm), ("depth_mm", depth_mm), ("base_mm", base_mm)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"mesh: {name} is {value}; a positive number of millimetres is needed")
    camera = camera or pixel_camera(depth.mask.shape[1], depth.mask.shape[0])
    mask = depth.mask.numpy()
    cells, count = _without_specks(_unpinched(_squares(mask)))
    heights, slopes, places = heights_px(depth, camera), _slopes(normal_map, camera), _places(*mask.shape)
    if count > 1:
        heights, slopes, places = _on_plate(cells, heights, slopes, places)
        cells = np.ones((heights.shape[0] - 1, heights.shape[1] - 1), bool)
    columns = np.flatnonzero(cells.any(0))
    pitch_mm = size_mm / (columns[-1] + 1 - columns[0])
    corners, top_faces, walls = _shell(cells, heights)
    height = heights.ravel()[corners]
    height = height - height.min()
    stretch = 1.0
    if depth_mm is not None and height.max() > 0:
        stretch = depth_mm / (float(height.max()) * pitch_mm)
    y, x = np.divmod(corners, heights.shape[1])
    top = np.stack([x, -y, height * stretch], 1) * pitch_mm
    top[:, 2] += base_mm
    bottom = top * (1, 1, 0)
    middle = (top[:, :2].min(0) + top[:, :2].max(0)) / 2
    vertices = np.concatenate([top, bottom])
    vertices[:, :2] -= middle
    up = _unit(slopes.reshape(-1, 3)[corners] / (1, 1, stretch))
    back = np.tile([0.0, 0.0, -1.0], (len(corners), 1))
    n = len(corners)
    first, second = walls.T
    faces = np.concatenate(
        [
            top_faces,
            top_faces[:, ::-1] + n,
            np.stack([second, first, first + n], 1),
            np.stack([second, first + n, second + n], 1),
        ]
    )
    uv = places.reshape(-1, 2)[corners]
    return _mesh(vertices, faces, np.concatenate([up, back]), np.concatenate([uv, uv]), unit_mm=1.0)


def heights_px(depth: Depth, camera: Camera | None = None) -> Float[np.ndarray, "height width"]:
    """Heights towards the viewer in pixels, each piece's lowest point at 0; zero outside the mask.

    A pinhole's depths are taken at the scale of a pixel at the piece's mean depth.
    """
    mask = depth.mask.numpy()
    labels = depth.piece.numpy() + 1
    values = -depth.depth.numpy()
    focal_px = 1.0 if camera is None else camera.focal_px
    index = np.arange(1, labels.max() + 1)
    if camera is not None and not camera.orthographic:
        means = np.asarray(ndimage.mean(-values, labels, index))
        focal_px = np.concatenate([[1.0], camera.focal_px / means])[labels]
    values = values * focal_px
    lowest = np.concatenate([[0.0], np.asarray(ndimage.minimum(values, labels, index))])
    return np.where(mask, values - lowest[labels], 0.0)


def _mesh(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray, unit_mm: float | None = None
) -> Mesh:
    return Mesh(
        torch.from_numpy(vertices),
        torch.from_numpy(faces),
        torch.from_numpy(normals),
        torch.from_numpy(uv),
        unit_mm=unit_mm,
    )


def _slopes(normal_map: NormalMap, camera: Camera) -> Float[np.ndarray, "height width 3"]:
    """Normals of the height field: a pinhole's facing in place of z; up outside the mask."""
    normals = normal_map.normals.double().cpu().numpy().copy()
    if not camera.orthographic:
        plane = image_plane(camera).double().cpu().numpy()
        normals[..., 2] -= (normals[..., :2] * plane).sum(-1)
    normals[~normal_map.mask.cpu().numpy()] = (0, 0, 1)
    return normals


def _places(height: int, width: int) -> Float[np.ndarray, "height width 2"]:
    """Texture coordinates of the centres of all pixels."""
    v, u = np.mgrid[:height, :width] + 0.5
    return np.stack([u / width, 1 - v / height], -1)


def _unpinched(cells: np.ndarray) -> Bool[np.ndarray, "rows columns"]:
    """The squares without the lower one of each two that touch in nothing but a corner."""
    cells = cells.copy()
    while True:
        nw, ne, sw, se = cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]
        falling, rising = nw & se & ~ne & ~sw, ne & sw & ~nw & ~se
        if not (falling.any() or rising.any()):
            return cells
        cells[1:, 1:] &= ~falling
        cells[1:, :-1] &= ~rising


def _without_specks(cells: np.ndarray) -> tuple[np.ndarray, int]:
    """The squares of all pieces but the smallest, and how many pieces those are."""
    labels, count = ndimage.label(cells)  # pyright: ignore[reportGeneralTypeIssues]
    if count == 0:
        raise InputError("mesh: no four pixels of the mask form a square; a larger mask is needed")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = sizes >= _SPECK * sizes.max()
    kept[0] = False
    return kept[labels], int(kept.sum())


def _on_plate(cells: np.ndarray, heights: np.ndarray, slopes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, ...]:
    """Heights, slopes and places of the rectangle around the squares, with a margin, level where there is none."""
    mask = np.zeros(heights.shape, bool)
    for down in (0, 1):
        for right in (0, 1):
            mask[down : down + cells.shape[0], right : right + cells.shape[1]] |= cells
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    margin = max(2, round(_PLATE_MARGIN * max(np.ptp(rows), np.ptp(columns))))
    around = ((margin, margin), (margin, margin))
    level = np.where(mask[..., None], slopes, (0.0, 0.0, 1.0))[box]
    slopes = np.stack([np.pad(level[..., k], around, constant_values=float(k == 2)) for k in range(3)], -1)
    places = np.pad(places[box], (*around, (0, 0)), mode="edge")
    return np.pad(np.where(mask, heights, 0)[box], around), slopes, places


def _squares(mask: np.ndarray) -> Bool[np.ndarray, "rows columns"]:
    """True where the pixel and those to its right, below and below right are in the mask; one smaller."""
    return mask[:-1, :-1] & mask[:-1, 1:] & mask[1:, :-1] & mask[1:, 1:]


def _triangles(mask: np.ndarray, z: np.ndarray) -> Int[np.ndarray, "faces 3"]:
    """Two triangles between four pixels of the mask, split where the surface bends less; one between three."""
    index = np.arange(mask.size).reshape(mask.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    has_a, has_b, has_c, has_d = (mask.ravel()[corner] for corner in (a, b, c, d))
    flat = z.ravel()
    falling = np.abs(flat[a] - flat[d]) <= np.abs(flat[b] - flat[c])
    full = has_a & has_b & has_c & has_d
    cases = (
        (full & falling, (a, c, d)),
        (full & falling, (a, d, b)),
        (full & ~falling, (a, c, b)),
        (full & ~falling, (b, c, d)),
        (has_a & has_c & has_d & ~has_b, (a, c, d)),
        (has_a & has_b & has_d & ~has_c, (a, d, b)),
        (has_a & has_b & has_c & ~has_d, (a, c, b)),
        (has_b & has_c & has_d & ~has_a, (b, c, d)),
    )
    return np.concatenate([np.stack([corner[where] for corner in three], 1) for where, three in cases])


def _shell(cells: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The upper side of the squares, and its rim.

    Returns:
        The pixel of every vertex, the faces, and the edges of the rim in the direction in which the faces
        have them.
    """
    padded = np.pad(cells, 1)
    used = padded[:-1, :-1] | padded[:-1, 1:] | padded[1:, :-1] | padded[1:, 1:]
    index = np.cumsum(used).reshape(used.shape) - 1
    corners = np.flatnonzero(used)
    a, b = index[:-1, :-1][cells], index[:-1, 1:][cells]
    c, d = index[1:, :-1][cells], index[1:, 1:][cells]
    z = heights.ravel()[corners]
    falling = (np.abs(z[a] - z[d]) <= np.abs(z[b] - z[c]))[:, None]
    one = np.where(falling, np.stack([a, c, d], 1), np.stack([a, c, b], 1))
    two = np.where(falling, np.stack([a, d, b], 1), np.stack([b, c, d], 1))
    inner = padded[1:-1, 1:-1]
    sides = (
        (padded[1:-1, :-2], a, c),
        (padded[2:, 1:-1], c, d),
        (padded[1:-1, 2:], d, b),
        (padded[:-2, 1:-1], b, a),
    )
    walls = [np.stack([start, end], 1)[~neighbour[inner]] for neighbour, start, end in sides]
    return corners, np.concatenate([one, two]), np.concatenate(walls)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
