"""The verb through its real entry point: what it refuses before it works, and the card of what it trained."""

import json

import pytest
import torch

from maquette.app.cli.main import main
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS, NiRNENet
from maquette.train import shapes as data
from maquette.train.nirne import config
from maquette.train.nirne.config import NirnePhase, NirneTraining


@pytest.fixture
def tiny(monkeypatch):
    """The presets, shrunk to three steps of a tiny network."""
    phases = (NirnePhase(32, 2, 2, 1e-3, 1e-4), NirnePhase(32, 1, 2, 1e-3, 1e-4, stage=2, data="sharp"))
    small = NirneTraining(PRESETS["tiny"], phases, bf16=True)
    presets = {"small": small, "base": small}
    monkeypatch.setattr(config, "TRAINING", presets)


@pytest.fixture
def weights(tmp_path):
    """A folder of untrained weights with a card."""
    torch.manual_seed(1)
    NiRNE(NiRNENet(PRESETS["tiny"])).save_pretrained(tmp_path / "old")
    (tmp_path / "old" / "card.json").write_text('{"name": "old", "steps": 7}')
    return tmp_path / "old"


def run(tmp_path, shapes, *options: object) -> int:
    folders = ["--data", shapes, "--sharp", shapes, "--held-out", shapes, "--device", "cpu"]
    return main(["train", "nirne", *map(str, ["--run", tmp_path / "run", *folders, *options])])


@pytest.fixture
def no_work(monkeypatch):
    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(data, "generate", work)


def test_the_card_says_what_came_before_and_in_which_precision(tiny, tiny_shapes, tmp_path, weights, capfd):
    assert run(tmp_path, tiny_shapes, "--init", weights) == 0
    card = json.loads((tmp_path / "run" / "weights" / "card.json").read_text())
    assert card["before"] == {"name": "old", "steps": 7}
    assert card["precision"] == "bfloat16 convolutions"
    assert card["steps"] == 3
    assert card["photos"] == 6
    assert set(card["data"]) == {"shapes", "sharp"}
    assert [line["step"] for line in card["held_out"]] == [2, 3]
    assert NiRNE.from_pretrained(tmp_path / "run" / "weights").net.config == PRESETS["tiny"]
    out, err = capfd.readouterr()
    assert out.startswith(f"{tmp_path / 'run' / 'weights'}: 3 steps")
    assert err == ""


def test_a_run_from_nothing_has_nothing_before_it(tiny, tiny_shapes, tmp_path):
    assert run(tmp_path, tiny_shapes, "--float32", "--encoder", "random", "--export", tmp_path / "new") == 0
    card = json.loads((tmp_path / "new" / "card.json").read_text())
    assert card["before"] is None
    assert card["precision"] == "float32"  # as --float32 asks


def test_what_is_wrong_is_told_in_one_line_before_any_work(tiny, no_work, tmp_path, weights, capfd, monkeypatch):
    file = tmp_path / "file"
    file.write_text("in the way")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"junk")
    cases = [
        (["--run", file], "--run"),
        (["--run", file / "below"], "--run"),
        (["--run", tmp_path / "other", "--export", file], "--export"),
        ([], "checkpoint.safetensors: damaged"),
        (["--run", tmp_path / "other", "--encoder", "auto"], "no ImageNet weights of tiny"),
        (["--run", tmp_path / "other", "--encoder", tmp_path / "no.pth"], "no.pth: no state dict"),
        (["--run", tmp_path / "other", "--init", "nobody"], "no such weights"),
        (["--run", tmp_path / "other", "--init", ""], "no such weights"),
        (["--run", tmp_path / "other", "--init", "nirne-small-1"], "don't fit the network"),
    ]
    for options, message in cases:
        assert run(tmp_path, tmp_path / "shapes", *options) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert message in err
    (weights / "card.json").write_text("{")
    assert run(tmp_path, tmp_path / "shapes", "--run", tmp_path / "other", "--init", weights) == 2
    assert "card.json" in capfd.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert run(tmp_path, tmp_path / "shapes", "--run", tmp_path / "other") == 2
    assert "3 processes" in capfd.readouterr().err
    assert not (tmp_path / "shapes").exists()


def test_generated_data_are_as_large_as_the_largest_photos(tmp_path, monkeypatch):
    """A phase's tiles are parts of photos of twice its size, and those need G-buffers of that size."""
    made = {}
    monkeypatch.setattr(data, "generate", lambda folder, spec, *_, **__: made.update({folder.name: spec.size_px}))
    for tiles, side in ((0.0, 32), (0.2, 64)):
        phases = (NirnePhase(32, 1, 2, 1e-3, 1e-3, tiles=tiles), NirnePhase(16, 1, 2, 1e-3, 1e-3))
        folders = {"shapes": tmp_path / "shapes"}
        data.prepare_datasets(NirneTraining(PRESETS["tiny"], phases), folders, tmp_path / "held-out")
        assert made == {"shapes": side, "held-out": side}
