"""What a method makes of photos that a surface fills: its lean at the frame's border, and whether maps wrap.

    python benchmarks/whole_frames.py --data DATA [--method nirne]

For every texture of the bench, under one light: the mean lean of the predicted normals off the truth's (degrees,
outward positive) in a band of a sixteenth of the frame along its borders, and in the middle half; the mean error of
both; how much opposite edges differ, in degrees and over neighbours; the same with the map made to wrap.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from maquette.app.predictors import build_predictor
from maquette.bench.normals.textures import textures
from maquette.methods.whole_frame import seam_ratio, tiled
from maquette.metrics import angle_between_deg
from maquette.types import NormalMap, Photo


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", default="nirne")
    parser.add_argument("--weights")
    options = parser.parse_args()
    predict = build_predictor(options.method, options.weights, "cpu", 256)
    ways: dict[str, Callable[[Photo], NormalMap]] = {
        "plain": predict,
        "tile": lambda photo: tiled(predict, photo),
    }
    print(
        "| texture | | lean at the border | in the middle | error at the border | in the middle | edges, deg | ratio |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for sample in textures(options.data, Path()):
        if sample.view != "light 60":
            continue
        for way, method in ways.items():
            cells = [sample.group, way, *row(method(sample.photo), sample.truth)]
            print(f"| {' | '.join(cells)} |", flush=True)


def row(found: NormalMap, truth: NormalMap) -> list[str]:
    """The cells of one map, as the head of the table names them."""
    height, width = truth.mask.shape
    y = torch.linspace(1, -1, height)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width).expand(height, width)
    across, along = torch.stack([x.sign(), 0 * x], -1), torch.stack([0 * y, y.sign()], -1)
    outward = torch.where((x.abs() > y.abs())[..., None], across, along)
    depth = torch.minimum((1 - x.abs()) * width, (1 - y.abs()) * height) / min(height, width)
    border, middle = depth < 1 / 8, depth > 1 / 2  # depth is 1 in the middle
    lean = _outward_deg(found, outward) - _outward_deg(truth, outward)
    error = angle_between_deg(found.normals, truth.normals)
    edges = max(float(angle_between_deg(n[0], n[-1]).mean()) for n in (found.normals, found.normals.transpose(0, 1)))
    means = [float(values[where].mean()) for values in (lean, error) for where in (border, middle)]
    return [f"{value:.1f}" for value in (*means, edges, seam_ratio(found))]


def _outward_deg(normal_map: NormalMap, outward: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2((normal_map.normals[..., :2] * outward).sum(-1), normal_map.normals[..., 2]))


if __name__ == "__main__":
    main()
