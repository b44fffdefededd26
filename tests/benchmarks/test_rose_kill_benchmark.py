"""The kill benchmark sees what it looks for: one bit of a weight, one loss; and says so by its exit code."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("rose_kill")


def a_run(folder, loss: float = 0.5, clock: float = 1.0, weight: float = 2.0, step: str = "1"):
    folder.mkdir()
    (folder / "log.jsonl").write_text(json.dumps({"step": 1, "loss": loss, "data_s": clock, "step_s": clock}) + "\n")
    save_file({"w": np.array([weight], np.float32)}, folder / "checkpoint.safetensors", {"step": step, "config": "{}"})
    return folder


def test_it_sees_a_bit_and_a_loss_but_no_clock(benchmark, tmp_path):
    one, same = a_run(tmp_path / "one"), a_run(tmp_path / "same", clock=7.0)
    assert benchmark.curve(one) == benchmark.curve(same) == [{"step": 1, "loss": 0.5}]
    assert benchmark.tensors(one) == benchmark.tensors(same)
    assert benchmark.curve(a_run(tmp_path / "loss", loss=0.5000001)) != benchmark.curve(one)
    bit = float(np.nextafter(np.float32(2.0), np.float32(3.0)))
    assert benchmark.tensors(a_run(tmp_path / "bit", weight=bit)) != benchmark.tensors(one)
    assert benchmark.tensors(a_run(tmp_path / "step", step="2")) != benchmark.tensors(one)
    assert benchmark.curve(tmp_path / "nothing") == []


@pytest.mark.parametrize(("weights", "curves", "code"), [(2, 2, 0), (1, 2, 1), (2, 1, 1)])
def test_a_difference_is_the_exit_code(benchmark, monkeypatch, capsys, weights, curves, code):
    monkeypatch.setattr(benchmark, "measure", lambda *_: benchmark.Killed(20, 18, 5, 2, weights, curves))
    assert benchmark.main(["--json", "--seed", "3"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["kills"], found["while_working"], found["equal_weights"], found["seed"]) == (20, 18, weights, 3)
    assert benchmark.main([]) == code
    assert f"2 runs: {weights} with the undisturbed weights" in capsys.readouterr().out
