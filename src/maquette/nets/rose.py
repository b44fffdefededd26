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

Two backbones, both of diffusers' classes: `maquette.nets.rose_svd`, a folder in the layout of Stable Video Diffusion,
and `maquette.nets.rose_small`, which a laptop trains from nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.nets.rose_config import PRESETS, RoseConfig, SvdConfig
from maquette.nets.rose_small import small_parts
from maquette.nets.rose_svd import svd_parts
from maquette.shading.rigs import ring_lights

__all__ = ["PRESETS", "Condition", "RoSENet", "RoseConfig", "SvdConfig"]


class RoSENet(nn.Module):
    """The model over either backbone, which its configuration names; see the module's text.

    Images are (batch, 3, height, width) in -1..1, sequences (batch, frames, 3, height, width) in -1..1: a shading S is
    2 S - 1. Latents are (batch, frames, channels, height, width), of standard deviation one.
    """

    latent_std: Tensor

    def __init__(self, config: RoseConfig | SvdConfig) -> None:
        super().__init__()
        self.config = config
        parts = small_parts(config) if isinstance(config, RoseConfig) else svd_parts(config)
        self.vae: Any = parts.vae
        self.unet: Any = parts.unet
        self.encoder = parts.encoder
        self.project = parts.project
        self.lay = parts.lay
        self.register_buffer("latent_std", torch.tensor(parts.latent_std))
        self.habits = parts.habits

    def encode(self, sequence: Float[Tensor, "batch frames 3 height width"]) -> Float[Tensor, "batch frames c h w"]:
        """Latents of a sequence, frame by frame."""
        return self.posterior(sequence).mode().unflatten(0, sequence.shape[:2]) / self.latent_std

    def posterior(self, sequence: Float[Tensor, "batch frames 3 height width"]) -> Any:
        """What the VAE's encoder says of all frames: a diagonal Gaussian, not normalised."""
        return self.vae.encode(F.pixel_unshuffle(sequence.flatten(0, 1), self.habits.fold)).latent_dist

    def decode(self, latents: Float[Tensor, "batch frames c h w"]) -> Float[Tensor, "batch frames 3 height width"]:
        """The sequence of latents, all frames at once."""
        return self.decode_raw(latents.flatten(0, 1) * self.latent_std, latents.shape[1])

    def decode_raw(self, latents: Float[Tensor, "images c h w"], frames: int) -> Tensor:
        """The same from latents as the VAE itself has them."""
        folded = self.vae.decode(latents, num_frames=frames).sample
        return F.pixel_shuffle(folded, self.habits.fold).unflatten(0, (-1, frames))

    def condition(
        self, photo: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
    ) -> "Condition":
        """What the photo tells the video model.

        Args:
            photo: in 0..1, exposure normalised, zero outside the mask (`maquette.shading.exposure.normalise_exposure`).
            mask: 1 on the object.
        """
        config = self.config
        seen = photo.mean(1, keepdim=True).expand_as(photo) if config.grey else photo
        with torch.no_grad():
            latent = self.posterior((seen * 2 - 1)[:, None]).mode()
            if self.habits.scales_photo:
                latent = latent / self.latent_std
            features = self.encoder(seen, mask)
        tokens = self.project(features) * config.sees_tokens
        laid = None if self.lay is None else self.lay(features) * config.sees_tokens
        return Condition(tokens, latent * config.sees_latent, laid)

    def clean(
        self,
        noisy: Float[Tensor, "batch frames c h w"],
        sigma: Float[Tensor, " batch"],
        condition: "Condition",
    ) -> Float[Tensor, "batch frames c h w"]:
        """The clean latents z0 that noisy ones z0 + sigma e come from, by the network's judgement."""
        count = noisy.shape[1]
        scale = (sigma.square() + 1).rsqrt().reshape(-1, 1, 1, 1, 1)
        told = [noisy * scale, condition.latent[:, None].expand(-1, count, -1, -1, -1)]
        if self.habits.tells_lights:
            lights = ring_lights(count).to(noisy)[None, :, :, None, None]
            told.append(lights.expand(len(noisy), -1, -1, *noisy.shape[3:]))
        if isinstance(self.config, RoseConfig):
            laid = noisy.new_zeros(len(noisy), self.config.laid, *noisy.shape[3:])
            laid = laid if condition.laid is None else condition.laid
            told.append(laid[:, None].expand(-1, count, -1, -1, -1).to(noisy))
        ids = noisy.new_tensor(self.habits.time_ids).expand(len(noisy), -1)
        value = self.unet(torch.cat(told, 2), sigma.log() / 4, condition.tokens, ids).sample
        value = value.to(noisy.dtype)
        return noisy * scale.square() - value * scale * sigma.reshape(-1, 1, 1, 1, 1)


@dataclass(frozen=True)
class Condition:
    """A photo, as the video model is told it.

    Attributes:
        tokens: for cross-attention.
        latent: of the photo, beside every frame's.
        laid: the encoder's features beside every frame's latent, of a backbone that has them; None is zeros.
    """

    tokens: Float[Tensor, "batch tokens width"]
    latent: Float[Tensor, "batch c h w"]
    laid: Float[Tensor, "batch laid h w"] | None = None

    def withheld(self, seen: Float[Tensor, " batch"]) -> "Condition":
        """The same where `seen` is 1, nothing where it is 0."""
        kept = seen.reshape(-1, 1, 1)
        laid = None if self.laid is None else self.laid * kept[..., None]
        return Condition(self.tokens * kept, self.latent * kept[..., None], laid)
