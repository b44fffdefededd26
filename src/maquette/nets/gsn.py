"""GSN: one image to Gaussians in one pass, as deviations from a canonical cube (arXiv 2409.07245).

    image -> ResNet body (n, C, 7, 7) -> two convolutions, beside them the image's colours -> latent (n, 2352)
          -> five parallel heads -> Splats

    S = {mu_bar + d_mu, s_bar * exp(d_s), r, c, alpha}

The cube's centres mu_bar are a lattice over [-1/2, 1/2]^3, its Gaussians balls of half the lattice's spacing s_bar.
Heads begin near zero, so that what is rendered first is the cube.

Frame: axes of the photo's camera (x right, y up, z towards the viewer), origin in the middle of the object, where the
camera looks, unit the diagonal of the object's box. The camera stands at (0, 0, `distance`).

Ours to choose, as the paper is silent: a hidden layer per head, since one matrix from 2352 numbers to all parameters of
4096 Gaussians has 135 million weights; the number of Gaussians; scales that deviate as factors, which keeps them
positive, and within `most_scale`, which keeps them from needles; colours and opacities by sigmoids. Norms are over
groups of channels: over batches, a splat would depend on its neighbours. They take an image's contrast away, so the
latent holds the image's own colours, too.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.types import Camera, Gaussians

FOV_DEG = 51.98948897809546  # of the images, ShapeNet-SRN's
STRIDE = 32  # of the body
COLORS = 3  # channels of the latent that are the image itself
_FIRST_OPACITY = -2.0  # logit; twelve Gaussians in a row, at this opacity, still show what lies behind them
_GROUP = 16  # channels that are normalised together
_FIRST_GAIN = 0.1  # of the heads' last layers


@dataclass(frozen=True)
class GSNConfig:
    """Size of the network.

    Attributes:
        size_px: side of the images that the body sees; others are resampled. A multiple of 32.
        embedding, hidden, depths: of the ResNet body with bottleneck layers; ResNet-50 is 64,
            (256, 512, 1024, 2048), (3, 4, 6, 3).
        latent_channels: of the latent, which has as many places as the body's map: 48 of 7 x 7 are 2352 numbers. Three
            of them are the image, averaged over each place.
        width: of the heads' hidden layer.
        side: Gaussians along an edge of the cube.
        cube: False predicts positions and scales from nothing instead of as deviations: the ablation.
        distance: of the camera from the middle of the object.
        most_scale: a Gaussian's axes are at most this many times longer or shorter than the cube's.
    """

    size_px: int = 224
    embedding: int = 64
    hidden: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    latent_channels: int = 48
    width: int = 512
    side: int = 16
    cube: bool = True
    distance: float = 1.3
    most_scale: float = 6.0

    def __post_init__(self) -> None:
        if self.size_px % STRIDE or self.size_px < STRIDE:
            raise InputError(f"size_px is {self.size_px}; it must be a multiple of {STRIDE}")
        if len(self.hidden) != 4 or len(self.depths) != 4:
            raise InputError("a GSN's body has four stages: four values of hidden, four of depths")
        if min(*self.hidden, *self.depths, self.embedding, self.latent_channels, self.width, self.side) < 1:
            raise InputError("hidden, depths, embedding, latent_channels, width and side must be positive")
        if self.latent_channels <= COLORS:
            raise InputError(f"latent_channels is {self.latent_channels}; more than {COLORS}, the colours', are needed")
        if not self.distance > 0.5 or not self.most_scale > 1:
            raise InputError(
                f"distance is {self.distance}, most_scale {self.most_scale}; more than 0.5 and 1 are needed"
            )

    @property
    def latent(self) -> int:
        """Numbers that an image becomes."""
        return self.latent_channels * (self.size_px // STRIDE) ** 2

    @property
    def count(self) -> int:
        """Gaussians of a splat."""
        return self.side**3

    @property
    def spacing(self) -> float:
        """Between neighbours in the cube."""
        return 1 / self.side


PRESETS: dict[str, GSNConfig] = {
    "small": GSNConfig(embedding=32, hidden=(64, 128, 256, 512), width=256, side=12),
    "paper": GSNConfig(),
    "tiny": GSNConfig(  # for tests
        size_px=32, embedding=8, hidden=(8, 16, 16, 32), depths=(1, 1, 1, 1), latent_channels=16, width=32, side=4
    ),
}


@dataclass(frozen=True)
class Splats:
    """Splats of a batch, in slots of one order.

    Attributes:
        mean: places, in the frame of `maquette.nets.gsn`.
        log_scale: logarithms of the standard deviations along the Gaussians' own axes.
        rotation: unit quaternions (w, x, y, z).
        color: display-encoded, 0 to 1.
        opacity: 0 to 1.
    """

    mean: Float[Tensor, "batch n 3"]
    log_scale: Float[Tensor, "batch n 3"]
    rotation: Float[Tensor, "batch n 4"]
    color: Float[Tensor, "batch n 3"]
    opacity: Float[Tensor, "batch n"]

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, part: slice) -> "Splats":
        """Some of the batch."""
        return Splats(*(value[part] for value in vars(self).values()))

    def gaussians(self, index: int) -> Gaussians:
        """One splat of the batch."""
        return Gaussians(
            self.mean[index],
            self.log_scale[index].exp(),
            self.rotation[index],
            self.opacity[index],
            (self.color[index, :, None] - 0.5) / DC,
            encoding="srgb",
        )


class GSNNet(nn.Module):
    """The network; see `forward`."""

    lattice: Tensor

    def __init__(self, config: GSNConfig) -> None:
        # The import takes seconds, which users of a configuration alone needn't wait.
        from transformers import ResNetConfig, ResNetModel

        super().__init__()
        self.config = config
        self.body = ResNetModel(
            ResNetConfig(
                embedding_size=config.embedding,
                hidden_sizes=list(config.hidden),
                depths=list(config.depths),
                layer_type="bottleneck",
            )
        )
        _replace_batch_norms(self.body)
        for parameter in self.body.parameters():  # the layout that convolutions are a third faster in on CPUs
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        middle = max(config.hidden[-1] // 4, config.latent_channels)
        self.squeeze = nn.Sequential(
            nn.Conv2d(config.hidden[-1], middle, 1),
            nn.ReLU(),
            nn.Conv2d(middle, config.latent_channels - COLORS, 3, padding=1),
            nn.GroupNorm(1, config.latent_channels - COLORS),
        )
        sizes = {"mean": 3, "scale": 3, "rotation": 4, "color": 3, "opacity": 1}
        self.heads = nn.ModuleDict({name: self._head(size) for name, size in sizes.items()})
        self.register_buffer("lattice", canonical_cube(config).mean, persistent=False)

    def _head(self, size: int) -> nn.Module:
        last = nn.Linear(self.config.width, self.config.count * size)
        if self.config.cube:
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.weight.mul_(_FIRST_GAIN)
        return nn.Sequential(nn.Linear(self.config.latent, self.config.width), nn.SiLU(), last)

    def latent(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch latent"]:
        """What the heads are told: images in 0..1, display-encoded, on white; of any size."""
        side = self.config.size_px
        if image.shape[-2:] != (side, side):
            image = F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True)
        image = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        features = self.body(image).last_hidden_state
        # Norms over an image's own groups take its contrast away, and with it the object's colour: give it back.
        colors = 2 * F.interpolate(image, features.shape[-2:], mode="area")
        return torch.cat([self.squeeze(features), colors], 1).flatten(1)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Splats:
        """A splat of every image.

        Args:
            image: square, in 0..1, display-encoded, the object on white.
        """
        latent = self.latent(image)
        found = {name: head(latent).float().unflatten(1, (self.config.count, -1)) for name, head in self.heads.items()}
        config = self.config
        first = self.lattice if config.cube else 0.0
        most, base = math.log(config.most_scale), math.log(config.spacing / 2)
        log_scale = base + most * torch.tanh(found["scale"] / most)
        # Added to the identity, no turn at all is what a head that says nothing says.
        still = found["rotation"].new_tensor([1.0, 0.0, 0.0, 0.0])
        return Splats(
            first + found["mean"],
            log_scale,
            F.normalize(found["rotation"] + still, dim=-1),
            torch.sigmoid(found["color"]),
            torch.sigmoid(found["opacity"][..., 0] + _FIRST_OPACITY),
        )


def _replace_batch_norms(module: nn.Module) -> None:
    """Norms over groups of channels instead: an image's splat mustn't depend on the images beside it."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            groups = channels // _GROUP if channels % _GROUP == 0 else 1
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            _replace_batch_norms(child)


def canonical_cube(config: GSNConfig) -> Gaussians:
    """The cube that splats deviate from: grey balls on a lattice, the first axis of the slots along x."""
    line = (torch.arange(config.side) + 0.5) / config.side - 0.5
    mean = torch.cartesian_prod(line, line, line)
    n = config.count
    return Gaussians(
        mean,
        torch.full((n, 3), config.spacing / 2),
        torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(n, 4),
        torch.sigmoid(torch.full((n,), _FIRST_OPACITY)),
        torch.zeros(n, 1, 3),
        encoding="srgb",
    )


def camera_of(config: GSNConfig, size_px: int) -> Camera:
    """The camera of the photo, in the frame of the splat that is made of it."""
    pose = torch.eye(4)
    pose[2, 3] = config.distance
    focal = size_px / 2 / math.tan(math.radians(FOV_DEG / 2))
    return Camera(size_px, size_px, focal, (size_px / 2, size_px / 2), pose)
