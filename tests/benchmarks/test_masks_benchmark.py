"""The benchmark of masks: its arithmetic by hand, and composites whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from maquette.io.images import read_photo, write_png8
from maquette.types import Photo


@pytest.fixture(scope="module")
def bench(load_benchmark):
    return load_benchmark("masks")


@pytest.fixture
def files(tmp_path):
    """A red square with a soft edge on its left, 40x40 in 64x64, and a blue ground."""
    codes = torch.zeros(64, 64, 4, dtype=torch.uint8)
    codes[10:50, 10:50] = torch.tensor([200, 20, 20, 255], dtype=torch.uint8)
    codes[10:50, 10, 3] = 153
    write_png8(tmp_path / "cut.png", codes)
    write_png8(tmp_path / "ground.png", torch.tensor([10, 40, 90], dtype=torch.uint8).expand(70, 90, 3).contiguous())
    return tmp_path


def test_a_composite_is_its_parts_by_alpha(bench, files):
    case = bench.before(read_photo(files / "cut.png"), files / "ground.png", "plain", np.random.default_rng(3))
    side = len(case.truth)
    assert 40 / 0.9 - 1 <= side <= 40 / 0.33
    assert case.photo.rgb.shape == (side, side, 3)
    assert int((case.truth > 0.99).sum()) == 40 * 39
    assert int((abs(case.truth - 0.6) < 0.01).sum()) == 40
    shown = (bench.display(case.photo).numpy() * 255).round()
    assert (shown[case.truth == 1] == (200, 20, 20)).all()
    assert (shown[case.truth == 0] == (10, 40, 90)).all()
    mixed = 0.6 * np.array([200, 20, 20]) + 0.4 * np.array([10, 40, 90])
    assert np.abs(shown[abs(case.truth - 0.6) < 0.01] - mixed).max() <= 1


def test_scores_by_hand(bench):
    one, other = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[:, :10], other[:, 5:15] = True, True
    assert bench.overlap(one, other) == pytest.approx(1 / 3)
    truth = one.astype(np.float32)
    assert bench.edge_error(truth, truth) == 0
    assert bench.edge_error(np.zeros((20, 20), np.float32), truth) == pytest.approx(0.5)  # five columns of ten


def test_the_box_and_the_point_are_the_truths(bench):
    truth = np.zeros((100, 100), bool)
    truth[20:60, 30:80] = True
    assert bench._box(truth) == "box:29,19,81,61"
    x, y = map(float, bench._point(truth).removeprefix("point:").split(","))
    assert truth[int(y), int(x)]


def test_a_run(bench, files):
    rng = np.random.default_rng(0)
    case = bench.before(read_photo(files / "cut.png"), files / "ground.png", "plain", rng)
    found = {("plain", method): [bench.measure(case, method)] for method in bench.METHODS}
    named = bench.flat(found)
    assert named["plain_auto_iou"] > 0.9
    assert named["plain_box_iou"] > 0.9
    assert set(named) >= {"plain_error_ratio", "plain_edge_ratio", "time_ratio"}
    assert all(isinstance(value, float) for value in named.values())
    assert "| plain | 1 | auto |" in bench.table(found)


def test_refinements(bench, files, monkeypatch):
    rng = np.random.default_rng(0)
    case = bench.before(read_photo(files / "cut.png"), files / "ground.png", "plain", rng)
    wrong = replace(case, truth=1 - case.truth)
    monkeypatch.setattr(bench, "cases", lambda *_: iter([case, wrong, replace(case, group="luces")]))
    found = bench.refinements(files, False)
    assert [len(values) for values in found.values()] == [1, 1, 1]
    assert found["plain", "shipped"][0].iou >= found["plain", "stretched"][0].iou
    assert set(bench.flat_refinements(found)) == {
        f"{name}_{kind}_ratio" for name in ("guided", "shipped") for kind in ("error", "edge")
    }


def test_a_refusal_is_nothing_found(bench):
    truth = np.zeros((60, 60), np.float32)
    truth[20:40, 20:40] = 1
    case = bench.Case("plain", Photo(torch.full((60, 60, 3), 0.3), torch.from_numpy(truth > 0.5)), truth, False)
    assert bench.measure(case, "point").iou == 0
