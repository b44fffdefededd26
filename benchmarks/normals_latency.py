"""Latency and peak memory of `maquette normals`, as a ratio to a DINOv2 ViT-S/14 encoder in the same run.

    python benchmarks/normals_latency.py [--quick] [--json] [--weights NAME|DIR]

At every size three cases run, each in a process of its own with two CPU threads:

    verb       photo file in, normal map and contact sheet out; start of Python and imports included
    net        one forward pass of the network `small`, weights drawn at random
    reference  one forward pass of DINOv2 ViT-S/14, weights drawn at random, at the size rounded to 14 pixels

Time is the median over repeats of one pass (net, reference) or one whole process (verb). Memory is the
largest resident set of the process, so it holds what Python, PyTorch and the imports need in every case.
`--json` prints one flat object of ratios to the reference; what could not run is null, with its reason on
stderr. Runs on Linux and macOS.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import harness

SIZES_PX = (512, 1024, 2048)
QUICK_SIZES_PX = (512,)
CASES = ("verb", "net", "reference")
THREADS = 2
PATCH_PX = 14
REPEATS = {512: 5, 1024: 3, 2048: 1}

Measured = dict[str, float]  # seconds, peak_mib


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    options = _parse(argv)
    if options.case:
        print(json.dumps(_pass_seconds(options.case, options.size, REPEATS[options.size])))
        return 0
    sizes = QUICK_SIZES_PX if options.quick else SIZES_PX
    found: dict[tuple[str, int], Measured | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for case in CASES:
                found[case, size] = _measure(case, size, Path(folder), options)
    harness.show(options, ratios, table, found)
    return 0


def ratios(found: dict[tuple[str, int], Measured | None]) -> dict[str, float | None]:
    """`verb_512_time`, `verb_512_memory`, ...: each case over its size's reference; None if one is missing."""
    flat = {}
    for (case, size), measured in found.items():
        reference = found["reference", size]
        if case == "reference":
            continue
        for name, key in (("time", "seconds"), ("memory", "peak_mib")):
            flat[f"{case}_{size}_{name}"] = (
                harness.over(measured[key], reference[key]) if measured and reference else None
            )
    return flat


def table(found: dict[tuple[str, int], Measured | None]) -> str:
    """The same in Markdown, with the seconds and mebibytes behind the ratios."""
    flat = ratios(found)
    lines = harness.head("size | case | seconds | peak MiB | time ratio | memory ratio", "rlr")
    for (case, size), measured in found.items():
        if measured is None:
            lines.append(f"| {size} | {case} | not run | | | |")
            continue
        shares = [flat.get(f"{case}_{size}_{name}", 1.0) for name in ("time", "memory")]
        cells = [f"{measured['seconds']:.2f}", f"{measured['peak_mib']:.0f}"]
        cells += [harness.number(share) for share in shares]
        lines.append(f"| {size} | {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = harness.arguments(__doc__, quick=f"only {QUICK_SIZES_PX[0]} pixels; under a minute")
    parser.add_argument("--weights", default="nirne-small", help="of the verb; default: %(default)s")
    parser.add_argument("--case", choices=("net", "reference"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, choices=SIZES_PX, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _measure(case: str, size: int, folder: Path, options: argparse.Namespace) -> Measured | None:
    if case != "verb":
        command = [sys.executable, __file__, "--case", case, "--size", str(size)]
        return _run(f"{case} at {size}", command, repeats=1)
    photo = folder / f"{size}.png"
    _write_photo(photo, size)
    command = [
        sys.executable,
        "-m",
        "maquette.app.cli.main",
        "normals",
        str(photo),
        "-o",
        str(folder / "out"),
    ]
    command += ["--weights", options.weights, "--device", "cpu"]
    return _run(f"{case} at {size}", command, REPEATS[size])


def _run(name: str, command: list[str], repeats: int) -> Measured | None:
    """Run a command: the seconds that it prints itself, else those it took, and its peak memory."""
    processes = []
    for _ in range(repeats):
        process = harness.run(name, command, THREADS)
        if process is None:
            return None
        processes.append(process)
    seconds = [float(process.output) if "--case" in command else process.seconds for process in processes]
    return {"seconds": median(seconds), "peak_mib": max(process.peak_mib for process in processes)}


def _pass_seconds(case: str, size: int, repeats: int) -> float:
    """Median time of a forward pass; the first one, which allocates, isn't counted where there are others."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    network, inputs = _network(size) if case == "net" else _reference(size)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + (repeats > 1)):
            started = time.perf_counter()
            network(*inputs)
            seconds.append(time.perf_counter() - started)
    return median(seconds[1:] or seconds)


def _network(size: int) -> tuple[Any, tuple[Any, ...]]:
    import torch

    from maquette.nets.nirne import PRESETS, NiRNENet

    return NiRNENet(PRESETS["small"]).eval(), (torch.rand(1, 3, size, size), torch.ones(1, 1, size, size))


def _reference(size: int) -> tuple[Any, tuple[Any, ...]]:
    import torch
    from transformers import Dinov2Config, Dinov2Model  # pyright: ignore[reportMissingImports]

    config = Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=PATCH_PX
    )
    side = round(size / PATCH_PX) * PATCH_PX
    return Dinov2Model(config).eval(), (torch.rand(1, 3, side, side),)


def _write_photo(path: Path, size: int) -> None:
    """A lit ball on a transparent ground, so that the mask is known and only the prediction is measured."""
    import numpy as np
    from PIL import Image

    row, column = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    inside = row**2 + column**2 < 0.9**2
    height = np.sqrt(np.maximum(0.9**2 - row**2 - column**2, 0))
    shading = np.clip((column - row + 2 * height) / 6**0.5, 0, 1) * (0.7 + 0.3 * np.sin(40 * column))
    grey = (255 * shading).astype(np.uint8)
    Image.fromarray(np.dstack([grey, grey, grey, 255 * inside.astype(np.uint8)])).save(path)


if __name__ == "__main__":
    sys.exit(main())
