"""The nouns of maquette: frozen dataclasses of tensors, in one frame.

Frame, everywhere in memory: right-handed, x right, y up, z towards the viewer (OpenGL camera axes). A wall
that faces the camera has normal (0, 0, 1). Image row 0 is the top row, pixel centres lie at +0.5, colours
are linear. Other frames and sRGB exist only in `maquette.io`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from maquette.errors import InputError

SH_COUNTS = (1, 4, 9, 16, 25)  # coefficients of the spherical harmonics up to degree 0 to 4


@dataclass(frozen=True)
class Photo:
    """A photograph, linear colour, with an optional mask of the object.

    Attributes:
        rgb: linear RGB, non-negative, in units of the camera's choice (a predictor normalises exposure).
        mask: true where the object is; `None` means that nobody said.
        alpha: share of every pixel that the object covers, 0 to 1, where that is known: what pictures are written
            with. The mask, where it is above a half, is what is computed with.
        name: what to call it in messages and file names.
    """

    rgb: Float[Tensor, "height width 3"]
    mask: Bool[Tensor, "height width"] | None = None
    name: str = "photo"
    alpha: Float[Tensor, "height width"] | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.mask.shape != self.rgb.shape[:2]:
            raise InputError(
                f"{self.name}: the mask is {_size(self.mask)}, the photo {_size(self.rgb)}; they must agree"
            )

    def with_mask(self, mask: Bool[Tensor, "height width"]) -> "Photo":
        """The same photo with another mask, and with no alpha, which was that of the old one."""
        return replace(self, mask=mask, alpha=None)


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


@dataclass(frozen=True)
class Gaussians:
    """Anisotropic 3D Gaussians with activated values: scales are lengths, opacities shares.

    Seen along the unit direction d, from the camera to the mean, a Gaussian's colour is
    max(0, 0.5 + sum_k sh[k] Y_k(d)), with the basis of `maquette.geometry.sh` (Kerbl et al. 2023).

    Attributes:
        mean: centres, in scene units.
        scale: standard deviations along the Gaussian's own axes, in scene units, not negative.
        rotation: quaternions (w, x, y, z), not zero; their length doesn't count. The axis of `scale[:, k]` is the
            column k of the rotation matrix: Sigma = R S S^T R^T.
        opacity: 0 to 1, at the mean.
        sh: coefficients of the real spherical harmonics of degree 0 to 4: 1, 4, 9, 16 or 25 of them, three colours.
        albedo: linear base colour, if known.
        features: further channels, if there are any.
        encoding: what the colour of `sh` is: `linear` light, or display values (`srgb`), as nearly every splat file
            holds them, which are also blended as they are.
    """

    mean: Float[Tensor, "n 3"]
    scale: Float[Tensor, "n 3"]
    rotation: Float[Tensor, "n 4"]
    opacity: Float[Tensor, " n"]
    sh: Float[Tensor, "n coefficients 3"]
    albedo: Float[Tensor, "n 3"] | None = None
    features: Float[Tensor, "n channels"] | None = None
    encoding: Literal["linear", "srgb"] = "linear"

    def __post_init__(self) -> None:
        n = len(self.mean)
        shapes = {"mean": (n, 3), "scale": (n, 3), "rotation": (n, 4), "opacity": (n,), "albedo": (n, 3)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise InputError(f"Gaussians: {name} is {tuple(value.shape)}; with {n} means it must be {shape}")
        if self.sh.ndim != 3 or len(self.sh) != n or self.sh.shape[1] not in SH_COUNTS or self.sh.shape[2] != 3:
            raise InputError(f"Gaussians: sh is {tuple(self.sh.shape)}; it must be ({n}, 1, 4, 9, 16 or 25, 3)")
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != n):
            raise InputError(f"Gaussians: features is {tuple(self.features.shape)}; it must be ({n}, channels)")
        if self.encoding not in ("linear", "srgb"):
            raise InputError(f"Gaussians: encoding is {self.encoding!r}; it must be linear or srgb")

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True)
class RenderOutput:
    """What a camera sees of Gaussians; w_i is the share of a pixel's light that the Gaussian i sends.

    Attributes:
        color: sum_i w_i c_i, and the background by what is left; linear or display values, as the Gaussians are.
        alpha: sum_i w_i, 0 to 1.
        depth: mean distance along the viewing direction, weighted by w_i; scene units; 0 where alpha is 0.
        median_depth: of the Gaussian behind which at most half of the light is left; 0 where none is.
        normals: camera axes, the mean of the Gaussians' own, of unit length; zero where alpha is 0.
        features: sum_i w_i f_i, if the Gaussians have features.
        distortion: sum_{i<j} w_i w_j (depth_i - depth_j)^2: how far what a pixel sees lies apart.
        mean_px: centres in the image; `retain_grad()` on it before a backward pass gives what density control asks.
        visible: the Gaussians that are in front of the camera and touch the image.
    """

    color: Float[Tensor, "height width 3"]
    alpha: Float[Tensor, "height width"]
    depth: Float[Tensor, "height width"]
    median_depth: Float[Tensor, "height width"]
    normals: Float[Tensor, "height width 3"]
    features: Float[Tensor, "height width channels"] | None
    distortion: Float[Tensor, "height width"]
    mean_px: Float[Tensor, "n 2"]
    visible: Bool[Tensor, " n"]


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
