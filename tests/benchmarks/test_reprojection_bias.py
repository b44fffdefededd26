"""The benchmark of reprojection errors: the columns that its table is read by, on tiny data."""

import json

import pytest

from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS, NiRNENet


@pytest.mark.usefixtures("one_thread")
def test_true_normals_are_best_under_known_lights(load_benchmark, tiny_shapes, tmp_path, capsys):
    NiRNE(NiRNENet(PRESETS["tiny"])).save_pretrained(tmp_path)
    options = ["--quick", "--json", "--predictor", tmp_path, "--data", tiny_shapes]
    assert load_benchmark("reprojection_bias").main(list(map(str, options))) == 0
    found = json.loads(capsys.readouterr().out)
    columns = ("degrees", "known", "held", "free", "lit", "display")
    assert all(found[f"predicted_1.0_{column}"] == 1 for column in columns)
    for column in ("degrees", "known"):
        true = [found[f"true_{factor}_{column}"] for factor in ("0.7", "0.85", "1.0", "1.2", "1.5")]
        assert true[2] == min(true)
        assert true[2] < 0.9
