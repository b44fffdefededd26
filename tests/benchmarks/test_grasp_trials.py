"""A grasp tried in MuJoCo: a box is lifted where it can be."""

import numpy as np
import pytest
import trimesh

pytest.importorskip("mujoco", reason="needs the extra: pip install 'maquette[robot]'")

from grasp_objects import Target, centroid
from grasp_trials import Pose, try_grasp

from maquette.synth.datasets.multiview.making import Placed

SIDES_M = np.array([0.04, 0.06, 0.09])


@pytest.fixture(scope="module")
def block():
    """A box of one convex piece; it is never drawn."""
    mesh = trimesh.creation.box(SIDES_M)
    corners, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    nothing = Placed(None, None, np.zeros(3), 1.0, SIDES_M)
    return Target("block", 0, nothing, 0.15, corners, faces, [corners], float(SIDES_M.prod()), np.eye(4))


def pose(position, closing, approach, opening=0.08):
    closing, approach = np.array(closing, dtype=float), np.array(approach, dtype=float)
    rotation = np.stack([closing, np.cross(approach, closing), approach], 1)
    return Pose(np.array(position, dtype=float), rotation, opening)


def test_a_box_is_lifted_across_its_faces(block):
    trial = try_grasp(block, pose([0, 0, 0.02], [1, 0, 0], [0, 0, -1]))
    assert trial.outcome == "held"
    assert trial.moved_mm < 2 and trial.turned_deg < 5


def test_a_grasp_beside_the_box_lifts_nothing(block):
    trial = try_grasp(block, pose([0, 0.08, 0], [1, 0, 0], [0, 0, -1]))
    assert trial.outcome == "not held"


def test_a_finger_in_the_box_is_a_blocked_way_in(block):
    assert try_grasp(block, pose([0.03, 0, 0], [1, 0, 0], [0, 0, -1])).outcome == "way in blocked"
    through_the_palm = pose([0, 0, -0.03], [1, 0, 0], [0, 0, -1])
    assert try_grasp(block, through_the_palm).outcome == "way in blocked"


def test_the_centroid_of_a_box_off_the_middle(block):
    moved = block._replace(vertices=block.vertices + [0.1, -0.2, 0.3])
    assert centroid(moved) == pytest.approx([0.1, -0.2, 0.3])
