"""CLONE's refiner and gate (arXiv 2508.05950): a photo and any normal map of it to a better one, in one step.

    photo, mask   --> texture stream  --.  at 1/2, 1/4, 1/8, 1/16
                                        |-- gated, joined -- decoder, told t -- (+) --> refined --.
    normals, mask --> geometry stream --'                                        |               (gate) --> fused
          |                                                                      |                |
          '----------------------------------------------------------------------'----------------'

Beside the photo, the texture stream sees what the photo would be if the normals were right and the object white, under
the light that suits them best (`maquette.shading.kernel`), and where the photo differs; the decoder is told that light.
So the network sees where its input fails, as an iteration of a loop would. This input is ours.

It is shaped as a denoising network that is asked once: the timestep t is a constant, no noise is drawn, and what it
predicts is added to its input. The residual starts at zero, so a fresh network hands its input on. The gate weighs, per
pixel, the input against the refined normal; it starts at one half.

The two streams are fused at every level under one gate for channels and one for places,

    M_c = sigmoid(MLP(mean F_tex) + MLP(max F_geo)),   M_s = sigmoid(conv7x7[mean_c F_tex, max_c F_geo]).

The first version of the paper concatenates the gated features in its text and multiplies them in its formula; we
concatenate. Ours to choose, as the paper is silent: all sizes, convolutional streams that begin at half resolution, the
timestep as a scale and a shift of the decoder's features (FiLM), no attention.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.blocks import Block, Stream, zero
from maquette.shading.exposure import decode, encode
from maquette.shading.kernel import fit_light, matte_radiance

MULTIPLE = 16  # input sides must be multiples of this
_TIMES = 32  # entries of the timestep's embedding
_LIGHT_SIDE = 32  # a light of nine numbers needs no more pixels than this squared


@dataclass(frozen=True)
class RefinerConfig:
    """Size of the network.

    Attributes:
        channels: of each stream at 1/2, 1/4, 1/8, 1/16 of the resolution.
        blocks: residual blocks per level of each stream and of the decoder.
        timestep: the constant t, in 0..1.
        size_px: side of the square that the weights were trained on last.
    """

    channels: tuple[int, ...] = (24, 48, 96, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    timestep: float = 0.5
    size_px: int = 128

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or len(self.blocks) != 4:
            raise InputError("a refiner has four levels of channels and blocks")
        if any(c % 8 for c in self.channels):
            raise InputError(f"channels {self.channels}: each must be a multiple of 8")


PRESETS: dict[str, RefinerConfig] = {
    "small": RefinerConfig(),
    "tiny": RefinerConfig((8, 8, 16, 16), size_px=32),  # for tests
}


@dataclass(frozen=True)
class RefinerOutput:
    """What the network says; normals are unit inside the mask and zero outside.

    Attributes:
        refined: the network's own normals.
        gate: share of the input in the fused normals, before they are scaled to unit length.
        fused: unit(gate * input + (1 - gate) * refined).
    """

    refined: Float[Tensor, "batch 3 height width"]
    gate: Float[Tensor, "batch 1 height width"]
    fused: Float[Tensor, "batch 3 height width"]


class RefinerNet(nn.Module):
    """The network; see the module's text. A function of its inputs, in training too."""

    time: Tensor

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.texture = Stream(24, c, config.blocks)
        self.geometry = Stream(16, c, config.blocks)
        self.fusion = nn.ModuleList([CrossGate(channels) for channels in c])
        self.film = nn.ModuleList([nn.Linear(_TIMES + 9, 2 * channels) for channels in c])
        self.up = nn.ModuleList([nn.Conv2d(c[k + 1], c[k], 1) for k in range(3)])
        self.decoder = nn.ModuleList([nn.Sequential(*[Block(c[k]) for _ in range(config.blocks[k])]) for k in range(4)])
        self.to_full = nn.Conv2d(c[0], 48, 1)
        self.residual = nn.Sequential(
            nn.Conv2d(12 + 7, 24, 3, padding=1), nn.SiLU(), zero(nn.Conv2d(24, 3, 3, padding=1))
        )
        self.gate = nn.Sequential(nn.Conv2d(12 + 6, 16, 3, padding=1), nn.SiLU(), zero(nn.Conv2d(16, 1, 3, padding=1)))
        self.register_buffer("time", _embed(config.timestep), persistent=False)
        for film in self.film:
            nn.init.zeros_(film.weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(film.bias)  # pyright: ignore[reportArgumentType]
        # The layout that CPU and GPU convolutions are fastest in.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        photo: Float[Tensor, "batch 3 height width"],
        normals: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "batch 1 height width"],
    ) -> RefinerOutput:
        """Refine `normals`.

        Args:
            photo: in 0..1, as `maquette.shading.exposure.normalise_exposure` makes it; zero outside the mask.
            normals: unit inside the mask.
            mask: 1 on the object.
        """
        normals = normals * mask
        shown, light = reshade(photo, normals, mask)
        seen = torch.cat([photo * 2 - 1, mask], 1)
        told = torch.cat([self.time.expand(len(photo), -1), light], 1)
        texture = torch.cat([seen, shown, (photo.mean(1, keepdim=True) - shown) * mask], 1)
        shape = torch.cat([normals, mask], 1)
        levels = zip(
            self.fusion,
            self.texture(F.pixel_unshuffle(texture, 2)),
            self.geometry(F.pixel_unshuffle(shape, 2)),
            strict=True,
        )
        features = [fuse(texture, geometry) for fuse, texture, geometry in levels]
        x = self._step(features[3], 3, told)
        for level in (2, 1, 0):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest") + features[level]
            x = self._step(x, level, told)
        x = F.pixel_shuffle(self.to_full(x), 2)
        # A direction in bfloat16 would be 0.2 degrees coarse: sums of normals are made in their own precision.
        residual = self.residual(torch.cat([x, seen, normals], 1)).to(normals.dtype)
        refined = unit(normals + residual * mask, 1)
        gate = torch.sigmoid(self.gate(torch.cat([x, normals, refined], 1)).to(normals.dtype))
        fused = unit(gate * normals + (1 - gate) * refined, 1)
        return RefinerOutput(refined, gate * mask, fused)

    def _step(self, x: Tensor, level: int, told: Tensor) -> Tensor:
        """The decoder's blocks of a level, told the timestep and the light."""
        scale, shift = self.film[level](told)[:, :, None, None].chunk(2, 1)
        return self.decoder[level](x * (1 + scale) + shift)


