"""NiRNE without a pretrained encoder: the network of the weights `nirne-small-1`, and RoSE's encoder of photos.

    photo, mask ----------> clean stream: 1/2, 1/4, 1/8, 1/16 ---.
         |                                                        (+) -> decoder -> normal, concentration
         '-- + sigma noise -> noisy stream: 1/2, 1/4, 1/8 -- 0 --'

The clean stream carries the low frequencies. The noisy stream sees the photo under Gaussian noise of a random
strength: noise drowns the high frequencies first, so learning against it is learning where detail is real.
Its features join the clean ones ahead of the decoder through convolutions that start at zero, as in
ControlNet, so it begins as no change and adds a residual. At inference the noise is zero: the network is
deterministic.

Ours to choose, as the paper is silent: convolutional streams instead of a pretrained latent U-Net, the sum in
place of a concatenation (a concatenation followed by a linear map that starts as [1, 0]), sigma uniform in
[0, `noise`] and told to the stream as a channel, the concentration output.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.blocks import Attention, Block, Stream, zero

MULTIPLE = 16  # input sides must be multiples of this


@dataclass(frozen=True)
class ConvNiRNEConfig:
    """Size of the network.

    Attributes:
        channels: of the clean stream at 1/2, 1/4, 1/8, 1/16 of the resolution.
        blocks: residual blocks per level of the clean stream.
        noisy_channels: of the noisy stream at 1/2, 1/4, 1/8; all 0 leaves the stream out.
        noise: largest standard deviation of the noise that was injected in training, photo values in 0..1.
        heads: attention heads at 1/16.
        size_px: side of the square that the weights were trained on last.
    """

    channels: tuple[int, ...] = (32, 80, 160, 256)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    noisy_channels: tuple[int, ...] = (32, 64, 96)
    noise: float = 0.4
    heads: int = 8
    size_px: int = 128

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or len(self.blocks) != 4 or len(self.noisy_channels) != 3:
            raise InputError("a NiRNE has four levels of channels and blocks and three of noisy_channels")
        if any(c % 8 for c in (*self.channels, *self.noisy_channels)):
            raise InputError(f"channels {self.channels}, {self.noisy_channels}: each must be a multiple of 8")


PRESETS: dict[str, ConvNiRNEConfig] = {
    "small": ConvNiRNEConfig(),
    "tiny": ConvNiRNEConfig((8, 16, 16, 16), (1, 1, 1, 1), (8, 8, 8), heads=2, size_px=32),  # for tests
}


class ConvNiRNENet(nn.Module):
    """The network; see the module's text.

    `forward` takes photos in 0..1 (display-encoded, exposure normalised, zero outside the mask) and masks,
    and returns unit normals (camera frame) and concentrations kappa > 0.
    """

    def __init__(self, config: ConvNiRNEConfig) -> None:
        super().__init__()
        self.config = config
        c, n = config.channels, config.noisy_channels
        self.clean = Stream(16, c, config.blocks)
        self.attention = Attention(c[3], config.heads)
        self.noisy = Stream(20, n, (1, 1, 1)) if any(n) else None
        self.join = nn.ModuleList([zero(nn.Conv2d(a, b, 1)) for a, b in zip(n, c, strict=False)]) if any(n) else None
        self.up = nn.ModuleList([nn.Conv2d(c[k + 1], c[k], 1) for k in range(3)])
        self.decoder = nn.ModuleList([nn.Sequential(*[Block(c[k]) for _ in range(config.blocks[k])]) for k in range(3)])
        self.to_full = nn.Conv2d(c[0], 48, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, 4, 3, padding=1))
        # The layout that CPU and GPU convolutions are fastest in.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        photo: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 1 height width"]]:
        """Normals and concentrations. It isn't trained any more: the noisy stream is told that there is no noise."""
        seen = torch.cat([photo * 2 - 1, mask], 1)
        features = self.clean(F.pixel_unshuffle(seen, 2))
        features[3] = self.attention(features[3])
        if self.noisy is not None and self.join is not None:
            silent = torch.cat([seen, torch.zeros_like(mask)], 1)
            detail = self.noisy(F.pixel_unshuffle(silent, 2))
            for level, (join, extra) in enumerate(zip(self.join, detail, strict=True)):
                features[level] = features[level] + join(extra)
        x = features[3]
        for level in (2, 1, 0):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest") + features[level]
            x = self.decoder[level](x)
        x = F.pixel_shuffle(self.to_full(x), 2)
        x = self.head(torch.cat([x, seen], 1))
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # a direction in bfloat16 would be 0.2 degrees coarse
        kappa = 0.2 + F.softplus(x[:, 3:] + 1.0)
        # The bias towards the viewer starts training at the flat guess instead of at nowhere.
        return unit(x[:, :3] + x.new_tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1), 1), kappa
