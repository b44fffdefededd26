"""Time and memory of `rasterize`, as ratios to its plain torch backend in the same run and to the memory's speed.

    python benchmarks/rasterize.py [--quick] [--json]

The scene: discs on a ball of radius 1 with bumps, seen from distance 3 so that it fills 0.8 of the picture's height;
opacities even between 0.1 and 0.95, colours at random. At 512 pixels 50,000 of them reach 4 to 13 pixels far (7 in the
median, as far as alpha is at least 1/255); with other counts they shrink or grow so as to cover the same surface, and
with the picture's size. Eight channels are blended: colour, normal, depth and its square. `forward` is `rasterize`
without gradients; `both` is with them, and the backward pass of a sum of squares of colour, normals, depth, distortion.
Gradients go to the Gaussians and to `camera_to_world`. All of it is timed: projection, sorting, blending, assembly.

Every backend that runs on the device is timed: the best of several passes after one that warms up, with two threads on
the CPU. The torch backend is the peer: there it is timed once, and left out where that would take minutes (null; "-" in
the table). `speedup_vs_torch_tiles` is `both` of 50,000 Gaussians at 512 pixels.

`bandwidth`: seconds over those in which the memory could move what has to be moved, at the speed at which it copies a
large tensor in this run (read and written bytes both count). Counted are, in float32: of a Gaussian its 14 numbers,
read, and its 10 projected ones and 8 channels, written; of each pair of a Gaussian and a tile of 16x16 pixels that its
box meets, 14 numbers, read; of a pixel 10 numbers (channels, alpha, median), written. `both` adds: of a pixel 9
results and their 9 gradients, read; of a pair 14 numbers, read, and 14 gradients, written and read; of a Gaussian 14
numbers and 18 gradients, read, and 18 + 14 gradients, written. Arithmetic isn't in it: a limit that can't be met.

`pixel_ns`: nanoseconds of `both` per pixel that a Gaussian reaches, the slope of a line through parts of one scene
at 512 pixels; `linearity` is its R^2. `memory`: the peak of `both` over what it starts from, as a ratio to the peer's;
measured on Linux (glibc) and on CUDA, elsewhere null.
"""

import ctypes
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from math import pi, sqrt
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # two spinning thread pools would fight for the cores

import harness
import numba
import numpy as np
import torch
from torch import Tensor

from maquette.errors import InputError
from maquette.render.splat.projected import LEAST_ALPHA
from maquette.render.splat.rasterize import BACKENDS, rasterize
from maquette.render.splat.torch_tiles import project
from maquette.types import Camera, Gaussians

THREADS = 2
CASES = [(count, size) for size in (256, 512, 1024) for count in (10_000, 50_000, 200_000)]
QUICK = [(10_000, 256), (50_000, 512)]
HEADLINE = (50_000, 512)
PARTS = (10_000, 20_000, 40_000, 80_000)  # of the scene whose cost per pixel is fitted
PARTS_SIZE = 512
PEER = "torch"
PEER_MOST = 50_000 * 512**2  # Gaussians times pixels that the peer is given on a CPU
PASSES = 7
COPY_BYTES = 2**28
TILE = 16

