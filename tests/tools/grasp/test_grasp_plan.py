"""Grasps of bodies whose answers are known, and a gripper that never stands in them."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from grasp_discs import ball, box, cup, cylinder, discs, egg, joined, turned

from maquette.errors import InputError
from maquette.geometry.rotation import quaternion_to_matrix
from maquette.tools.grasp.gripper import Gripper, usual_gripper, with_fingers
from maquette.tools.grasp.pairs import antipodal_pairs
from maquette.tools.grasp.plan import PARTS, WEIGHTS, find_grasps
from maquette.tools.grasp.surface import GraspSurface, surface_of_gaussians, surface_of_points

pytestmark = pytest.mark.usefixtures("one_thread")
GRIPPER = Gripper(80.0)
UNIT_MM = 100.0


def splat_surface(points: np.ndarray, normals: np.ndarray) -> GraspSurface:
    return surface_of_gaussians(discs(points, normals, 0.03))


@cache
def box_surface() -> GraspSurface:
    return splat_surface(*box((0.4, 0.6, 0.9)))


@cache
def ball_surface() -> GraspSurface:
    return splat_surface(*ball(0.3))


def off_line(grasp, place: np.ndarray) -> float:
    """How far a place is from the closing axis."""
    return float(np.linalg.norm(np.cross(place - grasp.position, grasp.closing)))


def test_a_box_is_held_across_its_faces():
    plan = find_grasps(box_surface(), GRIPPER, UNIT_MM, draws=400)
    for grasp in plan.grasps:
        axis = int(np.abs(grasp.closing).argmax())
        assert axis in (0, 1)  # along z it is 90 mm, more than the gripper opens
        if grasp.parts["margin"] > 0.999:
            assert abs(grasp.closing[axis]) == pytest.approx(1, abs=1e-6)
            assert grasp.width == pytest.approx((0.4, 0.6)[axis], abs=1e-3)
            assert np.abs(grasp.normals) == pytest.approx(np.abs(np.stack([grasp.closing] * 2)), abs=1e-3)
    best = plan.grasps[0]
    assert best.parts["margin"] == pytest.approx(1, abs=1e-3)
    assert best.width == pytest.approx(0.4, abs=1e-3)
    assert off_line(best, np.zeros(3)) < 0.1
    # The opened pads are (0.8 - 0.4) / 2 from the faces; the palm is 0.45 behind the middle of the pads.
    assert best.opening == pytest.approx(0.8)
    depth = (box((0.4, 0.6, 0.9))[0] - best.position) @ best.approach
    assert best.gap == pytest.approx(min(0.2, 0.45 + depth.min()), abs=2e-3)
    assert best.parts["room"] == pytest.approx(1 - 0.4 / 0.76, abs=2e-3)


def test_a_ball_is_held_through_its_middle():
    plan = find_grasps(ball_surface(), GRIPPER, UNIT_MM, draws=300)
    assert len(plan.grasps) == 10
    for grasp in plan.grasps:
        assert off_line(grasp, np.zeros(3)) < 0.3 * math.sin(math.atan(0.5)) + 0.02
    for grasp in plan.grasps[:3]:
        assert grasp.width == pytest.approx(0.6, rel=0.02)
        assert off_line(grasp, np.zeros(3)) < 0.05
        assert max(grasp.angles_rad) < math.radians(4)


def test_a_cylinder_is_held_across():
    plan = find_grasps(splat_surface(*cylinder(0.2, 1.0)), GRIPPER, UNIT_MM, draws=300)
    assert plan.grasps
    for grasp in plan.grasps:
        assert abs(grasp.closing[1]) < math.sin(math.atan(0.5)) + 1e-3
    best = plan.grasps[0]
    assert best.width == pytest.approx(0.4, rel=0.02)
    assert abs(best.closing[1]) < 0.05
    away = abs(np.cross(best.closing, [0, 1.0, 0]) @ best.position)
    assert away < 0.02


def test_a_cup_too_wide_is_held_by_its_wall():
    surface = splat_surface(*cup(0.5, 0.6, 0.06))
    plan = find_grasps(surface, GRIPPER, UNIT_MM, draws=600)
    assert plan.rejected["too wide"] > 0
    walls = [grasp for grasp in plan.grasps if abs(grasp.closing[1]) < 0.3]
    assert walls
    for grasp in walls:
        assert grasp.width == pytest.approx(0.06, rel=0.25)
        assert grasp.approach[1] < 0  # from above, one finger inside


def test_what_is_too_wide_is_not_held_and_the_reasons_say_so():
    plan = find_grasps(splat_surface(*box((0.9, 1.0, 1.1))), GRIPPER, UNIT_MM, draws=300)
    assert plan.grasps == () and plan.fitting == 0
    assert plan.rejected["too wide"] > 250
    assert plan.rejected["fingers meet the object"] == plan.rejected["palm meets the object"] == 0


@pytest.mark.parametrize("slope_deg", [10.0, 25.0, 40.0])
def test_friction_decides_at_the_very_angle_of_a_wedge(slope_deg):
    """Two planes that lean by b from each other's parallel: max(theta_1, theta_2) >= b, with equality in the middle."""
    slope = math.radians(slope_deg)
    u, v = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-1, 1, 25)))
    points, normals = [], []
    for side in (-1, 1):
        points.append(np.stack([side * (1.5 - u * math.tan(slope)), u, v], 1))
        normals.append(np.tile([side * math.cos(slope), math.sin(slope), 0], (len(u), 1)))
    surface = surface_of_points(np.concatenate(points), np.concatenate(normals))
    below = antipodal_pairs(surface, 0.98 * math.tan(slope), 0.01, 10.0, 1500)
    above = antipodal_pairs(surface, 1.1 * math.tan(slope), 0.01, 10.0, 1500)
    assert len(below.widths) == 0
    assert below.rejected["outside the friction cone"] > 0
    assert len(above.widths) > 0
    assert above.angles_rad.max() <= math.atan(1.1 * math.tan(slope))
    assert (above.angles_rad.sum(1) >= 2 * slope - 1e-6).all()
    assert above.angles_rad.sum(1).min() == pytest.approx(2 * slope, abs=0.01)


