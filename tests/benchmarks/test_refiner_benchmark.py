"""The refiner's benchmark: arithmetic by hand, and one real run with untrained weights."""

import json

import pytest
import torch

from maquette.io.checkpoints import save_checkpoint
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS as NIRNE_PRESETS
from maquette.nets.nirne import NiRNENet
from maquette.nets.refiner import PRESETS, RefinerNet
from maquette.train.refiner.scores import Scores


def test_ratios_and_table_by_hand(load_benchmark):
    benchmark = load_benchmark("refiner")
    scores = {
        ("flat", "given"): Scores(torch.tensor([20.0, 30.0, 40.0, 30.0]), torch.tensor([0.4] * 4)),
        ("flat", "refined"): Scores(torch.tensor([12.0, 12.0, 12.0, 12.0]), torch.tensor([0.1] * 4)),
        ("flat", "fused"): Scores(torch.tensor([10.0, 10.0, 9.0, 31.0]), torch.tensor([0.3] * 4)),
    }
    assert benchmark.ratios(scores) == {"flat_degrees": 0.5, "flat_reprojection": pytest.approx(0.75)}
    assert benchmark.table(scores).splitlines()[-1] == "| flat | 30.00 | 12.00 | 15.00 | 75 % | +1.0 | 0.400 | 0.300 |"


@pytest.mark.usefixtures("one_thread")
def test_untrained_weights_change_nothing(load_benchmark, tiny_shapes, tmp_path, capsys):
    save_checkpoint(tmp_path / "refiner", PRESETS["tiny"], RefinerNet(PRESETS["tiny"]).state_dict())
    NiRNE(NiRNENet(NIRNE_PRESETS["tiny"])).save_pretrained(tmp_path / "nirne")
    options = ["--json", "--weights", tmp_path / "refiner", "--predictor", tmp_path / "nirne", "--data", tiny_shapes]
    assert load_benchmark("refiner").main(list(map(str, options))) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 12
    assert list(found.values()) == pytest.approx([1.0] * 12, abs=0.01)
