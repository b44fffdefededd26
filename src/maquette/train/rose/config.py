"""What a training run of RoSE is: the network, its phases; the presets."""

from dataclasses import dataclass
from pathlib import Path

from maquette.errors import InputError
from maquette.io.checkpoints import load_network
from maquette.nets.nirne_conv import ConvNiRNEConfig, ConvNiRNENet
from maquette.nets.rose import PRESETS, RoseConfig, RoSENet, SvdConfig
from maquette.nets.rose_small import PhotoEncoder
from maquette.nets.rose_svd import read_svd
from maquette.runs.processes import require_one_process
from maquette.runs.schedule import Phase, Schedule
from maquette.shading.rigs import RING_LIGHTS


@dataclass(frozen=True)
class RoseTraining(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes, or where it lies.
        phases: what is done, in order; stage 1 trains the VAE, stage 2 the video model over the frozen one.
        encoder: weights of the NiRNE whose clean encoder sees the photo, frozen; "" leaves it random.
        seed: of initial weights, batches and noise.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
        unseen: share of the photos that are withheld from the video model, for guidance.
        log_sigma: mean and standard deviation of the noise level's logarithm.
    """

    net: RoseConfig | SvdConfig
    phases: tuple[Phase, ...]
    encoder: str = "nirne-small-1"
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False
    unseen: float = 0.1
    log_sigma: tuple[float, float] = (1.0, 1.6)

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's: the paper's for its backbone, what the other networks are trained with for the small one."""
        return (0.9, 0.999) if isinstance(self.net, SvdConfig) else (0.9, 0.98)

    def build(self) -> RoSENet:
        """The network: a small one with fresh weights and a trained photo encoder, or what lies in the folder."""
        network = RoSENet(self.net)
        encoder = network.encoder
        if self.encoder and isinstance(encoder, PhotoEncoder):
            trained = load_network(self.encoder, ConvNiRNEConfig, ConvNiRNENet)
            encoder.clean.load_state_dict(trained.clean.state_dict())
            encoder.attention.load_state_dict(trained.attention.state_dict())
        return network


TRAINING: dict[str, RoseTraining] = {
    "small": RoseTraining(
        PRESETS["small"],
        (
            Phase(128, 400, 4, 3e-4, 1e-5, shapes=744),
            Phase(64, 4000, 8, 6e-4, 3e-4, shapes=744, stage=2),
            Phase(128, 2000, 4, 3e-4, 3e-6, shapes=744, stage=2),
        ),
        bf16=True,
        # Much of a latent's power is in its patches' means, which lesser noise leaves in plain sight.
        log_sigma=(3.0, 1.5),
    ),
}

# The paper's: batches of 16, 80 000 steps at a constant rate, hardly any decay, images of 576 pixels.
SVD_PHASES = (Phase(576, 80_000, 16, 1e-5, 1e-5, stage=2),)
_SVD_DECAY = 1e-8


def svd_training(folder: Path) -> RoseTraining:
    """The paper's training, from a folder in the layout of Stable Video Diffusion.

    Raises:
        InputError: as `maquette.nets.rose_svd.read_svd`.
    """
    net = read_svd(folder, RING_LIGHTS, SVD_PHASES[-1].size_px)
    return RoseTraining(net, SVD_PHASES, encoder="", weight_decay=_SVD_DECAY, bf16=True)


def require_fitting(config: RoseTraining) -> None:
    """See that a run's phases fit its network, and that it has one process.

    Raises:
        InputError: they don't, or it hasn't.
    """
    multiple = config.net.multiple
    for phase in config.phases:
        if phase.size_px % multiple:
            raise InputError(f"a phase has photos of {phase.size_px} px; this network needs a multiple of {multiple}")
        if phase.stage == 1 and isinstance(config.net, SvdConfig):
            raise InputError(f"{config.net.folder}: its VAE is trained already; stage 1 is of the small network")
    require_one_process("RoSE")
