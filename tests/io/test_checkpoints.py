import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
import torch

from maquette.errors import InputError
from maquette.io.checkpoints import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Stem:
    width: int = 8
    scale: float = 0.5


@dataclass(frozen=True)
class Net:
    widths: tuple[int, ...] = (16, 32)
    pair: tuple[str, bool] = ("a", True)
    norm: Literal["group", "layer"] = "layer"
    limit: float | None = None
    stem: Stem = field(default_factory=Stem)


def saved(directory):
    state = {"weight": torch.randn(4, 5), "step": torch.tensor(70_000)}
    save_checkpoint(directory, Net(limit=1.5, stem=Stem(width=9)), state)
    return state


def test_round_trip(tmp_path):
    (tmp_path / "README.md").write_text("card")
    state = saved(tmp_path)
    config, loaded = load_checkpoint(tmp_path, Net)
    assert config == Net(limit=1.5, stem=Stem(width=9))
    assert torch.equal(loaded["weight"], state["weight"].half().float())
    assert loaded["weight"].dtype == torch.float32
    assert torch.equal(loaded["step"], state["step"])
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1  # the weights are as readable as the card
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]


def test_full_precision_is_exact_and_tied_weights_are_stored_twice(tmp_path):
    weight = torch.randn(4, 5)
    save_checkpoint(tmp_path, Net(), {"a": weight, "b": weight.T}, dtype=torch.float32)
    _, loaded = load_checkpoint(tmp_path, Net)
    assert torch.equal(loaded["a"], weight)
    assert torch.equal(loaded["b"], weight.T)


def test_what_half_precision_cannot_hold_is_not_saved(tmp_path):
    with pytest.raises(InputError, match=r"weight is not finite as torch\.float16"):
        save_checkpoint(tmp_path, Net(), {"weight": torch.tensor([1e6])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "has the unknown field depth"),
        ({"norm": "batch"}, "norm: is 'batch'"),
        ({"widths": [16, 2.5]}, r"widths\[1\]: is 2.5; int is needed"),
        ({"widths": 16}, "widths: is 16"),
        ({"pair": ["a"]}, "pair: has 1 entries; 2 are needed"),
        ({"limit": "none"}, "limit: is 'none'"),
        ({"stem": {"width": True, "scale": 1}}, "stem: width: is True; int is needed"),
        ({"stem": {"width": 3}}, "stem: lacks field scale"),
        ({"stem": 3}, "an object with named fields is needed"),
    ],
)
def test_a_config_that_does_not_fit_names_the_field(tmp_path, change, message):
    saved(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        load_checkpoint(tmp_path, Net)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_checkpoint(tmp_path / "nowhere", Net)
    for name, message in [("model.safetensors", "no safetensors file"), ("config.json", "is not JSON")]:
        saved(tmp_path)
        path = tmp_path / name
        content = path.read_bytes()
        for cut in (0, 5, len(content) // 2, len(content) - 3):
            path.write_bytes(content[:cut])
            with pytest.raises(InputError, match=message) as caught:
                load_checkpoint(tmp_path, Net)
            assert str(path) in str(caught.value)
        path.unlink()
        with pytest.raises(InputError, match=f"{name}: no such file"):
            load_checkpoint(tmp_path, Net)
