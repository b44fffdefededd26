"""Foreign ONNX models built by hand: what they are shown, and how what they say is read."""

import numpy as np
import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.io.images import srgb_to_linear
from maquette.methods.adapters.onnx import Contract, OnnxMethod
from maquette.types import Photo

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'maquette[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'maquette[onnx]'")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def sphere(size: int = 48) -> torch.Tensor:
    """Normals of a hemisphere that fills the frame, in the frame of memory; a wall around it."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    x, y = axis[None].expand(size, size), -axis[:, None].expand(size, size)
    z = (1 - x**2 - y**2).clamp_min(0).sqrt()
    normals = torch.stack([x, y, z], -1)
    normals[x**2 + y**2 >= 1] = torch.tensor([0.0, 0.0, 1.0])
    return normals


def painted(normals: torch.Tensor, mask: torch.Tensor | None = None) -> Photo:
    """A photo whose display colours are the normals' codes."""
    return Photo(srgb_to_linear(normals * 0.5 + 0.5), mask)


def model(path, metadata: dict[str, str], scale=2.0, offset=-1.0, size=("h", "w"), **changes):
    """The photo's values times `scale` plus `offset`, as normals."""
    node = {"mul": "photo", "out": "normals"} | changes
    constants = [numpy_helper.from_array(np.float32(value), name) for name, value in (("a", scale), ("b", offset))]
    nodes = [
        helper.make_node("Mul", ["photo", "a"], ["scaled"]),
        helper.make_node("Add", ["scaled", "b"], [node["out"]]),
    ]
    inputs = [helper.make_tensor_value_info("photo", node.get("type", TensorProto.FLOAT), ["n", 3, *size])]
    outputs = [helper.make_tensor_value_info(node["out"], TensorProto.FLOAT, ["n", 3, *size])]
    if node.get("kappa"):  # the mask, handed back
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, *size]))
        outputs.append(helper.make_tensor_value_info("kappa", TensorProto.FLOAT, ["n", 1, *size]))
        nodes.append(helper.make_node("Identity", ["mask"], ["kappa"]))
    if node.get("last"):  # channels last
        nodes.append(helper.make_node("Transpose", [node["out"]], ["turned"], perm=[0, 2, 3, 1]))
        outputs = [helper.make_tensor_value_info("turned", TensorProto.FLOAT, ["n", *size, 3])]
    if node.get("extra"):
        inputs.append(helper.make_tensor_value_info("intrinsics", TensorProto.FLOAT, [3, 3]))
    graph = helper.make_graph(nodes, "painted", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {f"maquette.{key}": value for key, value in metadata.items()})
    onnx.save(made, str(path))
    return path


def degrees(got: torch.Tensor, expected: torch.Tensor, mask: torch.Tensor) -> float:
    cosine = (got * expected).sum(-1)[mask].double().clamp(-1, 1)
    return float(torch.rad2deg(torch.acos(cosine)).max())


@pytest.mark.parametrize("frame", CAMERA_FRAMES)
def test_every_frame_ends_in_that_of_memory(tmp_path, frame):
    """The picture is painted in the model's frame; whoever says which it is, the normals come out right."""
    truth = sphere()
    stored = truth @ torch.tensor(CAMERA_FRAMES[frame].matrix, dtype=torch.float32).T
    photo = painted(stored)
    sizes = {"size_px": "48", "size_multiple": "16"}
    said_by_file = OnnxMethod.from_file(model(tmp_path / "a.onnx", {"frame": frame} | sizes))
    said_by_caller = OnnxMethod.from_file(model(tmp_path / "b.onnx", {"frame": "opengl"} | sizes), frame)
    for method in (said_by_file, said_by_caller):
        got = method(photo)
        assert bool(got.mask.all())
        assert got.concentration is None
        assert degrees(got.normals, truth, got.mask) < 0.1
        assert torch.allclose(got.normals.norm(dim=-1), torch.ones(48, 48), atol=1e-6)


@pytest.mark.parametrize(
    ("how", "scale", "offset"),
    [
        ("srgb", 2.0, -1.0),
        ("srgb255", 2 / 255, -1.0),
        # (x * deviation + mean) * 2 - 1, a channel each
        (
            "imagenet",
            np.array([0.458, 0.448, 0.45]).reshape(1, 3, 1, 1),
            np.array([-0.03, -0.088, -0.188]).reshape(1, 3, 1, 1),
        ),
    ],
)
def test_every_kind_of_input(tmp_path, how, scale, offset):
    truth = sphere()
    metadata = {"frame": "opengl", "input": how, "size_px": "48", "size_multiple": "16"}
    got = OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata, scale, offset))(painted(truth))
    assert degrees(got.normals, truth, got.mask) < 0.1


def test_linear_input_is_the_photo_itself(tmp_path):
    truth = sphere()
    metadata = {"frame": "opengl", "input": "linear", "size_px": "48", "size_multiple": "16"}
    method = OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata))
    assert degrees(method(Photo(truth * 0.5 + 0.5)).normals, truth, torch.ones(48, 48, dtype=torch.bool)) < 0.1


