"""GSN: one picture of an object to Gaussians, in one pass and without a disk; see `maquette.nets.gsn`.

    picture -> square, on white (`maquette.methods.gsn_framing`) -> network -> Gaussians that can be seen

Frame of the result: axes of the picture's camera (x right, y up, z towards the viewer), origin in the middle of the
object, unit the diagonal of the object's box. The camera that sees it as the picture does stands at (0, 0, distance).
What one picture can't tell is assumed: that the camera stood 1.3 diagonals away. `in_camera` places a splat before a
camera whose focal length is known, at a depth that is known, in its units.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import METHODS
from maquette.errors import InputError
from maquette.geometry.rotation import facing_rotation, multiply, quaternion_to_matrix, smallest_axis
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network
from maquette.methods.framing import display
from maquette.methods.gsn_framing import FramedImage, show
from maquette.nets.gsn import GSNConfig, GSNNet, camera_of
from maquette.render.splat.rasterize import rasterize
from maquette.types import Camera, Gaussians, Photo, RenderOutput

LEAST_OPACITY = 1 / 255  # what is fainter changes no 8-bit pixel
_REACH = 0.1  # of the neighbourhood that tells a Gaussian's outer side, in diagonals of the object


@dataclass(frozen=True)
class SplatResult:
    """A splat of a photo, and how far it can be trusted.

    Attributes:
        gaussians: in the frame of this module, display-encoded.
        camera: of the photo's size, which sees the splat where the photo shows the object. Its principal point is the
            middle of the square that the network saw: the object is taken to be seen straight on, wherever it is.
        confidence: 0 to 1; see `confidence_of`.
        warnings: a plain line each.
        seconds: that the network took.
        mask_share: of the photo's frame that was taken for the object.
    """

    gaussians: Gaussians
    camera: Camera
    confidence: float
    warnings: tuple[str, ...]
    seconds: float
    mask_share: float


class GSN:
    """A loaded network: call it with an array, get Gaussians. The same picture, the same bits.

    Attributes:
        net: the network, in evaluation mode.
    """

    def __init__(self, net: GSNNet) -> None:
        self.net = net.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, weights: str | Path = METHODS["gsn"].weights, device: str = "cpu") -> "GSN":
        """Load shipped weights by name, or a folder with `config.json` and `model.safetensors`.

        Raises:
            InputError: no such weights, or files that don't fit the network.
        """
        return cls(load_network(weights, GSNConfig, GSNNet).to(device))

    def __call__(self, rgb: np.ndarray, mask: np.ndarray | None = None) -> Gaussians:
        """The Gaussians of a picture, on the network's device.

        Args:
            rgb: (H, W, 3), display-encoded: uint8, or floats 0 to 1; with a fourth channel, its alpha is the mask
                (alpha > 0.5) unless all of it is opaque or a mask is given.
            mask: (H, W), bool or uint8, true or above 0 where the object is; `maquette.methods.gsn_framing.show` says
                what is done without.

        Raises:
            InputError: another shape or type, values out of their range, or no object.
        """
        return self.gaussians(self.show(rgb, mask))

    def show(self, rgb: np.ndarray, mask: np.ndarray | None = None, name: str = "picture") -> FramedImage:
        """What the network is shown of a picture; arguments and errors as those of a call."""
        return show(*_checked(rgb, mask, name), name)

    def splat(self, photo: Photo) -> SplatResult:
        """The splat of a photo, with its camera, a confidence and warnings.

        Args:
            photo: shown to the network as a screen with 8 bits shows it, so that a file and its pixels give the same.

        Raises:
            InputError: no object, or nothing that can be seen is made of it.
        """
        codes = (display(photo) * 255).round() / 255
        return self.result(show(codes, photo.mask, photo.name))

    def result(self, shown: FramedImage) -> SplatResult:
        """The splat of what `show` made of a picture, with its camera, a confidence and warnings.

        Raises:
            InputError: no Gaussian of it can be seen.
        """
        start = time.perf_counter()
        gaussians = self.gaussians(shown)
        seconds = time.perf_counter() - start
        if not len(gaussians):
            raise InputError("the weights make nothing of the picture, no Gaussian that can be seen; give others")
        confidence = confidence_of(*self.agreement(shown, gaussians))
        return SplatResult(gaussians, self.camera(shown), confidence, shown.warnings, seconds, shown.share)

    def camera(self, shown: FramedImage) -> Camera:
        """The camera of a picture's size that sees its splat where the picture shows the object."""
        window, (height, width) = shown.window, shown.picture_size
        middle = (window.left + window.width / 2, window.top + window.height / 2)
        return replace(camera_of(self.net.config, window.width), width=width, height=height, center_px=middle)

    @torch.no_grad()
    def agreement(self, shown: FramedImage, gaussians: Gaussians) -> tuple[float, float]:
        """How a splat, seen by its picture's camera, agrees with the picture.

        Returns:
            The intersection of both silhouettes over their union; the PSNR of the colours on the picture's object, dB.
        """
        camera = camera_of(self.net.config, len(shown.mask))
        seen = rasterize(gaussians, camera, background=torch.ones(3))
        return agreement_of(seen, shown.image.permute(1, 2, 0), shown.mask)

    def gaussians(self, shown: FramedImage) -> Gaussians:
        """The splat of what `show` made of a picture, on the network's device: the pass that `__call__` makes."""
        with torch.inference_mode():
            found = self.net(shown.image[None].to(self.net.lattice)).gaussians(0)
        seen = found.opacity >= LEAST_OPACITY
        values = (found.mean, found.scale, found.rotation, found.opacity, found.sh)
        return Gaussians(*(value[seen] for value in values), encoding=found.encoding)


