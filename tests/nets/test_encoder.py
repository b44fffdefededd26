"""The encoder: TensorFlow's padding, folded normalisation, and what it knows of photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maquette.errors import InputError
from maquette.nets.encoder import (
    STAGES,
    Bottleneck,
    EfficientNetLite,
    Stage,
    convolve,
    from_published,
    published_weights,
)

TEAPOT, COFFEE_MUG = 849, 504  # of ImageNet's thousand classes
PHOTO = Path(__file__).parents[2] / "examples/photos/teapot.png"


def published(variant: str) -> Path:
    try:
        return published_weights(variant)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("variant", list(STAGES))
def test_features_at_five_strides(variant):
    net = EfficientNetLite(variant)
    features = net(torch.zeros(2, 3, 64, 96))
    sides = [(64 // s, 96 // s) for s in (2, 4, 8, 16, 32)]
    assert [f.shape for f in features] == [(2, c, *side) for c, side in zip(net.channels, sides, strict=True)]


def test_an_unknown_variant_is_one_line():
    with pytest.raises(InputError, match="no encoder 'lite9'; there are lite0, lite2"):
        EfficientNetLite("lite9")


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("side", [7, 8])
def test_same_padding_is_tensorflows(kernel, stride, side):
    """By hand: output pixel i sees inputs i * stride - before ... with the smaller half of the padding before."""
    layer = torch.nn.Conv2d(1, 1, kernel, stride)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(kernel * kernel, dtype=torch.float32).reshape(1, 1, kernel, kernel))
        layer.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
    image = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    got = convolve(layer, image).detach().numpy()[0, 0]
    count = -(-side // stride)
    before = max((count - 1) * stride + kernel - side, 0) // 2
    padded = np.zeros((side + 2 * kernel, side + 2 * kernel))
    padded[kernel : kernel + side, kernel : kernel + side] = image[0, 0]
    weights = np.arange(kernel * kernel).reshape(kernel, kernel)
    assert got.shape == (count, count)
    for row in range(count):
        for column in range(count):
            y, x = (kernel - before + at * stride for at in (row, column))
            assert got[row, column] == pytest.approx((padded[y : y + kernel, x : x + kernel] * weights).sum(), rel=1e-5)


def test_a_bottleneck_adds_its_input_only_where_it_fits():
    x = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    same, other = Bottleneck(8, Stage(1, 3, 1, 6, 8), 1), Bottleneck(8, Stage(1, 3, 1, 6, 16), 1)
    for block in (same, other):
        torch.nn.init.zeros_(block.project.weight)
        torch.nn.init.zeros_(block.project.bias)  # pyright: ignore[reportArgumentType]
    assert torch.equal(same(x), x)
    assert torch.equal(other(x), torch.zeros(1, 16, 8, 8))


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_the_published_weights_know_a_teapot(variant):
    """A wrong padding, scale or order of channels, or a normalisation badly folded, gives another class."""
    state, head = from_published(published(variant), variant)
    net = EfficientNetLite(variant)
    net.load_state_dict(state)
    image = cv2.imread(str(PHOTO))
    assert image is not None
    small = cv2.resize(image[..., ::-1], (224, 224), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        features = net(torch.from_numpy(small.copy()).permute(2, 0, 1)[None] / 127.5 - 1)[-1]
        pooled = F.relu6(F.conv2d(features, head["head.weight"], head["head.bias"])).mean((2, 3))
        classes = (pooled @ head["fc.weight"].T + head["fc.bias"]).softmax(1)[0]
    assert int(classes.argmax()) == TEAPOT


def test_weights_of_another_variant_and_no_weights_are_one_line(tmp_path):
    with pytest.raises(InputError, match="not the weights of an EfficientNet-lite2"):
        from_published(published("lite0"), "lite2")
    (tmp_path / "no.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"no\.pth: no state dict"):
        from_published(tmp_path / "no.pth", "lite0")
