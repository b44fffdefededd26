"""What a training run of RoSE is: the network, its phases; the presets."""

from dataclasses import dataclass

from maquette.io.checkpoints import load_network
from maquette.nets.nirne import NiRNE, NiRNEConfig
from maquette.nets.rose import PRESETS, Rose, RoseConfig
from maquette.train.config import Phase, Schedule


@dataclass(frozen=True)
class RoseTraining(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes.
        phases: what is done, in order; stage 1 trains the VAE, stage 2 the video model over the frozen one.
        encoder: weights of the NiRNE whose clean encoder sees the photo, frozen; "" leaves it random.
        seed: of initial weights, batches and noise.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
        unseen: share of the photos that are withheld from the video model, for guidance.
        log_sigma: mean and standard deviation of the noise level's logarithm.
    """

    net: RoseConfig
    phases: tuple[Phase, ...]
    encoder: str = "nirne-small"
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False
    unseen: float = 0.1
    log_sigma: tuple[float, float] = (1.0, 1.6)

    def build(self) -> Rose:
        """The network with fresh weights, its photo encoder with trained ones."""
        network = Rose(self.net)
        if self.encoder:
            trained = load_network(self.encoder, NiRNEConfig, NiRNE)
            network.encoder.clean.load_state_dict(trained.clean.state_dict())
            network.encoder.attention.load_state_dict(trained.attention.state_dict())
        return network


TRAINING: dict[str, RoseTraining] = {
    "small": RoseTraining(
        PRESETS["small"],
        (
            Phase(128, 400, 4, 3e-4, 1e-5, shapes=744),
            Phase(64, 3000, 8, 6e-4, 3e-4, shapes=744, stage=2),
            Phase(128, 3200, 4, 4e-4, 3e-6, shapes=744, stage=2),
        ),
        bf16=True,
    ),
}
