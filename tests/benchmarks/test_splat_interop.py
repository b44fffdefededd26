"""Our splat files in other people's programs, where Node.js and the packages are there."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench(load_benchmark):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield load_benchmark("splat_interop")


@pytest.fixture(scope="module")
def packages(bench) -> Path:
    missing = bench.what_is_missing(bench.packages_folder())
    if missing:
        pytest.skip(missing)
    return bench.packages_folder()


@pytest.fixture(scope="module")
def made(bench):
    return bench.within_spz(sys.modules["splat_files"].sample(60))


def test_other_programs_read_what_we_wrote(bench, packages, made, tmp_path):
    found = bench.compare(packages, made, tmp_path)
    assert bench.beyond(found) == []
    apart = {name: bench.FLOAT[name] for name in bench.QUANTITIES} | {"rotation_deg": 2e-3}
    for case in ("ply", "spz2", "spz3", "spz3 rdf", "spz4"):
        for name in bench.QUANTITIES:
            assert found[case][f"{name}_apart"] <= apart[name], (case, name)
    assert "beyond the quantum: nothing" in bench.table(found, [])
    assert bench.flat(found, [])["validator_issues"] == 0


def test_the_validator_finds_nothing_and_would(bench, packages, made, tmp_path, monkeypatch):
    assert bench.validate(packages, made, tmp_path) == []

    def broken(path, gaussians):
        content = bench_write(path, gaussians).read_bytes()
        path.write_bytes(bench.rewritten(content, lambda text: text.replace('"count":60', '"count":61')))
        return path

    bench_write = bench.write_splat
    monkeypatch.setattr(bench, "write_splat", broken)
    assert any("ACCESSOR" in issue for issue in bench.validate(packages, made, tmp_path))


def test_the_worst_by_hand(bench):
    made = replace(sys.modules["splat_files"].sample(1), rotation=torch.tensor([[1.0, 0, 0, 0]]))
    half = torch.tensor([[0.0, 0, 1, 0]])
    assert bench.worst(replace(made, rotation=half), made)["rotation_deg"] < 1e-4
    tenth = torch.tensor([[0.0, 0.0, 0.9962, 0.0872]])  # 10 degrees beyond
    assert bench.worst(replace(made, rotation=tenth), made)["rotation_deg"] == pytest.approx(10, abs=0.01)
    lost = bench.worst(replace(made, sh=made.sh + 0.5), made)
    assert lost["constant"] == lost["harmonics"] == pytest.approx(0.5)
    found = {case: dict.fromkeys(bench.QUANTITIES, 0.0) for case in bench.QUANTA}
    assert bench.beyond(found) == []
    found["glb"]["opacity"] = 0.1
    found["ply"]["mean"] = float("nan")
    assert bench.beyond(found) == ["ply: mean", "glb: opacity"]


def test_packages_that_are_not_there_are_told(bench, tmp_path, capfd):
    if bench.shutil.which("node") is None:
        pytest.skip("no node on the path")
    assert bench.main(["--packages", str(tmp_path)]) == 2
    assert "--install" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
