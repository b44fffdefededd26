"""What can be benchmarked: any callable from a photo to a normal map."""

from typing import Protocol, runtime_checkable

from maquette.types import NormalMap, Photo


@runtime_checkable
class Predictor(Protocol):
    """A method: one photo in, its normal map out, in the camera frame of `maquette.types`.

    A function is one. A foreign model becomes one with a function that converts its frame.
    """

    def __call__(self, photo: Photo, /) -> NormalMap:
        """Normals of the photo, on its mask."""
        ...
