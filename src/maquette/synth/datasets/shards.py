"""Reading a shape dataset: any set of G-buffers, as one batch of `maquette.synth.surfaces.Surfaces`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.synth.datasets.dataset import SHAPES_PER_SHARD, image_keys, read_manifest, shard_path
from maquette.synth.datasets.windows import draw_box, place, resample, stack
from maquette.synth.surfaces import Surfaces
from maquette.synth.views import LIGHTS
from maquette.types import Camera


class ShapeData:
    """The first `shapes` shapes of a dataset (all of them by default), memory-mapped.

    Raises:
        InputError: a shard that is needed is missing or damaged.
    """

    def __init__(self, directory: Path, shapes: int | None = None) -> None:
        self.spec = read_manifest(directory)
        self.shapes = self.spec.shapes if shapes is None else min(shapes, self.spec.shapes)
        self._files = []
        for number in range(-(-self.shapes // SHAPES_PER_SHARD)):
            path = shard_path(directory, number)
            try:
                self._files.append(safe_open(path, framework="np"))
            except (FileNotFoundError, SafetensorError) as error:
                raise InputError(
                    f"{path}: missing or damaged ({error}); run `maquette dataset shapes` with the manifest's options"
                ) from None

    def __len__(self) -> int:
        return self.shapes * self.spec.views

    def batch(self, indices: list[int], factor: int = 1) -> Surfaces:
        """G-buffers by number, averaged over squares of `factor` pixels."""
        per_shard = SHAPES_PER_SHARD * self.spec.views
        keys = [*image_keys(self.spec.format), "lights", "camera"]
        rows: dict[str, list[np.ndarray]] = {key: [] for key in keys}
        for index in indices:
            file = self._files[index // per_shard]
            for key in keys:
                rows[key].append(file.get_slice(key)[index % per_shard])
        arrays = {key: torch.from_numpy(np.stack(values)) for key, values in rows.items()}
        surfaces = unpack(arrays)
        return surfaces if factor == 1 else coarsen(surfaces, factor)

    def windows(self, indices: list[int], size_px: int, rng: np.random.Generator) -> Surfaces:
        """A random window of each of these G-buffers, see `synth.datasets.windows.draw_box`, `size_px` wide."""
        parts, images = [], image_keys(self.spec.format)
        for index in indices:
            shard, row = divmod(index, SHAPES_PER_SHARD * self.spec.views)
            file = self._files[shard]
            box = draw_box(rng, file.get_slice("depth")[row] > 0, size_px)
            arrays = {key: torch.from_numpy(file.get_slice(key)[row])[None] for key in (*images, "lights", "camera")}
            if box.side > self.spec.size_px:
                parts.append(place(unpack(arrays), box, size_px))
                continue
            rows, columns = slice(box.top, box.top + box.side), slice(box.left, box.left + box.side)
            for key in images:
                arrays[key] = arrays[key][:, rows, columns]
            arrays["camera"] = arrays["camera"] - torch.tensor([0.0, box.left, box.top, 0, 0])
            parts.append(resample(unpack(arrays), size_px))
        return stack(parts)

    def camera(self, index: int, factor: int = 1) -> Camera:
        """What saw G-buffer `index`, its pixels averaged over squares; it stands at the origin of `Surfaces`."""
        shard, row = divmod(index, SHAPES_PER_SHARD * self.spec.views)
        focal, x, y, orthographic, _ = (float(value) for value in self._files[shard].get_slice("camera")[row])
        side = self.spec.size_px // factor
        return Camera(side, side, focal / factor, (x / factor, y / factor), torch.eye(4), bool(orthographic))


def coarsen(surfaces: Surfaces, factor: int) -> Surfaces:
    """Average over squares of `factor` pixels: what a camera of lower resolution sees, geometry first.

    A pixel belongs to the object if half of it does. Point samples instead would keep detail that no pixel
    resolves, as noise in both the photo and the truth.
    """
    covered = F.avg_pool2d(surfaces.mask, factor)

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values * surfaces.mask, factor) / covered.clamp_min(1e-6)

    mask = (covered >= 0.5).float()
    return replace(
        surfaces,
        normal=unit(mean(surfaces.normal), 1) * mask,
        position=mean(surfaces.position) * mask,
        local=mean(surfaces.local) * mask,
        view=unit(F.avg_pool2d(surfaces.view, factor), 1),
        mask=mask,
        lit=mean(surfaces.lit) * mask,
        openness=mean(surfaces.openness) * mask,
        opening=unit(mean(surfaces.opening), 1) * mask,
        part=_nearest(surfaces.part, factor) * mask,
    )


def _nearest(part: Tensor, factor: int) -> Tensor:
    """The part in the middle of each square; where nothing is seen there, another one of the square."""
    height, width = part.shape[2] // factor, part.shape[3] // factor
    middle = part[:, :, factor // 2 :: factor, factor // 2 :: factor][:, :, :height, :width]
    return torch.where(middle > 0, middle, F.max_pool2d(part, factor))


def unpack(arrays: dict[str, Tensor]) -> Surfaces:
    """Decode what `maquette.synth.datasets.dataset.pack` stored.

    Formats 1 and 2 know no opening and no parts: the opening is the normal, all parts are 0.
    """
    depth = arrays["depth"]
    mask = (depth > 0)[:, None].float()
    normal = octahedral_decode(arrays["normal"].float() / 32767).permute(0, 3, 1, 2) * mask
    opening = normal
    if "opening" in arrays:
        opening = octahedral_decode(arrays["opening"].float() / 127).permute(0, 3, 1, 2) * mask
    focal, cx, cy, orthographic, distance = (c.reshape(-1, 1, 1) for c in arrays["camera"].unbind(1))
    side = arrays["depth"].shape[1]
    centres = torch.arange(side) + 0.5
    x = (centres.reshape(1, 1, -1) - cx) / focal
    y = (cy - centres.reshape(1, -1, 1)) / focal
    scale = torch.where(orthographic > 0, torch.ones_like(depth), depth)
    position = torch.stack([x * scale, y * scale, -depth], 1) * mask
    towards = torch.where(orthographic[:, None] > 0, torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1), -position)
    bits = (arrays["lit"][:, None] >> torch.arange(LIGHTS, dtype=torch.uint8).reshape(1, -1, 1, 1)) & 1
    offset = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1) * distance[:, None]
    return Surfaces(
        normal=normal,
        position=position,
        local=(position + offset) * mask,
        view=unit(towards, 1),
        mask=mask,
        lit=bits.float(),
        openness=arrays["openness"][:, None].float() / 255,
        lights=arrays["lights"],
        opening=opening,
        part=arrays["part"][:, None].float() if "part" in arrays else torch.zeros_like(mask),
    )


def octahedral_decode(folded: Tensor) -> Tensor:
    """Pairs (..., 2) in -1..1 to unit vectors (..., 3); inverse of `octahedral_encode`."""
    z = 1 - folded.abs().sum(-1, keepdim=True)
    sign = torch.where(folded >= 0, 1.0, -1.0)
    p = torch.where(z >= 0, folded, (1 - folded.abs().flip(-1)) * sign)
    return unit(torch.cat([p, z], -1))
