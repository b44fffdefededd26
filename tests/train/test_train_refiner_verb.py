"""`maquette train refiner` through its real entry point: what it writes, and what it refuses before it works."""

import json

import pytest

from maquette.app.cli.main import main
from maquette.io.checkpoints import load_checkpoint
from maquette.nets.refiner import PRESETS, RefinerConfig, RefinerNet
from maquette.runs.schedule import Phase
from maquette.train import shapes as data
from maquette.train.refiner import config as refiner_config
from maquette.train.refiner import scores as refiner
from maquette.train.refiner.config import RefinerTraining


@pytest.fixture
def tiny(monkeypatch):
    """The preset, shrunk to three steps of a tiny network, and two photos to validate on."""
    phases = (Phase(16, 2, 2, 1e-3, 1e-4), Phase(32, 1, 2, 1e-3, 1e-4))
    small = RefinerTraining(PRESETS["tiny"], phases, inputs="")
    monkeypatch.setattr(refiner_config, "TRAINING", {"small": small, "refine": small})
    monkeypatch.setattr(refiner, "VALIDATION_VIEWS", 2)


def run(tmp_path, shapes, *options: object) -> int:
    folders = ["--data", shapes, "--held-out", shapes, "--device", "cpu"]
    return main(["train", "refiner", *map(str, ["--run", tmp_path / "run", *folders, *options])])


def test_it_writes_weights_and_their_card_and_goes_on_where_it_was(tiny, tiny_shapes, tmp_path, capfd):
    assert run(tmp_path, tiny_shapes) == 0
    folder = tmp_path / "run" / "weights"
    config, weights = load_checkpoint(folder, RefinerConfig)
    assert config == PRESETS["tiny"]
    RefinerNet(config).load_state_dict(weights)
    card = json.loads((folder / "card.json").read_text())
    assert (card["steps"], card["photos"], card["seed"], card["precision"]) == (3, 6, 0, "float32")
    assert "no normal in any loss" in card["supervision"]
    assert [line["step"] for line in card["held_out"]] == [2, 3]
    assert {"flat_given_deg", "flat_refined_deg", "flat_fused_deg"} < set(card["held_out"][0])
    out, err = capfd.readouterr()
    assert out.startswith(f"{folder}: 3 steps")
    assert err == ""
    assert card["before"] is None
    before = (folder / "model.safetensors").read_bytes()
    assert run(tmp_path, tiny_shapes, "--export", tmp_path / "again") == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before
    assert run(tmp_path, tiny_shapes, "--run", tmp_path / "on", "--preset", "refine", "--init", folder) == 0
    assert json.loads((tmp_path / "on" / "weights" / "card.json").read_text())["before"] == card
    assert (tmp_path / "on" / "weights" / "model.safetensors").read_bytes() != before


def test_what_is_wrong_is_told_in_one_line_before_any_work(tiny, tmp_path, capfd, monkeypatch):
    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(data, "generate", work)
    file = tmp_path / "file"
    file.write_text("in the way")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"junk")
    cases = [
        (["--run", file], "--run"),
        (["--run", tmp_path / "other", "--export", file], "--export"),
        ([], "checkpoint.safetensors: damaged"),
        (["--scale", "0"], "--scale is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--preset", "huge"], "preset"),
        (["--run", tmp_path / "other", "--preset", "refine"], "--init"),
        (["--run", tmp_path / "other", "--init", "nobody"], "no such weights"),
        (["--run", tmp_path / "other", "--init", "nirne-small"], "config.json"),
    ]
    for options, message in cases:
        assert run(tmp_path, tmp_path / "shapes", *options) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert message in err
    assert not (tmp_path / "shapes").exists()
