"""The nouns of maquette: frozen dataclasses of tensors, in one frame.

Frame, everywhere in memory: right-handed, x right, y up, z towards the viewer (OpenGL camera axes). A wall
that faces the camera has normal (0, 0, 1). Image row 0 is the top row, pixel centres lie at +0.5, colours
are linear. Other frames and sRGB exist only in `maquette.io`.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from maquette.errors import InputError

SH_COUNTS = (1, 4, 9, 16, 25)  # coefficients of the spherical harmonics up to degree 0 to 4


_T = TypeVar("_T", bound="Tensors")


@dataclass(frozen=True)
class Tensors:
    """A dataclass whose tensors move between devices together."""

    def to(self: _T, device: torch.device | str) -> _T:
        """The same on a device; tensors that are there already aren't copied."""
        return replace(self, **{field.name: _moved(getattr(self, field.name), device) for field in fields(self)})

    def cpu(self: _T) -> _T:
        """The same on the CPU."""
        return self.to("cpu")


@dataclass(frozen=True)
class Photo(Tensors):
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
class NormalMap(Tensors):
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
class Camera(Tensors):
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
class View(Tensors):
    """A photo and the camera that took it.

    Attributes:
        photo: as large as the camera's image.
        camera: in the world of its scene.
    """

    photo: Photo
    camera: Camera

    def __post_init__(self) -> None:
        if self.photo.rgb.shape[:2] != (self.camera.height, self.camera.width):
            raise InputError(
                f"{self.photo.name}: the photo is {_size(self.photo.rgb)}, its camera's image"
                f" {self.camera.width}x{self.camera.height}; they must agree"
            )


@dataclass(frozen=True)
class Scene(Tensors):
    """Photos of one thing from several sides, in one world.

    Attributes:
        views: at least one.
        bounds: lowest and highest corner of the box that holds the object; world.
        world_to_unit: similarity that puts the object into the unit ball about the origin.
    """

    views: tuple[View, ...]
    bounds: Float[Tensor, "2 3"]
    world_to_unit: Float[Tensor, "4 4"]

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError("a scene needs at least one view")


@dataclass(frozen=True)
class Lights(Tensors):
    """The distant lights of some photos, one each, in the photos' order.

    Attributes:
        directions: unit vectors from the surface to the light: x right, y up, z towards the viewer.
        intensities: of each light in red, green and blue, in units of the file's choice; one, where nobody said.
        source: where they come from, for messages.
        named: the rows were matched to the photos by name, not by order.
    """

    directions: Float[Tensor, "frames 3"]
    intensities: Float[Tensor, "frames 3"]
    source: str = "lights"
    named: bool = False


@dataclass(frozen=True)
class Depth(Tensors):
    """Depth along the camera's -z, as far as normals tell it.

    Normals don't tell how far apart two pieces lie that don't touch. A piece is a 4-connected part of the
    mask. Without anchors, the mean depth of each piece is 0 if the camera is orthographic, and the geometric
    mean of each is 1 if it is a pinhole: its scale, too, is free. A piece without an anchor among pieces that
    have one takes the mean of those.

    Attributes:
        depth: float64, scene units of the camera (pixels if none was given); zero outside the mask.
        mask: where there is a depth.
        piece: number of the piece from 0, in order of their first pixels; -1 outside the mask.
        rounds: of reweighting.
        settled: whether the energy stayed before the rounds ran out.
    """

    depth: Float[Tensor, "height width"]
    mask: Bool[Tensor, "height width"]
    piece: Int[Tensor, "height width"]
    rounds: int
    settled: bool


@dataclass(frozen=True)
class Mesh(Tensors):
    """Triangles, and what is known of their vertices.

    A vertex has one normal, one place in the texture and one colour. Where the two sides of an edge differ in one of
    them, its ends are in the list twice, as in files; `maquette.geometry.mesh.weld` joins equal places.

    Attributes:
        vertices: x right, y up, z towards the viewer, or as the file has them; scene units.
        faces: three vertices each, counter-clockwise seen from outside.
        normals: unit, outward, if known.
        uv: place in the texture, which repeats: 0 is its left and bottom border, 1 its right and top.
        colors: linear; they multiply the texture.
        textures: pictures, 8-bit sRGB: what files hold.
        texture_index: number of each face's texture, -1 for none; None stands for 0 everywhere.
        unit_mm: how many millimetres a unit is; None if the mesh has no size.
    """

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    normals: Float[Tensor, "vertices 3"] | None = None
    uv: Float[Tensor, "vertices 2"] | None = None
    colors: Float[Tensor, "vertices 3"] | None = None
    textures: tuple[UInt8[Tensor, "_ _ 3"], ...] = ()
    texture_index: Int[Tensor, " faces"] | None = None
    unit_mm: float | None = None

    def __post_init__(self) -> None:
        if self.textures and self.uv is None:
            raise InputError("Mesh: textures is given without uv; a texture needs a place for every vertex")


@dataclass(frozen=True)
class Gaussians(Tensors):
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
class RenderOutput(Tensors):
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


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor | Tensors):
        return value.to(device)
    return tuple(_moved(item, device) for item in value) if isinstance(value, tuple) else value


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
