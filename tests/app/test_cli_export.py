"""`maquette export` and what its file is good for, through the entry point."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.cli.main import main
from maquette.io.normal_maps import read_normal_map
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS, NiRNENet

pytest.importorskip("onnx", reason="needs onnx: pip install 'maquette[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'maquette[onnx]'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = NiRNENet(PRESETS["tiny"])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("weights") / "untrained"
    NiRNE(net).save_pretrained(folder)
    return folder


def run(capfd, *arguments) -> tuple[int, list[str], list[str]]:
    code = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_exported_and_used_it_gives_the_networks_files(weights, tmp_path, capfd):
    model = tmp_path / "nirne.onnx"
    code, lines, errors = run(capfd, "export", "nirne", "-o", model, "--weights", weights, "--json")
    assert (code, errors) == (0, [])
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert report["file"] == str(model)
    assert (report["weights"], report["frame"], report["size_px"], report["mirrored"]) == (
        "untrained",
        "opengl",
        64,
        True,
    )
    assert 0 < max(report["largest_difference_to_torch"].values()) < 1e-4

    axis = (np.arange(80) - 39.5) / 28
    disc = np.add.outer(axis**2, axis**2) < 1  # 56 px: with its margins, the 64 that the file recommends
    shade = (120 + 60 * axis)[None].repeat(80, 0).clip(0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([shade, shade, shade, disc.astype(np.uint8) * 255])).save(tmp_path / "cup.png")
    maps = {}
    whole = ["--weights", weights, "--detail-px", 64]  # the file holds two passes
    for method, options in (("nirne", whole), (f"onnx:{model}", [])):
        out = tmp_path / method[:4]
        arguments = ["normals", tmp_path / "cup.png", "-o", out, "--format", "npy", "--confidence", "--method", method]
        code, _, errors = run(capfd, *arguments, *options)
        assert (code, errors) == (0, [])
        maps[method[:4]] = read_normal_map(out / "cup.normals.npy"), np.load(out / "cup.confidence.npy")
    (torch_map, torch_confidence), (onnx_map, onnx_confidence) = maps["nirn"], maps["onnx"]
    assert torch.equal(onnx_map.mask, torch_map.mask)
    assert torch.allclose(onnx_map.normals, torch_map.normals, atol=1e-3)
    assert np.allclose(onnx_confidence, torch_confidence, atol=1e-3)


def test_the_options_reach_the_file(weights, tmp_path, capfd):
    import onnx

    model = tmp_path / "nirne.onnx"
    code, lines, _ = run(capfd, "export", "nirne", "-o", model, "--weights", weights, "--no-mirror", "--size-px", 50)
    assert code == 0
    assert "untrained" in lines[0]
    said = {entry.key: entry.value for entry in onnx.load(str(model)).metadata_props}
    assert (said["maquette.mirrored"], said["maquette.size_px"]) == ("no", "128")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nirne"], "the following arguments are required: -o"),
        (["rose", "-o", "a.onnx"], "invalid choice: 'rose'"),
        (["nirne", "-o", "a.pt"], "a.pt: the file must end in .onnx"),
        (["nirne", "-o", "folder.onnx"], "folder.onnx: is a folder"),
        (["nirne", "-o", "file/a.onnx"], "file/a.onnx"),
        (["nirne", "-o", "a.onnx", "--weights", "nobodys"], "nobodys: no such weights"),
        (["nirne", "-o", "a.onnx", "--size-px", "12"], "working size of 12 px"),
        (["nirne", "-o", "a.onnx", "--size-px", "0"], "working size of 0 px"),
        (["nirne", "-o", "a.onnx", "--size-px", "big"], "invalid int value: 'big'"),
    ],
)
def test_every_mistake_is_one_line(tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    code, lines, errors = run(capfd, "export", *arguments)
    assert (code, lines) == (2, [])
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.onnx"]


def test_without_onnxruntime_it_says_what_to_type(weights, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, errors = run(capfd, "export", "nirne", "-o", tmp_path / "a.onnx", "--weights", weights)
    assert code == 2
    assert "pip install 'maquette[onnx]'" in errors[0]
