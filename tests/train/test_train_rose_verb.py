"""`maquette train rose` through its real entry point: what it writes, and what it refuses before it works."""

import json
from dataclasses import replace

import pytest
import trimesh
from svd_folder import write_tiny_svd

from maquette.app.cli.main import main
from maquette.io.checkpoints import load_checkpoint, load_network
from maquette.nets.rose import PRESETS, RoseConfig, RoSENet
from maquette.nets.rose_svd import read_svd
from maquette.runs.schedule import Phase
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multishade.shards import generate
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
from maquette.train import shapes as data
from maquette.train.rose import config as rose_config
from maquette.train.rose import vae as rose_vae
from maquette.train.rose.config import RoseTraining

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(monkeypatch):
    """The presets, shrunk to a few steps of tiny networks, and two photos to validate on."""
    phases = (Phase(32, 2, 2, 1e-3, 1e-4), Phase(32, 1, 2, 1e-3, 1e-4, stage=2))
    monkeypatch.setitem(rose_config.TRAINING, "small", RoseTraining(PRESETS["tiny"], phases, encoder=""))
    monkeypatch.setattr(rose_config, "SVD_PHASES", (replace(phases[1], lr=1e-5),))
    monkeypatch.setattr(rose_vae, "VALIDATION_VIEWS", 2)


def run(tmp_path, shapes, *options: object, held_out=None) -> int:
    folders = ["--data", shapes, "--held-out", held_out or shapes, "--device", "cpu"]
    return main(["train", "rose", *map(str, ["--run", tmp_path / "run", *folders, *options])])


@pytest.fixture(scope="module")
def multishade(tmp_path_factory):
    """One box in one view, of nine frames of 16 pixels."""
    meshes, folder = tmp_path_factory.mktemp("meshes"), tmp_path_factory.mktemp("multishade")
    trimesh.creation.box((1, 2, 1)).export(meshes / "box.ply")
    generate(folder, MultiShadeSpec(0, views=1, size_px=16, meshes=find_meshes(meshes)), meshes)
    return folder


def test_it_writes_weights_and_their_card_and_goes_on_where_it_was(tiny, tiny_shapes, tmp_path, capfd):
    assert run(tmp_path, tiny_shapes) == 0
    folder = tmp_path / "run" / "weights"
    assert load_checkpoint(folder, RoseConfig)[0] == PRESETS["tiny"]
    load_network(folder, RoseConfig, RoSENet)
    card = json.loads((folder / "card.json").read_text())
    assert card["steps"] == {"VAE": 2, "video model": 1}
    assert card["photos"] == {"VAE": 4, "video model": 2}
    assert (card["backbone"], card["licence"], card["seed"], card["precision"]) == ("small", "Apache-2.0", 0, "float32")
    assert card["ring"].startswith("9 lights at an elevation of 45")
    assert [sorted(line) for line in card["held_out"]] == [["step", "vae_psnr_db"], ["1_deg", "4_deg", "step"]]
    assert card["data"]["shapes"]["views"] == 2
    assert card["before"] is None
    out, err = capfd.readouterr()
    assert out.startswith(f"{folder}: 3 steps")
    assert err == ""
    before = (folder / "model.safetensors").read_bytes()
    assert run(tmp_path, tiny_shapes, "--export", tmp_path / "again") == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before
    assert run(tmp_path, tiny_shapes, "--run", tmp_path / "on", "--init", folder) == 0
    assert json.loads((tmp_path / "on" / "weights" / "card.json").read_text())["before"] == card
    assert (tmp_path / "on" / "weights" / "model.safetensors").read_bytes() != before


def test_on_multishade(tiny, tiny_shapes, multishade, tmp_path, monkeypatch):
    """Nothing is generated for it but what errors are measured on."""
    small = rose_config.TRAINING["small"]
    phases = tuple(replace(phase, size_px=16) for phase in small.phases)
    monkeypatch.setitem(rose_config.TRAINING, "small", replace(small, phases=phases))
    assert run(tmp_path, multishade, held_out=tiny_shapes) == 0
    card = json.loads((tmp_path / "run" / "weights" / "card.json").read_text())
    assert card["data"]["shapes"]["kind"] == "multishade"
    assert card["data"]["shapes"]["meshes"][0]["name"] == "box.ply"


def test_stable_video_diffusion_is_exported_in_its_own_layout(tiny, tiny_shapes, tmp_path, capfd):
    folder = write_tiny_svd(tmp_path / "svd")
    capfd.readouterr()
    assert run(tmp_path, tiny_shapes, "--preset", "svd", "--init", folder) == 0
    assert capfd.readouterr().err == ""
    weights = tmp_path / "run" / "weights"
    net = RoSENet(read_svd(weights, 9, 32))
    assert net.unet.config.num_frames == 9
    card = json.loads((weights / "card.json").read_text())
    assert (card["backbone"], card["precision"], card["encoder"]) == ("svd", "bfloat16 convolutions", None)
    assert card["steps"] == {"VAE": 0, "video model": 1}
    assert "folder that it started from" in card["licence"]


def test_what_is_wrong_is_told_in_one_line_before_any_work(tiny, tmp_path, capfd, monkeypatch, multishade):
    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(data, "generate", work)
    file = tmp_path / "file"
    file.write_text("in the way")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"junk")
    other = ["--run", tmp_path / "other"]
    cases = [
        (["--run", file], "--run"),
        ([*other, "--export", file], "--export"),
        ([], "checkpoint.safetensors: damaged"),
        (["--scale", "0"], "--scale is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--preset", "huge"], "preset"),
        ([*other, "--preset", "svd"], "give it by --init"),
        ([*other, "--preset", "svd", "--init", tmp_path / "nowhere"], "nowhere: no such folder"),
        ([*other, "--preset", "svd", "--init", tmp_path], "model_index.json: not there"),
        ([*other, "--init", "nobody"], "no such weights"),
        ([*other, "--init", "nirne-small"], "config.json"),
        ([*other, "--data", file], "file: is a file"),
        ([*other, "--held-out", file], "file: is a file"),
        ([*other, "--data", multishade], "its images are 16 px; the phase needs 32"),
    ]
    for options, message in cases:
        assert run(tmp_path, tmp_path / "shapes", *options) == 2, options
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        assert message in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(tmp_path, tmp_path / "shapes", *other) == 2
    assert "one process" in capfd.readouterr().err
    assert not (tmp_path / "shapes").exists()
