"""RoSE: a video diffusion model that imagines an object under a ring of lights (Han et al. 2026, arXiv 2602.09929).

    photo, mask --> image encoder (frozen) ------------- tokens, by cross-attention --.
         |                                                                             v
         '--> VAE (frozen) -- latent, beside every frame's --> video U-Net: K noisy latents -> K clean ones
                                                                                       |
                                              K shading frames <-- VAE's decoder <-----'

The frames are denoised jointly, by convolutions and attention over time. The network is preconditioned as Stable
Video Diffusion's (Karras et al. 2022, v-prediction): with the noise level sigma,

    z0(z, sigma) = c_skip z + c_out F(c_in z, ln(sigma) / 4),
    c_skip = 1 / (sigma^2 + 1),  c_out = -sigma / sqrt(sigma^2 + 1),  c_in = 1 / sqrt(sigma^2 + 1).

Two backbones, both diffusers' classes. `svd` is a folder in the layout of Stable Video Diffusion; see
`maquette.nets.rose_svd`. `small`, here, is the same classes at a size that a laptop trains from nothing. What it has of
its own: images are folded 2 x 2 into channels before the VAE, which saves the costliest layers; NiRNE's clean encoder
stands in CLIP's place and gives a grid of tokens, so cross-attention looks near its own place first (a fixed Gaussian
bias, of another width for every head); and each frame's light is told as three constant channels, where SVD must read
it off the frame's number.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.nets.blocks import Attention, Stream
from maquette.nets.nirne import NiRNEConfig
from maquette.shading.rigs import RING_LIGHTS, ring_lights

GROUP = 32  # channels are normalised in groups of so many, in diffusers' video layers


@dataclass(frozen=True)
class RoseConfig:
    """Size and habits of the small backbone.

    Attributes:
        frames: lights on the ring.
        size_px: side of the square images.
        fold: images are folded fold x fold into channels.
        vae_channels: of the VAE, halving the resolution from each to the next.
        latent_channels: of its latents.
        channels: of the video U-Net, likewise.
        head_channels: per attention head.
        width: of the tokens, after a linear map.
        encoder: NiRNE whose clean encoder sees the photo.
        grey: the mean of the channels is all that the VAE sees of the photo, as in the paper.
        sees_tokens, sees_latent: the two ways in which the photo is told; the paper has both.
        predicts: "shading", or, for a comparison, "normals": the normal map, as often as there are frames.
    """

    frames: int = RING_LIGHTS
    size_px: int = 128
    fold: int = 2
    vae_channels: tuple[int, ...] = (32, 64, 64)
    latent_channels: int = 12
    channels: tuple[int, ...] = (64, 96, 96)
    attends: tuple[bool, ...] = (False, True, False)
    layers: int = 1
    head_channels: int = 32
    width: int = 128
    encoder: NiRNEConfig = field(default_factory=NiRNEConfig)
    grey: bool = True
    sees_tokens: bool = True
    sees_latent: bool = True
    predicts: Literal["shading", "normals"] = "shading"

    def __post_init__(self) -> None:
        if any(c % GROUP for c in (*self.vae_channels, *self.channels)):
            raise InputError(f"channels {self.vae_channels}, {self.channels}: each must be a multiple of {GROUP}")
        if self.size_px % self.multiple:
            raise InputError(f"size_px is {self.size_px}; it must be a multiple of {self.multiple}")
        if self.frames < 3:
            raise InputError(f"frames is {self.frames}; it must be 3 or more")

    @property
    def downscale(self) -> int:
        """Pixels of an image to one of its latent, along a side."""
        return self.fold * 2 ** (len(self.vae_channels) - 1)

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this: of the U-Net's coarsest level, and of the encoder's."""
        return math.lcm(self.downscale * 2 ** (len(self.channels) - 1), 16)


PRESETS: dict[str, RoseConfig] = {
    "small": RoseConfig(),
    "tiny": RoseConfig(  # for tests
        size_px=32,
        vae_channels=(32, 32),
        latent_channels=4,
        channels=(32, 32),
        width=32,
        encoder=NiRNEConfig((8, 16, 16, 16), (1, 1, 1, 1), (8, 8, 8), heads=2, size_px=32),
    ),
}


