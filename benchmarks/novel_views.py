"""The protocol of ShapeNet-SRN: a method is shown one view of an object and scored on the others.

    Views -> Trial (view 64, the other 250) -> Method -> images -> PSNR, SSIM, LPIPS
          -> mean over an object's views -> mean over objects

As Splatter Image scores it (Szymanowicz et al. 2024, arXiv 2312.13150): 128 x 128 on white, cameras relative to the
shown one, which isn't scored. Images are compared as display values, cut to 0..1, and not rounded to bytes.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.metrics import psnr_db, ssim
from maquette.render.splat.rasterize import rasterize
from maquette.synth.datasets.multiview.cameras import condition_view, in_axes_of
from maquette.synth.datasets.multiview.reading import ViewsDataset, of_split
from maquette.synth.datasets.multiview.spec import read_manifest
from maquette.types import Camera, Gaussians, RenderOutput

KNOWN, HELD_OUT = "known", "held out"  # groups of categories
_PASS = 16  # views that are compared at once
_LPIPS_BODY = "vgg16-397923af.pth"  # what torchvision keeps VGG-16's weights as

Method = Callable[[Float[Tensor, "3 height width"], list[Camera]], Float[Tensor, "views 3 height width"]]
Lpips = Callable[[Float[Tensor, "views 3 height width"], Float[Tensor, "views 3 height width"]], float]


@dataclass(frozen=True)
class Trial:
    """An object as the protocol cuts it.

    Attributes:
        name, category: of the object.
        image: what the method is shown, 0 to 1, display-encoded, on white.
        shown: its camera, and those of `rgb`, in axes of the shown camera (x right, y up, z to the viewer), the
            origin in the middle of the object.
        rgb: the views that are scored.
        views: their numbers.
        mask, normals: of the scored views as `ObjectViews` has them, if the data has them.
    """

    name: str
    category: str
    image: Float[Tensor, "3 height width"]
    shown: Camera
    rgb: Float[Tensor, "views 3 height width"]
    cameras: list[Camera]
    views: tuple[int, ...]
    mask: Float[Tensor, "views 1 height width"] | None
    normals: Float[Tensor, "views 3 height width"] | None


@dataclass(frozen=True)
class Score:
    """Means over views, or over objects.

    Attributes:
        psnr_db: mean of the views' own.
        ssim: as `maquette.metrics.ssim`.
        lpips: by VGG-16; None if it wasn't to be had.
    """

    psnr_db: float
    ssim: float
    lpips: float | None = None


def test_objects(folder: Path) -> ViewsDataset:
    """The test split of a folder, or all objects of one that names no splits.

    Raises:
        InputError: there are none.
    """
    return of_split(folder, "test")


def scored_views(count: int, most: int | None = None) -> list[int]:
    """The numbers of the views that are scored: all but the shown one, or `most` of those, evenly spread.

    Raises:
        InputError: `most` is below one, or there is no other view.
    """
    others = [view for view in range(count) if view != condition_view(count)]
    if not others or (most is not None and most < 1):
        raise InputError(f"{count} views, {most} to be scored; there must be one beside the shown one")
    if most is None or most >= len(others):
        return others
    return [others[int(place)] for place in torch.linspace(0, len(others) - 1, most).round()]


def trial(data: ViewsDataset, index: int, most: int | None = None) -> Trial:
    """One object of a data set whose views lie along the spiral.

    Args:
        data: of which split is the caller's choice.
        index: of the object.
        most: as in `scored_views`.
    """
    count = data.view_count(index)
    scored = scored_views(count, most)
    seen = data.object(index, [condition_view(count), *scored])
    height, width = seen.rgb.shape[-2:]
    poses = in_axes_of(seen.camera_to_world, 0)
    cameras = [Camera(width, height, seen.focal_px, seen.center_px, pose) for pose in poses]
    mask, normals = (None if maps is None else maps[1:] for maps in (seen.mask, seen.normals))
    return Trial(
        seen.name, seen.category, seen.rgb[0], cameras[0], seen.rgb[1:], cameras[1:], tuple(scored), mask, normals
    )


def trials(data: ViewsDataset, most: int | None = None, objects: int | None = None) -> Iterator[Trial]:
    """The objects in their order, or the first `objects` of each category."""
    taken: dict[str, int] = {}
    for index, category in enumerate(data.categories):
        taken[category] = taken.get(category, 0) + 1
        if objects is None or taken[category] <= objects:
            yield trial(data, index, most)


def evaluate(
    cases: Iterator[Trial] | Sequence[Trial],
    methods: dict[str, Method],
    lpips: Lpips | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, list[Score]]]:
    """Scores by method and category, one an object.

    Args:
        cases: objects.
        methods: what is shown an image, and draws views.
        lpips: of `find_lpips`.
        progress: is told the name of each object that is done.
    """
    found: dict[str, dict[str, list[Score]]] = {name: {} for name in methods}
    for case in cases:
        for name, method in methods.items():
            score = score_views(method(case.image, case.cameras), case.rgb, lpips)
            found[name].setdefault(case.category, []).append(score)
        progress(case.name)
    return found


def score_views(
    images: Float[Tensor, "views 3 height width"],
    true: Float[Tensor, "views 3 height width"],
    lpips: Lpips | None = None,
) -> Score:
    """The means over an object's views."""
    images = images.clamp(0, 1).cpu()
    psnr = fmean(psnr_db(image, reference) for image, reference in zip(images, true, strict=True))
    # A few views at a time: what fits the processor's cache is three times as fast.
    parts = zip(images.split(_PASS), true.split(_PASS), strict=True)
    similarity = torch.cat([ssim(*part) for part in parts])
    return Score(psnr, float(similarity.mean()), None if lpips is None else lpips(images, true))


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over objects; LPIPS only if all have it."""
    columns = ([getattr(score, field.name) for score in scores] for field in fields(Score))
    return Score(*(None if None in column else fmean(column) for column in columns))  # pyright: ignore


def by_group(scores: dict[str, list[Score]], held_out: Sequence[str]) -> dict[str, Score]:
    """Means over the objects of known categories, of held-out ones, and of each category; a group without is left out.

    Args:
        scores: of a method, by category.
        held_out: categories that no training saw.
    """
    groups = {
        KNOWN: [score for category, found in scores.items() if category not in held_out for score in found],
        HELD_OUT: [score for category, found in scores.items() if category in held_out for score in found],
        **dict(sorted(scores.items())),
    }
    return {name: mean_score(found) for name, found in groups.items() if found}


def held_out_categories(folder: Path) -> tuple[str, ...]:
    """Those that the manifest names; none of a folder without one, such as the published cars."""
    return read_manifest(folder).held_out if (folder / "manifest.json").exists() else ()


def views_of_splat(gaussians: Gaussians, cameras: Sequence[Camera]) -> list[RenderOutput]:
    """A splat on white, from every camera."""
    white = gaussians.mean.new_ones(3)
    return [rasterize(gaussians, camera, background=white) for camera in cameras]


def images_of_splat(gaussians: Gaussians, cameras: Sequence[Camera]) -> Float[Tensor, "views 3 height width"]:
    """Its colours alone."""
    return torch.stack([output.color for output in views_of_splat(gaussians, cameras)]).permute(0, 3, 1, 2)


def fixed_splat(gaussians: Gaussians) -> Method:
    """The method that shows this splat, whatever it is shown."""
    return lambda image, cameras: images_of_splat(gaussians, cameras)


def all_white(image: Float[Tensor, "3 height width"], cameras: list[Camera]) -> Float[Tensor, "views 3 height width"]:
    """The method that shows the background."""
    return torch.ones(len(cameras), *image.shape)


def repeated(image: Float[Tensor, "3 height width"], cameras: list[Camera]) -> Float[Tensor, "views 3 height width"]:
    """The method that shows what it was shown, from everywhere."""
    return image.expand(len(cameras), -1, -1, -1)


def find_lpips() -> tuple[Lpips | None, str]:
    """LPIPS by VGG-16, if the package `lpips` and all weights are on this machine; else None and why, in a line.

    Nothing is ever downloaded.
    """
    missing = [name for name in ("lpips", "torchvision") if importlib.util.find_spec(name) is None]
    if missing:
        return None, f"the package {missing[0]} isn't installed"
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_BODY
    if not weights.is_file():
        return None, f"VGG-16's weights aren't at {weights}"
    module: Any = importlib.import_module("lpips")
    network = module.LPIPS(net="vgg", verbose=False).eval()

    @torch.no_grad()
    def distance(images: Tensor, true: Tensor) -> float:
        pairs = zip(images.split(_PASS), true.split(_PASS), strict=True)
        return float(torch.cat([network(a * 2 - 1, b * 2 - 1).flatten() for a, b in pairs]).mean())

    return distance, ""
