"""The benchmark's arithmetic by hand, and what it says of a measurement that failed."""

import harness
import pytest


@pytest.fixture(scope="module")
def throughput(load_benchmark):
    return load_benchmark("generator_throughput")


def test_ratios_by_hand_and_null_for_what_did_not_run(throughput):
    found = {
        1: {"shapes": 3.0, "shapes_peer": 2.0, "gbuffers": 10.0, "gbuffers_peer": 40.0, "photos": 50.0, "wait": 0.25},
        2: {},
    }
    assert throughput.ratios(found) == {
        "shapes_1": 1.5, "gbuffers_1": 0.25, "photos_1": None, "wait_1": 0.25,
        "shapes_2": None, "gbuffers_2": None, "photos_2": None, "wait_2": None,
    }  # fmt: skip
    table = throughput.table(found)
    assert "| 1 | shapes | 3.00 | 2.00 | 1.50 |" in table
    assert "| 1 | photos | 50.00 |  |  |" in table
    assert "| 1 | training waits for data | 25 % | | |" in table


def test_a_measurement_that_failed_is_told_and_null(throughput, monkeypatch, capsys):
    def launch(command, env, quiet):
        assert env["NUMBA_NUM_THREADS"] == "2"
        assert command[-1] == "--quick"
        return harness.Process(3, "", "", 1.0, 50.0)

    monkeypatch.setattr(harness, "launch", launch)
    assert throughput._in_a_process(2, ["--quick"]) == {}
    assert capsys.readouterr().err == "2 threads: not run: exit code 3\n"


def test_the_last_line_of_a_process_is_its_rates(throughput, monkeypatch):
    process = harness.Process(0, 'chatter\n{"shapes": 2.5}\n', "", 1.0, 50.0)
    monkeypatch.setattr(harness, "launch", lambda *_: process)
    assert throughput._in_a_process(1, []) == {"shapes": 2.5}
