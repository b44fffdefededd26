"""What the two halves of every backend hand to each other: Gaussians on the image plane, and their blended channels."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

FILTER_PX2 = 0.3  # added to both variances in the image, so that no Gaussian falls between pixels
LEAST_ALPHA = 1 / 255  # what covers a pixel by less doesn't exist there
MOST_ALPHA = 0.999
JACOBIAN_MARGIN = 1.3  # of the field of view: beyond it the linearised projection is held
OPAQUE = 1e-4  # a backend may stop where less light than this comes through


@dataclass(frozen=True)
class Projected:
    """Gaussians in the image.

    Attributes:
        mean_px: centres, (x right, y down) from the top-left corner.
        conic: (a, b, c): a pixel centre at distance (x, y) from the mean is covered by
            opacity exp(-(a x^2 + 2 b x y + c y^2) / 2).
        opacity: at the mean; less than the Gaussian's own where the anti-aliasing filter spread it.
        depth: distance along the viewing direction, in scene units.
        normal: thinnest axis in camera axes (x right, y up, z towards the viewer), on the camera's side.
        visible: in front of the camera and touching the image; the others don't count, whatever else they hold.
    """

    mean_px: Float[Tensor, "n 2"]
    conic: Float[Tensor, "n 3"]
    opacity: Float[Tensor, " n"]
    depth: Float[Tensor, " n"]
    normal: Float[Tensor, "n 3"]
    visible: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Blended:
    """Channels blended front to back.

    Attributes:
        total: sum_i w_i c_i with w_i = alpha_i prod_{j<i} (1 - alpha_j).
        alpha: sum_i w_i.
        median: number of the Gaussian behind which at most half of the light is left; -1 where none is.
    """

    total: Float[Tensor, "height width channels"]
    alpha: Float[Tensor, "height width"]
    median: Int[Tensor, "height width"]


@runtime_checkable
class Backend(Protocol):
    """A module of this package that projects and blends; `torch_tiles` is the specification."""

    def project(
        self,
        mean: Float[Tensor, "n 3"],
        scale: Float[Tensor, "n 3"],
        rotation: Float[Tensor, "n 4"],
        opacity: Float[Tensor, " n"],
        camera_to_world: Float[Tensor, "4 4"],
        intrinsics: Float[Tensor, "3"],
        *,
        width: int,
        height: int,
        orthographic: bool,
        antialiased: bool,
        near: float,
    ) -> Projected:
        """See `maquette.render.splat.torch_tiles.project`."""
        ...

    def blend(self, projected: Projected, channels: Float[Tensor, "n channels"], width: int, height: int) -> Blended:
        """See `maquette.render.splat.torch_tiles.blend`."""
        ...
