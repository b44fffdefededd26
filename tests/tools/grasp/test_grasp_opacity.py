"""The joint opacity of Gaussians: by a loop, by differences, and where one alone ends."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from maquette.tools.grasp.opacity import ends_of, field_of, joint_opacity


def random_field(count: int, seed: int):
    random = np.random.default_rng(seed)
    mean = random.uniform(-0.5, 0.5, (count, 3))
    turn = Rotation.random(count, random_state=seed).as_matrix()
    scale = random.uniform(0.05, 0.3, (count, 3))
    opacity = random.uniform(0.05, 0.9, count)
    return (mean, turn, scale, opacity), field_of(mean, turn, scale, opacity)


def loop(kinds, place: np.ndarray) -> float:
    clear = 1.0
    for mean, turn, scale, opacity in zip(*kinds, strict=True):
        inverse = turn @ np.diag(1 / scale**2) @ turn.T
        clear *= 1 - opacity * np.exp(-(place - mean) @ inverse @ (place - mean) / 2)
    return 1 - clear


def test_joint_opacity_is_the_product_of_what_all_let_through():
    kinds, field = random_field(12, 0)
    places = np.random.default_rng(1).uniform(-0.6, 0.6, (40, 3))
    # Beyond three standard deviations a Gaussian isn't asked.
    assert joint_opacity(field, places) == pytest.approx([loop(kinds, place) for place in places], abs=0.02)
    assert joint_opacity(field, np.full((1, 3), 9.0)) == 0


def test_chunks_change_nothing(monkeypatch):
    _, field = random_field(30, 2)
    places = np.random.default_rng(3).uniform(-0.5, 0.5, (50, 3))
    directions = np.tile([0, 0.6, 0.8], (50, 1))
    whole = joint_opacity(field, places), ends_of(field, places, directions, np.ones(50), 0.5)
    monkeypatch.setattr("maquette.tools.grasp.opacity._CHUNK", 150)  # three Gaussians
    parts = joint_opacity(field, places), ends_of(field, places, directions, np.ones(50), 0.5)
    assert parts[0] == pytest.approx(whole[0])
    for one, other in zip(parts[1], whole[1], strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize("opacity", [0.6, 0.99])
def test_one_gaussian_ends_where_its_own_opacity_is_a_half(opacity):
    turn = Rotation.from_euler("xyz", [0.3, -0.8, 1.1]).as_matrix()
    scale = np.array([0.3, 0.05, 0.1])
    field = field_of(np.zeros((1, 3)), turn[None], scale[None], np.array([opacity]))
    ends = ends_of(field, np.zeros((3, 3)), turn.T, 4 * scale, 0.5)
    assert ends.leaves.all()
    assert ends.depth == pytest.approx(scale * np.sqrt(2 * np.log(2 * opacity)), rel=0.02)
    assert ends.fall / np.linalg.norm(ends.fall, axis=1, keepdims=True) == pytest.approx(turn.T, abs=1e-6)


def test_lines_end_at_the_level_and_fall_is_the_slope_of_the_optical_depth():
    kinds, field = random_field(12, 4)
    starts = kinds[0]
    directions = Rotation.random(12, random_state=5).as_matrix()[:, 0]
    ends = ends_of(field, starts, directions, np.full(12, 1.2), 0.4)
    places = starts + ends.depth[:, None] * directions
    assert ends.leaves.sum() > 5
    assert joint_opacity(field, places)[ends.leaves] == pytest.approx(0.4, abs=0.02)
    assert (joint_opacity(field, starts)[~ends.leaves] < 0.4).all()
    step = 1e-5
    for place, fall in zip(places[ends.leaves], ends.fall[ends.leaves], strict=True):
        slope = [
            (np.log1p(-loop(kinds, place + step * axis)) - np.log1p(-loop(kinds, place - step * axis))) / (2 * step)
            for axis in np.eye(3)
        ]
        assert np.linalg.norm(fall - slope) < 0.05 * np.linalg.norm(slope) + 0.1


def test_two_faint_ones_make_a_body_that_neither_makes():
    one = (np.zeros((1, 3)), np.eye(3)[None], np.full((1, 3), 0.1), np.array([0.4]))
    two = tuple(np.concatenate([part, part]) for part in one)
    way = (np.zeros((1, 3)), np.array([[0.0, 0, 1]]), np.array([0.4]), 0.5)
    assert not ends_of(field_of(*one), *way).leaves
    both = ends_of(field_of(*two), *way)
    # 1 - (1 - w)^2 = 1/2
    assert both.depth == pytest.approx(0.1 * np.sqrt(2 * np.log(0.4 / (1 - np.sqrt(0.5)))), rel=0.02)
