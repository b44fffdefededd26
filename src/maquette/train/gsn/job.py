"""`maquette train gsn`."""

from dataclasses import replace

from torch import Tensor

from maquette.errors import InputError
from maquette.io.checkpoints import load_network, save_checkpoint
from maquette.nets.gsn import GSNConfig, GSNNet
from maquette.train.card import read_card
from maquette.train.gsn import config as presets
from maquette.train.gsn.prepare import distance_in, prepare_views, require_fitting
from maquette.train.gsn.recipe import gsn_recipe
from maquette.train.job import Job, Options


def job(options: Options, distance: str, ecd: float | None) -> Job:
    """Training GSN.

    Args:
        options: of every training.
        distance: of the cameras from the objects' middle; auto finds it in the data.
        ecd: weight of the Extended Chamfer Distance; the preset's if None.

    Raises:
        InputError: a number is out of its range; the data are a file, or hold no objects.
    """
    config, data, held_out = _config(options, distance, ecd), options.data, options.held_out

    def initial() -> dict[str, Tensor] | None:
        if options.init is None:
            return None
        before = load_network(options.init, GSNConfig, GSNNet)
        presets.require_same_meaning(config.net, before.config, options.init)
        read_card(options.init)  # a card that can't be read is told now, not when the training is done
        return before.state_dict()

    def note(line: dict[str, float]) -> str:
        return f"loss {line['loss']:.4f}" + (
            f", held out {line['val_psnr_db']:.2f} dB" if "val_psnr_db" in line else ""
        )

    return Job(
        gsn_recipe(config, data, held_out),
        lambda report: prepare_views(data, held_out, config.net.distance, report),
        lambda net, folder: save_checkpoint(folder, net.config, net.state_dict()),
        note,
        lambda: require_fitting(config, data, held_out),
        initial,
    )


def _config(options: Options, distance: str, ecd: float | None) -> presets.GSNTraining:
    """What is trained, for cameras as far away as the data's."""
    try:
        far = None if distance == "auto" else float(distance)
    except ValueError:
        raise InputError(f"--distance is {distance!r}; it must be a number, or auto") from None
    if ecd is not None and not 0 <= ecd < float("inf"):
        raise InputError(f"--ecd is {ecd}; it must be 0 or more")
    if options.data.exists() and not options.data.is_dir():
        raise InputError(f"{options.data}: is a file; give a data set's folder, or one to make it in")
    config = options.apply(presets.TRAINING[options.preset])
    loss = config.loss if ecd is None else replace(config.loss, ecd=ecd)
    net = replace(config.net, distance=distance_in(options.data) if far is None else far)
    return replace(config, net=net, loss=loss)
