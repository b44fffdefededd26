"""The benchmark of splat files: its arithmetic by hand, and a run on a handful of Gaussians."""

from dataclasses import replace

import pytest
import torch


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("splat_files")


def test_losses_by_hand(bench):
    made = replace(bench.sample(1), rotation=torch.tensor([[1.0, 0, 0, 0]]))
    turned = torch.tensor([[0.5**0.5, 0.5**0.5, 0, 0]])
    back = replace(made, mean=made.mean + torch.tensor([3.0, 0, 4.0]), scale=made.scale / 2, rotation=-turned)
    found = bench.losses(back, made)
    assert float(found["mean"]) == pytest.approx(5, rel=1e-5)
    assert float(found["scale_factor"]) == pytest.approx(2, rel=1e-5)
    assert float(found["rotation_deg"]) == pytest.approx(90, rel=1e-5)
    assert float(found["opacity"]) == float(found["color"]) == 0


def test_a_run(bench, tmp_path):
    found = {case: bench.measure(case, bench.sample(50), tmp_path) for case in ("ply", "spz3", "glb")}
    named = bench.flat(found)
    assert named["ply_size_ratio"] == 1
    assert named["spz3_size_ratio"] < 0.6
    assert named["ply_color_worst"] < 1e-5 < named["spz3_color_worst"] < 0.05
    assert named["glb_size_ratio"] == pytest.approx(found["glb"]["bytes"] / found["ply"]["bytes"], abs=1e-4)
    assert "| glb |" in bench.table(found)
