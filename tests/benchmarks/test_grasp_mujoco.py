"""The check in MuJoCo: a box is lifted where it can be, and its arithmetic by hand."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull

pytest.importorskip("mujoco", reason="needs the extra: pip install 'maquette[robot]'")

from maquette.geometry.field import SPHERE, sample_grid
from maquette.synth.builder import Builder
from maquette.synth.multiview.making import Placed
from maquette.synth.shapes import grid_mesh

SIDES_M = np.array([0.04, 0.06, 0.09])


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("grasp_mujoco")


@pytest.fixture(scope="module")
def block(bench):
    """A box of one convex piece; it is never drawn."""
    mesh = trimesh.creation.box(SIDES_M)
    corners, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    nothing = Placed(None, None, np.zeros(3), 1.0, SIDES_M)
    return bench.Target("block", 0, nothing, 0.15, corners, faces, [corners], float(SIDES_M.prod()), np.eye(4))


def pose(bench, position, closing, approach, opening=0.08):
    closing, approach = np.array(closing, dtype=float), np.array(approach, dtype=float)
    rotation = np.stack([closing, np.cross(approach, closing), approach], 1)
    return bench.Pose(np.array(position, dtype=float), rotation, opening)


def test_a_box_is_lifted_across_its_faces(bench, block):
    trial = bench.try_grasp(block, pose(bench, [0, 0, 0.02], [1, 0, 0], [0, 0, -1]))
    assert trial.outcome == "held"
    assert trial.moved_mm < 2 and trial.turned_deg < 5


def test_a_grasp_beside_the_box_lifts_nothing(bench, block):
    trial = bench.try_grasp(block, pose(bench, [0, 0.08, 0], [1, 0, 0], [0, 0, -1]))
    assert trial.outcome == "not held"


def test_a_finger_in_the_box_is_a_blocked_way_in(bench, block):
    assert bench.try_grasp(block, pose(bench, [0.03, 0, 0], [1, 0, 0], [0, 0, -1])).outcome == "way in blocked"
    through_the_palm = pose(bench, [0, 0, -0.03], [1, 0, 0], [0, 0, -1])
    assert bench.try_grasp(block, through_the_palm).outcome == "way in blocked"


def test_pieces_reach_the_surface_of_a_ball_and_no_further(bench):
    builder = Builder(np.random.default_rng(0))
    builder.add(SPHERE, (0.6,))
    grid = sample_grid(builder.build(), 49)
    vertices, _ = grid_mesh(grid)
    hulls = [ConvexHull(piece).equations for piece in bench.convex_pieces(grid, vertices)]
    directions = np.random.default_rng(1).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for radius, share in ((0.597, 1), (0.602, 0)):
        points = radius * directions
        held = [np.all(points @ planes[:, :3].T + planes[:, 3] < 1e-9, axis=1) for planes in hulls]
        assert np.any(held, axis=0).mean() == share


def test_an_oracle_grasp_lies_on_the_object_in_the_world(bench):
    """The camera's frame of the splat and the world of the trial say the same place."""
    target = bench.make_target("bottle", 0)
    found = bench.splat_grasp(target, bench.oracle_splat(target))
    points, _ = bench.surface_samples(target, 2000)
    local = (points - found.position) @ found.rotation
    between = local[np.all(np.abs(local[:, 1:]) < 0.008, axis=1), 0]
    assert between.min() < 0 < between.max()
    assert abs(between.min() + between.max()) < 0.006
    assert np.ptp(between) < found.opening < 0.0801


def test_the_centroid_of_a_box_off_the_middle(bench, block):
    moved = block._replace(vertices=block.vertices + [0.1, -0.2, 0.3])
    assert bench._centroid(moved) == pytest.approx([0.1, -0.2, 0.3])


def test_wilson_by_hand_and_the_flat_object(bench):
    assert bench.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert bench.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    held, lost = bench.Trial("held"), bench.Trial("not held")
    trials = {
        "mesh": [("cup", held), ("hammer", held)],
        "random": [("cup", held), ("hammer", lost)],
    }
    flat = bench.flat(trials, 1.0)
    assert flat["mesh: rate"] == 1 and flat["random: rate"] == 0.5
    assert flat["mesh over random"] == 2
    assert flat["random, held-out categories: rate"] == 0
    assert flat["random: not held"] == 1
    text = bench.table(trials, 1.0)
    assert "| hammer | 1/1 | 0/1 |" in text
    nothing = bench.flat({"random": [("cup", lost)]}, 1.0)
    assert nothing["random over random"] is None
