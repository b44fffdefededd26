"""Environment light: a bank of prefiltered panoramas, measured (CC0) and procedural.

A panorama is stored at several sharpnesses, each the panorama convolved with a normalised cos^s lobe: the
first is the panorama itself (a mirror sees it), the last is irradiance / pi (a diffuse surface sees it).
Directions: camera frame, y up; row 0 of a panorama is straight up, its centre column is +z.
"""

from functools import cache
from importlib import resources
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ROWS, COLUMNS = 32, 64
# Exponents of the Phong lobes of levels 1...; level 0 is unfiltered and the last is the cosine itself.
EXPONENTS = (180.0, 50.0, 14.0, 4.0, 1.0)
LEVELS = len(EXPONENTS) + 1
PROCEDURAL = 36


@cache
def bank() -> Float[Tensor, "environments 3 levels rows columns"]:
    """All environments, the measured ones first; mean radiance 1 each."""
    with resources.files("maquette.synth").joinpath("assets/environments.npz").open("rb") as file:
        # A sun casts shadows, which an environment here does not: it is dimmed to a lamp.
        measured = np.minimum(np.load(file)["radiance"].astype(np.float32), 60)
    rng = np.random.default_rng(7)
    panoramas = np.concatenate([measured, np.stack([_procedural(rng) for _ in range(PROCEDURAL)])])
    return prefilter(torch.from_numpy(panoramas))


def prefilter(
    panoramas: Float[Tensor, "environments rows columns 3"],
) -> Float[Tensor, "environments 3 levels rows columns"]:
    """Convolve panoramas with the lobes of every level, after scaling their mean radiance to 1."""
    count, rows, columns, _ = panoramas.shape
    directions = panorama_directions(rows, columns).reshape(-1, 3)
    solid_angle = torch.sqrt((1 - directions[:, 1] ** 2).clamp_min(0))
    flat = panoramas.permute(1, 2, 0, 3).reshape(rows * columns, count * 3)
    mean = (flat * solid_angle[:, None]).sum(0) / solid_angle.sum()
    flat = flat / mean.reshape(count, 3).mean(1).repeat_interleave(3).clamp_min(1e-8)
    cosine = (directions @ directions.T).clamp_min(0)
    levels = [flat]
    for exponent in EXPONENTS:
        weight = cosine**exponent * solid_angle
        levels.append(weight @ flat / weight.sum(1, keepdim=True))
    stacked = torch.stack(levels).reshape(LEVELS, rows, columns, count, 3)
    return stacked.permute(3, 4, 0, 1, 2).contiguous()


def panorama_directions(rows: int, columns: int) -> Float[Tensor, "rows columns 3"]:
    """Unit direction of every pixel centre of a panorama."""
    polar = (torch.arange(rows) + 0.5) / rows * pi
    azimuth = ((torch.arange(columns) + 0.5) / columns - 0.5) * 2 * pi
    y = polar.cos()[:, None].expand(rows, columns)
    radius = polar.sin()[:, None]
    return torch.stack([radius * azimuth.sin(), y, radius * azimuth.cos()], -1)


def look_up(
    environments: Float[Tensor, "batch 3 levels rows columns"],
    directions: Float[Tensor, "batch 3 height width"],
    level: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Trilinear radiance at unit directions and (fractional) levels in 0..LEVELS - 1."""
    columns = environments.shape[-1]
    joined = F.pad(environments, (1, 1, 0, 0, 0, 0), mode="circular")  # across the seam behind the viewer
    azimuth = torch.atan2(directions[:, 0], directions[:, 2]) / pi * columns / (columns + 2)
    polar = torch.acos(directions[:, 1].clamp(-1, 1)) / pi * 2 - 1
    grid = torch.stack([azimuth, polar, (level[:, 0] + 0.5) / LEVELS * 2 - 1], -1)[:, None]
    return F.grid_sample(joined, grid, padding_mode="border", align_corners=False)[:, :, 0]


def specular_level(roughness: Tensor) -> Tensor:
    """The level whose lobe is about as wide as GGX's reflection at a perceptual roughness in 0..1."""
    return _level(2 / (roughness.clamp_min(0.03) ** 4) / 4)


def open_level(openness: Tensor) -> Tensor:
    """The level that a diffuse surface sees when an even share of its hemisphere is open: a cone of that share.

    The cone with the openness sin^2 of its half-angle, cosine-weighted, and the lobe cos^s have the same mean cosine.
    The whole hemisphere is the cosine itself.
    """
    edge = (1 - openness.clamp(0.02, 1)).sqrt()
    mean = (1 + edge + edge * edge) / (1.5 * (1 + edge))  # (2 / 3) (1 - c^3) / (1 - c^2)
    return _level((2 * mean - 1) / (1 - mean).clamp_min(1e-3))


def _level(exponent: Tensor) -> Tensor:
    stops = torch.tensor([1200.0, *EXPONENTS], device=exponent.device, dtype=exponent.dtype).log()
    position = torch.zeros_like(exponent)
    value = exponent.log()
    for k in range(LEVELS - 1):
        position = position + ((stops[k] - value) / (stops[k] - stops[k + 1])).clamp(0, 1)
    return position


def _procedural(rng: np.random.Generator) -> np.ndarray:
    """A sky gradient or a dim room with windows, softboxes and lamps; (ROWS, COLUMNS, 3)."""
    directions = panorama_directions(ROWS, COLUMNS).numpy()
    top, bottom = rng.uniform(0.02, 1, 3) ** 2, rng.uniform(0.02, 0.6, 3) ** 2
    if rng.random() < 0.6:  # nearly colourless rooms
        top, bottom = np.full(3, top.mean()) * rng.uniform(0.9, 1.1, 3), np.full(3, bottom.mean())
    height = directions[..., 1:2] * 0.5 + 0.5
    radiance = bottom + (top - bottom) * height ** rng.uniform(0.4, 3)
    for _ in range(int(rng.integers(1, 7))):
        axis = rng.normal(size=3) + [0, 0.5, 0.3]
        axis /= np.linalg.norm(axis)
        strength = rng.uniform(1, 25) * rng.uniform(0.8, 1.2, 3)
        if rng.random() < 0.5:  # a lamp
            radiance = radiance + strength * np.exp(rng.uniform(8, 120) * (directions @ axis - 1))[..., None]
        else:  # a window or softbox
            right = np.cross(axis, rng.normal(size=3))
            right /= np.linalg.norm(right)
            along, across = directions @ right, directions @ np.cross(axis, right)
            inside = (abs(along) < rng.uniform(0.1, 0.5)) & (abs(across) < rng.uniform(0.1, 0.5))
            radiance = radiance + 0.5 * strength * (inside & (directions @ axis > 0))[..., None]
    return radiance.astype(np.float32)
