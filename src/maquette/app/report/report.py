"""The report: one HTML file that needs no network, to look at a photo's normals with one's own light.

The page is `page.html` with `page.css` and the scripts beside it written into it, and the pictures as data
URLs. Its content policy forbids every request, so nothing that it shows comes from anywhere else.
"""

import html
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.app.report.embed import base64_of, depth_codes, octahedral_codes, png_url, webp_url
from maquette.errors import InputError
from maquette.geometry.directional import confidence_from_angle, expected_angle
from maquette.geometry.integrate import integrate
from maquette.io.files import write_bytes
from maquette.io.images import to_srgb8
from maquette.shading.lambert import estimate_albedo
from maquette.types import Camera, NormalMap, Photo
from maquette.viz.pictures import AMBIENT, CLAY, normals_in_colour, shrink_image, shrink_normals

FRAME = "x right, y up, z towards the viewer"
_SCRIPTS = ("gl.js", "light.js", "relief.js", "page.js")
_MOST_PIXELS = 1024 * 1024
RELIEF_LONGEST_PX = 384
_OUTSIDE_ALPHA = 0.25
_LEGEND_STEPS = 9


def write_report(
    path: Path,
    photo: Photo,
    normal_map: NormalMap,
    depth: Float[Tensor, "rows columns"] | None = None,
    camera: Camera | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write the page: photo, normals, confidence if it is known, a light to move, a relief if depth is known.

    Args:
        path: the file, ending in `.html`.
        photo: linear colour.
        normal_map: in the frame of memory, of the photo's size.
        depth: along the camera's -z, not finite where there is no surface; of the photo's size or a smaller
            grid over the same picture, as `relief_depth` gives.
        camera: of the depth's size; without one, depth is orthographic and in pixels of its own grid.
        facts: what else the page should state, as lines of a table: name and text.

    Raises:
        InputError: the sizes differ, there is no normal or no finite depth, or the file can't be written.
    """
    _check(photo, normal_map, depth)
    height, width = photo.rgb.shape[:2]
    longest = int(max(height, width) * min(1.0, (_MOST_PIXELS / (height * width)) ** 0.5))
    small = shrink_normals(normal_map, longest)
    rgb = shrink_image(photo.rgb, longest)
    data: dict[str, Any] = {
        "codes": png_url(octahedral_codes(small)),
        "albedo": webp_url(to_srgb8(estimate_albedo(rgb, small.normals, small.mask))),
        "clay": CLAY,
        "ambient": AMBIENT,
        "relief": None if depth is None else _relief(depth, camera),
    }
    plates = [_photo_plate(rgb, small), _normals_plate(small)]
    plates += _confidence_plates(normal_map, longest)
    shown = "" if small.mask.shape == normal_map.mask.shape else f", shown at {_size(small.mask)}"
    rows = {"Frame": FRAME, "Size": f"{_size(photo.rgb)} pixels{shown}", **(facts or {})}
    page = _fill(photo.name, data, plates, rows, small)
    write_bytes(path, page.encode())


def relief_depth(normal_map: NormalMap) -> Float[Tensor, "rows columns"]:
    """The depth that a page needs for its relief, orthographic: normals of a small copy, integrated.

    Returns:
        Depth in pixels of the copy, NaN outside the mask; at most 384 a side, as the page shows.
    """
    small = shrink_normals(normal_map, RELIEF_LONGEST_PX)
    found = integrate(small)
    return torch.where(found.mask, found.depth, torch.nan)


def _check(photo: Photo, normal_map: NormalMap, depth: Tensor | None) -> None:
    height, width = photo.rgb.shape[:2]
    if normal_map.mask.shape != (height, width):
        raise InputError(
            f"{photo.name}: the normal map is {_size(normal_map.mask)}, the photo {width} × {height}; they must agree"
        )
    if depth is not None and abs(depth.shape[0] * width / height - depth.shape[1]) > 1:
        raise InputError(
            f"{photo.name}: the depth is {_size(depth)}, the photo {width} × {height}; their shapes must agree"
        )
    if depth is not None and not bool(depth.isfinite().any()):
        raise InputError(f"{photo.name}: no depth is finite; give one where there is a surface, or none at all")
    if not bool(normal_map.mask.any()):
        raise InputError(f"{photo.name}: there is no normal to show; give a map with at least one")


def _fill(name: str, data: dict[str, Any], plates: list[str], facts: Mapping[str, str], small: NormalMap) -> str:
    read = resources.files("maquette.app.report").joinpath
    height, width = small.mask.shape
    rows = "\n".join(f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in facts.items())
    relief = read("relief.html").read_text("utf-8") if data["relief"] else ""
    return Template(read("page.html").read_text("utf-8")).substitute(
        title=html.escape(name),
        style=read("page.css").read_text("utf-8"),
        script="\n".join(read(script).read_text("utf-8") for script in _SCRIPTS),
        data=json.dumps(data).replace("<", "\\u003c"),
        width=width,
        height=height,
        ratio=f"{width / height:.5f}",
        plates="\n".join(plates),
        relief=relief,
        facts=rows,
    )


def _relief(depth: Float[Tensor, "height width"], camera: Camera | None) -> dict[str, Any]:
    """The grid of depth and what turns it into points, on which image coordinates run from 0 to 1."""
    height, width = depth.shape
    codes, nearest, farthest = depth_codes(depth, RELIEF_LONGEST_PX)
    focal, center = (1.0, (width / 2, height / 2)) if camera is None else (camera.focal_px, camera.center_px)
    return {
        "codes": base64_of(codes),
        "rows": codes.shape[0],
        "columns": codes.shape[1],
        "nearest": nearest,
        "farthest": farthest,
        "size": [width, height],
        "focal": focal,
        "center": list(center),
        "orthographic": camera is None or camera.orthographic,
    }


def _photo_plate(rgb: Float[Tensor, "height width 3"], small: NormalMap) -> str:
    alpha = torch.where(small.mask, 1.0, _OUTSIDE_ALPHA)
    outside = "" if bool(small.mask.all()) else " Faded: outside the mask."
    return _plate("Photo", f"The picture that was given.{outside}", "the photo", webp_url(to_srgb8(rgb), alpha))


def _normals_plate(small: NormalMap) -> str:
    said = f"Red is right, green is up, blue is towards you: {FRAME}."
    url = webp_url(normals_in_colour(small), small.mask.float())
    return _plate("Normals", said, "the surface normals in colour", url)


def _confidence_plates(normal_map: NormalMap, longest_px: int) -> list[str]:
    if normal_map.concentration is None:
        return []
    angle = expected_angle(normal_map.concentration.detach().cpu())
    confidence = confidence_from_angle(angle) * normal_map.mask.cpu()
    mask = shrink_normals(normal_map, longest_px).mask.cpu()
    grey = shrink_image(confidence[..., None].expand(-1, -1, 3), longest_px)[..., 0]
    median = float(np.rad2deg(angle[normal_map.mask.cpu()].median().item()))
    legend = ", ".join(f"rgb({r} {g} {b})" for r, g, b in _ramp(torch.linspace(0, 1, _LEGEND_STEPS)[None])[0].tolist())
    said = (
        f"The method expects a median error of {median:.0f}°."
        f'<span class="legend"><span>unsure</span><i style="background: linear-gradient(90deg, {legend})"></i>'
        "<span>sure</span></span>"
    )
    url = webp_url(_ramp(grey), mask.float())
    return [_plate("Confidence", said, "how far each normal can be trusted", url)]


def _plate(title: str, said: str, alt: str, url: str) -> str:
    return (
        f'<figure><img src="{url}" alt="{alt}"><figcaption><strong>{title}</strong> <span>{said}</span></figcaption>'
        "</figure>"
    )


def _ramp(values: Float[Tensor, "height width"]) -> Tensor:
    """0..1 in the colours of cividis, which people who see no red or no green read as others do."""
    codes = (values.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return torch.from_numpy(cv2.applyColorMap(codes, cv2.COLORMAP_CIVIDIS)[..., ::-1].copy())


def _size(image: Tensor) -> str:
    return f"{image.shape[1]} × {image.shape[0]}"
