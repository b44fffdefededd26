"""The small backbone of RoSE: diffusers' video classes at a size that a laptop trains from nothing.

What it has of its own: images are folded 8 x 8 into channels before the VAE, which saves the costliest layers; NiRNE's
clean encoder stands in CLIP's place and gives a grid of tokens, so cross-attention looks near its own place first (a
fixed Gaussian bias, of another width for every head); the same features are laid beside the photo's latent, which
spares attention the learning of where things are; and each frame's light is told as three constant channels, where
Stable Video Diffusion must read it off the frame's number.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.nets.blocks import Attention, Stream
from maquette.nets.nirne_conv import ConvNiRNEConfig
from maquette.nets.rose_config import TOKEN_PX, Backbone, BackboneTraits, RoseConfig

_TIME_IDS = (0.0, 0.0, 0.0)  # Stable Video Diffusion's frame rate, motion and noise of the photo: constants here


def small_parts(config: RoseConfig) -> Backbone:
    """The networks, with fresh weights."""
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

    colours = 3 * config.fold**2
    vae = AutoencoderKLTemporalDecoder(
        in_channels=colours,
        out_channels=colours,
        down_block_types=("DownEncoderBlock2D",) * len(config.vae_channels),  # pyright: ignore[reportArgumentType]
        block_out_channels=config.vae_channels,  # pyright: ignore[reportArgumentType]
        latent_channels=config.latent_channels,
        scaling_factor=1.0,
    )
    _pass_on(vae)
    unet = _video_unet(config)
    _look_near(unet)
    encoder = PhotoEncoder(config.encoder)
    project = nn.Linear(encoder.channels, config.width)
    lay = LaidOut(encoder.channels, config.laid, TOKEN_PX // config.downscale)
    learns = r"unet\.|project\.|lay\."
    habits = BackboneTraits(config.fold, scales_photo=True, tells_lights=True, time_ids=_TIME_IDS, learns=learns)
    return Backbone(vae, unet, encoder, project, lay, 1.0, habits)


class PhotoEncoder(nn.Module):
    """NiRNE's clean encoder: its two coarsest levels as a grid of tokens, a token for 16 x 16 pixels."""

    def __init__(self, config: ConvNiRNEConfig) -> None:
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


class LaidOut(nn.Module):
    """Features of a square grid of tokens over a finer grid of places: a linear map to all places of a token."""

    def __init__(self, features: int, channels: int, places: int) -> None:
        super().__init__()
        self.places = places
        self.map = nn.Linear(features, channels * places**2)

    def forward(self, features: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch channels h w"]:
        """`places` x `places` for each token."""
        side = math.isqrt(features.shape[1])
        return F.pixel_shuffle(self.map(features).transpose(1, 2).unflatten(2, (side, side)), self.places)


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
    """Cross-attention over time to the mean token: where a place's frames all see the same photo, one token will do.

    No gradient goes back to the token: `NearbyAttention` alone shapes the tokens.
    """

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

    embedding = 32  # channels for each of them
    down = ["CrossAttnDownBlockSpatioTemporal" if a else "DownBlockSpatioTemporal" for a in config.attends]
    up = ["CrossAttnUpBlockSpatioTemporal" if a else "UpBlockSpatioTemporal" for a in reversed(config.attends)]
    return UNetSpatioTemporalConditionModel(
        in_channels=2 * config.latent_channels + 3 + config.laid,
        out_channels=config.latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=config.channels,
        addition_time_embed_dim=embedding,
        projection_class_embeddings_input_dim=len(_TIME_IDS) * embedding,
        layers_per_block=config.layers,
        cross_attention_dim=config.width,
        num_attention_heads=tuple(c // config.head_channels for c in config.channels),
        num_frames=config.frames,
    )


def _pass_on(vae: Any) -> None:
    """A VAE that starts as two linear maps, with residual blocks of nothing between them.

    A normalisation at the end would take away what a shading is about, its brightness; and so small a VAE learns in
    minutes only from a start that is good already (`maquette.train.rose.vae`).
    """
    for half in (vae.encoder, vae.decoder):
        half.conv_norm_out, half.conv_act = nn.Identity(), nn.Identity()
    for name, layer in vae.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def _look_near(unet: Any) -> None:
    """Cross-attention of a grid of tokens, which diffusers' own would take for a list without order."""
    chosen = dict(unet.attn_processors)
    for name in chosen:
        if ".attn2." in name:
            chosen[name] = PooledAttention() if "temporal" in name else NearbyAttention()
    unet.set_attn_processor(chosen)
