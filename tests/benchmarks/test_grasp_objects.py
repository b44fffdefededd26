"""Objects that grasps are tried on: their convex pieces."""

import numpy as np
from grasp_objects import convex_pieces
from scipy.spatial import ConvexHull

from maquette.geometry.field import SPHERE, sample_grid
from maquette.synth.solids.builder import Builder
from maquette.synth.solids.shapes import grid_mesh


def test_pieces_reach_the_surface_of_a_ball_and_no_further():
    builder = Builder(np.random.default_rng(0))
    builder.add(SPHERE, (0.6,))
    grid = sample_grid(builder.build(), 49)
    vertices, _ = grid_mesh(grid)
    hulls = [ConvexHull(piece).equations for piece in convex_pieces(grid, vertices)]
    directions = np.random.default_rng(1).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for radius, share in ((0.597, 1), (0.602, 0)):
        points = radius * directions
        held = [np.all(points @ planes[:, :3].T + planes[:, 3] < 1e-9, axis=1) for planes in hulls]
        assert np.any(held, axis=0).mean() == share
