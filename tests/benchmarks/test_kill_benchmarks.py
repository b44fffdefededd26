"""The kill benchmarks see what they look for: one bit of a weight, one loss; and say so by their exit code."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def kills(load_benchmark):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        for name in ("rose_kill", "gsn_kill"):
            load_benchmark(name)
    return sys.modules["training_kills"]


def a_run(folder, loss: float = 0.5, clock: float = 1.0, weight: float = 2.0, step: str = "1"):
    folder.mkdir()
    (folder / "log.jsonl").write_text(json.dumps({"step": 1, "loss": loss, "data_s": clock, "step_s": clock}) + "\n")
    save_file({"w": np.array([weight], np.float32)}, folder / "checkpoint.safetensors", {"step": step, "config": "{}"})
    return folder


def test_they_see_a_bit_and_a_loss_but_no_clock(kills, tmp_path):
    one, same = a_run(tmp_path / "one"), a_run(tmp_path / "same", clock=7.0)
    assert kills.curve(one) == kills.curve(same) == [{"step": 1, "loss": 0.5}]
    assert kills.tensors(one) == kills.tensors(same)
    assert kills.curve(a_run(tmp_path / "loss", loss=0.5000001)) != kills.curve(one)
    bit = float(np.nextafter(np.float32(2.0), np.float32(3.0)))
    assert kills.tensors(a_run(tmp_path / "bit", weight=bit)) != kills.tensors(one)
    assert kills.tensors(a_run(tmp_path / "step", step="2")) != kills.tensors(one)
    assert kills.curve(tmp_path / "nothing") == []


@pytest.mark.parametrize(("name", "first"), [("rose_kill", "VAE"), ("gsn_kill", "first phase")])
@pytest.mark.parametrize(("weights", "curves", "code"), [(2, 2, 0), (1, 2, 1), (2, 1, 1)])
def test_a_difference_is_the_exit_code(kills, monkeypatch, capsys, name, first, weights, curves, code):
    monkeypatch.setattr(kills, "measure", lambda *_: kills.Killed(20, 18, 5, 2, weights, curves))
    script = sys.modules[name]
    assert script.main(["--json", "--seed", "3"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["kills"], found["while_working"], found["equal_weights"], found["seed"]) == (20, 18, weights, 3)
    assert found["in_" + first.lower().replace(" ", "_")] == 5
    assert script.main([]) == code
    out = capsys.readouterr().out
    assert f"5 of these its {first}; 2 runs: {weights} with the undisturbed weights" in out