class Rose(nn.Module):
    """The small backbone; see the module's text.

    Images are (batch, 3, height, width) in -1..1, sequences (batch, frames, 3, height, width) in -1..1: a shading S is
    2 S - 1. Latents are (batch, frames, channels, height, width), of standard deviation one.
    """

    latent_std: Tensor

    def __init__(self, config: RoseConfig) -> None:
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

        self.config = config
        colours = 3 * config.fold**2
        self.vae: Any = AutoencoderKLTemporalDecoder(
            in_channels=colours,
            out_channels=colours,
            down_block_types=("DownEncoderBlock2D",) * len(config.vae_channels),  # pyright: ignore[reportArgumentType]
            block_out_channels=config.vae_channels,  # pyright: ignore[reportArgumentType]
            latent_channels=config.latent_channels,
            scaling_factor=1.0,
        )
        self.unet: Any = _video_unet(config)
        self.encoder = PhotoEncoder(config.encoder)
        self.project = nn.Linear(self.encoder.channels, config.width)
        self.register_buffer("latent_std", torch.ones(()))
        _look_near(self.unet)

    def encode(self, sequence: Float[Tensor, "batch frames 3 height width"]) -> Float[Tensor, "batch frames c h w"]:
        """Latents of a sequence, frame by frame."""
        return self.posterior(sequence).mode().unflatten(0, sequence.shape[:2]) / self.latent_std

    def posterior(self, sequence: Float[Tensor, "batch frames 3 height width"]) -> Any:
        """What the VAE's encoder says of all frames: a diagonal Gaussian, not normalised."""
        return self.vae.encode(F.pixel_unshuffle(sequence.flatten(0, 1), self.config.fold)).latent_dist

    def decode(self, latents: Float[Tensor, "batch frames c h w"]) -> Float[Tensor, "batch frames 3 height width"]:
        """The sequence of latents, all frames at once."""
        return self.decode_raw(latents.flatten(0, 1) * self.latent_std, latents.shape[1])

    def decode_raw(self, latents: Float[Tensor, "images c h w"], frames: int) -> Tensor:
        """The same from latents as the VAE itself has them."""
        folded = self.vae.decode(latents, num_frames=frames).sample
        return F.pixel_shuffle(folded, self.config.fold).unflatten(0, (-1, frames))

    def condition(
        self, photo: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
    ) -> "Condition":
        """What the photo tells the video model.

        Args:
            photo: in 0..1, exposure normalised, zero outside the mask (`maquette.nets.nirne.normalise_exposure`).
            mask: 1 on the object.
        """
        config = self.config
        seen = photo.mean(1, keepdim=True).expand_as(photo) if config.grey else photo
        with torch.no_grad():
            latent = self.encode((seen * 2 - 1)[:, None])[:, 0]
            features = self.encoder(seen, mask)
        tokens = self.project(features)
        return Condition(tokens * config.sees_tokens, latent * config.sees_latent)

    def clean(
        self,
        noisy: Float[Tensor, "batch frames c h w"],
        sigma: Float[Tensor, " batch"],
        condition: "Condition",
    ) -> Float[Tensor, "batch frames c h w"]:
        """The clean latents z0 that noisy ones z0 + sigma e come from, by the network's judgement."""
        count = noisy.shape[1]
        scale = (sigma.square() + 1).rsqrt().reshape(-1, 1, 1, 1, 1)
        told = condition.latent[:, None].expand(-1, count, -1, -1, -1)
        lights = ring_lights(count).to(noisy)[None, :, :, None, None].expand(len(noisy), -1, -1, *noisy.shape[3:])
        ids = noisy.new_zeros(len(noisy), 3)  # SVD's frame rate, motion and noise of the photo: constants here
        value = self.unet(torch.cat([noisy * scale, told, lights], 2), sigma.log() / 4, condition.tokens, ids).sample
        value = value.to(noisy.dtype)
        return noisy * scale.square() - value * scale * sigma.reshape(-1, 1, 1, 1, 1)


@dataclass(frozen=True)
class Condition:
    """A photo, as the video model is told it."""

    tokens: Float[Tensor, "batch tokens width"]
    latent: Float[Tensor, "batch c h w"]


