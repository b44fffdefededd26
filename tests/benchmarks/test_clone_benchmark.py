"""The benchmark's arithmetic by hand, a whole small run, and that it goes on where it was stopped."""

import json

import pytest
import torch

from maquette.io.checkpoints import save_checkpoint
from maquette.nets.refiner import PRESETS, RefinerNet


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("clone")


def row(mean: float, reprojection: float, relighting: float | None, moved: float = 0.0, told: float = 10.0):
    return {
        "mean_deg": mean, "reprojection": reprojection, "relighting": relighting, "moved_deg": moved,
        "told_deg": told, "iterations": 0, "seconds": 1.0,
    }  # fmt: skip


def test_ratios_and_verdicts_by_hand(benchmark):
    found = {
        ("scans-a", "", "photo"): {"mean_deg": None, "relighting": 0.5},
        ("scans-a", "nirne", "initial"): row(20, 0.1, 0.4),
        ("scans-a", "nirne", "all"): row(15, 0.05, 0.2, moved=8),
        ("scans-b", "", "photo"): {"mean_deg": None, "relighting": 0.7},
        ("scans-b", "nirne", "initial"): row(10, 0.1, 0.4, told=3),
        ("scans-b", "nirne", "all"): row(14, 0.05, 0.4, moved=9, told=3),
        ("luces-c", "", "photo"): {"mean_deg": None, "relighting": None},
        ("luces-c", "nirne", "initial"): row(30, 0.2, None),
        ("luces-c", "nirne", "all"): row(27, 0.1, None),
    }
    costs = {64: {"clone_seconds": 6.0, "nirne_seconds": 0.5, "seconds": 12.0, "clone_mib": 300.0, "nirne_mib": 200.0,
                  "memory": 1.5}}  # fmt: skip
    flat = benchmark.ratios(found, costs)
    assert flat == {
        "luces_nirne_all_mean": 0.9,
        "luces_nirne_all_reprojection": 0.5,
        "luces_nirne_all_relighting": None,
        "scans_nirne_all_mean": round(14.5 / 15, 4),
        "scans_nirne_all_reprojection": 0.5,
        "scans_nirne_all_relighting": 0.5,
        "worse_than_told": 1.0,
        "seconds_64": 12.0,
        "memory_64": 1.5,
    }
    table = benchmark.table(found, costs)
    assert "| scans | nirne | all | 14.50 | 0.050 | 0.300 | 8.50 | 1.00 |" in table
    assert "| scans-a | nirne | -5.00 | 8.00 | 10.00 | no |" in table
    assert "| scans-b | nirne | +4.00 | 9.00 | 3.00 | yes |" in table
    assert "| 64 x 64 | 6.00 | 0.500 | 12.00 | 300.00 | 200.00 | 1.50 |" in table


def test_a_run_measures_and_a_second_one_only_what_is_missing(benchmark, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    weights = tmp_path / "tiny"
    save_checkpoint(weights, PRESETS["tiny"], RefinerNet(PRESETS["tiny"]).state_dict())
    monkeypatch.setattr(benchmark, "lit_samples", lambda data, cache: {"quick-blobs": benchmark.quick_sample})
    arguments = ["--data", str(tmp_path), "--run", str(tmp_path / "run"), "--refiner", str(weights), "--json"]
    arguments += ["--iterations", "1", "--starts", "neutral", "--no-time"]
    assert benchmark.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["quick_neutral_all_mean"] == pytest.approx(1, abs=0.2)
    assert first["quick_neutral_all_relighting"] < 1
    (folder,) = (tmp_path / "run").iterdir()
    assert len(list(folder.iterdir())) == 2 + len(benchmark.VARIANTS)
    (folder / "quick-blobs.neutral.all.json").unlink()
    asked = []
    fit = benchmark._fit
    monkeypatch.setattr(benchmark, "_fit", lambda *given: asked.append(given[2]) or fit(*given))
    assert benchmark.main(arguments) == 0
    assert asked == ["all"]
    assert json.loads(capsys.readouterr().out) == first
    # Other settings are another run.
    assert benchmark.main([*arguments, "--iterations", "2", "--only", "nothing"]) == 0
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_photo_that_is_missing_is_told_and_the_others_go_on(benchmark, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "tiny", PRESETS["tiny"], RefinerNet(PRESETS["tiny"]).state_dict())
    arguments = ["--data", str(tmp_path / "none"), "--only", "ball-021", "Cup", "--no-time", "--starts", "neutral"]
    assert benchmark.main([*arguments, "--refiner", str(tmp_path / "tiny"), "--run", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("not run") == 2
    with pytest.raises(SystemExit):
        benchmark.main([])
