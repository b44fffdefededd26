"""What can be benchmarked: any callable from a photo to a normal map, by its name."""

from typing import Protocol

from maquette.errors import InputError
from maquette.methods import baselines
from maquette.types import NormalMap, Photo

METHODS = ("flat", "inflate", "nirne")


class Predictor(Protocol):
    """A method: one photo in, its normal map out, in the camera frame of `maquette.types`.

    A foreign model becomes one with a function that converts its frame.
    """

    def __call__(self, photo: Photo, /) -> NormalMap: ...


def load_predictor(method: str, weights: str = "nirne-small", device: str = "cpu") -> Predictor:
    """The predictor of that name.

    Args:
        method: one of `METHODS`.
        weights: for nirne, the name of shipped weights or a folder with a checkpoint.
        device: for nirne, a torch device.

    Raises:
        InputError: an unknown method, or weights that can't be read.
    """
    if method == "flat":
        return baselines.flat
    if method == "inflate":
        return baselines.inflate
    if method == "nirne":
        from maquette.methods.nirne import NiRNE

        return NiRNE.from_pretrained(weights, device=device)
    raise InputError(f"method {method!r}: not known; choose from {', '.join(METHODS)}")
