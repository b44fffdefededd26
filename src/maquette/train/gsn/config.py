"""What a training run of GSN is: the network, its phases, its losses; the presets."""

from dataclasses import dataclass, field
from typing import Literal

from maquette.errors import InputError
from maquette.gaussians.chamfer import ChamferWeights
from maquette.nets.gsn import PRESETS, GSNConfig, GSNNet
from maquette.runs.schedule import Phase, Schedule

Stop = Literal["none", "turned", "still"]


@dataclass(frozen=True)
class GSNLoss:
    """What is minimised: |C - C*| + ssim (1 - SSIM) + mask |A - M*| + normal (1 - n.n*) + ecd ECD.

    Attributes:
        ssim: of the structural dissimilarity of a rendered view.
        mask: of the difference between rendered alpha and the object's mask; where the data has masks.
        normal: of the rendered covariance normals' error; where the data has normals.
        ecd: of the Extended Chamfer Distance between the splat of the turned image and the turned splat; 0 leaves the
            second pass out.
        chamfer: what differences count for in it.
        turned_share: of a batch's images that are turned for it.
        stop: which of the two splats the distance's gradient doesn't reach: of the turned image, of the image as it is.
    """

    ssim: float = 0.2
    mask: float = 0.5
    normal: float = 0.1
    ecd: float = 0.1
    chamfer: ChamferWeights = field(default_factory=ChamferWeights)
    turned_share: float = 0.5
    stop: Stop = "none"

    def __post_init__(self) -> None:
        if min(self.ssim, self.mask, self.normal, self.ecd) < 0 or not 0 < self.turned_share <= 1:
            raise InputError("weights of losses can't be negative, and turned_share must lie in 0..1, above 0")


@dataclass(frozen=True)
class GSNTraining(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes.
        phases: what is done, in order; `size_px` is the side of the views that are compared.
        loss: what is minimised.
        views: of an object that are rendered at a step; the first is the image itself.
        blind: the network sees blank images, and so learns the one splat that suits all objects: a baseline.
        seed: of initial weights, batches and turns.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
    """

    net: GSNConfig
    phases: tuple[Phase, ...]
    loss: GSNLoss = field(default_factory=GSNLoss)
    views: int = 4
    blind: bool = False
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False

    def build(self) -> GSNNet:
        """The network with fresh weights."""
        return GSNNet(self.net)


def require_same_meaning(net: GSNConfig, initial: GSNConfig, weights: str) -> None:
    """See that weights to start from mean the same in the network to be trained, as far as their shapes can't tell.

    Args:
        net: of the network to be trained.
        initial: that the weights were trained with.
        weights: their name or folder, for the message.

    Raises:
        InputError: they don't.
    """
    for name in ("cube", "most_scale", "distance"):
        had, has = getattr(initial, name), getattr(net, name)
        if had != has:
            raise InputError(f"--init {weights}: their {name} is {had}, this training's {has}; it must be the same")


TRAINING: dict[str, GSNTraining] = {
    "small": GSNTraining(PRESETS["small"], (Phase(64, 3800, 8, 6e-4, 4e-4), Phase(128, 420, 8, 4e-4, 5e-6)), bf16=True),
    # Splatter Image's protocol for batch, views and steps; wants a GPU.
    "paper": GSNTraining(PRESETS["paper"], (Phase(128, 800_000, 8, 5e-5, 5e-6),), bf16=True),
}
