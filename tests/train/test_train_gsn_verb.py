"""`maquette train gsn` through its real entry point: what it writes, and what it refuses before it works."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from maquette.app.cli.main import main
from maquette.errors import InputError
from maquette.io.checkpoints import load_checkpoint, load_network, save_checkpoint
from maquette.nets.gsn import PRESETS, GSNConfig, GSNNet
from maquette.runs.schedule import Phase
from maquette.synth.datasets.multiview import making
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import ViewsSpec, open_manifest, read_manifest
from maquette.train.card import describe
from maquette.train.gsn import config as gsn_config
from maquette.train.gsn import prepare as views
from maquette.train.gsn.config import GSNTraining
from maquette.train.gsn.recipe import gsn_recipe, train_gsn

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(monkeypatch):
    """The preset, shrunk to a few steps of a tiny network."""
    phases = (Phase(16, 2, 2, 1e-3, 1e-4), Phase(32, 1, 2, 1e-3, 1e-4))
    monkeypatch.setitem(gsn_config.TRAINING, "small", GSNTraining(PRESETS["tiny"], phases, views=2))


@pytest.fixture
def chairs(write_srn, tmp_path):
    """Two objects as ShapeNet-SRN publishes them, three views of 32 white pixels."""
    for name in ("a", "b"):
        write_srn(tmp_path / "srn" / "chairs_train" / name, np.full((32, 32, 3), 255, np.uint8), [0.0, 1.0, 2.0])
    return tmp_path / "srn"


def run(tmp_path, data, *options: object, held_out=None) -> int:
    folders = ["--data", data, "--held-out", held_out or data, "--device", "cpu"]
    return main(["train", "gsn", *map(str, ["--run", tmp_path / "run", *folders, *options])])


def test_it_writes_weights_and_their_card_and_goes_on_where_it_was(tiny, tiny_views, tmp_path, capfd):
    assert run(tmp_path, tiny_views, "--ecd", "0.25") == 0
    folder = tmp_path / "run" / "weights"
    assert load_checkpoint(folder, GSNConfig)[0] == PRESETS["tiny"]
    net = load_network(folder, GSNConfig, GSNNet)
    assert all(p.equal(p.half().float()) for p in net.parameters())  # stored in half precision
    card = json.loads((folder / "card.json").read_text())
    told = ("steps", "images", "licence", "seed", "precision", "gaussians", "distance", "name", "before")
    assert [card[key] for key in told] == [3, 6, "Apache-2.0", 0, "float32", 64, 1.3, "weights", None]
    assert card["loss"]["ecd"] == 0.25
    assert card["data"]["train"]["seed"] == 3
    assert card["data"]["train"]["kind"] == "views"
    assert [line["step"] for line in card["held_out"]] == [2, 3]
    assert all(set(line) == {"step", "psnr_db", "ecd"} for line in card["held_out"])
    out, err = capfd.readouterr()
    assert out.startswith(f"{folder}: 3 steps")
    assert err == ""
    before = (folder / "model.safetensors").read_bytes()
    again = ("--ecd", "0.25", "--export", tmp_path / "again")
    assert run(tmp_path, tiny_views, *again) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before
    assert run(tmp_path, tiny_views, "--run", tmp_path / "on", "--init", folder, "--seed", 3) == 0
    other = json.loads((tmp_path / "on" / "weights" / "card.json").read_text())
    assert (other["before"], other["seed"]) == (card, 3)
    assert (tmp_path / "on" / "weights" / "model.safetensors").read_bytes() != before


def test_views_that_are_missing_are_made_first(tiny, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(making, "place_thing", partial(making.place_thing, side=48))
    monkeypatch.setattr(views, "TRAIN_SPEC", ViewsSpec(1, 101, 0, 0, ("cup",), (), 3, 2, 32))
    monkeypatch.setattr(views, "HELD_OUT_SPEC", ViewsSpec(0, 9, 1, 0, ("cup",), (), 3, 3, 32))
    assert run(tmp_path, tmp_path / "made", "--distance", "1.5", held_out=tmp_path / "held") == 0
    assert capfd.readouterr().err == ""
    assert read_manifest(tmp_path / "made").radius == read_manifest(tmp_path / "held").radius == 1.5
    assert (ViewsDataset(tmp_path / "made").splits, ViewsDataset(tmp_path / "held").splits) == (["train"], ["val"])
    assert load_checkpoint(tmp_path / "run" / "weights", GSNConfig)[0].distance == 1.5


def test_published_folders_train_at_their_own_distance(tiny, chairs, tmp_path, capfd):
    assert run(tmp_path, chairs, held_out=chairs / "chairs_train" / "a") == 2  # a folder that says train
    assert "holds no object of val" in capfd.readouterr().err
    (chairs / "chairs_train").rename(chairs / "all")
    assert run(tmp_path, chairs) == 0
    assert capfd.readouterr().err == ""
    card = json.loads((tmp_path / "run" / "weights" / "card.json").read_text())
    assert card["distance"] == 2.0
    assert card["data"]["train"]["kind"].startswith("a folder without a manifest")
    assert card["data"]["train"]["objects"] == {"of no category": 2}
    assert card["licence"] == "depends on the terms of the data"


def test_a_run_without_the_verb_has_its_card_too(tiny_views, tmp_path):
    config = GSNTraining(
        PRESETS["tiny"], (Phase(16, 2, 3, 1e-3, 1e-4), Phase(16, 5, 2, 1e-3, 1e-4)), views=2, bf16=True
    )
    ended = replace(config, phases=config.phases[:1])
    train_gsn(ended, tiny_views, tmp_path)
    card = describe("gsn-test", gsn_recipe(config, tiny_views), tmp_path)
    assert (card["name"], card["steps"], card["images"], card["held_out"]) == ("gsn-test", 2, 6, [])
    assert (card["precision"], list(card["data"])) == ("bfloat16 convolutions", ["train"])
    assert json.loads(json.dumps(card))["phases"][1]["steps"] == 5


def test_what_is_wrong_is_told_in_one_line_before_any_work(tiny, tiny_views, chairs, tmp_path, capfd, monkeypatch):
    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(views, "generate", work)
    monkeypatch.setattr("maquette.runs.loop.fit", work)
    file = tmp_path / "file"
    file.write_text("in the way")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"junk")
    (tmp_path / "empty").mkdir()
    other = ["--run", tmp_path / "other"]
    for name, value in (("cube", False), ("most_scale", 3.0), ("distance", 2.0)):  # of the same shapes all the same
        net = GSNNet(replace(PRESETS["tiny"], **{name: value}))
        save_checkpoint(tmp_path / f"other_{name}", net.config, net.state_dict())
    cases = [
        ([*other, "--init", tmp_path / "other_cube"], "other_cube: their cube is False, this training's True"),
        ([*other, "--init", tmp_path / "other_most_scale"], "their most_scale is 3.0, this training's 6.0"),
        ([*other, "--init", tmp_path / "other_distance"], "their distance is 2.0, this training's 1.3"),
        (["--run", file], "--run"),
        ([*other, "--export", file], "--export"),
        ([], "checkpoint.safetensors: damaged"),
        (["--scale", "0"], "--scale is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--preset", "huge"], "preset"),
        (["--distance", "far"], "--distance is 'far'; it must be a number, or auto"),
        (["--distance", "0.2"], "distance is 0.2"),
        (["--ecd", "-1"], "--ecd is -1"),
        (["--ecd", "nan"], "--ecd is nan"),
        ([*other, "--init", "nobody"], "no such weights"),
        ([*other, "--init", "nirne-small"], "config.json"),
        ([*other, "--data", file], "file: is a file"),
        ([*other, "--held-out", file], "file: is a file"),
        ([*other, "--data", tmp_path / "empty"], "holds no object"),
        ([*other, "--held-out", tmp_path / "empty"], "holds no object"),
    ]
    for options, message in cases:
        assert run(tmp_path, tmp_path / "views", *options, held_out=tmp_path / "held") == 2, options
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        assert message in err
    for name, spec in (("tests", ViewsSpec(0, test=1)), ("train", ViewsSpec(1)), ("val", ViewsSpec(0, val=1))):
        open_manifest(tmp_path / name, spec)  # what isn't asked for there wouldn't be made, either
    for data, held_out, message in (
        ("tests", "held", "tests: holds no object of train"),
        ("val", "held", "val: holds no object of train"),
        ("views", "train", "train: holds no object of val"),
        ("views", "tests", "tests: holds no object of val"),
        ("views", "views", "views: both --data and --held-out"),
        ("views", "../" + tmp_path.name + "/views", "views: both --data and --held-out"),
    ):
        assert run(tmp_path, tmp_path / data, *other, held_out=tmp_path / held_out) == 2, data
        err = capfd.readouterr().err
        assert err.count("\n") == 1, err
        assert message in err
    assert run(tmp_path, chairs, *other, "--distance", 1.3) == 2
    assert "stand at 2 from the origin, the network's at 1.3" in capfd.readouterr().err
    config = gsn_config.TRAINING["small"]
    for changes, message in (
        (
            {"phases": (replace(config.phases[0], size_px=24),)},
            "its images are 32 px; the phase needs a multiple of 24",
        ),
        ({"views": 4}, "its objects have 3 views; a step compares 4"),
    ):
        monkeypatch.setitem(gsn_config.TRAINING, "small", replace(config, **changes))
        assert run(tmp_path, chairs, *other) == 2
        assert message in capfd.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(tmp_path, tmp_path / "views", *other) == 2
    assert "one process" in capfd.readouterr().err
    assert not (tmp_path / "views").exists()


def test_views_are_counted_in_the_split_that_is_used(tiny_views):
    """Five of each training object; the four of the held-out ones are enough for them."""
    config = GSNTraining(PRESETS["tiny"], (Phase(16, 2, 2, 1e-3, 1e-4),), views=5)
    views.require_fitting(config, tiny_views, tiny_views)
    with pytest.raises(InputError, match=r"its objects have 5 views; a step compares 6"):
        views.require_fitting(replace(config, views=6), tiny_views, tiny_views)


def test_what_is_made_by_default_fits_the_presets():
    """The training data of the shipped weights: eight categories of 200, 16 views; no seed in common with held-out."""
    assert len(views.TRAIN_SPEC.tasks()) == 1600
    assert {task.split for task in views.TRAIN_SPEC.tasks()} == {"train"}
    assert {task.split for task in views.HELD_OUT_SPEC.tasks()} == {"val"}
    assert {task.category for task in views.HELD_OUT_SPEC.tasks()} == {t.category for t in views.TRAIN_SPEC.tasks()}
    assert views.TRAIN_SPEC.seed != views.HELD_OUT_SPEC.seed
    sides = {phase.size_px for config in gsn_config.TRAINING.values() for phase in config.phases}
    assert all(spec.size_px % side == 0 for spec in (views.TRAIN_SPEC, views.HELD_OUT_SPEC) for side in sides)
