"""Objects under known lights: one photo to work from, and others, under lights that are held out, to be relit to.

As everywhere in `maquette.bench.normals`, nothing here may tune or train anything.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.bench.normals.datasets import (
    DILIGENT_OBJECTS,
    LUCES_OBJECTS,
    Sample,
    diligent_photos,
    luces,
    read_as,
    read_triangles,
)
from maquette.bench.normals.pathtrace import render_lights, renderer_version
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.io.files import atomic_path
from maquette.methods.framing import object_window
from maquette.methods.tiles import in_square, resize
from maquette.render.splat.rasterize import rasterize
from maquette.shading.lambert import estimate_albedo, lambert
from maquette.tools.relight_splat import normals_towards, relit
from maquette.types import Camera, Gaussians, NormalMap, Photo

DILIGENT_SEEN = (21, 26)
DILIGENT_HELD = (1, 30, 61, 93)  # lights from below, from above on the left, from the right, from far right
SCANS = ("cheburashka", "decimated-max", "homer", "rocker-arm", "stanford-bunny", "teapot")
# Azimuth counter-clockwise from the right and elevation towards the viewer, in degrees; the first is the one to see.
SCAN_LIGHTS = ((60.0, 50.0), (150.0, 45.0), (240.0, 60.0), (330.0, 45.0))

Relit = tuple[Float[Tensor, "height width 3"], Float[Tensor, "3"]]


@dataclass(frozen=True)
class LitSample:
    """A photo with its truth, and what it would be under other lights.

    Attributes:
        family: the set that it is from.
        sample: the photo to work from.
        held: linear photos of the same view, each with the unit vector to its distant light; none, where the set
            has no other lights.
    """

    family: str
    sample: Sample
    held: tuple[Relit, ...] = ()


def lit_samples(data: Path, cache: Path) -> dict[str, Callable[[], LitSample]]:
    """How to get each sample, by name: DiLiGenT's ball and bear, LUCES (which has no other lights), and scans.

    Getting one raises an InputError if a file is missing or isn't what the set holds, or a scan has to be rendered and
    Mitsuba isn't installed.
    """
    found: dict[str, Callable[[], LitSample]] = {}
    for name in DILIGENT_OBJECTS:
        for number in DILIGENT_SEEN:
            found[f"diligent-{name}-{number:03d}"] = partial(_diligent, data, name, number)
    for name in LUCES_OBJECTS:
        found[f"luces-{name}"] = partial(_luces, data, name)
    for seed, name in enumerate(SCANS):
        found[f"scans-{name}"] = partial(_scan, data / "meshes" / "scans" / f"{name}.obj", seed, cache)
    return found


def relighting_error(
    predicted: Float[Tensor, "height width 3"],
    photo: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> float:
    """Root mean square of the difference over that of the photo, at the exposure of the prediction that suits best.

    Every pixel of the mask counts: shadows that fall, and light between surfaces, are part of every row's error.
    A black prediction has an error of 1.

    Args:
        predicted, photo: linear.
        mask: what counts.
    """
    ours, theirs = predicted[mask].double(), photo[mask].double()
    exposure = (ours * theirs).sum() / (ours * ours).sum().clamp_min(1e-12)
    return float(((exposure * ours - theirs).square().sum() / theirs.square().sum().clamp_min(1e-12)).sqrt())


def relit_splat_error(case: LitSample, gaussians: Gaussians, camera: Camera) -> float | None:
    """The mean `relighting_error` of fitted Gaussians, by their albedo and thinnest axes, under the held-out lights.

    Args:
        case: what was fitted.
        gaussians: with albedo.
        camera: sees them as the square about the object (`maquette.methods.tiles.in_square`) shows the photo.

    Returns:
        The mean over the lights; `None` without any.
    """
    assert gaussians.albedo is not None
    normals = normals_towards(gaussians, camera)
    errors = []
    for rgb, light in case.held:
        seen = rasterize(relit(gaussians, gaussians.albedo, normals, light, 0.0), camera)
        color = seen.color / seen.alpha.clamp_min(0.05)[..., None]
        errors.append(relighting_error(color, *_square(case, rgb, camera.width)))
    return fmean(errors) if errors else None


def relit_map_error(case: LitSample, normal_map: NormalMap, side: int) -> float | None:
    """The same of a normal map, with the albedo that it lets one guess from the photo (`estimate_albedo`)."""
    seen, mask = _square(case, case.sample.photo.rgb, side)
    window = object_window(case.sample.photo)
    cut = window.cut((normal_map.normals * normal_map.mask[..., None]).permute(2, 0, 1))[None]
    normals = unit(resize(cut, side), 1)[0].permute(1, 2, 0)
    known = mask & (normals.norm(dim=-1) > 0.5)
    albedo = estimate_albedo(seen, normals, known)
    errors = [
        relighting_error(lambert(normals, light, albedo), _square(case, rgb, side)[0], known)
        for rgb, light in case.held
    ]
    return fmean(errors) if errors else None


def unchanged_error(case: LitSample, side: int) -> float | None:
    """The same of the photo itself, whatever the light: what calling all of it albedo, on flat normals, comes to."""
    seen, _ = _square(case, case.sample.photo.rgb, side)
    errors = [relighting_error(seen, *_square(case, rgb, side)) for rgb, _ in case.held]
    return fmean(errors) if errors else None


def _square(
    case: LitSample, rgb: Float[Tensor, "height width 3"], side: int
) -> tuple[Float[Tensor, "side side 3"], Bool[Tensor, "side side"]]:
    photo = case.sample.photo
    linear, mask = in_square(Photo(rgb, photo.mask, photo.name), object_window(photo), side)
    return linear[0].permute(1, 2, 0), mask


def _diligent(data: Path, name: str, number: int) -> LitSample:
    path = data / "diligent" / f"{name}PNG" / "light_directions.txt"
    rows = read_as(path, lambda file: np.loadtxt(file, dtype=np.float32, ndmin=2))
    if rows.shape != (96, 3):
        raise InputError(f"{path}: has the shape {rows.shape}; (96, 3) is needed")
    directions = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1)
    seen, *others = diligent_photos(data, name, (number, *DILIGENT_HELD))
    held = tuple((other.photo.rgb, directions[at - 1]) for other, at in zip(others, DILIGENT_HELD, strict=True))
    return LitSample("diligent", seen, held)


def _luces(data: Path, name: str) -> LitSample:
    return LitSample("luces", next(sample for sample in luces(data, data) if sample.group == name))


def _scan(mesh: Path, seed: int, cache: Path) -> LitSample:
    """From a file of the cache; rendered, and the file with it, if it isn't there or is damaged."""
    path = cache / renderer_version() / "lit-scans" / f"{mesh.stem}.npz"
    found = None
    if path.exists():
        try:
            found = read_as(path, _read_photos)
        except InputError as error:
            warnings.warn(f"{error}; it is made again", stacklevel=2)
    directions = _directions()
    if found is None:
        found = render_lights(*read_triangles(mesh), directions.numpy(), seed)
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file, photos=found[0].numpy(), normals=found[1].normals.numpy(), mask=found[1].mask.numpy()
            )
    photos, truth = found
    photo = Photo(photos[0], truth.mask, f"{mesh.stem} under light 0")
    held = tuple(zip(photos[1:].unbind(), directions[1:].unbind(), strict=True))
    return LitSample("scans", Sample(mesh.stem, "light 0", photo, truth), held)


def _directions() -> Float[Tensor, "lights 3"]:
    azimuth, elevation = torch.deg2rad(torch.tensor(SCAN_LIGHTS)).unbind(-1)
    return torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], -1)


def _read_photos(path: Path) -> tuple[Float[Tensor, "lights height width 3"], NormalMap]:
    with np.load(path, allow_pickle=False) as held:
        photos, normals, mask = (torch.from_numpy(held[key]) for key in ("photos", "normals", "mask"))
    return photos, NormalMap(normals, mask)
