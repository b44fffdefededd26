"""The benchmark's arithmetic by hand, and one real measurement of a process of known size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def latency(load_benchmark):
    return load_benchmark("normals_latency")


def test_ratios_by_hand_and_null_for_what_did_not_run(latency):
    found = {
        ("verb", 512): {"seconds": 3.0, "peak_mib": 500.0},
        ("net", 512): None,
        ("reference", 512): {"seconds": 2.0, "peak_mib": 400.0},
        ("verb", 1024): {"seconds": 3.0, "peak_mib": 500.0},
        ("reference", 1024): None,
    }
    assert latency.ratios(found) == {
        "verb_512_time": 1.5,
        "verb_512_memory": 1.25,
        "net_512_time": None,
        "net_512_memory": None,
        "verb_1024_time": None,
        "verb_1024_memory": None,
    }
    table = latency.table(found)
    assert "| 512 | verb | 3.00 | 500 | 1.50 | 1.25 |" in table
    assert "| 512 | net | not run | | | |" in table
    assert "| 512 | reference | 2.00 | 400 | 1.00 | 1.00 |" in table


def test_time_and_peak_memory_of_a_process_are_its_own():
    """In an interpreter of its own, as the benchmark runs: Linux counts what a large parent held before exec."""
    hungry = "import time; held = bytearray(200 * 2**20); held[::4096] = bytes(len(held[::4096])); time.sleep(0.3)"
    program = (
        "import json, sys, normals_latency as latency\n"
        "run = lambda code: latency._run('case', [sys.executable, '-c', code], 1)\n"
        f"print(json.dumps([run('pass'), run({hungry!r})]))"
    )
    folder = Path(__file__).parents[2] / "benchmarks"
    said = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    plain, large = json.loads(said.stdout)
    assert plain["peak_mib"] < 100
    assert 200 < large["peak_mib"] < 260  # what it holds, and Python
    assert large["seconds"] > 0.3


def test_what_fails_is_told_in_one_line(latency, capsys):
    assert latency._run("thing", [sys.executable, "-c", "raise SystemExit('no weights')"], 3) is None
    assert capsys.readouterr().err == "thing: not run: no weights\n"


@pytest.mark.usefixtures("one_thread")
def test_the_network_case_prints_its_seconds(latency, monkeypatch, capsys):
    monkeypatch.setitem(latency.REPEATS, 512, 1)
    assert latency.main(["--case", "net", "--size", "512"]) == 0
    assert 0 < json.loads(capsys.readouterr().out) < 60


def test_the_reference_is_the_small_dino(latency):
    network, (picture,) = latency._reference(512)
    assert picture.shape == (1, 3, 518, 518)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == pytest.approx(22.06e6, rel=0.01)  # ViT-S/14 has 22 million