def test_the_gripper_stands_in_nothing():
    """By a loop over boxes in the gripper's frame: at the grasp and on all of the way in."""
    points, normals = joined(box((0.3, 0.3, 0.9)), cup(0.3, 0.5, 0.06))
    surface = surface_of_points(points + [[0.0, 0, 0]], normals)
    plan = find_grasps(surface, GRIPPER, UNIT_MM, draws=500, count=60)
    assert len(plan.grasps) > 10
    assert plan.rejected["fingers meet the object"] > 0
    assert plan.rejected["palm meets the object"] > 0
    for grasp in plan.grasps:
        local = (points - grasp.position) @ grasp.rotation
        away, y, z = np.abs(local[:, 0]) * UNIT_MM, np.abs(local[:, 1]) * UNIT_MM, local[:, 2] * UNIT_MM
        half = grasp.opening * UNIT_MM / 2
        in_finger = (away > half - 2) & (away < half + 12) & (y < 12) & (z < 12)
        in_palm = (away < 52) & (y < 32) & (z < -43)
        assert not in_finger.any()
        assert not in_palm.any()
        assert grasp.gap * UNIT_MM + 1e-9 >= 2
        assert grasp.opening <= 0.8 + 1e-9
        assert np.linalg.det(grasp.rotation) == pytest.approx(1)
        assert np.abs(grasp.rotation.T @ grasp.rotation - np.eye(3)).max() < 1e-9
        assert grasp.score == pytest.approx(sum(WEIGHTS[name] * grasp.parts[name] for name in PARTS), abs=1e-4)
        assert all(0 <= value <= 1 for value in grasp.parts.values())
    scores = [grasp.score for grasp in plan.grasps]
    assert scores == sorted(scores, reverse=True)


