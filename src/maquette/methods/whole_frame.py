"""Photos that a surface fills: maps of it that repeat without a seam, and maps without its mean tilt."""

import math
import warnings
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.rotation import facing_rotation, quaternion_to_matrix
from maquette.geometry.vectors import unit
from maquette.metrics import angle_between_deg
from maquette.types import NormalMap, Photo

TILE_MARGIN = 0.25  # of the photo's larger side, wrapped around on every side of it
WRAPS_BELOW = 2.0  # opposite edges of a map that wraps differ at most so many times as much as neighbours do
_UNSEEN = 0.3  # of the margin: so near to the frame's border, nothing of a prediction is taken
_LEAST_DEG = 0.05  # neighbours that differ less count as differing so much; rounding makes no seam
_BESIDE = 2  # steps on each side of a seam that it is compared with
_GRAZING = 0.1  # the least n_z that a slope is taken from


Predictor = Callable[[Photo], NormalMap]


@runtime_checkable
class Resizable(Protocol):
    """A method that works at a size of its own, whatever the photo's, and can work at another."""

    def enlarged(self, factor: float, /) -> Predictor:
        """The same method at so many times its working size."""
        ...


def mean_plane(normal_map: NormalMap) -> Float[Tensor, " 3"]:
    """The unit normal of the plane that a map's surface is a relief on.

    It is that of the mean slope, mean(n / n_z). A pixel of a parallel projection shows the area dA n_z of a surface, so
    the sum of n / n_z over pixels is that of n dA, the vector area, which the border of a relief alone determines: seen
    at whatever tilt, a relief on a plane has its plane's, if nothing of it is hidden. The mean of n itself has not,
    since it counts most what faces the viewer: it is 6 degrees short for waves of 27 degrees on a plane at 40.
    Slopes are taken as if n_z were at least `_GRAZING`, so that a rim doesn't outweigh all else.

    Raises:
        InputError: the map's mask is empty.
    """
    if not bool(normal_map.mask.any()):
        raise InputError("a map without a pixel has no mean tilt")
    normals = normal_map.normals[normal_map.mask].double()
    return unit((normals / normals[:, 2:].clamp_min(_GRAZING)).mean(0)).to(normal_map.normals)


def level(normal_map: NormalMap) -> NormalMap:
    """The map turned by the shortest rotation that makes its mean plane face the viewer.

    Pixels stay where they are: what the tilt foreshortened stays so. What was turned away from the viewer far enough
    may now point away.
    """
    return NormalMap(normal_map.normals @ _upright(mean_plane(normal_map)), normal_map.mask, normal_map.concentration)


def tilt_deg(normal_map: NormalMap) -> float:
    """How far the mean plane is from facing the viewer, in degrees."""
    return math.degrees(math.acos(max(-1.0, min(1.0, float(mean_plane(normal_map)[2])))))


def tiled(predict: Predictor, photo: Photo, margin: float = TILE_MARGIN) -> NormalMap:
    """Normals of a photo that repeats, which repeat as it does: all of the frame, the photo's mask aside.

    The photo is wrapped around on all sides, to a square, so that a method sees what a border is next to; what lies
    in the margins is predicted twice or more, and averaged under weights that vanish towards the square's border and
    are the same on both sides of a seam. A method that works at a size of its own (`Resizable`) works at one so much
    larger that the texture keeps its scale.

    Args:
        predict: any method.
        photo: a tile; one that doesn't repeat gets a map that does, over a picture that doesn't.
        margin: on each side, as a share of the photo's larger side.
    """
    height, width = photo.rgb.shape[:2]
    pad = round(margin * max(height, width))
    side = max(height, width) + 2 * pad
    rows = (torch.arange(side) - (side - height) // 2) % height
    columns = (torch.arange(side) - (side - width) // 2) % width
    wide = Photo(photo.rgb[rows][:, columns], torch.ones(side, side, dtype=torch.bool), photo.name)
    if isinstance(predict, Resizable):
        predict = predict.enlarged(side / max(height, width))
    found = predict(wide)
    weight = _weights(side, pad)

    def folded(image: Float[Tensor, "side side channels"]) -> Float[Tensor, "height width channels"]:
        lines = image.new_zeros(height, side, image.shape[-1]).index_add_(0, rows, image * weight)
        return image.new_zeros(height, width, image.shape[-1]).index_add_(1, columns, lines)

    facing = torch.tensor([0.0, 0.0, 1e-6])  # never a zero vector
    normals = unit(folded(found.normals.cpu()) + facing, -1)
    total = folded(torch.ones(side, side, 1))
    concentration = None
    if found.concentration is not None:
        concentration = (folded(found.concentration.cpu()[..., None]) / total)[..., 0]
    wrapped = NormalMap(normals, torch.ones(height, width, dtype=torch.bool), concentration)
    ratio = seam_ratio(wrapped)
    if ratio > WRAPS_BELOW:
        warnings.warn(
            f"{photo.name}: opposite edges of its map differ {ratio:.1f} times as much as neighbours do; does the photo"
            " repeat?",
            stacklevel=2,
        )
    return wrapped


def seam_ratio(normal_map: NormalMap) -> float:
    """How much opposite edges differ, over how much neighbours differ, in the mean; of rows and columns the larger.

    Neighbours are those of the whole map or those next to the edges, whichever differ more: a joint between bricks may
    well lie at a seam. One is a map that wraps; the mask isn't looked at.
    """
    ratios = []
    for normals in (normal_map.normals, normal_map.normals.transpose(0, 1)):
        inner = angle_between_deg(normals[1:], normals[:-1]).mean(1)
        beside = torch.cat([inner[:_BESIDE], inner[-_BESIDE:]]).mean()
        edges = angle_between_deg(normals[0], normals[-1]).mean()
        ratios.append(float(edges / torch.maximum(inner.mean(), beside).clamp_min(_LEAST_DEG)))
    return max(ratios)


def _upright(plane: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """What rows of normals are multiplied by, so that `plane` becomes +z."""
    return quaternion_to_matrix(facing_rotation(plane))  # it turns +z to the plane; a row times it is turned back


def _weights(side: int, pad: int) -> Float[Tensor, "side side 1"]:
    """Rise from the border; at places that a wrap of the larger side makes one, they sum to one."""
    place = torch.arange(side) + 0.5
    depth = torch.minimum(place, side - place) / max(pad, 1)
    rise = ((depth - _UNSEEN) / (2 - 2 * _UNSEEN)).clamp(0, 1)
    smooth = rise * rise * (3 - 2 * rise)
    return (smooth[:, None] * smooth[None, :])[..., None].clamp_min(1e-6)
