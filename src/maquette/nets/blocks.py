"""What several networks are built of."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Stream(nn.Module):
    """An encoder: residual blocks at 1/2, 1/4, ... of the resolution; returns every level's features."""

    def __init__(self, inputs: int, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels)])
        self.levels = nn.ModuleList(
            [nn.Sequential(*[Block(c) for _ in range(count)]) for c, count in zip(channels, blocks, strict=True)]
        )

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Features from fine to coarse."""
        features = [self.levels[0](self.stem(x))]
        for down, level in zip(self.down, self.levels[1:], strict=True):
            features.append(level(down(features[-1])))
        return features


class Block(nn.Module):
    """x + conv(silu(conv(norm(x)))); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = zero(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Same shape in and out."""
        return x + self.second(F.silu(self.first(self.norm(x))))


class Attention(nn.Module):
    """Self-attention over all positions of the coarsest level, then a pointwise MLP.

    Positions are told by a depthwise convolution of the values, so that any image size is accepted.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.out = zero(nn.Conv2d(channels, channels, 1))
        self.mlp_norm = nn.GroupNorm(8, channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.SiLU(), zero(nn.Conv2d(2 * channels, channels, 1))
        )

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Same shape in and out."""
        n, c, height, width = x.shape
        q, k, v = self.qkv(self.norm(x)).chunk(3, 1)
        tokens = [t.reshape(n, self.heads, c // self.heads, height * width).transpose(2, 3) for t in (q, k, v)]
        mixed = F.scaled_dot_product_attention(*tokens).transpose(2, 3).reshape(n, c, height, width)
        x = x + self.out(mixed + self.position(v))
        return x + self.mlp(self.mlp_norm(x))


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer with weights of zero: what it is added to starts as it is."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
