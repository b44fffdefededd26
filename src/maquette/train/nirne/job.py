"""`maquette train nirne`."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from maquette.methods.nirne import NiRNE
from maquette.nets.encoder import published_weights
from maquette.train.card import read_card
from maquette.train.job import Job, Options
from maquette.train.nirne import config as presets
from maquette.train.nirne.recipe import fresh_weights, nirne_recipe
from maquette.train.shapes import prepare_datasets


def job(options: Options, sharp: Path, encoder: str, float32: bool, workers: int) -> Job:
    """Training NiRNE.

    Args:
        options: of every training.
        sharp: dataset of the most detailed shapes.
        encoder: what a fresh encoder starts from: auto, random, or a file.
        float32: convolve in float32, whatever the preset says.
        workers: processes that make photos ahead.
    """
    config = options.apply(presets.TRAINING[options.preset])
    config = replace(config, bf16=config.bf16 and not float32)
    folders = {"shapes": options.data, "sharp": sharp}

    def initial() -> dict[str, Tensor]:
        if options.init is not None:
            weights = NiRNE.from_pretrained(options.init).net.state_dict()
            read_card(options.init)  # a card that can't be read is told now, not when the training is done
            return weights
        file = published_weights(config.net.encoder) if encoder == "auto" else Path(encoder)
        return fresh_weights(config, None if encoder == "random" else file)

    def note(line: dict[str, float]) -> str:
        return f"{line['train_deg']:5.1f} deg" + (f", held out {line['val_deg']:.2f}" if "val_deg" in line else "")

    return Job(
        nirne_recipe(config, folders, options.held_out),
        lambda report: prepare_datasets(config, folders, options.held_out, report),
        lambda net, folder: NiRNE(net).save_pretrained(folder),
        note,
        initial=initial,
        workers=workers,
    )