def test_a_turned_splat_has_turned_grasps():
    gaussians = discs(*egg(), 0.03)
    turn = torch.nn.functional.normalize(torch.tensor([0.8, -0.3, 0.45, 0.2]), dim=0)
    matrix = quaternion_to_matrix(turn.double()).numpy()
    plain, other = (
        find_grasps(surface_of_gaussians(splat), GRIPPER, UNIT_MM, draws=400)
        for splat in (gaussians, turned(gaussians, turn))
    )
    assert len(plain.grasps) == len(other.grasps) == 10
    for before, after in zip(plain.grasps, other.grasps, strict=True):
        assert after.position == pytest.approx(matrix @ before.position, abs=1e-4)
        assert after.rotation == pytest.approx(matrix @ before.rotation, abs=1e-4)
        assert after.score == pytest.approx(before.score, abs=1.1e-4)


def test_the_size_matters_only_by_the_unit_and_the_seed_repeats():
    points, normals = box((0.4, 0.6, 0.9))
    small = find_grasps(surface_of_points(points, normals), GRIPPER, UNIT_MM, draws=300, seed=4)
    again = find_grasps(surface_of_points(points, normals), GRIPPER, UNIT_MM, draws=300, seed=4)
    large = find_grasps(surface_of_points(points * 8, normals), GRIPPER, UNIT_MM / 8, draws=300, seed=4)
    for one, same, other in zip(small.grasps, again.grasps, large.grasps, strict=True):
        assert np.array_equal(one.position, same.position) and one.score == same.score
        assert other.position == pytest.approx(8 * one.position, abs=1e-9)
        assert other.score == pytest.approx(one.score)


def test_grasps_are_distinct_and_at_most_as_many_as_asked():
    plan = find_grasps(box_surface(), GRIPPER, UNIT_MM, draws=300, count=4)
    assert len(plan.grasps) == 4 < plan.fitting
    for number, one in enumerate(plan.grasps):
        for other in plan.grasps[:number]:
            apart = np.linalg.norm(one.position - other.position) > 0.05
            assert apart or abs(one.closing @ other.closing) < 0.8 or one.approach @ other.approach < 0.8


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gripper(0.0),
        lambda: Gripper(80.0, finger_width_mm=-1.0),
        lambda: Gripper(float("nan")),
        lambda: Gripper(5.0),
        lambda: with_fingers(Gripper(80.0), 20.0, 10.0, 5.0),
        lambda: find_grasps(ball_surface(), GRIPPER, 0.0),
        lambda: find_grasps(ball_surface(), GRIPPER, 1.0, friction=0.0),
        lambda: find_grasps(ball_surface(), GRIPPER, 1.0, count=0),
    ],
)
def test_numbers_out_of_range(make):
    with pytest.raises(InputError):
        make()


def test_the_usual_gripper_keeps_its_proportions():
    assert usual_gripper(80.0) == Gripper(80.0)
    half = usual_gripper(40.0)
    assert (half.finger_width_mm, half.finger_length_mm, half.palm_width_mm) == (10.0, 22.5, 30.0)
    assert half.widest_mm == 38.0


def test_averages_mend_noisy_normals():
    points, normals = egg()
    noise = np.random.default_rng(0).normal(0, math.radians(15), (len(points), 3))
    noisy = normals + noise - normals * (noise * normals).sum(1, keepdims=True)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    pairs = antipodal_pairs(splat_surface(points, noisy), 0.7, 0.02, 2.0, 300)
    nearest = np.linalg.norm(pairs.contacts[:, :, None] - points, axis=-1).argmin(-1)
    single = np.degrees(np.arccos(np.clip((noisy * normals).sum(1), -1, 1)))
    averaged = np.degrees(np.arccos(np.clip((pairs.normals * normals[nearest]).sum(-1), -1, 1)))
    assert len(pairs.widths) > 100
    assert single.mean() > 15
    assert averaged.mean() < 0.5 * single.mean()
