"""The benchmark of grasps: its frames and its arithmetic by hand."""

import numpy as np
import pytest
from grasp_trials import Trial


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("grasp_mujoco")


def test_an_oracle_grasp_lies_on_the_object_in_the_world(bench):
    """The camera's frame of the splat and the world of the trial say the same place."""
    target = bench.make_target("bottle", 0)
    found = bench.splat_grasp(target, bench.oracle_splat(target), draws=400)
    points, _ = bench.surface_samples(target, 2000)
    local = (points - found.position) @ found.rotation
    between = local[np.all(np.abs(local[:, 1:]) < 0.008, axis=1), 0]
    assert between.min() < 0 < between.max()
    assert abs(between.min() + between.max()) < 0.006
    assert np.ptp(between) < found.opening < 0.0801


def test_wilson_by_hand_and_the_flat_object(bench):
    assert bench.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert bench.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    held, lost = Trial("held"), Trial("not held")
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
