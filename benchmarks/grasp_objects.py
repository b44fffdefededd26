"""Objects that grasps are tried on: procedural ones in a world of metres, as convex pieces, and their perfect splats.

An object is what `maquette dataset views` draws of a category, scaled to a box of OBJECT_MM diagonal. For physics it is
a union of convex hulls, one for each block of BLOCK^3 cells of its distance grid that the surface passes through.
"""

import math
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError

from maquette.geometry.field import gradient
from maquette.geometry.rotation import facing_rotation
from maquette.render.gbuffer import Solid
from maquette.synth.datasets.multiview.cameras import (
    CONDITION_VIEW,
    RADIUS,
    SPIRAL_VIEWS,
    look_at_origin,
    spiral_places,
)
from maquette.synth.datasets.multiview.making import TO_WORLD, Placed, place_thing
from maquette.synth.solids.categories import sample_thing
from maquette.synth.solids.parts import Thing
from maquette.synth.solids.shapes import grid_mesh
from maquette.types import Gaussians

OBJECT_MM = 150.0
BLOCK = 6  # cells along the side of a convex piece
SPLAT_POINTS = 2000


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


def centroid(target: Target) -> np.ndarray:
    """Of the volume: tetrahedra from the origin to every triangle."""
    corners = target.vertices[target.faces].astype(float)
    parts = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return (parts[:, None] * corners.mean(1) * 0.75).sum(0) / parts.sum()
