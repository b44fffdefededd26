"""What GSN's splats are made of: their normals, the shapes of their Gaussians, needles, floaters, opacities.

    python benchmarks/gsn_statistics.py [--quick] [--json] [--weights NAME|DIR] [--data DIR] [--views N]

Over test objects, each seen as by the protocol (view 64 is shown). Gaussians fainter than 1/255 change no pixel and
aren't counted.

    normals    mean angle in degrees between rendered covariance normals and the surface's, in each scored view, over
               the pixels where the object covers half and the splat at least half; beside, on the same pixels: the
               cube's (90 where it isn't), the ball of diameter 1 about the object, and a wall that faces the camera
    silhouette intersection over union of the splat's alpha above 0.5 and the mask
    shapes     a Gaussian's longest axis over its middle one and over its shortest
    needles    share of Gaussians whose longest axis is more than 10 times the middle one
    floaters   share of opacity in Gaussians whose centre some view sees farther than 0.05 (of the diagonal of the
               object's box) beside the silhouette
    opacity    a histogram

--json prints one flat object; errors of normals there are ratios to the ball's. --quick makes a tiny data set and,
unless --weights names others, takes a network with random weights.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import cv2
import harness
import novel_views as views
import numpy as np
import torch
from gsn_bench import QUICK, load_gsns, splats_of
from jaxtyping import Float
from novel_views import Trial
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.methods.gsn import LEAST_OPACITY
from maquette.metrics import angular_error_deg
from maquette.nets.gsn import GSNNet, canonical_cube
from maquette.synth.datasets.multiview.objects import generate
from maquette.types import Camera, Gaussians

NEEDLE = 10.0
FLOATS = 0.05
BALL_RADIUS = 0.5
ASPECTS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
BARS = 40  # characters of the longest
QUICK_VIEWS = 4


@dataclass(frozen=True)
class Found:
    """Of all objects.

    Attributes:
        normals_deg: mean errors, by whose normals.
        overlap: mean intersection over union of silhouettes.
        floating: share of the opacity, mean over objects.
        to_middle, to_shortest: longest axis over the others, of every Gaussian that counts.
        opacity: of the same.
    """

    normals_deg: dict[str, float]
    overlap: float
    floating: float
    to_middle: Float[Tensor, " n"]
    to_shortest: Float[Tensor, " n"]
    opacity: Float[Tensor, " n"]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0, or 2 if what was asked for isn't there."""
    options = _parse(argv)
    return harness.in_scratch(lambda folder: _run(options, folder))


def measure(net: GSNNet, cases: Sequence[Trial]) -> Found:
    """All statistics of the splats of some objects.

    Raises:
        InputError: an object has no masks or no normals.
    """
    normals: dict[str, list[float]] = {}
    overlaps, floating, parts = [], [], []
    for case in cases:
        if case.mask is None or case.normals is None:
            raise InputError(f"{case.name}: has no masks or no normals; data of `maquette dataset views` have both")
        splat = counted(splats_of(net, case.image[None]).gaussians(0))
        errors, overlap = normal_errors(splat, canonical_cube(net.config), case)
        for name, error in errors.items():
            normals.setdefault(name, []).append(error)
        overlaps.append(overlap)
        floating.append(floating_share(splat, case.cameras, case.mask[:, 0]))
        parts.append(splat)
        print(case.name, file=sys.stderr)
    longest_first = torch.cat([splat.scale for splat in parts]).sort(-1, descending=True).values
    return Found(
        {name: fmean(errors) for name, errors in normals.items()},
        fmean(overlaps),
        fmean(floating),
        longest_first[:, 0] / longest_first[:, 1],
        longest_first[:, 0] / longest_first[:, 2],
        torch.cat([splat.opacity for splat in parts]),
    )


def counted(splat: Gaussians) -> Gaussians:
    """Those that are dense enough to be seen."""
    dense = splat.opacity >= LEAST_OPACITY
    kept = (splat.mean[dense], splat.scale[dense], splat.rotation[dense], splat.opacity[dense], splat.sh[dense])
    return Gaussians(*kept, encoding=splat.encoding)


def normal_errors(splat: Gaussians, cube: Gaussians, case: Trial) -> tuple[dict[str, float], float]:
    """Mean errors over an object's views in degrees, by whose normals; the mean overlap of silhouettes."""
    assert case.mask is not None and case.normals is not None
    errors: dict[str, list[float]] = {}
    overlaps = []
    seen, of_cube = views.views_of_splat(splat, case.cameras), views.views_of_splat(cube, case.cameras)
    for k, camera in enumerate(case.cameras):
        true = case.normals[k].permute(1, 2, 0)
        object_here, splat_here = case.mask[k, 0] > 0.5, seen[k].alpha > 0.5
        overlaps.append(float((object_here & splat_here).sum() / (object_here | splat_here).sum().clamp_min(1)))
        both = object_here & splat_here & (true.square().sum(-1) > 0.5)
        if not both.any():
            continue
        facing = torch.tensor([0.0, 0.0, 1.0]).expand_as(true)
        guesses = {
            "splat": seen[k].normals,
            "cube": of_cube[k].normals * (of_cube[k].alpha > 0.5)[..., None],
            "ball": ball_normals(camera),
            "wall": facing,
        }
        for name, guess in guesses.items():
            errors.setdefault(name, []).append(float(angular_error_deg(guess, true, both).mean()))
    if not errors:
        raise InputError(f"{case.name}: its splat is seen nowhere on the object; there are no normals to measure")
    return {name: fmean(values) for name, values in errors.items()}, fmean(overlaps)