class PhotoEncoder(nn.Module):
    """NiRNE's clean encoder: its two coarsest levels as a grid of tokens, a token for 16 x 16 pixels."""

    def __init__(self, config: NiRNEConfig) -> None:
        super().__init__()
        self.clean = Stream(16, config.channels, config.blocks)
        self.attention = Attention(config.channels[3], config.heads)
        self.channels = config.channels[3] + 4 * config.channels[2]

    def forward(
        self, photo: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Tokens, row by row, normalised."""
        _, _, fine, coarse = self.clean(F.pixel_unshuffle(torch.cat([photo * 2 - 1, mask], 1), 2))
        grid = torch.cat([self.attention(coarse), F.pixel_unshuffle(fine, 2)], 1)
        tokens = grid.flatten(2).transpose(1, 2)
        return F.layer_norm(tokens, tokens.shape[-1:])


class NearbyAttention:
    """Cross-attention from a square grid of places to a square grid of tokens, near ones first.

    Head i's logits are lowered by d^2 / (2 s^2), d the distance in tokens' spacings and s = 0.6, 1.2, 2.4, ... from
    head to head; the last head looks everywhere alike.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "rows places channels"],
        encoder_hidden_states: Float[Tensor, "rows tokens width"],
        attention_mask: None = None,
    ) -> Tensor:
        """As diffusers calls its attention processors."""
        bias = nearness(hidden_states.shape[1], encoder_hidden_states.shape[1], attn.heads).to(hidden_states)
        return _attend(attn, hidden_states, encoder_hidden_states, bias)


class PooledAttention:
    """Cross-attention over time to the mean token: where a place's frames all see the same photo, one token will do."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "rows frames channels"],
        encoder_hidden_states: Float[Tensor, "rows tokens width"],
        attention_mask: None = None,
    ) -> Tensor:
        """As diffusers calls its attention processors."""
        return _attend(attn, hidden_states, encoder_hidden_states.mean(1, keepdim=True).detach(), None)


def nearness(places: int, tokens: int, heads: int) -> Float[Tensor, "heads places tokens"]:
    """The bias of `NearbyAttention`; grids are square, row by row.

    Raises:
        InputError: one of the grids isn't square.
    """
    sides = math.isqrt(places), math.isqrt(tokens)
    if sides[0] ** 2 != places or sides[1] ** 2 != tokens:
        raise InputError(f"a grid of {places} places or {tokens} tokens isn't square; RoSE takes square photos")
    at, to = ((torch.arange(side) + 0.5) / side * sides[1] for side in sides)
    squared = (at[:, None] - to).square()  # along one axis
    squared = (squared[:, None, :, None] + squared[None, :, None, :]).reshape(places, tokens)
    widths = 0.6 * 2.0 ** torch.arange(heads)
    widths[-1] = math.inf
    return -squared / (2 * widths.square()[:, None, None])


def _attend(attn: Any, x: Tensor, tokens: Tensor, bias: Tensor | None) -> Tensor:
    q, k, v = (
        t.unflatten(2, (attn.heads, -1)).transpose(1, 2) for t in (attn.to_q(x), attn.to_k(tokens), attn.to_v(tokens))
    )
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))
    return attn.to_out[0](mixed.transpose(1, 2).flatten(2))


def _video_unet(config: RoseConfig) -> Any:
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    embedding = 32
    down = ["CrossAttnDownBlockSpatioTemporal" if a else "DownBlockSpatioTemporal" for a in config.attends]
    up = ["CrossAttnUpBlockSpatioTemporal" if a else "UpBlockSpatioTemporal" for a in reversed(config.attends)]
    return UNetSpatioTemporalConditionModel(
        in_channels=2 * config.latent_channels + 3,
        out_channels=config.latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=config.channels,
        addition_time_embed_dim=embedding,
        projection_class_embeddings_input_dim=3 * embedding,
        layers_per_block=config.layers,
        cross_attention_dim=config.width,
        num_attention_heads=tuple(c // config.head_channels for c in config.channels),
        num_frames=config.frames,
    )


def _look_near(unet: Any) -> None:
    """Cross-attention of a grid of tokens, which diffusers' own would take for a list without order."""
    chosen = dict(unet.attn_processors)
    for name in chosen:
        if ".attn2." in name:
            chosen[name] = PooledAttention() if "temporal" in name else NearbyAttention()
    unet.set_attn_processor(chosen)
