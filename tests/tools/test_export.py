"""The exported graph against the network, and its file as a method against the method."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maquette.errors import InputError
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne import PRESETS, NiRNENet, enlarged
from maquette.shading.exposure import normalise_exposure
from maquette.tools.export import TOLERANCE, export_onnx, normalised
from maquette.types import Photo

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'maquette[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'maquette[onnx]'")


def untrained(mirrored: bool = True) -> NiRNE:
    torch.manual_seed(0)
    net = NiRNENet(PRESETS["tiny"])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return NiRNE(net, mirrored=mirrored)


@pytest.fixture(scope="module", params=[True, False], ids=["mirrored", "single"])
def exported(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "nirne.onnx"
    method = untrained(request.param)
    return method, path, export_onnx(method, path, "untrained")


def photos(batch, height, width, seed=0):
    """Linear noise of any brightness, and masks of which some are ragged."""
    rng = torch.Generator().manual_seed(seed)
    photo = torch.rand(batch, 3, height, width, generator=rng) * 10 ** torch.linspace(-3, 3, batch).reshape(-1, 1, 1, 1)
    return photo, (torch.rand(batch, 1, height, width, generator=rng) > 0.4).float()


def passed(method, seen, mask, guide=None):
    """A pass of the network, averaged with the mirrored one if the method is; and how far both agree, 0 to 1."""
    normals, kappa = method.net(seen, mask, guide=guide)
    if not method.mirrored:
        return normals, kappa, torch.ones_like(kappa)
    sign = torch.tensor([-1.0, 1, 1]).reshape(1, 3, 1, 1)
    other, other_kappa = method.net(seen.flip(3), mask.flip(3), guide=None if guide is None else guide.flip(3) * sign)
    normals = (normals + other.flip(3) * sign) / 2
    # Two that all but cancel, as noise may bring about, magnify what is rounded.
    certainty = normals.norm(dim=1, keepdim=True)
    return normals / certainty, (kappa + other_kappa.flip(3)) / 2, certainty


@pytest.mark.parametrize("size", [(1, 64, 64), (3, 64, 128), (2, 192, 128)])
def test_onnxruntime_says_what_torch_says(exported, size):
    """Any batch and any sides of 64; at 192x128 the percentile looks at every second pixel."""
    method, path, differences = exported
    assert max(differences.values()) <= TOLERANCE == 1e-4
    photo, mask = photos(*size)
    with torch.inference_mode():
        cover = F.avg_pool2d(mask, 2)
        coarse = (cover >= 0.5).float()
        small = normalise_exposure(F.avg_pool2d(photo * mask, 2) / cover.clamp_min(1e-3), coarse)
        first, _, certain = passed(method, small, coarse)
        guide = enlarged(first, coarse)
        normals, kappa, certainty = passed(method, normalise_exposure(photo, mask), mask, guide)
        # What follows from a guide that two answers all but cancelled in is as uncertain.
        near = F.interpolate(-F.max_pool2d(-certain, 3, 1, 1), scale_factor=2)
        certainty = certainty * (near > 0.1)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(["normals", "kappa"], {"photo": photo.numpy(), "mask": mask.numpy()})
    assert (np.abs(found[0] - normals.numpy()) * certainty.numpy()).max() < 1e-4
    assert float((certainty > 0.1).float().mean()) > 0.5
    assert (np.abs(found[1] - kappa.numpy()) / np.maximum(kappa.numpy(), 1) * (certainty > 0).numpy()).max() < 1e-4


def test_the_graphs_exposure_is_the_methods():
    photo, mask = photos(6, 160, 144)
    mask[0] = 0  # no object at all
    mask[1] = 0
    mask[1, :, 40, 40] = 1  # a single pixel
    mask[2] = 1
    assert torch.allclose(normalised(photo, mask), normalise_exposure(photo, mask), atol=1e-6)


def test_the_file_says_what_it_is_and_is_the_same_every_time(exported, tmp_path):
    method, path, _ = exported
    model = onnx.load(str(path))
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["maquette.weights"] == "untrained"
    assert said["maquette.frame"] == "opengl"
    assert (said["maquette.input"], said["maquette.framing"]) == ("linear", "object")
    assert (said["maquette.size_px"], said["maquette.size_multiple"]) == ("64", "64")
    assert model.opset_import[0].version == 17
    export_onnx(untrained(method.mirrored), tmp_path / "again.onnx", "untrained")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again.onnx"]


def test_as_a_method_it_is_nirne(exported):
    from maquette.methods.adapters.onnx import OnnxMethod

    method, path, _ = exported
    rgb = torch.rand(80, 90, 3, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(80, 90, dtype=torch.bool)
    mask[10:66, 20:76] = True  # 56 pixels with their margins are the 64 of the file: nothing is resized
    given = Photo(rgb, mask)
    same = NiRNE(method.net, method.size_px, method.mirrored, detail_px=64)
    expected, got = same(given), OnnxMethod.from_file(path)(given)
    assert torch.equal(got.mask, mask)
    assert torch.allclose(got.normals, expected.normals, atol=1e-3)  # twice resized, and made unit again
    assert got.concentration is not None and expected.concentration is not None
    assert torch.allclose(got.concentration, expected.concentration, rtol=1e-3)


def test_numbers_that_differ_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.tools.export.TOLERANCE", 0.0)
    with pytest.raises(RuntimeError, match="differs from torch"):
        export_onnx(untrained(), tmp_path / "nirne.onnx", "untrained")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'maquette\[onnx\]'"):
        export_onnx(untrained(), tmp_path / "nirne.onnx", "untrained")
    assert list(tmp_path.iterdir()) == []
