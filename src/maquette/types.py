"""The nouns of maquette: frozen dataclasses of tensors, in one frame.

Frame, everywhere in memory: right-handed, x right, y up, z towards the viewer (OpenGL camera axes). A wall
that faces the camera has normal (0, 0, 1). Image row 0 is the top row, pixel centres lie at +0.5, colours
are linear. Other frames and sRGB exist only in `maquette.io`.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from maquette.errors import InputError


@dataclass(frozen=True)
class Photo:
    """A photograph, linear colour, with an optional mask of the object.

    Attributes:
        rgb: linear RGB, non-negative, in units of the camera's choice (a predictor normalises exposure).
        mask: true where the object is; `None` means that nobody said.
        name: what to call it in messages and file names.
    """

    rgb: Float[Tensor, "height width 3"]
    mask: Bool[Tensor, "height width"] | None = None
    name: str = "photo"

    def __post_init__(self) -> None:
        if self.mask is not None and self.mask.shape != self.rgb.shape[:2]:
            raise InputError(
                f"{self.name}: the mask is {_size(self.mask)}, the photo {_size(self.rgb)}; they must agree"
            )

    def with_mask(self, mask: Bool[Tensor, "height width"]) -> "Photo":
        """The same photo with another mask."""
        return replace(self, mask=mask)


@dataclass(frozen=True)
class NormalMap:
    """Unit surface normals in the camera frame, where the mask is true; zero elsewhere.

    Attributes:
        normals: x right, y up, z towards the viewer.
        mask: true where there is a normal.
        concentration: von Mises-Fisher-like concentration kappa > 0 per pixel (large is certain), if known.
    """

    normals: Float[Tensor, "height width 3"]
    mask: Bool[Tensor, "height width"]
    concentration: Float[Tensor, "height width"] | None = None


@dataclass(frozen=True)
class Camera:
    """A pinhole or orthographic camera.

    Attributes:
        width, height: pixels.
        focal_px: focal length in pixels; for an orthographic camera, pixels per scene unit.
        center_px: principal point (x, y) in pixels from the top-left corner; a centred camera has
            (width / 2, height / 2).
        camera_to_world: rigid pose; the camera looks along its -z.
        orthographic: parallel instead of central projection.
    """

    width: int
    height: int
    focal_px: float
    center_px: tuple[float, float]
    camera_to_world: Float[Tensor, "4 4"]
    orthographic: bool = False


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
