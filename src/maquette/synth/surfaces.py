"""G-buffers as the shader takes them: a batch, channels first, in the camera's frame."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Surfaces:
    """A batch of G-buffers, camera frame, channels first.

    Attributes:
        normal: unit; zero outside the mask.
        position: object units, relative to the camera.
        local: position relative to the object's centre.
        view: unit vectors from the surface to the camera.
        mask: 1 on the object.
        lit: 1 where a light reaches the surface.
        openness: 1 minus ambient occlusion.
        lights: xyz and kind, as `maquette.synth.views` orders them.
        opening: unit, the mean direction in which nothing stands near; the normal where all is closed.
        part: whole numbers from 1, the part of the object; 0 where it isn't known.
    """

    normal: Float[Tensor, "batch 3 height width"]
    position: Float[Tensor, "batch 3 height width"]
    local: Float[Tensor, "batch 3 height width"]
    view: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    lit: Float[Tensor, "batch lights height width"]
    openness: Float[Tensor, "batch 1 height width"]
    lights: Float[Tensor, "batch lights 4"]
    opening: Float[Tensor, "batch 3 height width"]
    part: Float[Tensor, "batch 1 height width"]


def some(surfaces: Surfaces, rows: Int[Tensor, " picked"]) -> Surfaces:
    """Some objects of a batch."""
    return replace(surfaces, **{name: value[rows] for name, value in vars(surfaces).items()})
