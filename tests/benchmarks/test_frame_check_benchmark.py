"""The benchmark's arithmetic by hand, and what it finds on a few maps of its own."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("frame_check")


def test_shares_and_calibration_by_hand(benchmark):
    answers = [
        benchmark.Answer("object", 0, 0, 0.95, {"silhouette": 0.5, "visibility": 0.25}),
        benchmark.Answer("object", 2, 2, 0.65, {"silhouette": 0.5, "visibility": 0.25}),
        benchmark.Answer("object", 4, 0, 0.95, {"silhouette": 0.0, "visibility": 0.25}),
        benchmark.Answer("object", 9, 30, 0.45, {"visibility": 0.25}),
    ]
    flat = benchmark.ratios(answers)
    best_cue = (0.5 + 0.5 + 0 + 1 / 48) / 4
    assert flat["object_right_over_best_cue"] == pytest.approx(0.5 / best_cue)
    assert flat["object_certainty_over_right"] == pytest.approx(0.75 / 0.5)
    assert flat["object_told"] == 0.5
    assert flat["crop_right_over_best_cue"] is None
    table = benchmark.table(answers)
    assert "| object | 4 | 0.500 | 0.750 | 0.500 | 0.500 | 0.250 |" in table
    assert "| 0.90 to 0.99 | 2 | 0.950 | 0.500 |" in table
    assert "| -x +y +z dsine | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in table
    assert "| exchanged  | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 |" in table


def test_noise_has_the_variance_it_says_and_windows_are_where_they_should_be(benchmark):
    rng = np.random.default_rng(0)
    noise = np.stack([benchmark.smooth_noise(rng, (48, 40)) for _ in range(30)])
    assert noise.shape == (30, 48, 40, 3)
    assert noise.var() == pytest.approx(1, abs=0.05)
    mask = np.zeros((128, 128), bool)
    mask[30:100, 50:110] = True
    assert mask[benchmark.inner_window(mask)].all()
    assert 1 / 3 < mask[benchmark.edge_window(rng, mask)].mean() < 0.95
    assert benchmark.inner_window(mask & False) is None
    assert benchmark.edge_window(rng, mask & False) is None


def test_of_our_own_renders_what_is_told_is_true(benchmark):
    """Three shapes in random frames, with the error of a network on two maps of three: no confusion among the told."""
    answers = benchmark.measure(3, seed=3)
    told = [answer for answer in answers if answer.certainty >= benchmark.CAN_TELL]
    assert {answer.kind for answer in answers} >= {"object", "photo", "relief"}
    assert len(told) >= 5
    assert all(answer.said == answer.truth for answer in told)
    assert not [answer for answer in told if answer.kind in ("crop", "relief")]