def outward_normals(gaussians: Gaussians) -> Float[Tensor, "n 3"]:
    """Each Gaussian's thinnest axis, on the side where there is less of the splat: for one as large as an object of 1.

    The side is that of -sum_j o_j exp(-d_j^2 / 2 h^2) (mean_j - mean), the fall of the opacity about it. Ours.
    """
    axis = smallest_axis(gaussians.scale, gaussians.rotation)
    weights = torch.exp(torch.cdist(gaussians.mean, gaussians.mean).square() / (-2 * _REACH**2)) * gaussians.opacity
    inward = weights @ gaussians.mean - weights.sum(1, keepdim=True) * gaussians.mean
    return torch.where((axis * inward).sum(-1, keepdim=True) > 0, -axis, axis)


def in_camera(gaussians: Gaussians, seen: Camera, real: Camera, depth: float) -> Gaussians:
    """A splat placed before the camera that took the picture, in that camera's axes and the depth's units.

    Its middle lies on the ray through `seen`'s principal point, and its front is turned to the camera along that ray.

    Args:
        gaussians: in the frame of this module.
        seen: the camera that came with it.
        real: the camera that took the picture: its true focal length and principal point. Its pose isn't looked at.
        depth: of the middle of the object, along the real camera's viewing direction.

    Raises:
        InputError: the cameras' sizes differ, the real one is orthographic, or the depth isn't positive.
    """
    if (seen.width, seen.height) != (real.width, real.height) or real.orthographic:
        kind = "orthographic" if real.orthographic else "pinhole"
        raise InputError(
            f"the real camera is {kind}, of {real.width}x{real.height} px; a pinhole of the picture's size,"
            f" {seen.width}x{seen.height} px, is needed"
        )
    if not 0 < depth < math.inf:
        raise InputError(f"a depth of {depth:g}; it must be positive")
    across, down = ((seen.center_px[k] - real.center_px[k]) / real.focal_px for k in (0, 1))
    ray = gaussians.mean.new_tensor([across, -down, -1.0])
    # A length of one spans focal / distance pixels in the middle of either picture.
    length = seen.focal_px / float(seen.camera_to_world[2, 3]) * depth / real.focal_px
    turn = facing_rotation(unit(-ray))
    return replace(
        gaussians,
        mean=gaussians.mean * length @ quaternion_to_matrix(turn).T + ray * depth,
        scale=gaussians.scale * length,
        rotation=multiply(turn.expand_as(gaussians.rotation), gaussians.rotation),
    )


def agreement_of(
    seen: RenderOutput, image: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"]
) -> tuple[float, float]:
    """How a render on white agrees with an image; see `GSN.agreement`."""
    silhouette = seen.alpha.cpu() > 0.5
    union = int((silhouette | mask).sum())
    overlap = int((silhouette & mask).sum()) / union if union else 0.0
    error = (seen.color.cpu() - image)[mask].square().mean()
    return overlap, float(-10 * error.clamp_min(1e-10).log10())


def confidence_of(overlap: float, psnr: float) -> float:
    """Overlap times (1 - e), e the root mean square error of colours that a PSNR in dB means: how far, 0 to 1, a splat
    explains its own picture. Ours; `benchmarks/gsn_confidence.py` measures what it tells of views that nobody saw.
    """
    return overlap * (1 - min(10 ** (-psnr / 20), 1.0))


def _checked(
    rgb: np.ndarray, mask: np.ndarray | None, name: str
) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"] | None]:
    """An array as display values 0 to 1, and its mask, if it has one."""
    if rgb.ndim != 3 or rgb.shape[2] not in (3, 4):
        raise InputError(f"{name}: is an array of {rgb.shape}; (height, width, 3 or 4) is needed")
    if rgb.dtype != np.uint8 and not np.issubdtype(rgb.dtype, np.floating):
        raise InputError(f"{name}: is an array of {rgb.dtype}; uint8, or floats from 0 to 1 are needed")
    values = torch.from_numpy(rgb.astype(np.float32, order="C"))  # a copy: the array may be read-only
    if rgb.dtype == np.uint8:
        values = values.div_(255)
    elif not bool(((values >= 0) & (values <= 1)).all()):  # NaN compares false
        raise InputError(f"{name}: holds values that are NaN or not from 0 to 1; floats must be display values 0 to 1")
    where = None
    if mask is not None:
        if mask.shape != rgb.shape[:2] or mask.dtype not in (np.bool_, np.uint8):
            raise InputError(
                f"{name}: its mask is an array of {mask.dtype} {mask.shape}; bool or uint8, {rgb.shape[:2]}, is needed"
            )
        where = torch.from_numpy(mask.astype(np.bool_, order="C"))
    elif values.shape[2] == 4 and bool((values[..., 3] < 1).any()):
        where = values[..., 3] > 0.5
    return values[..., :3], where
