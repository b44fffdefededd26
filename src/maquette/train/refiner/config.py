"""What a training run of CLONE's refiner is: the network, its phases, the weights of its loss; the presets."""

from dataclasses import dataclass

from maquette.nets.refiner import PRESETS, RefinerConfig, RefinerNet
from maquette.runs.schedule import Phase, Schedule


@dataclass(frozen=True)
class LossWeights:
    """What the terms count, beside the reprojection error of the fused normals, which counts 1.

    Attributes:
        ssim: 1 - SSIM of that reprojection.
        refined: the reprojection error of the refined normals alone.
        contour: normals at the silhouette.
        curl: what keeps normals from being those of a surface.
        shaded: a pixel that is dark in one of the images, in shadow as it seems, against 1 for one that isn't.
        light_trust: None for the lights that the renderer used. With a number, lights are fitted to the predicted
            normals and pulled to the renderer's by that ridge: 0.001 leaves them free, 1 hardly lets them move.
    """

    ssim: float = 0.2
    refined: float = 0.5
    contour: float = 0.01
    curl: float = 0.01
    shaded: float = 1.0
    light_trust: float | None = None


@dataclass(frozen=True)
class RefinerTraining(Schedule):
    """A training run.

    Attributes:
        net: the network's sizes.
        phases: what is done, in order; `stage` is 1.
        loss: weights of the terms.
        inputs: weights of the predictor whose normals are refined, beside silhouettes and walls; "" leaves it out.
        seed: of initial weights and batches.
        weight_decay, clip: AdamW's decay, and the largest norm of a gradient.
        bf16: convolve in bfloat16 (weights, losses and the optimiser stay in float32).
    """

    net: RefinerConfig
    phases: tuple[Phase, ...]
    loss: LossWeights = LossWeights()
    inputs: str = "nirne-small-1"
    seed: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False

    def build(self) -> RefinerNet:
        """The network with fresh weights."""
        return RefinerNet(self.net)


TRAINING: dict[str, RefinerTraining] = {
    "small": RefinerTraining(
        PRESETS["small"],
        (Phase(64, 3000, 16, 6e-4, 3e-4, shapes=744), Phase(128, 1600, 8, 3e-4, 2e-6, shapes=744)),
        bf16=True,
    ),
    # For weights that are trained already (`--init`): better on silhouettes, worse on predictions.
    "refine": RefinerTraining(
        PRESETS["small"],
        (Phase(128, 600, 8, 2e-4, 2e-6, shapes=744),),
        LossWeights(contour=0.001, curl=0.001, shaded=0.25),
        bf16=True,
    ),
}
