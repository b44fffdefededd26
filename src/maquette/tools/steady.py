"""Normal maps of a video that don't flicker: each is averaged with the last one, carried along the optical flow.

    n_t' = unit((1 - w) n_t + w n'_{t-1}(x + flow(x)))

where the flow leads from frame t back to frame t - 1 (DIS, Kroeger et al. 2016, OpenCV's). The weight w is
`strength` where both flows agree (there and back again ends within a pixel) and both normals do; it falls to nothing
at a newly seen surface and where the surface turned. The weights are ours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import cos, degrees, radians

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from maquette.catalogue import SMOOTHING
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.io.images import to_srgb8
from maquette.types import NormalMap, Photo

ROUND_TRIP_PX = 1.0
TURNED_DEG = 30.0  # normals that differ by more are of another surface, or of one that moved


@dataclass(frozen=True)
class SteadyFrame:
    """One frame's result.

    Attributes:
        normal_map: smoothed in time.
        flicker_deg: mean angle between this map and the last one, carried along the flow; NaN for the first frame.
        raw_flicker_deg: the same of the maps as they were predicted.
    """

    normal_map: NormalMap
    flicker_deg: float
    raw_flicker_deg: float


@dataclass(frozen=True)
class _Seen:
    """What the next frame needs of this one."""

    grey: UInt8[np.ndarray, "height width"]
    raw: NormalMap
    smooth: NormalMap


def steady(frames: Iterable[tuple[Photo, NormalMap]], strength: float = SMOOTHING) -> Iterator[SteadyFrame]:
    """Smooth normal maps along a video, frame by frame, each from the past alone.

    Args:
        frames: photos of one size in order, each with its predicted map.
        strength: share of the past in 0..1 (exclusive); 0 changes nothing.

    Raises:
        InputError: a frame of another size, or a strength outside its range.
    """
    if not 0 <= strength < 1:
        raise InputError(f"a smoothing strength of {strength}; it must lie in 0..1, where 0 is none and 1 is excluded")
    last: _Seen | None = None
    for photo, raw in frames:
        grey = cv2.cvtColor(to_srgb8(photo.rgb).numpy(), cv2.COLOR_RGB2GRAY)
        if last is None:
            yield SteadyFrame(raw, float("nan"), float("nan"))
            last = _Seen(grey, raw, raw)
            continue
        if grey.shape != last.grey.shape:
            (height, width), (first_height, first_width) = grey.shape, last.grey.shape
            raise InputError(
                f"{photo.name}: {width}x{height}, the frames before it {first_width}x{first_height}; they must agree"
            )
        flow, known = flow_back(grey, last.grey)
        known = known & raw.mask
        past, past_mask = carry(last.smooth, flow)
        past_raw, past_raw_mask = carry(last.raw, flow)
        agree = (raw.normals * past).sum(-1) > cos(radians(TURNED_DEG))
        weight = strength * (known & past_mask & agree).float()[..., None]
        blended = unit((1 - weight) * raw.normals + weight * past, -1) * raw.mask[..., None]
        smooth = replace(raw, normals=blended)
        yield SteadyFrame(
            smooth,
            mean_angle_deg(smooth.normals, past, known & past_mask),
            mean_angle_deg(raw.normals, past_raw, known & past_raw_mask),
        )
        last = _Seen(grey, raw, smooth)


def flow_back(
    now: UInt8[np.ndarray, "height width"], before: UInt8[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, "height width 2"], Bool[Tensor, "height width"]]:
    """Where each pixel was in the frame before, as an offset in pixels (x, y), and where that can be relied on."""
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = engine.calc(now, before, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    forth = engine.calc(before, now, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    returned = _sample(forth, back)
    known = np.linalg.norm(back + returned, axis=-1) < ROUND_TRIP_PX
    return back, torch.from_numpy(known)


def carry(
    normal_map: NormalMap, flow: Float[np.ndarray, "height width 2"]
) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"]]:
    """A map of the frame before at this frame's pixels, and where it has one."""
    normals = torch.from_numpy(_sample(normal_map.normals.numpy(), flow))
    mask = torch.from_numpy(_sample(normal_map.mask.float().numpy(), flow)) > 0.99
    return unit(normals, -1), mask


def mean_angle_deg(
    a: Float[Tensor, "height width 3"], b: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"]
) -> float:
    """Mean angle between unit normals where the mask is true; NaN if it is nowhere."""
    cross = torch.linalg.cross(a[mask].double(), b[mask].double()).norm(dim=-1)
    return degrees(float(torch.atan2(cross, (a[mask].double() * b[mask].double()).sum(-1)).mean()))


def _sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Bilinear samples at pixel + flow; zero outside."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
