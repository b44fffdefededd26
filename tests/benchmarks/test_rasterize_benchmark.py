"""The benchmark of the rasterizer: its arithmetic by hand, and a run on a handful of Gaussians."""

import json
from math import log, pi

import pytest
import torch

from maquette.types import Camera, Gaussians


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("rasterize")


def row(forward, both, mib=None):
    return {"forward": forward, "both": both, "forward_limit": 0.5, "both_limit": 2.0, "mib": mib}


def test_ratios_by_hand_and_null_for_what_did_not_run(bench):
    found = {
        ("numba", 50_000, 512): row(1.0, 4.0, 30.0), ("torch", 50_000, 512): row(8.0, 100.0, 120.0),
        ("numba", 200_000, 1024): row(3.0, 5.0, 90.0), ("torch", 200_000, 1024): row(None, None),
    }  # fmt: skip
    fits = {"numba": bench.fit([1_000_000, 2_000_000, 3_000_000], [0.003, 0.005, 0.007])}
    flat = bench.flat(found, fits)
    assert flat["speedup_vs_torch_tiles"] == flat["numba_50000_512_both_speedup"] == 25
    assert flat["numba_50000_512_forward_speedup"] == 8
    assert flat["numba_50000_512_both_bandwidth"] == 2
    assert flat["numba_50000_512_memory"] == 0.25
    assert flat["numba_200000_1024_both_speedup"] is None
    assert flat["numba_200000_1024_forward_bandwidth"] == 6
    assert flat["numba_pixel_ns"] == pytest.approx(2)
    assert fits["numba"]["start_ms"] == pytest.approx(1)
    assert flat["numba_linearity"] == pytest.approx(1)
    table = bench.table(found, fits, 12e9)
    assert "| 50000 | 512 | numba | 1000.0 | 4000.0 | 8.0 | 25.0 | 2.0 | 30 |" in table
    assert "| 200000 | 1024 | torch | - | - | - | - | - | - |" in table
    assert "| numba | 2.000 | 1.0 | 1.0000 |" in table


def test_bytes_that_have_to_move_by_hand(bench):
    """One Gaussian in one tile, on one pixel: 14 + 18 + 14 + 10 numbers there, 18 + 42 + 64 more on the way back."""
    assert bench.moved_bytes(1, 1, 1) == (4 * 56, 4 * (56 + 124))


def test_what_a_ball_reaches_by_hand(bench):
    """A round Gaussian in the middle of three by three tiles reaches all of them."""
    side, focal = 48, 40.0
    pose = torch.eye(4)
    pose[2, 3] = 4
    view = Camera(side, side, focal, (24.0, 24.0), pose)
    ball = Gaussians(
        torch.zeros(1, 3), torch.full((1, 3), 0.3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1), torch.zeros(1, 1, 3)
    )
    variance = (0.3 * focal / 4) ** 2 + 0.3
    squared = 2 * log(255) * variance
    assert squared**0.5 > 8
    assert bench.reach(ball, view) == (9, int(pi * squared))


def test_the_scene_is_what_the_page_says(bench):
    made = bench.scene(2_000, "cpu", like=50_000)
    view = bench.camera(512, "cpu")
    _, touched = bench.reach(made, view)
    assert 6.5 < (touched / 2_000 / pi) ** 0.5 < 10  # the root mean square radius in pixels
    out = bench.rasterize(bench.scene(2_000, "cpu"), bench.camera(64, "cpu"), backend="torch")
    rows = torch.nonzero((out.alpha > 0.5).any(1)).squeeze(1)
    assert 0.7 < (rows[-1] - rows[0] + 1) / 64 < 0.9


def test_json_is_one_flat_object_of_a_quick_run(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK", [(200, 32)])
    monkeypatch.setattr(bench, "PARTS", (50, 100, 200))
    monkeypatch.setattr(bench, "PARTS_SIZE", 48)
    monkeypatch.setattr(bench, "PASSES", 2)
    monkeypatch.setattr(bench, "COPY_BYTES", 2**20)
    threads = torch.get_num_threads()
    assert bench.main(["--quick", "--json"]) == 0
    torch.set_num_threads(threads)
    said = json.loads(capsys.readouterr().out)
    assert said["numba_200_32_both_speedup"] > 1
    assert said["numba_200_32_both_bandwidth"] > 1
    assert said["numba_pixel_ns"] is not None
    assert said["speedup_vs_torch_tiles"] is None  # the headline's case wasn't measured