@pytest.mark.parametrize("size", [(40, 40), (64, 30), (33, 90), (17, 16)])
@pytest.mark.parametrize("fixed", [("h", "w"), (32, 64)])
def test_any_size_keeps_its_shape(tmp_path, size, fixed):
    """A ramp survives any resizing and padding: what is right stays right, in proportion."""
    x = torch.linspace(-0.6, 0.6, size[1])[None].expand(size)
    y = torch.linspace(0.6, -0.6, size[0])[:, None].expand(size)
    truth = torch.stack([x, y, (1 - x**2 - y**2).sqrt()], -1)
    method = OnnxMethod.from_file(model(tmp_path / "m.onnx", {"frame": "opengl", "size_px": "96"}, size=fixed))
    got = method(painted(truth))
    assert got.normals.shape == truth.shape
    assert degrees(got.normals, truth, got.mask) < 5  # half a coarse pixel of the shrunken ramp
    assert degrees(got.normals[size[0] // 2, size[1] // 2], truth[size[0] // 2, size[1] // 2], torch.tensor(True)) < 3


def test_the_object_is_cut_out_of_the_black_and_put_back(tmp_path):
    truth = sphere(96)[24:72, 24:72]
    mask = torch.zeros(80, 100, dtype=torch.bool)
    mask[10:58, 40:88] = True
    normals = torch.zeros(80, 100, 3)
    normals[10:58, 40:88] = truth
    photo = painted(torch.where(mask[..., None], normals, torch.tensor([0.8, -0.6, 0.0])), mask)
    metadata = {"frame": "opengl", "framing": "object", "size_px": "54", "size_multiple": "1"}
    got = OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata, kappa=True))(photo)
    assert torch.equal(got.mask, mask)
    assert degrees(got.normals, normals, mask) < 0.1  # 48 px and the margin are 54: nothing is resized
    assert torch.equal(got.normals * ~mask[..., None], torch.zeros_like(got.normals))
    assert got.concentration is not None
    assert torch.allclose(got.concentration, mask.float())  # the model hands its mask back


def test_channels_last_and_the_only_output_of_three_channels(tmp_path):
    truth = sphere()
    path = model(tmp_path / "m.onnx", {"size_px": "48", "size_multiple": "16"}, out="result", last=True)
    got = OnnxMethod.from_file(path, "opengl")(painted(truth))
    assert degrees(got.normals, truth, got.mask) < 0.1


def test_a_zero_vector_is_no_normal(tmp_path):
    stored = sphere()
    stored[:10] = 0
    metadata = {"frame": "opencv", "size_px": "48", "size_multiple": "16"}
    got = OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata))(painted(stored))
    assert not bool(got.mask[:10].any())
    assert bool(got.mask[10:].all())
    assert torch.equal(got.normals[:10], torch.zeros(10, 48, 3))


def test_bad_models_are_one_line(tmp_path):
    def refused(match, *arguments, **named):
        with pytest.raises(InputError, match=match) as caught:
            OnnxMethod.from_file(model(tmp_path / "m.onnx", *arguments, **named))
        assert "\n" not in str(caught.value)
        assert "m.onnx" in str(caught.value)

    refused("doesn't say in which frame.*@opengl", {})
    refused("maquette.input is 'sRGB'", {"frame": "opengl", "input": "sRGB"})
    refused("maquette.framing is 'all'", {"frame": "opengl", "framing": "all"})
    refused("maquette.size_px is '0'", {"frame": "opengl", "size_px": "0"})
    refused("maquette.size_multiple is '1.5'", {"frame": "opengl", "size_multiple": "1.5"})
    refused("takes the inputs photo, intrinsics", {"frame": "opengl"}, extra=True)
    with pytest.raises(InputError, match="convention 'maya'"):
        Contract.from_metadata({"maquette.frame": "maya"}, "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for content in (b"", b"no model", whole[: len(whole) // 2]):
        (tmp_path / "cut.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"cut\.onnx: not a whole ONNX model"):
            OnnxMethod.from_file(tmp_path / "cut.onnx", "opengl")


def test_a_model_that_fails_or_answers_nonsense(tmp_path):
    metadata = {"frame": "opengl", "size_px": "48", "size_multiple": "16"}
    photo = painted(sphere())
    with pytest.raises(InputError, match="hold NaN"):
        OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata, scale=np.nan))(photo)
    five = np.zeros((1, 3, 1, 5), np.float32)  # broadcasts with no 48 pixels
    with pytest.raises(InputError, match="fails on a photo of 48x48"):
        OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata, offset=five))(photo)
    wide = np.zeros((2, 3, 1, 1), np.float32)  # two answers to one photo
    with pytest.raises(InputError, match=r"answers \(2, 3, 48, 48\)"):
        OnnxMethod.from_file(model(tmp_path / "m.onnx", metadata, offset=wide))(photo)


def test_cuda_that_this_onnxruntime_lacks(tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="--device cuda: this onnxruntime has no CUDA"):
        OnnxMethod.from_file(model(tmp_path / "m.onnx", {"frame": "opengl"}), device="cuda")
