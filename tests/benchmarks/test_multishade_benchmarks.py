"""The benchmarks' arithmetic by hand, and what they say of a run that failed or of bytes that differ."""

import random

import pytest


@pytest.fixture(scope="module")
def rate(load_benchmark):
    return load_benchmark("multishade_rate")


@pytest.fixture(scope="module")
def kill(load_benchmark):
    return load_benchmark("multishade_kill")


def test_ratios_by_hand_and_null_for_what_did_not_run(rate):
    start = {"1": 2.0, "workers_2": 5.0, "ray_2": None}
    whole = {"1": 22.0, "workers_2": 15.0, "ray_2": None}
    assert rate.ratios(start, whole) == {
        "workers_2": 1.4667, "workers_2_without_start": 2.0, "ray_2": None, "ray_2_without_start": None,
        "start_1": 0.0909, "start_workers_2": 0.2273, "start_ray_2": None,
    }  # fmt: skip
    left_out = [{name: of[name] for name in rate.QUICK_WAYS} for of in (start, whole)]
    assert rate.ratios(*left_out) == rate.ratios(start, whole)
    assert rate.table(*left_out, 66) == rate.table(start, whole, 66).removesuffix("\n| ray_2 |  |  |  |  |")
    told = rate.table(start, whole, 66)
    assert "| 1 | 3.00 |  |  | 2.00 |" in told
    assert "| workers_2 | 4.40 | 1.47 | 2.00 | 5.00 |" in told
    assert "| ray_2 |  |  |  |  |" in told


def test_a_way_that_failed_is_told_and_null(rate, tmp_path, capsys):
    assert rate._timed(tmp_path / "out", tmp_path, {"count": 1}, {}) is None  # a folder without meshes
    assert capsys.readouterr().err.startswith("{}: not run: maquette.errors.InputError: --meshes")


class Made:
    """A program that writes four files, and a part of a fifth, at once."""

    def __init__(self, folder, content=b"whole"):
        self.folder, self.content = folder, content
        self.wait()

    def wait(self, timeout=None):
        self.folder.mkdir(exist_ok=True)
        for number in range(4):
            (self.folder / f"{number}").write_bytes(self.content)
        (self.folder / ".partial").write_bytes(b"half")
        return 0

    def poll(self):
        return None

    def kill(self):
        pass


def test_kills_are_counted_and_what_lies_about_does_not_count(kill, tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "_begin", lambda folder, _: Made(folder))
    assert kill.measure(tmp_path, 3, random.Random(0)) == kill.Killed(3, 0, 4, 0, 1)


def test_half_files_and_bytes_that_differ_are_told(kill, tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "_begin", lambda folder, _: Made(folder, folder.name.encode()))
    assert kill.measure(tmp_path, 2, random.Random(0)) == kill.Killed(2, 0, 0, 8, 0)
    monkeypatch.setattr(kill, "measure", lambda *_: kill.Killed(2, 1, 0, 8, 0))
    assert kill.main(["--json", "--seed", "3"]) == 1
    monkeypatch.setattr(kill, "measure", lambda *_: kill.Killed(2, 1, 1, 0, 1))
    assert kill.main(["--quick"]) == 0
