"""A picture of what the data engine makes: random shapes, each photo over its normals."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from maquette.errors import InputError
from maquette.render.gbuffer import trace
from maquette.synth.datasets.dataset import pack
from maquette.synth.datasets.shards import unpack
from maquette.synth.looks.photo import photograph
from maquette.synth.solids.expanses import EXPANSES
from maquette.synth.solids.shapes import sample_solid
from maquette.synth.views import lights_to_camera, sample_lights, shape_view

COLUMNS = 20
GAP_PX = 2


def contact_sheet(
    count: int, seed: int = 0, size_px: int = 80, done: Callable[[int], None] | None = None
) -> UInt8[Tensor, "height width 3"]:
    """Shapes 0 to `count` - 1 of a seed, each through its first camera, in sRGB.

    A sample is its photo above its normals (camera frame, n * 0.5 + 0.5); rows of at most `COLUMNS` samples.
    The same arguments give the same picture.

    Args:
        count: number of samples.
        seed: of the shapes, as in `maquette.synth.datasets.dataset.DatasetSpec`, and of the photos.
        size_px: side of one photo.
        done: told the number of every finished sample.

    Raises:
        InputError: `count`, `seed` or `size_px` is out of range.
    """
    ranges = (("count", count, 1, 10_000), ("seed", seed, 0, 2**63), ("size_px", size_px, 16, 1024))
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise InputError(f"{name} is {value}; it must lie in {low}..{high}")
    generator = torch.Generator().manual_seed(seed)
    tiles = []
    for index in range(count):
        tiles.append(_tile(seed, index, size_px, generator))
        if done is not None:
            done(index)
    columns = min(COLUMNS, count)
    height, width = tiles[0].shape[0] + GAP_PX, size_px + GAP_PX
    sheet = torch.full((-(-count // columns) * height - GAP_PX, columns * width - GAP_PX, 3), 255, dtype=torch.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + tile.shape[0], left : left + size_px] = tile
    return sheet


def _tile(seed: int, index: int, size_px: int, generator: torch.Generator) -> UInt8[Tensor, "height width 3"]:
    """One sample; the generator draws its material, its light and its camera."""
    solid, family = sample_solid(seed, index)
    rng = np.random.default_rng([seed, index, 1])  # as a dataset's first view
    view = shape_view(rng, solid.grid, family, size_px)
    lights = sample_lights(rng, view, family in EXPANSES)
    row = pack(trace(solid, view, lights), view, lights_to_camera(lights, view))
    surfaces = unpack({key: torch.from_numpy(value)[None] for key, value in row.items()})
    photo = photograph(surfaces, generator)[0]
    normals = (surfaces.normal[0] * 0.5 + 0.5) * surfaces.mask[0] + (1 - surfaces.mask[0])
    return (torch.cat([photo, normals], 1).permute(1, 2, 0) * 255).round().to(torch.uint8)
