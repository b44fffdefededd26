"""NiRNE: noise-injected regressive normal estimation (Hi3DGen, arXiv 2503.22236), on an encoder that knows photographs.

    photo, mask, guide ---> clean stream: 1/2, 1/4, 1/8, 1/16, 1/32 -.
         |                                                            (+) -> decoder -> normal, concentration
         '-- + sigma noise -> noisy stream: 1/2, 1/4, 1/8 -- 0 -------'

The clean stream is an EfficientNet-Lite that starts from its ImageNet weights; mask and guide join its stem through a
convolution that starts at zero. The noisy stream sees the photo under Gaussian noise of a random strength: noise drowns
the high frequencies first, so learning against it is learning where detail is real. Its features join the clean ones
through convolutions that start at zero, as in ControlNet, so it begins as no change and adds a residual. At inference
the noise is zero: the network is deterministic.

The guide is what the network said of the same photo at half the resolution, or nothing. A network of convolutions sees
ever smaller parts of an object as the resolution grows; the guide keeps the large shape, and the answer begins as the
guide. So one network serves 128 px and 512 px, whole photos and tiles of them.

Ours to choose, as the paper is silent: the encoder instead of a latent U-Net, the sum in place of a concatenation (a
concatenation followed by a linear map that starts as [1, 0]), sigma uniform in [0, `noise`] and told to the stream as a
channel, the guide, the concentration output.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.blocks import Attention, Block, Stream, zero
from maquette.nets.encoder import STRIDE, EfficientNetLite

MULTIPLE = STRIDE  # input sides must be multiples of this


@dataclass(frozen=True)
class NiRNEConfig:
    """Size of the network.

    Attributes:
        encoder: a key of `maquette.nets.encoder.STAGES`.
        channels: of the decoder at 1/2, 1/4, 1/8, 1/16, 1/32 of the resolution.
        blocks: residual blocks of the decoder at 1/2, 1/4, 1/8, 1/16.
        full: channels of the convolutions at the full resolution.
        noisy_channels: of the noisy stream at 1/2, 1/4, 1/8; all 0 leaves the stream out.
        noise: largest standard deviation of the injected noise, photo values in 0..1.
        heads: attention heads at 1/32.
        size_px: side of the square at which a photo is seen whole, without a guide.
    """

    encoder: str = "lite0"
    channels: tuple[int, ...] = (40, 64, 96, 128, 192)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    full: int = 24
    noisy_channels: tuple[int, ...] = (24, 32, 48)
    noise: float = 0.4
    heads: int = 6
    size_px: int = 128

    def __post_init__(self) -> None:
        if len(self.channels) != 5 or len(self.blocks) != 4 or len(self.noisy_channels) != 3:
            raise InputError("a NiRNE has five levels of channels, four of blocks and three of noisy_channels")
        if any(c % 8 for c in (*self.channels, self.full, *self.noisy_channels)):
            raise InputError(f"channels {self.channels}, {self.full}, {self.noisy_channels}: must be multiples of 8")


PRESETS: dict[str, NiRNEConfig] = {
    "small": NiRNEConfig(),
    "base": NiRNEConfig("lite2", (64, 96, 160, 224, 320), (2, 2, 3, 3), 32, (32, 64, 96), heads=8),
    "tiny": NiRNEConfig("tiny", (8, 8, 8, 8, 16), (1, 1, 1, 1), 8, (8, 8, 8), heads=2, size_px=32),  # for tests
}


class NiRNENet(nn.Module):
    """The network; see the module's text.

    `forward` takes photos in 0..1 (display-encoded, exposure normalised, zero outside the mask), masks and, if there is
    one, a guide; and returns unit normals (camera frame) and concentrations kappa > 0.
    """

    def __init__(self, config: NiRNEConfig) -> None:
        super().__init__()
        self.config = config
        c, n = config.channels, config.noisy_channels
        self.clean = EfficientNetLite(config.encoder)
        e = self.clean.channels
        self.stem = zero(nn.Conv2d(4, self.clean.stem.out_channels, 3, 2, 1))
        self.enter = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in zip(e, c, strict=True)])
        self.attention = Attention(c[4], config.heads)
        self.noisy = Stream(20, n, (1, 1, 1)) if any(n) else None
        self.join = nn.ModuleList([zero(nn.Conv2d(a, b, 1)) for a, b in zip(n, c, strict=False)]) if any(n) else None
        self.up = nn.ModuleList([nn.Conv2d(c[k + 1], c[k], 1) for k in range(4)])
        self.decoder = nn.ModuleList([nn.Sequential(*[Block(c[k]) for _ in range(config.blocks[k])]) for k in range(4)])
        self.to_full = nn.Conv2d(c[0], config.full, 1)
        self.beside = nn.Conv2d(7, config.full, 3, padding=1)
        self.head = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(config.full, config.full, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(config.full, 4, 3, padding=1),
        )
        # The layout that CPU and GPU convolutions are fastest in.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        photo: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "batch 1 height width"],
        rng: Generator | None = None,
        guide: Float[Tensor, "batch 3 height width"] | None = None,
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 1 height width"]]:
        """Normals and concentrations.

        Args:
            photo: sides must be multiples of `MULTIPLE`.
            mask: 1 on the object.
            rng: noise is injected only if it is given (training).
            guide: unit normals, of a coarser pass; zero vectors where nothing is known.
        """
        seen = torch.cat([photo * 2 - 1, mask], 1)
        told = torch.zeros_like(photo) if guide is None else guide
        features = self.clean(seen[:, :3], self.stem(torch.cat([mask, told], 1)))
        features = [enter(feature) for enter, feature in zip(self.enter, features, strict=True)]
        if self.noisy is not None and self.join is not None:
            detail = self.noisy(F.pixel_unshuffle(self._with_noise(seen, rng), 2))
            for level, (join, extra) in enumerate(zip(self.join, detail, strict=True)):
                features[level] = features[level] + join(extra)
        x = self.attention(features[4])
        for level in (3, 2, 1, 0):
            x = self.decoder[level](_doubled(self.up[level](x)) + features[level])
        x = self.head(_doubled(self.to_full(x)) + self.beside(torch.cat([seen, told], 1)))
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # a direction in bfloat16 would be 0.2 degrees coarse
        kappa = 0.2 + F.softplus(x[:, 3:] + 1.0)
        # Training starts at the guide or, where there is none, at the flat guess, instead of at nowhere.
        flat = x.new_tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
        start = flat + (told - flat) * told.square().sum(1, keepdim=True).clamp(0, 1)
        return unit(x[:, :3] + start, 1), kappa

    def _with_noise(self, seen: Tensor, rng: Generator | None) -> Tensor:
        n, _, height, width = seen.shape
        if rng is None:
            return torch.cat([seen, seen.new_zeros(n, 1, height, width)], 1)
        sigma = self.config.noise * torch.rand(n, 1, 1, 1, generator=rng, device=seen.device)
        noise = torch.randn(n, 3, height, width, generator=rng, device=seen.device)
        noisy = seen[:, :3] + 2 * sigma * noise  # photos span -1..1 here
        return torch.cat([noisy, seen[:, 3:], sigma.expand(-1, -1, height, width)], 1)

    def stage_two_parameters(self) -> list[nn.Parameter]:
        """What the second stage trains: the noisy stream and its joints; all else is frozen."""
        if self.noisy is None or self.join is None:
            raise InputError("this NiRNE has no noisy stream, so it has no second stage")
        return [*self.noisy.parameters(), *self.join.parameters()]


def enlarged(
    normal: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "batch 3 tall wide"]:
    """A coarse answer as the guide of a finer pass, at twice its size by default: unit, none where none is near."""
    both = torch.cat([normal * mask, mask], 1)
    blurred = _doubled(both) if size is None else F.interpolate(both, size, mode="bilinear", align_corners=False)
    return unit(blurred[:, :3], 1) * (blurred[:, 3:] > 0)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
