"""Photos of textures that fill the frame: CC0 materials whose normal maps are the truth, and two that are made here.

A material's colour is lit by one distant light and an even light from all sides, with its normals and its roughness;
nothing casts a shadow. The maps of `data/materials` are Direct3D's, x right and y down: their slopes go with those of
the height maps beside them in x and against them in y (`tests/bench/test_textures.py`). Gold, marble and wood are
nearly flat, and what one sees is painted on; rock, brick and fabric are the ones with a relief.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.bench.normals.datasets import Sample, require_folder
from maquette.bench.normals.reliefs import brick_cells, noise, normals_of, relief
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.io.decode import read_pixels
from maquette.io.images import srgb_to_linear, to_srgb8
from maquette.io.normal_maps import read_normal_map
from maquette.types import NormalMap, Photo

SIDE_PX = 512
MATERIALS = {"rock": "Rock020", "marble": "Marble006", "wood": "WoodFloor043", "gold": "Metal007"}
FOLDERS = {"wood": "wood-floor-43"}  # where a folder's name isn't the material's
MADE = {"brick-made": "bricks", "fabric-made": "weave"}
LIGHTS = ((60.0, 50.0), (150.0, 35.0), (240.0, 60.0), (330.0, 45.0))  # azimuth and elevation in degrees, as anywhere
AMBIENT = 0.25  # of what the distant light gives a wall that faces it
SEED = 3_000_017
WHITE = 0.995  # share of the pixels that don't clip


@dataclass(frozen=True)
class Texture:
    """A tile: what it looks like, and its relief.

    Attributes:
        albedo: linear.
        normals: x right, y up, z towards the viewer; unit.
        roughness: 0 to 1, perceptual.
        metal: whether the albedo is a metal's mirror colour.
    """

    albedo: Float[Tensor, "height width 3"]
    normals: Float[Tensor, "height width 3"]
    roughness: Float[Tensor, "height width"]
    metal: bool = False


def textures(data: Path, cache: Path) -> Iterator[Sample]:
    """Six textures under four lights each, 512 px wide, without a mask; every photo repeats without a seam.

    Raises:
        InputError: a map of a material is missing or damaged, or maps differ in size.
    """
    folder = require_folder(data / "materials", "the CC0 materials")
    for name in (*MATERIALS, *MADE):
        texture = made(MADE[name]) if name in MADE else read_texture(folder, name)
        truth = NormalMap(unit(_halved(texture.normals)), torch.ones_like(_halved(texture.albedo)[..., 0]) > 0)
        for azimuth, elevation in LIGHTS:
            codes = to_srgb8(photograph(texture, azimuth, elevation))
            photo = Photo(srgb_to_linear(codes.float() / 255), None, f"{name}, light from {azimuth:.0f} degrees")
            yield Sample(name, f"light {azimuth:.0f}", photo, truth, fills_frame=True)


def read_texture(folder: Path, name: str) -> Texture:
    """One of `MATERIALS`.

    Raises:
        InputError: a map is missing or damaged, or maps differ in size.
    """
    stem = folder / FOLDERS.get(name, name) / f"{MATERIALS[name]}_1K"
    colour = torch.tensor(read_pixels(Path(f"{stem}_Color.jpg"))[..., :3]).float() / 255
    rough = torch.tensor(read_pixels(Path(f"{stem}_Roughness.jpg"))[..., 0]).float() / 255
    found = read_normal_map(Path(f"{stem}_Normal.jpg"), "directx")
    normals = torch.where(found.mask[..., None], found.normals, torch.tensor([0.0, 0.0, 1.0]))  # a scratch or two
    if not colour.shape[:2] == rough.shape == normals.shape[:2]:
        raise InputError(f"{stem}: colour, roughness and normals differ in size; those of one material are needed")
    return Texture(srgb_to_linear(colour), normals, rough, name == "gold")


def made(kind: str) -> Texture:
    """Bricks or a weave: a relief of ours with the colours that belong to it."""
    side = 2 * SIDE_PX
    heights = relief(kind, np.random.default_rng(SEED), side, math.tan(math.radians(14)))
    random = np.random.default_rng(SEED)  # again: the cells are the first that a relief draws
    grain = noise(np.random.default_rng(SEED + 1), side, 0.8)
    if kind == "bricks":
        distance, _, row, column = brick_cells(random, side)
        fired = np.array([0.36, 0.13, 0.08]) * random.uniform(0.6, 1.5, (16, 16, 1))[row, column]
        colour = np.where(distance[..., None] > 0.008, fired, np.array([0.45, 0.42, 0.38]))
        rough = 0.85
    else:
        stripes = np.sin(2 * np.pi * 3 * (np.arange(side) + 0.5) / side) > 0.3
        share = 0.5 * stripes[:, None] + 0.5 * stripes[None, :]
        colour = np.array([0.08, 0.12, 0.3]) * (1 - share[..., None]) + np.array([0.6, 0.5, 0.3]) * share[..., None]
        rough = 0.95
    albedo = np.clip(colour * (1 + 0.15 * grain[..., None]), 0.01, 0.95)
    normals = torch.from_numpy(normals_of(heights)).float()
    return Texture(torch.from_numpy(albedo).float(), normals, torch.full((side, side), rough))


def photograph(texture: Texture, azimuth: float, elevation: float) -> Float[Tensor, "height width 3"]:
    """The texture seen from straight above, at half its size, linear and exposed.

    Lambert and GGX (Walter et al. 2007) with Smith's shadowing and Schlick's Fresnel under the distant light; the even
    light is reflected by albedo and by Fresnel's share at normal incidence.
    """
    round_rad, up_rad = math.radians(azimuth), math.radians(elevation)
    flat = math.cos(up_rad)
    light = torch.tensor([flat * math.cos(round_rad), flat * math.sin(round_rad), math.sin(up_rad)])
    half = unit(light + torch.tensor([0.0, 0.0, 1.0]))
    n = texture.normals
    nl, nv, nh = (n @ light).clamp_min(0), n[..., 2].clamp_min(1e-3), (n @ half).clamp_min(0)
    alpha = texture.roughness.clamp_min(0.05) ** 2
    lobe = alpha**2 / (math.pi * (nh**2 * (alpha**2 - 1) + 1) ** 2)
    # G / (4 nl nv), each side of G being 2 c / (c + sqrt(a^2 + (1 - a^2) c^2))
    smith = 1.0 / (
        (nl + (alpha**2 + (1 - alpha**2) * nl**2).sqrt()) * (nv + (alpha**2 + (1 - alpha**2) * nv**2).sqrt())
    )
    mirror = texture.albedo if texture.metal else torch.full_like(texture.albedo, 0.04)
    matte = torch.zeros_like(texture.albedo) if texture.metal else texture.albedo
    fresnel = mirror + (1 - mirror) * (1 - float(light @ half)) ** 5
    direct = nl[..., None] * (matte + math.pi * (lobe * smith)[..., None] * fresnel)
    seen = _halved(direct + AMBIENT * (matte + mirror))
    return seen / torch.quantile(seen.amax(-1).flatten(), WHITE)


def _halved(image: Float[Tensor, "height width channels"]) -> Float[Tensor, "h w channels"]:
    """Each pixel the mean of four."""
    return F.avg_pool2d(image.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
