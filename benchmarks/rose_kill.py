"""A training of RoSE that is killed at random moments, twenty times, against one that is left alone.

    python benchmarks/rose_kill.py [--quick] [--json] [--kills N] [--seed N]

`maquette.train.rose.recipe.train_rose` trains a tiny network, its VAE and then the video model in two phases, as
benchmarks/training_kills.py says: once without a disturbance, then being killed and started again. All of the
checkpoint and the loss curve must be the undisturbed ones to the last bit.

`--quick` kills four times. `--json` prints one flat object: `kills`, `while_working` (kills that met the training
before it had ended), `in_vae` (those of them before the video model began), `runs`, `equal_weights` and `equal_curves`
(runs that ended as the undisturbed one) and `seed`. Exit code 1 if any run differs.
"""

import sys
from functools import partial
from pathlib import Path

import training_kills

STEPS = 8, 10, 8  # VAE, video model at half the size, video model


def make_shapes(folder: Path) -> None:
    """Eight shapes on a coarse grid, a view each, of 32 pixels."""
    from maquette.synth.datasets import dataset

    dataset.sample_solid = partial(dataset.sample_solid, side=32)  # pyright: ignore[reportAttributeAccessIssue]
    dataset.generate(folder, dataset.DatasetSpec(8, seed=3, views=1, size_px=32))


def train(shapes: Path, run: Path, save_every_s: float, first_step: Path) -> None:
    """The training that is killed: of the network and the data it is tiny, in all else it is `maquette train rose`."""
    import torch

    from maquette.nets.rose import PRESETS
    from maquette.runs.schedule import Phase
    from maquette.train.rose.config import RoseTraining
    from maquette.train.rose.recipe import train_rose

    torch.set_num_threads(1)
    sizes, stages = (32, 16, 32), (1, 2, 2)
    phases = tuple(Phase(side, n, 2, 1e-3, 1e-4, stage=s) for side, n, s in zip(sizes, STEPS, stages, strict=True))
    config = RoseTraining(PRESETS["tiny"], phases, encoder="", seed=5)
    train_rose(
        config,
        {"shapes": shapes},
        run,
        validation=shapes,
        save_every_s=save_every_s,
        report=lambda _: first_step.touch(),
    )


WORK = training_kills.Work(
    make_shapes,
    train,
    (sum(STEPS), STEPS[0]),
    "VAE",
    [
        "maquette.train.rose.recipe",
        "diffusers.models.autoencoders.autoencoder_kl_temporal_decoder",
        "diffusers.models.unets.unet_spatio_temporal_condition",
        "diffusers.schedulers.scheduling_euler_discrete",
    ],
)


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    return training_kills.main(WORK, __doc__ or "", argv)


if __name__ == "__main__":
    sys.exit(main())
