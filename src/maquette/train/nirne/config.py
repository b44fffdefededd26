"""What a NiRNE training run is: the network and its phases; the presets."""

from dataclasses import dataclass

from maquette.nets.nirne import PRESETS, NiRNEConfig, NiRNENet
from maquette.runs.schedule import Phase, Schedule


@dataclass(frozen=True)
class NirnePhase(Phase):
    """A stretch of training at one image size; the dataset is "shapes", or "sharp", the most detailed one.

    Attributes:
        guided: share of the batches whose guide is what the network says of them at half the resolution.
        tiles: share of the batches that are parts of photos twice as large; their guide is of the whole photo.
        small: share of the batches at half the size, without a guide: what the first pass sees isn't forgotten.
    """

    guided: float = 0.0
    tiles: float = 0.0
    small: float = 0.0

    @property
    def widest_px(self) -> int:
        """The largest photos that it makes."""
        return self.size_px * (2 if self.tiles else 1)


@dataclass(frozen=True)
class NirneTraining(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes.
        phases: what is done, in order; stage 1 trains everything, 2 the noisy stream alone.
        seed: of initial weights, batches and noise.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
        encoder_lr: learning rate of the pretrained encoder, as a share of the rest's.
        edges: weight of the differences between neighbouring normals in the loss.
        validate_every: steps between held-out errors; they are always taken at the end of a phase.
    """

    net: NiRNEConfig
    phases: tuple[NirnePhase, ...]
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False
    encoder_lr: float = 0.4
    edges: float = 1.0
    validate_every: int = 2000

    def build(self) -> NiRNENet:
        """The network with fresh weights."""
        return NiRNENet(self.net)


TRAINING: dict[str, NirneTraining] = {
    "small": NirneTraining(
        PRESETS["small"],
        (
            NirnePhase(128, 7950, 16, 1e-3, 1e-3, shapes=320, guided=0.3, tiles=0.1),
            NirnePhase(256, 8060, 6, 8e-4, 1e-5, shapes=320, guided=0.45, tiles=0.1, small=0.35),
        ),
        bf16=True,
    ),
    "base": NirneTraining(
        PRESETS["base"],
        (
            NirnePhase(128, 60_000, 128, 1e-3, 1e-3, guided=0.3, tiles=0.2),
            NirnePhase(256, 40_000, 64, 8e-4, 1e-5, guided=0.5, tiles=0.2),
        ),
        bf16=True,
    ),
}
