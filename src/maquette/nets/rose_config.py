"""What a RoSE is: what it is asked, and the sizes of its backbone. See `maquette.nets.rose`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from torch import nn

from maquette.errors import InputError
from maquette.nets.nirne_conv import ConvNiRNEConfig
from maquette.shading.rigs import RING_LIGHTS

GROUP = 32  # channels are normalised in groups of so many, in diffusers' video layers
TOKEN_PX = 16  # side of what a token of NiRNE\'s clean encoder stands for


@dataclass(frozen=True, kw_only=True)
class RoseTask:
    """What a RoSE is asked, whichever its backbone.

    Attributes:
        frames: lights on the ring.
        size_px: side of the square images.
        grey: the mean of the channels is all that the networks see of the photo, as in the paper.
        sees_tokens, sees_latent: the two ways in which the photo is told; the paper has both.
        predicts: "shading", or, for a comparison, "normals": frame i is component i mod 3 of the normals, as grey.
    """

    frames: int = RING_LIGHTS
    size_px: int = 128
    grey: bool = True
    sees_tokens: bool = True
    sees_latent: bool = True
    predicts: Literal["shading", "normals"] = "shading"

    def require(self, multiple: int) -> None:
        """See that there are lights enough, and that the sides are multiples of a number.

        Raises:
            InputError: they aren't.
        """
        if self.size_px <= 0 or self.size_px % multiple:
            raise InputError(f"size_px is {self.size_px}; it must be a multiple of {multiple}")
        if self.frames < 3:
            raise InputError(f"frames is {self.frames}; it must be 3 or more")


@dataclass(frozen=True)
class RoseConfig(RoseTask):
    """The small backbone.

    Attributes:
        fold: images are folded fold x fold into channels.
        vae_channels: of the VAE, halving the resolution from each to the next.
        latent_channels: of its latents.
        channels: of the video U-Net, likewise.
        attends: which of its levels have attention.
        layers: residual blocks of each level.
        head_channels: per attention head.
        width: of the tokens, after a linear map.
        laid: channels of the same features beside every frame's latent, laid out over the image by another linear map.
        encoder: NiRNE whose clean encoder sees the photo.
    """

    fold: int = 8
    vae_channels: tuple[int, ...] = (64,)
    latent_channels: int = 32
    channels: tuple[int, ...] = (64, 96, 96)
    attends: tuple[bool, ...] = (False, True, False)
    layers: int = 1
    head_channels: int = 32
    width: int = 128
    laid: int = 32
    encoder: ConvNiRNEConfig = field(default_factory=ConvNiRNEConfig)

    def __post_init__(self) -> None:
        if any(c <= 0 or c % GROUP for c in (*self.vae_channels, *self.channels)):
            raise InputError(f"channels {self.vae_channels}, {self.channels}: each must be a multiple of {GROUP}")
        if len(self.attends) != len(self.channels):
            raise InputError(f"attends has {len(self.attends)} values; {len(self.channels)} are needed, as of channels")
        if TOKEN_PX % self.downscale:
            raise InputError(f"a latent's place is {self.downscale} px wide; a token's {TOKEN_PX} must be a multiple")
        self.require(self.multiple)

    @property
    def downscale(self) -> int:
        """Pixels of an image to one of its latent, along a side."""
        return self.fold * 2 ** (len(self.vae_channels) - 1)

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this: of the U-Net's coarsest level, and of the encoder's."""
        return math.lcm(self.downscale * 2 ** (len(self.channels) - 1), TOKEN_PX)


PRESETS: dict[str, RoseConfig] = {
    "small": RoseConfig(),
    "tiny": RoseConfig(  # for tests
        size_px=32,
        fold=4,
        vae_channels=(32,),
        latent_channels=8,
        channels=(32, 32),
        attends=(False, True),
        width=32,
        laid=8,
        encoder=ConvNiRNEConfig((8, 16, 16, 16), (1, 1, 1, 1), (8, 8, 8), heads=2, size_px=32),
    ),
}


@dataclass(frozen=True)
class SvdConfig(RoseTask):
    """A backbone that lies in a folder; `maquette.nets.rose_svd.read_svd` makes this of it.

    Attributes:
        folder: in the layout of Stable Video Diffusion.
        multiple: image sides must be multiples of this, of its U-Net's coarsest level.
        time_ids: constants that its U-Net is told where it was trained with frame rate, motion and noise of the photo.
        mean, std: of the colours that its CLIP expects.
    """

    folder: str
    multiple: int
    time_ids: tuple[float, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        self.require(self.multiple)


class BackboneTraits(NamedTuple):
    """In what backbones differ beside their weights.

    Attributes:
        fold: images are folded fold x fold into channels before the VAE.
        scales_photo: the photo's latent, too, is brought to a standard deviation of one.
        tells_lights: the U-Net is told each frame's light, as three channels.
        time_ids: constants that it is told beside the noise level.
        learns: a regular expression: the names of the parameters that the video model's training changes.
    """

    fold: int
    scales_photo: bool
    tells_lights: bool
    time_ids: tuple[float, ...]
    learns: str


class Backbone(NamedTuple):
    """What `maquette.nets.rose.RoSENet` is made of.

    Attributes:
        vae, unet: an `AutoencoderKLTemporalDecoder` and a `UNetSpatioTemporalConditionModel` of diffusers.
        encoder: photo in 0..1 and mask to features; frozen.
        project: features to tokens.
        lay: features to channels beside every frame's latent; None for a backbone that has none.
        latent_std: standard deviation of the VAE's latents.
        habits: of the backbone.
    """

    vae: Any
    unet: Any
    encoder: nn.Module
    project: nn.Module
    lay: nn.Module | None
    latent_std: float
    habits: BackboneTraits
