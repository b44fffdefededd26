"""`maquette train rose`."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import InputError
from maquette.io.checkpoints import load_network, save_checkpoint
from maquette.nets.rose import RoseConfig, RoSENet
from maquette.nets.rose_svd import save_svd
from maquette.train.card import read_card
from maquette.train.job import Job, Options
from maquette.train.rose import config as presets
from maquette.train.rose.data import is_multishade
from maquette.train.rose.recipe import rose_recipe
from maquette.train.shapes import prepare_datasets


def job(options: Options) -> Job:
    """Training RoSE: the small one, or the paper's, of Stable Video Diffusion.

    Raises:
        InputError: no folder of Stable Video Diffusion, or a damaged one.
    """
    svd = options.preset == "svd"
    if svd and options.init is None:
        raise InputError("--preset svd starts from a folder in the layout of Stable Video Diffusion; give it by --init")
    config = presets.svd_training(Path(options.init or "")) if svd else presets.TRAINING[options.preset]
    config = options.apply(config)
    folders = {"shapes": options.data}

    def prepare(report: Callable[[str], None]) -> None:
        prepare_datasets(config, {} if is_multishade(options.data) else folders, options.held_out, report)

    def initial() -> dict[str, Tensor] | None:
        if options.init is None or svd:
            return None
        read_card(options.init)  # a card that can't be read is told now, not when the training is done
        return load_network(options.init, RoseConfig, RoSENet).state_dict()

    def save(net: RoSENet, folder: Path) -> None:
        if isinstance(net.config, RoseConfig):
            save_checkpoint(folder, net.config, net.state_dict())
        else:
            save_svd(net, folder, torch.float16)

    def note(line: dict[str, float]) -> str:
        return f"loss {line['loss']:.4f}" + (f", held out {line['val_1_deg']:.2f} deg" if "val_1_deg" in line else "")

    recipe = rose_recipe(config, folders, options.held_out, trained=options.init is not None and not svd)
    return Job(recipe, prepare, save, note, recipe.check, initial)