def ball_normals(camera: Camera, radius: float = BALL_RADIUS) -> Float[Tensor, "height width 3"]:
    """Of a ball about the origin, in the camera's axes; rays that pass it by have that of where they pass nearest."""
    rows, columns = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    right = (columns + 0.5 - camera.center_px[0]) / camera.focal_px
    up = -(rows + 0.5 - camera.center_px[1]) / camera.focal_px
    ray = unit(torch.stack([right, up, -torch.ones_like(right)], -1))
    rotation, place = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
    middle = rotation.T @ -place  # of the ball, in camera axes
    along = ray @ middle
    inside = (radius**2 - (middle.square().sum() - along.square())).clamp_min(0).sqrt()
    return unit(ray * (along - inside)[..., None] - middle)


def floating_share(splat: Gaussians, cameras: Sequence[Camera], masks: Float[Tensor, "views height width"]) -> float:
    """Share of the opacity whose Gaussians lie beside the object, by more than `FLOATS`, as some view sees it."""
    beside = torch.zeros(len(splat.mean), dtype=torch.bool)
    for camera, mask in zip(cameras, masks, strict=True):
        rotation, place = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
        local = (splat.mean - place) @ rotation
        depth = (-local[:, 2]).clamp_min(1e-6)
        x = local[:, 0] / depth * camera.focal_px + camera.center_px[0] - 0.5
        y = -local[:, 1] / depth * camera.focal_px + camera.center_px[1] - 0.5
        column, row = x.round().clamp(0, camera.width - 1), y.round().clamp(0, camera.height - 1)
        # Pixels to the nearest one that the object covers, and from a centre beyond the image to the image.
        empty = (mask <= 0.5).numpy().astype(np.uint8)
        distance = torch.from_numpy(cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
        beyond = torch.hypot(x - x.clamp(0, camera.width - 1), y - y.clamp(0, camera.height - 1))
        beside |= (distance[row.long(), column.long()] + beyond) * depth / camera.focal_px > FLOATS
    return float(splat.opacity[beside].sum() / splat.opacity.sum())


def flat(found: Found) -> dict[str, float]:
    """One flat object."""
    ball = found.normals_deg["ball"]
    return {
        **{f"normals_{name}_over_ball": error / ball for name, error in found.normals_deg.items() if name != "ball"},
        "silhouette_overlap": found.overlap,
        "needles": float((found.to_middle > NEEDLE).float().mean()),
        "floaters": found.floating,
        "longest_over_middle_median": float(found.to_middle.median()),
        "longest_over_shortest_median": float(found.to_shortest.median()),
        "longest_over_shortest_most": float(found.to_shortest.max()),
        "opacity_mean": float(found.opacity.mean()),
    }


def text(found: Found) -> str:
    """Tables and histograms, in Markdown."""
    lines = harness.head("normals of | mean error, degrees", "lr")
    lines += [f"| {name} | {error:.2f} |" for name, error in found.normals_deg.items()]
    lines += [
        "",
        f"Silhouettes overlap by {found.overlap:.3f} (intersection over union).",
        f"Needles: {100 * float((found.to_middle > NEEDLE).float().mean()):.2f} % of {len(found.opacity)} Gaussians.",
        f"Floaters: {100 * found.floating:.2f} % of the opacity.",
        "",
        "```",
        "longest axis over the middle one",
        *histogram(found.to_middle, ASPECTS),
        "longest axis over the shortest one",
        *histogram(found.to_shortest, ASPECTS),
        "opacity",
        *histogram(found.opacity, [k / 10 for k in range(11)]),
        "```",
    ]
    return "\n".join(lines)


def histogram(values: Float[Tensor, " n"], edges: Sequence[float]) -> list[str]:
    """A line a bin: its edges, its share in percent, a bar. Values beyond the outer edges count in the outer bins."""
    inner = torch.tensor(edges[1:-1], dtype=values.dtype)
    counts = torch.bincount(torch.bucketize(values, inner, right=True), minlength=len(edges) - 1)
    shares = counts / max(len(values), 1)
    most = float(shares.max().clamp_min(1e-9))
    return [
        f"{low:5.1f} to {high:4.1f} {100 * share:6.2f} % {'#' * round(BARS * share / most)}"
        for low, high, share in zip(edges, edges[1:], shares.tolist(), strict=False)
    ]


def _run(options: argparse.Namespace, folder: Path) -> int:
    if options.quick:
        generate(folder, QUICK)
        options.data, options.views = folder, QUICK_VIEWS
    data = views.test_objects(options.data)
    weights = [] if options.weights is None else [options.weights]
    (net,) = load_gsns(weights, data, options.quick).values()
    found = measure(net, list(views.trials(data, options.views, options.objects)))
    harness.show(options, flat, text, found)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(
        __doc__, quick="a tiny data set of its own; under a minute", json="one flat object of numbers"
    )
    parser.add_argument("--weights", metavar="NAME|DIR")
    parser.add_argument("--data", type=Path, default=Path("runs/gsn/test"), help="default: %(default)s")
    parser.add_argument("--views", type=int, default=25, metavar="N", help="of each object; default: %(default)s")
    parser.add_argument("--objects", type=int, metavar="N", help="of each category; default: all")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
