"""RoSE's ablation: its measure of surfaces, and its numbers by name."""

import pytest
import torch

from maquette.geometry.vectors import unit
from maquette.synth.looks.photo import Surfaces
from maquette.types import Camera

SIDE = 16
CAMERA = Camera(SIDE, SIDE, SIDE / 2.0, (SIDE / 2, SIDE / 2), torch.eye(4), orthographic=True)


def slope(rise: float) -> Surfaces:
    """A plane two units wide that rises by `rise` a unit to the right, seen in parallel."""
    y, x = torch.meshgrid(*[(torch.arange(SIDE) + 0.5) / SIDE * 2 - 1] * 2, indexing="ij")
    normal = unit(torch.tensor([-rise, 0.0, 1.0])).reshape(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    position = torch.stack([x, -y, rise * x - 4])[None]
    one = torch.ones(1, 1, SIDE, SIDE)
    return Surfaces(normal, position, position, normal, one, one, one, torch.zeros(1, 1, 4), normal, one)


def test_true_normals_make_the_true_surface(load_benchmark):
    surfaces = slope(0.5)
    assert load_benchmark("rose_ablation").surface_error(surfaces.normal, surfaces, CAMERA) < 1e-3


def test_a_slope_taken_for_a_wall_is_off_by_its_own_spread(load_benchmark):
    surfaces = slope(0.5)
    error = load_benchmark("rose_ablation").surface_error(slope(0.0).normal, surfaces, CAMERA)
    depth = surfaces.position[0, 2]
    width = float(surfaces.position[0, 0].max() - surfaces.position[0, 0].min())
    assert error == pytest.approx(100 * float(depth.std(correction=0)) / width, rel=1e-3)


def test_errors_are_told_relative_to_the_whole_method(load_benchmark):
    benchmark = load_benchmark("rose_ablation")
    scores = {"shading": {"1_robust_deg": [20.0, 30.0]}, "no tokens": {"1_robust_deg": [30.0, 45.0]}}
    assert benchmark.ratios(scores) == {"shading_degrees": 1.0, "no tokens_degrees": 1.5}
    assert "+12.50 ± 2.50" in benchmark.table(scores)
