"""A training of GSN that is killed at random moments, twenty times, against one that is left alone.

    python benchmarks/gsn_kill.py [--quick] [--json] [--kills N] [--seed N]

`maquette.train.gsn.recipe.train_gsn` trains a tiny network in two phases, at half the size of the views and at all of
it, both with the Extended Chamfer Distance and held-out errors at their end, as benchmarks/training_kills.py says: once
without a disturbance, then being killed and started again. All of the checkpoint and the loss curve must be the
undisturbed ones to the last bit. Numba's semaphore outlives whoever is killed; Python clears it away at the end, and
says so.

`--quick` kills four times. `--json` prints one flat object: `kills`, `while_working` (kills that met the training
before it had ended), `in_first_phase` (those of them before the second phase began), `runs`, `equal_weights` and
`equal_curves` (runs that ended as the undisturbed one) and `seed`. Exit code 1 if any run differs.
"""

import sys
from functools import partial
from pathlib import Path

import training_kills

STEPS = 14, 14  # at half the size, at all of it


def make_views(folder: Path) -> None:
    """Two cups and two cars of coarse grids to train on, and one of each to measure errors on, of 32 pixels."""
    from maquette.synth.datasets.multiview import making
    from maquette.synth.datasets.multiview.objects import generate
    from maquette.synth.datasets.multiview.spec import ViewsSpec

    making.place_thing = partial(making.place_thing, side=48)  # pyright: ignore[reportAttributeAccessIssue]
    generate(folder, ViewsSpec(2, 3, 1, 0, ("cup", "car"), (), 5, 4, 32))


def train(views: Path, run: Path, save_every_s: float, first_step: Path) -> None:
    """The training that is killed: of the network and the data it is tiny, in all else it is `maquette train gsn`."""
    import torch

    from maquette.nets.gsn import PRESETS
    from maquette.runs.schedule import Phase
    from maquette.train.gsn.config import GSNTraining
    from maquette.train.gsn.recipe import train_gsn

    torch.set_num_threads(1)
    phases = tuple(Phase(side, n, 2, 1e-3, 1e-4) for side, n in zip((16, 32), STEPS, strict=True))
    config = GSNTraining(PRESETS["tiny"], phases, views=2, seed=5)
    train_gsn(config, views, run, validation=views, save_every_s=save_every_s, report=lambda _: first_step.touch())


WORK = training_kills.Work(
    make_views,
    train,
    (sum(STEPS), STEPS[0]),
    "first phase",
    ["maquette.train.gsn.recipe", "maquette.render.splat.numba_cpu", "transformers.models.resnet.modeling_resnet"],
)


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print; returns 1 if anything differs."""
    return training_kills.main(WORK, __doc__ or "", argv)


if __name__ == "__main__":
    sys.exit(main())
