"""NiRNE and RoSE as one, by what their confidences were found to be worth on renders of held-out shapes.

The calibration lies beside RoSE's weights, as `fusion.json`, and holds for these weights, for NiRNE's, and for the way
in which RoSE was asked; it names all of them. `maquette.train.fusion` makes it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from maquette.catalogue import AUTO_NIRNE_WEIGHTS, METHODS, RingSolver
from maquette.errors import InputError
from maquette.io.checkpoints import CONFIG_NAME, WEIGHTS_NAME, read_config, weights_folder
from maquette.methods.fusion import Calibration, Fused
from maquette.methods.nirne import NiRNE
from maquette.methods.rose import RoSE

CALIBRATION_NAME = "fusion.json"


@dataclass(frozen=True)
class AutoConfig:
    """A calibration, and what it holds for.

    Attributes:
        nirne, rose: fingerprints of the weights.
        steps, guidance, solver: how RoSE was asked.
        pixels: how many were measured.
        calibration: NiRNE first, RoSE second.
    """

    nirne: str
    rose: str
    steps: int
    guidance: float
    solver: RingSolver
    pixels: int
    calibration: Calibration


def auto(
    weights: str | Path = METHODS["auto"].weights,
    device: str = "cpu",
    detail_px: int | None = None,
    nirne_weights: str | Path = AUTO_NIRNE_WEIGHTS,
) -> Fused:
    """Both methods, ready to be called.

    Args:
        weights: of RoSE, a name or a folder, with the calibration beside them.
        device: torch device.
        detail_px: of NiRNE, see there.
        nirne_weights: of NiRNE, likewise.

    Raises:
        InputError: weights or calibration are missing or damaged, or the calibration was made for other weights.
    """
    folder = weights_folder(weights)
    path = folder / CALIBRATION_NAME
    if not path.is_file():
        raise InputError(f"{path}: not there; it is made by benchmarks/calibrate_fusion.py --rose {weights}")
    config = read_config(path, AutoConfig)
    for method, known, given in (("nirne", config.nirne, nirne_weights), ("rose", config.rose, weights)):
        if known != fingerprint(given):
            raise InputError(
                f"{path}: was made for other weights of {method} than {given}; make it again with"
                " benchmarks/calibrate_fusion.py"
            )
    nirne = NiRNE.from_pretrained(nirne_weights, device, detail_px=detail_px)
    return Fused(
        nirne, RoSE.from_pretrained(weights, device, config.steps, config.guidance, config.solver), config.calibration
    )


def fingerprint(weights: str | Path) -> str:
    """SHA-256 of a checkpoint: of its configuration, then its weights.

    Raises:
        InputError: there are no such weights.
    """
    folder = weights_folder(weights)
    digest = hashlib.sha256()
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise InputError(f"{folder / name}: can't be read ({error.strerror}); a checkpoint is needed") from None
    return digest.hexdigest()
