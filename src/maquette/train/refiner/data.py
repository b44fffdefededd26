"""Batches for the refiner: photos, the normal maps to refine, and the images that the refined ones must explain.

The maps to refine are those a user may have: a silhouette that was inflated, a wall, a network's prediction, and all of
these blurred, bent, noisy or turned inside out. True normals are drawn on for nothing but to render.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.geometry.vectors import unit
from maquette.methods.baselines import inflate
from maquette.methods.nirne import Network
from maquette.runs.schedule import Phase
from maquette.shading.exposure import normalise_exposure
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.materials import sample_material
from maquette.synth.looks.photo import Surfaces, expose, shade
from maquette.train.batches import imprecise, mix, move
from maquette.train.refiner.reprojection import LitImages, render_views
from maquette.types import Photo

KINDS = ("predicted", "inflated", "flat")
_ODDS = (0.7, 0.2, 0.1)
_INFLATED_SIDE = 64  # of the map that is solved for; an inflated silhouette holds no detail


@dataclass(frozen=True)
class RefinerBatch:
    """Network input, and what its output must explain. There is no normal in it but those that are to be refined."""

    photo: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    normals: Float[Tensor, "batch 3 height width"]
    solid: Float[Tensor, "batch 1 height width"]
    views: LitImages

    def to(self, device: torch.device | str) -> "RefinerBatch":
        """The same batch on another device."""
        images = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, views=self.views.to(device), **images)


def make_refiner_batch(
    data: ShapeData,
    phase: Phase,
    seed: int,
    step: int,
    predictor: Network | None,
    device: torch.device | str = "cpu",
) -> RefinerBatch:
    """Batch `step`, a function of (seed, step) and the data alone."""
    picks = torch.Generator().manual_seed(mix(seed, step, 10))
    indices = torch.randint(len(data), (phase.batch,), generator=picks).tolist()
    surfaces = move(data.batch(indices, data.spec.size_px // phase.size_px), device)
    return render_batch(surfaces, torch.Generator(device).manual_seed(mix(seed, step, 11)), predictor)


def render_batch(surfaces: Surfaces, rng: Generator, predictor: Network | None) -> RefinerBatch:
    """Photograph objects, once as a camera would and again for every light; then guess their normals."""
    n, device = len(surfaces.mask), surfaces.mask.device
    material = sample_material(surfaces.local, rng)
    photo = expose(shade(surfaces, material, rng), surfaces.mask, rng)
    views = render_views(surfaces, material)
    mask = imprecise(surfaces.mask, rng)
    seen = normalise_exposure(photo.clamp_min(0) ** 2.2, mask)
    odds = torch.tensor(_ODDS if predictor is not None else (0.0, *_ODDS[1:]), device=device)
    kinds = torch.multinomial(odds, n, replacement=True, generator=rng).tolist()
    normals = perturbed(guesses(seen, mask, kinds, predictor), mask, rng)
    return RefinerBatch(seen, mask, normals, surfaces.mask * mask, views)


@torch.no_grad()
def guesses(
    seen: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    kinds: list[int],
    predictor: Network | None,
) -> Float[Tensor, "batch 3 height width"]:
    """A first normal map of each kind, by its place in `KINDS`; zero outside the mask."""
    normals = torch.zeros_like(seen)
    normals[:, 2] = 1
    predicted = [i for i, kind in enumerate(kinds) if kind == 0]
    if predicted and predictor is not None:
        with torch.autocast(seen.device.type, torch.bfloat16):
            normals[predicted] = predictor(seen[predicted], mask[predicted])[0]
    for i in (i for i, kind in enumerate(kinds) if kind == 1):
        normals[i] = inflated(mask[i])
    return normals * mask


def inflated(mask: Float[Tensor, "1 height width"]) -> Float[Tensor, "3 height width"]:
    """`maquette.methods.baselines.inflate`, at a resolution that suffices."""
    factor = max(mask.shape[-1] // _INFLATED_SIDE, 1)
    coarse = F.avg_pool2d(mask, factor)[0] >= 0.5
    if not bool(coarse.any()):
        return torch.cat([torch.zeros_like(mask), torch.zeros_like(mask), mask])
    normals = inflate(Photo(torch.zeros(*coarse.shape, 3), coarse.cpu())).normals.to(mask).permute(2, 0, 1)
    if factor > 1:
        cover = coarse.to(mask)[None, None]
        size = (mask.shape[1], mask.shape[2])
        spread = F.avg_pool2d(F.pad(normals[None], (1, 1, 1, 1)), 3, 1)  # so that the rim has neighbours
        normals = torch.where(cover > 0, normals[None], unit(spread, 1))
        normals = F.interpolate(normals, size, mode="bilinear", align_corners=False)[0]
    # Beyond what was solved for, a hair's breadth of wall: never a zero vector inside the mask.
    return unit(normals + normals.new_tensor([0, 0, 1e-4]).reshape(3, 1, 1), 0) * mask


def perturbed(
    normals: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"], rng: Generator
) -> Float[Tensor, "batch 3 height width"]:
    """The same maps, a third of them spoilt in one or several ways."""
    n, _, height, width = normals.shape
    device = normals.device

    def chance(share: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1, generator=rng, device=device) < share).to(normals)

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=rng, device=device)

    def smooth(channels: int, cells: int) -> Tensor:
        return F.interpolate(normal(channels, cells, cells), (height, width), mode="bicubic", align_corners=False)

    spoilt = chance(0.35)
    # Bas-relief: the surface is flattened or deepened, and slanted.
    linear = spoilt * chance(0.4)
    x, y, z = normals.split(1, 1)
    slant = 0.25 * linear * normal(2, 1, 1)
    deep = torch.exp(0.4 * linear * normal(1, 1, 1))
    turned = 1 - 2 * spoilt * chance(0.1)  # inside out: what was hollow stands out
    out = torch.cat([turned * x + slant[:, :1] * z, turned * y + slant[:, 1:] * z, deep * z.clamp_min(0.02)], 1)
    out = out + 0.35 * spoilt * chance(0.4) * normal(1, 1, 1).abs() * smooth(3, 5)
    out = _moved(out * mask, 0.04 * spoilt * chance(0.3) * smooth(2, 4))
    blurred = F.avg_pool2d(F.avg_pool2d(out * mask, 5, 1, 2), 5, 1, 2)
    out = torch.lerp(out, blurred, spoilt * chance(0.3))
    out = out + 0.2 * spoilt * chance(0.3) * normal(1, 1, 1).abs() * normal(3, height, width)
    wall = out.new_tensor([0, 0, 1e-4]).reshape(1, 3, 1, 1)
    changed = unit(out + wall, 1)
    return torch.where(spoilt > 0, changed, normals) * mask


def _moved(images: Tensor, shift: Tensor) -> Tensor:
    """Images sampled beside their pixels, by a share of half the image's side."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + shift.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