class CrossGate(nn.Module):
    """Cross-domain gating: texture tells where geometry is to be heard, and geometry where texture is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 4, 8)
        self.of_texture = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels))
        self.of_geometry = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels))
        self.places = nn.Conv2d(2, 1, 7, padding=3)
        self.join = nn.Conv2d(2 * channels, channels, 1)

    def forward(
        self,
        texture: Float[Tensor, "batch channels height width"],
        geometry: Float[Tensor, "batch channels height width"],
    ) -> Tensor:
        """Gated features of both, joined to as many channels as one has."""
        channel = torch.sigmoid(self.of_texture(texture.mean((2, 3))) + self.of_geometry(geometry.amax((2, 3))))
        place = torch.sigmoid(
            self.places(torch.cat([texture.mean(1, keepdim=True), geometry.amax(1, keepdim=True)], 1))
        )
        gate = channel[:, :, None, None] * place
        return self.join(torch.cat([gate * texture, gate * geometry], 1))


def reshade(
    photo: Float[Tensor, "batch 3 height width"],
    normals: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 9"]]:
    """The brightness of a white object with these normals, display-encoded, and the light that it was found with.

    The light is fitted to the photo in one round (`fit_light`), so that all of this is differentiable; its harmonics
    are given at unit length.
    """
    step = max(photo.shape[-1] // _LIGHT_SIDE, 1)
    few = slice(step // 2, None, step)
    with torch.autocast(photo.device.type, enabled=False):
        brightness = decode(photo.clamp_min(0)).mean(1)[:, few, few, None].expand(-1, -1, -1, 3)
        here = normals[:, :, few, few].permute(0, 2, 3, 1)
        light = fit_light(brightness, here, mask[:, 0, few, few] > 0.5, ridge=1e-2, rounds=1).sh[..., :1]
        flat = normals.permute(0, 2, 3, 1).flatten(1, 2)
        shaded = matte_radiance(light, flat).transpose(1, 2).unflatten(2, photo.shape[2:])
        # The offset bounds the slope of the encoding where it is black.
        shown = encode(shaded.clamp(0, 2) + 1e-3) * mask
        return shown, unit(light[..., 0])


def _embed(timestep: float) -> Float[Tensor, " entries"]:
    """Sines and cosines of the timestep at frequencies from 1 to 1000."""
    angles = timestep * torch.logspace(0, 3, _TIMES // 2)
    return torch.cat([angles.sin(), angles.cos()]) / math.sqrt(_TIMES / 2)
