"""Pictures of Gaussians for people: what a camera sees of them, as a file or as the frames of a film."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.catalogue import Rendered
from maquette.errors import InputError
from maquette.geometry.viewpoints import spread
from maquette.io.frame_conversion import format_for
from maquette.io.height_maps import write_height_map
from maquette.io.images import linear_to_srgb, srgb_to_linear, write_png8
from maquette.io.normal_maps import write_normal_map
from maquette.render.splat.projected import LEAST_ALPHA
from maquette.render.splat.rasterize import rasterize
from maquette.types import Camera, Gaussians, NormalMap, RenderOutput
from maquette.viz.pictures import normals_in_colour

_COVERED = 0.5  # of a pixel, for it to have a normal and a depth
_SIGMAS = 2.0  # how far a Gaussian is taken to reach, to frame it
_NEAR_SHARE = 0.01  # of the extent: nearer than this to the camera, nothing is drawn
_NEAR = 0.01


def extent(gaussians: Gaussians) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The corners of the box that holds what can be seen of Gaussians, strays left out."""
    seen = gaussians.opacity >= LEAST_ALPHA
    if not bool(seen.any()):
        seen = torch.ones_like(seen)
    return spread(gaussians.mean[seen], _SIGMAS * gaussians.scale[seen].amax(-1))


def seen_by(gaussians: Gaussians, camera: Camera, background: tuple[float, float, float] | None = None) -> RenderOutput:
    """What a camera sees, its features left out.

    Args:
        gaussians: whose colours are linear or display values.
        camera: where from.
        background: display values behind them; by default nothing.
    """
    low, high = extent(gaussians)
    near = min(_NEAR, _NEAR_SHARE * float((high - low).norm())) or _NEAR
    behind = None
    if background is not None:
        behind = torch.tensor(background, dtype=gaussians.mean.dtype)
        behind = behind if gaussians.encoding == "srgb" else srgb_to_linear(behind)
    with torch.no_grad():
        return rasterize(replace(gaussians, features=None), camera, background=behind, near=near)


def write_view(
    path: Path,
    gaussians: Gaussians,
    camera: Camera,
    what: Rendered = "color",
    background: tuple[float, float, float] | None = None,
) -> Path:
    """Write what a camera sees.

    Args:
        path: a .png; normals and depth also as .exr or .npy.
        gaussians: whose colours are linear (encoded on writing) or display values (written as they are).
        camera: where from.
        what: `color`, transparent where nothing is unless there is a background; `normals`, a normal map in the
            camera's axes; `depth`, where more is nearer, as a height map; `alpha`.
        background: display values, 0 to 1.

    Raises:
        InputError: the camera sees nothing of them, or the file can't be written.
    """
    output = seen_by(gaussians, camera, background if what == "color" else None)
    mask = (output.alpha > _COVERED).cpu()
    if not bool((output.alpha > 0).any()) or (what in ("normals", "depth") and not bool(mask.any())):
        raise InputError(
            f"{path}: would be empty: the camera sees no Gaussian; are file or camera in other axes (--axes)?"
        )
    if what == "normals":
        write_normal_map(path, NormalMap(output.normals.cpu(), mask), format=format_for(path, None, None))
    elif what == "depth":
        write_height_map(path, -output.depth.cpu(), mask, format_for(path, None, None))
    elif what == "alpha":
        write_png8(path, codes(output.alpha))
    else:
        write_png8(path, codes(displayed(output, gaussians.encoding, transparent=background is None)))
    return path


def displayed(output: RenderOutput, encoding: str, transparent: bool) -> Float[Tensor, "height width channels"]:
    """Display values of a render, with the alpha and without its share of black if what is behind shows through."""
    color = output.color
    if transparent:
        color = color / output.alpha.clamp_min(1e-6)[..., None]
    color = color.clamp(0, 1)
    color = linear_to_srgb(color) if encoding == "linear" else color
    return torch.cat([color, output.alpha[..., None]], dim=-1) if transparent else color


def film(
    gaussians: Gaussians, cameras: Iterable[Camera], what: Rendered, background: tuple[float, float, float]
) -> Iterator[UInt8[Tensor, "height width 3"]]:
    """Frames for `maquette.viz.films.write_film`; a depth is grey, white where it is as near as any of them can be."""
    low, high = (corner.double() for corner in extent(gaussians))
    radius = float((high - low).norm()) / 2
    for camera in cameras:
        output = seen_by(gaussians, camera, background if what == "color" else None)
        if what == "color":
            yield codes(displayed(output, gaussians.encoding, transparent=False))
        elif what == "normals":
            yield normals_in_colour(NormalMap(output.normals.cpu(), (output.alpha > _COVERED).cpu()))
        else:
            grey = output.alpha
            if what == "depth":
                pose = camera.camera_to_world.double()
                middle = float(((pose[:3, 3] - (low + high).cpu() / 2) * pose[:3, 2]).sum())
                grey = grey * (0.5 - (output.depth - middle) / (2 * radius)).clamp(0, 1)
            yield codes(grey)[..., None].expand(-1, -1, 3)


def codes(shares: Float[Tensor, "height width *channels"]) -> UInt8[Tensor, "height width *channels"]:
    """8-bit codes of what lies between 0 and 1, on the CPU."""
    return (shares.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
