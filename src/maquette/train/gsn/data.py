"""Batches for GSN: an image of each of some objects, and other views of them, a function of the seed and the step."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from maquette.errors import InputError
from maquette.synth.datasets.multiview.cameras import in_axes_of
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.train.batches import mix
from maquette.types import Camera

_DISTANCE = 0.02  # by how much, as a share, a data set's cameras may stand elsewhere than a network's
_LOOKS_AT = 0.02  # how far beside the origin a camera may look, and how much nearer or farther stand, as a share


@dataclass(frozen=True)
class ViewBatch:
    """What a step sees; view 0 of each object is the image that the network is given.

    Attributes:
        rgb: display-encoded, on white.
        cameras: of every object and view, in the axes of the object's view 0, about the object's middle.
        mask: share of a pixel that is covered, if the data has masks.
        normals: unit, in each camera's frame, zero where there is none, if the data has them.
    """

    rgb: Float[Tensor, "batch views 3 height width"]
    cameras: list[list[Camera]]
    mask: Float[Tensor, "batch views 1 height width"] | None
    normals: Float[Tensor, "batch views 3 height width"] | None

    def to(self, device: torch.device | str) -> "ViewBatch":
        """The batch's images on a device; cameras are read from wherever they are."""
        images = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **images)


@dataclass(frozen=True)
class _Stored:
    """An object's views in bytes."""

    rgb: UInt8[Tensor, "views 3 height width"]
    mask: UInt8[Tensor, "views 1 height width"] | None
    normals: UInt8[Tensor, "views 3 height width"] | None
    camera_to_world: Float[Tensor, "views 4 4"]
    focal_px: float
    center_px: tuple[float, float]


class ViewCache:
    """Objects that stay in memory once they were read, as bytes, as far as there is room.

    Args:
        data: objects with cameras that look at the origin.
        most_bytes: of what is kept; what is beyond is read anew.
    """

    def __init__(self, data: ViewsDataset, most_bytes: int = 8 * 2**30) -> None:
        self.data = data
        self._kept: dict[int, _Stored] = {}
        self._room = most_bytes

    def __len__(self) -> int:
        return len(self.data)

    def stored(self, index: int) -> _Stored:
        """All views of an object."""
        if index in self._kept:
            return self._kept[index]
        seen = self.data.object(index)
        item = _Stored(
            _bytes(seen.rgb),
            None if seen.mask is None else _bytes(seen.mask),
            None if seen.normals is None else _bytes(seen.normals * 0.5 + 0.5),
            seen.camera_to_world,
            seen.focal_px,
            seen.center_px,
        )
        size = sum(value.nbytes for value in vars(item).values() if isinstance(value, Tensor))
        if size <= self._room:
            self._room -= size
            self._kept[index] = item
        return item


def distance_of(data: ViewsDataset) -> float:
    """How far the cameras stand from the origin, by the first object; those of each other category's are compared.

    Raises:
        InputError: they stand at several distances, or don't look at the origin.
    """
    distance = 0.0
    for index in (data.categories.index(category) for category in dict.fromkeys(data.categories)):
        poses = data.poses(index)
        places, back = poses[:, :3, 3], poses[:, :3, 2]
        distance = distance or float(places.norm(dim=1).mean())
        if float((places - distance * back).norm(dim=1).max()) > _LOOKS_AT * distance:
            raise InputError(
                f"{data.folders[index]}: its cameras don't look at the origin from one distance ({distance:.2f}, the"
                f" mean of those of {data.names[0]}), as those of ShapeNet-SRN do"
            )
    return distance


def require_distance(folder: Path, found: float, wanted: float) -> None:
    """See that data and network mean the same camera.

    Args:
        folder: of the data, for the message.
        found: from how far its cameras look at the origin.
        wanted: from how far the network's does.

    Raises:
        InputError: they don't.
    """
    if abs(found - wanted) > _DISTANCE * found:
        raise InputError(
            f"{folder}: its cameras stand at {found:.3g} from the origin, the network's at {wanted:g}; one that is"
            f" trained with --distance {found:.3g} is needed"
        )


def draw_batch(cache: ViewCache, seed: int, step: int, batch: int, views: int, size_px: int) -> ViewBatch:
    """Objects and views of a step: a function of (seed, step) and the data alone.

    Args:
        cache: the objects.
        seed, step: what is drawn.
        batch, views: objects, and views of each, all different.
        size_px: side that images are averaged to.

    Raises:
        InputError: an object has fewer views, or its images don't shrink to the size.
    """
    rng = torch.Generator().manual_seed(mix(seed, step, 0))
    objects = torch.randint(len(cache), (batch,), generator=rng).tolist()
    found = []
    for index in objects:
        item = cache.stored(index)
        if len(item.rgb) < views:
            raise InputError(f"{cache.data.folders[index]}: has {len(item.rgb)} views; a step needs {views}")
        found.append(views_of(item, torch.randperm(len(item.rgb), generator=rng)[:views].tolist(), size_px))
    rgb, cameras, mask, normals = zip(*found, strict=True)
    return ViewBatch(torch.stack(rgb), list(cameras), _stacked(mask), _stacked(normals))


def views_of(
    item: _Stored, chosen: list[int], size_px: int
) -> tuple[Tensor, list[Camera], Tensor | None, Tensor | None]:
    """Some views of an object: colours, cameras in the axes of the first of them, masks and normals.

    Raises:
        InputError: the images don't shrink to the size.
    """
    height, width = item.rgb.shape[-2:]
    if height != width or height % size_px:
        raise InputError(f"views of {width}x{height} px; they must be square, a multiple of the phase's {size_px}")
    factor = height // size_px
    center = (item.center_px[0] / factor, item.center_px[1] / factor)
    poses = in_axes_of(item.camera_to_world[chosen], 0)
    cameras = [Camera(size_px, size_px, item.focal_px / factor, center, pose) for pose in poses]

    def shrunk(values: UInt8[Tensor, "views channels height width"]) -> Tensor:
        return F.avg_pool2d(values[chosen].float() / 255, factor)

    normals = None
    if item.normals is not None:
        # No normal is stored as the middle of the codes, which is no code: 127.5.
        codes = item.normals[chosen].float() / 127.5 - 1
        normals = F.avg_pool2d(torch.where(codes.norm(dim=1, keepdim=True) > 0.5, codes, 0.0), factor)
        length = normals.norm(dim=1, keepdim=True)
        normals = torch.where(length > 0.5, normals / length.clamp_min(1e-6), 0.0)
    return shrunk(item.rgb), cameras, None if item.mask is None else shrunk(item.mask), normals


def turned_images(
    images: Float[Tensor, "batch 3 side side"], angles: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 side side"]:
    """Images turned counter-clockwise about their middle; what lies outside of the largest disc is white, in any.

    Args:
        images: in 0..1, on white.
        angles: in radians; 0 gives the image itself, within the disc.
    """
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Where a pixel is looked up: turned back, in axes whose y points down.
    rows = torch.stack([torch.stack([cosine, -sine, zero], -1), torch.stack([sine, cosine, zero], -1)], -2)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    found = F.grid_sample(1 - images, grid, mode="bilinear", align_corners=False)
    return 1 - found * _disc(images.shape[-1], images.device)


def _disc(side: int, device: torch.device) -> Float[Tensor, "side side"]:
    line = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    return (line[:, None].square() + line.square() <= 1).float()


def _bytes(values: Tensor) -> UInt8[Tensor, "..."]:
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _stacked(values: tuple[Tensor | None, ...]) -> Tensor | None:
    there = [value for value in values if value is not None]
    return torch.stack(there) if len(there) == len(values) else None
