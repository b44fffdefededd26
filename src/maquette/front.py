"""The front door: a photo to normals, normals to a mesh or to other light, in one call each.

Wherever a photo is asked for, a path or an array will do, see `as_photo`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.app.predictors import build_predictor
from maquette.errors import InputError
from maquette.geometry.directional import confidence_from_concentration
from maquette.geometry.integrate import integrate
from maquette.io.images import read_photo, srgb_to_linear
from maquette.methods import masks
from maquette.methods.relief import solid, surface
from maquette.types import Camera, Mesh, NormalMap, Photo
from maquette.viz.pictures import CLAY, relit

Method: TypeAlias = Callable[[Photo], NormalMap]
Picture: TypeAlias = Photo | Path | str | np.ndarray | Tensor


def load(method: str = "nirne", weights: str | None = None, device: str = "auto") -> Method:
    """A method, ready to be called with photos.

    Args:
        method: `nirne`, `rose`, `auto`, `clone`, the baselines `inflate` and `flat`, or a model of your own:
            `onnx:FILE@FRAME`, `hf:FOLDER`, `FILE.py:FUNCTION`.
        weights: name or folder; those that ship with the method if not given.
        device: `auto`, `cpu`, or a GPU as torch names it.

    Returns:
        A function from `Photo` to `NormalMap`.

    Raises:
        InputError: no such method, weights or device.

    Examples:
        >>> import torch, maquette
        >>> method = maquette.load("flat")
        >>> method(maquette.Photo(torch.ones(4, 6, 3))).normals[0, 0]
        tensor([0., 0., 1.])
    """
    return build_predictor(method, weights, device, None)


def normals(photo: Picture, method: str | Method = "nirne", mask: str = "auto") -> NormalMap:
    """Surface normals of a photo's object: x right, y up, z towards the viewer.

    Args:
        photo: see `as_photo`.
        method: a name as `load` takes it, or what `load` returned, which saves loading it again.
        mask: where the object is, as `object_mask` takes it.

    Raises:
        InputError: a photo that can't be read, no such method, or no object.

    Examples:
        >>> import numpy as np, maquette
        >>> disc = np.hypot(*np.mgrid[-16:16, -16:16]) < 12
        >>> picture = np.repeat(np.uint8(200 * disc)[..., None], 4, -1)
        >>> maquette.normals(picture, method="inflate").normals.shape
        torch.Size([32, 32, 3])
    """
    predict = load(method) if isinstance(method, str) else method
    return predict(masks.cut_out(as_photo(photo), mask))


def as_photo(picture: Picture) -> Photo:
    """A photo of whatever holds one.

    Args:
        picture: a photo; the path of a file; or pixels (H, W), (H, W, 3) or (H, W, 4). Whole numbers are sRGB codes as
            files hold them, floats are linear light. A fourth channel is alpha, whose mask is what is above a half.

    Raises:
        InputError: a file that can't be read, another shape or type, or values that aren't light.

    Examples:
        >>> import numpy as np, maquette
        >>> maquette.as_photo(np.full((2, 3), 255, np.uint8)).rgb.shape
        torch.Size([2, 3, 3])
    """
    if isinstance(picture, Photo):
        return picture
    if isinstance(picture, str | Path):
        return read_photo(picture)
    pixels = torch.as_tensor(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., None].expand(-1, -1, 3)
    if pixels.ndim != 3 or pixels.shape[-1] not in (3, 4) or not pixels.numel():
        raise InputError(f"a picture of shape {tuple(pixels.shape)}; it must be (H, W), (H, W, 3) or (H, W, 4)")
    rgb, alpha = _light(pixels)
    if not bool(torch.isfinite(rgb).all()) or bool((rgb < 0).any()):
        raise InputError("a picture with values below zero or not finite; linear light is neither")
    if alpha is None or bool((alpha >= 1).all()):
        return Photo(rgb)
    return Photo(rgb, alpha > 0.5, alpha=alpha.clamp(0, 1))


def _light(pixels: Tensor) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"] | None]:
    """Linear colour, and alpha if there is any."""
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(pixels.dtype)
    if largest is None and not pixels.is_floating_point():
        raise InputError(f"a picture of {pixels.dtype}; give uint8 or uint16 codes, or floats of linear light")
    values = pixels.float() if largest is None else pixels.double() / largest
    rgb = values[..., :3] if largest is None else srgb_to_linear(values[..., :3])
    return rgb.float().contiguous(), values[..., 3].float() if values.shape[-1] == 4 else None


def object_mask(photo: Picture, how: str = "auto") -> Tensor:
    """The pixels (H, W) that show the photo's object.

    Args:
        photo: see `as_photo`.
        how: `auto` (the photo's own alpha, else what stands out), `none` (every pixel), `alpha`, `grabcut`,
            `box:X0,Y0,X1,Y1`, `point:X,Y`, `rembg:NAME`, or the path of a mask file.

    Raises:
        InputError: no such way, a mask of another size, or nothing where the box or the point is.

    Examples:
        >>> import numpy as np, maquette
        >>> bool(maquette.object_mask(np.zeros((8, 8, 3), np.uint8), "none").all())
        True
    """
    return masks.object_mask(as_photo(photo), how)


def relief(
    normal_map: NormalMap,
    size_mm: float | None = None,
    depth_mm: float | None = None,
    base_mm: float = 3.0,
    camera: Camera | None = None,
) -> Mesh:
    """Normals as a mesh: the open surface that was seen, or a watertight relief.

    Args:
        normal_map: what is integrated (bilaterally, so that steps stay); uncertain normals count less.
        size_mm: width of a watertight relief with walls and a flat back; without it, the surface, its longer side 1.
        depth_mm: of the relief, from its lowest to its highest point; true proportions if not given.
        base_mm: of the relief, the thickness below its lowest point.
        camera: that took the photo; without one, orthographic.

    Raises:
        InputError: an empty mask, or none that holds a triangle.

    Examples:
        >>> import torch, maquette
        >>> wall = torch.zeros(8, 8, 3)
        >>> wall[..., 2] = 1
        >>> flat = maquette.NormalMap(wall, torch.ones(8, 8, dtype=torch.bool))
        >>> len(maquette.relief(flat).faces)
        98
    """
    confidence = None
    if normal_map.concentration is not None:
        confidence = confidence_from_concentration(normal_map.concentration)
    depth = integrate(normal_map, camera, confidence)
    if size_mm is None:
        return surface(depth, normal_map, camera)
    return solid(depth, normal_map, camera, size_mm, depth_mm, base_mm)


def relight(
    normal_map: NormalMap,
    azimuth_deg: float = 135.0,
    elevation_deg: float = 40.0,
    albedo: float | Float[Tensor, "height width 3"] = CLAY,
) -> Float[Tensor, "height width 3"]:
    """Linear colour of a matte object under one distant light.

    Args:
        normal_map: of the object.
        azimuth_deg: counter-clockwise from the right; 90 is from above.
        elevation_deg: from the image plane (0) towards the viewer (90).
        albedo: linear base colour.

    Examples:
        >>> import torch, maquette
        >>> wall = torch.zeros(1, 1, 3)
        >>> wall[..., 2] = 1
        >>> flat = maquette.NormalMap(wall, torch.ones(1, 1, dtype=torch.bool))
        >>> maquette.relight(flat, elevation_deg=90.0, albedo=0.5)[0, 0]
        tensor([0.5000, 0.5000, 0.5000])
    """
    return relit(normal_map, azimuth_deg, elevation_deg, albedo)
