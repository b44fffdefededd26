"""A camera's frames to splats, as a robot would: the network loaded once, arrays in, Gaussians out, no file in between.

python examples/robot_loop.py [PHOTO] [--weights NAME|DIR] [--frames 20] [--focal-px 900] [--depth-m 0.6]

The photo stands for a camera that moves, and its mask, found once, for the robot's own segmentation.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from maquette.io.images import read_photo, to_srgb8
from maquette.methods.gsn import GSN, in_camera
from maquette.methods.masks import object_mask
from maquette.types import Camera

TEAPOT = Path(__file__).parent / "photos" / "teapot.png"


def main() -> None:
    """Load once, then loop; print where the object is and how large, in metres."""
    options = _parse()
    rgb, mask = _first_frame(options.photo)
    height, width = mask.shape
    lens = Camera(width, height, options.focal_px, (width / 2, height / 2), torch.eye(4))

    gsn = GSN.from_pretrained(options.weights, options.device)
    gsn(rgb, mask)  # the first pass also sets up what the others use
    seconds = []
    for frame, seen in _camera(rgb, mask, options.frames):
        start = time.perf_counter()
        shown = gsn.show(frame, seen)
        gaussians = gsn.gaussians(shown)
        placed = in_camera(gaussians, gsn.camera(shown), lens, options.depth_m)
        weights = placed.opacity[:, None]
        middle = (weights * placed.mean).sum(0) / weights.sum()
        solid = placed.mean[placed.opacity > 0.3]
        size = torch.zeros(3) if len(solid) == 0 else solid.quantile(0.99, dim=0) - solid.quantile(0.01, dim=0)
        seconds.append(time.perf_counter() - start)
        place, sides = (" ".join(f"{1000 * float(v):6.0f}" for v in vector) for vector in (middle, size))
        print(f"{len(placed)} Gaussians, middle at {place} mm, {sides} mm across")
    print(f"median {1000 * float(np.median(seconds)):.1f} ms a frame of {width}x{height} px")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=TEAPOT)
    parser.add_argument("--weights", default="gsn-small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--focal-px", type=float, default=900.0, help="of the lens, in pixels of the photo")
    parser.add_argument("--depth-m", type=float, default=0.6, help="of the middle of the object, as a sensor tells it")
    return parser.parse_args()


def _first_frame(path: Path) -> tuple[np.ndarray, np.ndarray]:
    photo = read_photo(path)
    return to_srgb8(photo.rgb).numpy(), object_mask(photo).numpy()


def _camera(rgb: np.ndarray, mask: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same view, sliding by three pixels a frame."""
    for k in range(count):
        yield np.roll(rgb, 3 * k, axis=1), np.roll(mask, 3 * k, axis=1)


if __name__ == "__main__":
    main()
