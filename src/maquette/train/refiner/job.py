"""`maquette train refiner`."""

from torch import Tensor

from maquette.errors import InputError
from maquette.io.checkpoints import load_network, save_checkpoint
from maquette.nets.refiner import RefinerConfig, RefinerNet
from maquette.train.card import read_card
from maquette.train.job import Job, Options
from maquette.train.refiner import config as presets
from maquette.train.refiner.recipe import refiner_recipe
from maquette.train.shapes import prepare_datasets


def job(options: Options) -> Job:
    """Training CLONE's refiner and gate.

    Raises:
        InputError: the preset goes on from weights, and none are named.
    """
    config = options.apply(presets.TRAINING[options.preset])
    if options.preset == "refine" and options.init is None:
        raise InputError("--preset refine goes on from trained weights; name them, such as --init clone-small")
    folders = {"shapes": options.data}

    def initial() -> dict[str, Tensor] | None:
        if options.init is None:
            return None
        weights = load_network(options.init, RefinerConfig, RefinerNet).state_dict()
        read_card(options.init)  # a card that can't be read is told now, not when the training is done
        return weights

    return Job(
        refiner_recipe(config, folders, options.held_out),
        lambda report: prepare_datasets(config, folders, options.held_out, report),
        lambda net, folder: save_checkpoint(folder, net.config, net.state_dict()),
        lambda line: f"reprojection {line['fused']:.3f}",
        initial=initial,
    )