Row = dict[str, float | None]
Found = dict[tuple[str, int, int], Row]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="two sizes of scene; under a minute")
    options = parser.parse_args(argv)
    torch.set_num_threads(THREADS)
    numba.set_num_threads(min(THREADS, numba.get_num_threads()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = QUICK if options.quick else CASES
    names = available(device)
    speed = copy_speed(device)
    found: Found = {}
    for count, size in cases:
        for name in (*names, PEER):
            found[name, count, size] = measure(name, count, size, device, speed)
    fits = {name: fit(*parts(name, device)) for name in names}
    print(json.dumps(flat(found, fits)) if options.json else table(found, fits, speed))
    return 0


def available(device: str) -> list[str]:
    """The backends other than the peer that run on a device."""
    names = []
    for name in BACKENDS:
        if name == PEER:
            continue
        try:
            with torch.no_grad():
                rasterize(scene(10, device), camera(32, device), backend=name)
            names.append(name)
        except (ImportError, InputError) as reason:
            print(f"{name}: not run: {reason}", file=sys.stderr)
    return names


def scene(count: int, device: str, like: int | None = None) -> Gaussians:
    """The Gaussians of the page above; `like` another count, as large as if there were so many."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    normal = torch.nn.functional.normalize(draw(3), dim=-1)
    x, y, z = normal.unbind(-1)
    radius = 1 - 0.15 * (1 + torch.sin(5 * x + 3 * y) * torch.cos(4 * z)) / 2
    scale = 0.014 * sqrt(50_000 / (like or count)) * torch.exp(0.4 * draw(3)) * torch.tensor([1, 1, 0.15])
    axis = torch.nn.functional.normalize(normal + 0.3 * draw(3), dim=-1)
    # the shortest turn of the z axis onto the disc's
    rotation = torch.stack([1 + axis[:, 2], -axis[:, 1], axis[:, 0], torch.zeros(count)], -1)
    opacity = 0.1 + 0.85 * torch.rand(count, generator=generator)
    given = (normal * radius[:, None], scale, rotation, opacity, 0.5 * draw(1, 3))
    mean, scale, rotation, opacity, sh = (value.to(device).requires_grad_() for value in given)
    return Gaussians(mean, scale, rotation, opacity, sh)


def camera(size: int, device: str) -> Camera:
    """In front of the ball."""
    pose = torch.eye(4)
    pose[2, 3] = 3
    return Camera(size, size, 1.2 * size, (size / 2, size / 2), pose.to(device).requires_grad_())


def measure(name: str, count: int, size: int, device: str, speed: float) -> Row:
    """Seconds of `forward` and `both`, their limits by the memory's speed, and the peak MiB."""
    made, view = scene(count, device), camera(size, device)
    row: Row = dict.fromkeys(("forward", "both", "forward_limit", "both_limit", "mib"))
    pairs = reach(made, view)[0]
    for key, moved in zip(("forward", "both"), moved_bytes(count, pairs, size), strict=True):
        row[f"{key}_limit"] = moved / speed
    if name == PEER and device == "cpu" and count * size**2 > PEER_MOST:
        return row

    def forward() -> None:
        with torch.no_grad():
            rasterize(made, view, backend=name)

    def both() -> None:
        out = rasterize(made, view, backend=name)
        parts = (out.color, out.normals, out.depth, out.distortion)
        torch.stack([part.square().sum() for part in parts]).sum().backward()

    passes = 1 if name == PEER and device == "cpu" else PASSES
    row["forward"] = seconds(forward, passes, device)
    before = held_mib(device, from_now=True)
    row["both"] = seconds(both, passes, device)
    after = held_mib(device)
    if before and after:
        row["mib"] = after[1] - before[0]
    return row


def seconds(run: Callable[[], Any], passes: int, device: str) -> float:
    """The best of several passes; where there is only one, it has to be its own warm-up."""
    found = []
    for _ in range(passes + (passes > 1)):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)


def held_mib(device: str, from_now: bool = False) -> tuple[float, float] | None:
    """What is held now and the peak, which can be told to begin anew; None where nobody knows."""
    if device == "cuda":
        if from_now:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20, torch.cuda.max_memory_allocated() / 2**20
    if platform.libc_ver()[0] != "glibc":
        return None
    if from_now:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed, but is kept for later, isn't held
    return harness.resident_mib(from_now)


def copy_speed(device: str) -> float:
    """Bytes a second, read and written, of copying a large tensor."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / seconds(lambda: target.copy_(source), PASSES, device)


def moved_bytes(count: int, pairs: int, size: int) -> tuple[int, int]:
    """What `forward` and `both` have to read and write at least, counted as the page above says."""
    pixels = size * size
    forward = 4 * ((14 + 18) * count + 14 * pairs + 10 * pixels)
    return forward, forward + 4 * (18 * pixels + (14 + 28) * pairs + (14 + 18 + 18 + 14) * count)


def reach(made: Gaussians, view: Camera) -> tuple[int, int]:
    """How many pairs of a tile and a Gaussian there are, and how many pixels Gaussians reach."""
    with torch.no_grad():
        numbers = torch.tensor([view.focal_px, *view.center_px]).to(made.mean)
        p = project(
            made.mean, made.scale, made.rotation, made.opacity, view.camera_to_world, numbers,
            width=view.width, height=view.height, orthographic=False, antialiased=False, near=0.01,
        )  # fmt: skip
        a, b, c = p.conic[p.visible].double().unbind(-1)
        determinant = a * c - b * b
        squared = 2 * (p.opacity[p.visible].double() / LEAST_ALPHA).log()
        half = (squared[:, None] * torch.stack([c, a], -1) / determinant[:, None]).sqrt()
        center = p.mean_px[p.visible].double()
        size = torch.tensor([view.width, view.height]).to(center)
        low, high = (center - half).clamp_min(0), torch.minimum(center + half, size - 1)
        tiles = ((high / TILE).floor() - (low / TILE).floor() + 1).prod(-1)
        return int(tiles.sum()), int((pi * squared / determinant.sqrt()).sum())


def parts(name: str, device: str) -> tuple[list[int], list[float]]:
    """Of growing parts of one scene, the pixels that Gaussians reach, and the seconds of `both`."""
    touched, found = [], []
    view = camera(PARTS_SIZE, device)
    for count in PARTS:
        made = scene(count, device, like=50_000)
        touched.append(reach(made, view)[1])

        def both(made: Gaussians = made) -> None:
            rasterize(made, view, backend=name).color.square().sum().backward()

        found.append(seconds(both, PASSES, device))
    return touched, found


def fit(touched: list[int], found: list[float]) -> dict[str, float]:
    """Nanoseconds a pixel and R^2 of a line through the points, and where it begins in milliseconds."""
    slope, start = np.polyfit(touched, found, 1)
    return {
        "pixel_ns": 1e9 * float(slope),
        "start_ms": 1e3 * float(start),
        "linearity": float(np.corrcoef(touched, found)[0, 1]) ** 2,
    }


def flat(found: Found, fits: dict[str, dict[str, float]]) -> Row:
    """Ratios by backend, count and size; the first backend's at the headline's has a name of its own."""
    named: Row = {"speedup_vs_torch_tiles": None}
    for (name, count, size), row in found.items():
        if name == PEER:
            continue
        peer = found[PEER, count, size]
        for key in ("forward", "both"):
            named[f"{name}_{count}_{size}_{key}_speedup"] = _over(peer[key], row[key])
            named[f"{name}_{count}_{size}_{key}_bandwidth"] = _over(row[key], row[f"{key}_limit"])
        named[f"{name}_{count}_{size}_memory"] = _over(row["mib"], peer["mib"])
        if (count, size) == HEADLINE and named["speedup_vs_torch_tiles"] is None:
            named["speedup_vs_torch_tiles"] = named[f"{name}_{count}_{size}_both_speedup"]
    if "triton" in fits and "gsplat" in fits:
        for (name, count, size), row in found.items():
            if name == "triton":
                named[f"gsplat_over_triton_{count}_{size}"] = _over(found["gsplat", count, size]["both"], row["both"])
    for name, line in fits.items():
        named |= {f"{name}_{key}": float(f"{value:.4g}") for key, value in line.items()}
    return named


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else float(f"{above / below:.4g}")


def table(found: Found, fits: dict[str, dict[str, float]], speed: float) -> str:
    """The same in Markdown, with milliseconds and mebibytes."""
    named = flat(found, fits)
    lines = [
        f"The memory copies {speed / 1e9:.1f} GB/s (read and written).",
        "",
        *harness.head(
            "Gaussians | pixels | backend | forward ms | both ms | speedup | both speedup | both/bandwidth | MiB",
            "rrlr",
        ),
    ]
    for (name, count, size), row in found.items():
        cells = [_cell(row[key], 1e3, ".1f") for key in ("forward", "both")]
        keys = ("forward_speedup", "both_speedup", "both_bandwidth")
        cells += [_cell(named.get(f"{name}_{count}_{size}_{key}"), 1, ".1f") for key in keys]
        lines.append(f"| {count} | {size} | {name} | {' | '.join(cells)} | {_cell(row['mib'], 1, '.0f')} |")
    lines += ["", *harness.head("backend | ns a reached pixel | ms at none | R^2", "lr")]
    for name, line in fits.items():
        lines.append(f"| {name} | {line['pixel_ns']:.3f} | {line['start_ms']:.1f} | {line['linearity']:.4f} |")
    return "\n".join(lines)


def _cell(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(factor * value, form)


if __name__ == "__main__":
    sys.exit(main())
