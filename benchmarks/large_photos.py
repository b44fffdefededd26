"""Photos larger than the network: time, memory and seams of tiled prediction, beside one pass over the whole.

    python benchmarks/large_photos.py [--quick] [--json] [--weights NAME|DIR]

At every size two cases run, each in a process of its own with two CPU threads, on the same square photo of a rippled
surface that fills the frame:

    tiled      `NiRNE` with detail up to the photo's own size
    whole      the same network, given the whole photo at once at that size

Time and memory are ratios of tiled to whole. The seam ratio is the mean change of the normals from one column (row)
to the next at the borders of the finest tiles, over that elsewhere: 1 is no seam. A whole pass above 2048 px is not
run: its attention over 65536 positions takes hours.
"""

import argparse
import json
import resource
import sys
import time
from typing import Any

import harness

SIZES_PX = (1024, 2048, 4096)
LARGEST_WHOLE_PX = 2048
THREADS = 2


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="512 pixels alone")
    parser.add_argument("--weights", default="nirne-small", help="default: %(default)s")
    parser.add_argument("--case", choices=("tiled", "whole"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.case:
        print(json.dumps(measure(options.case, options.size, options.weights)))
        return 0
    found: dict[tuple[str, int], dict[str, float]] = {}
    for size in (512,) if options.quick else SIZES_PX:
        for case in ("tiled", "whole"):
            if case == "whole" and size > LARGEST_WHOLE_PX:
                continue
            command = ["--case", case, "--size", str(size), "--weights", options.weights]
            measured = harness.run_case(f"{case} at {size}", __file__, command, THREADS)
            if measured is None:
                return 1
            found[case, size] = measured
            print(f"{case} at {size}: {found[case, size]}", file=sys.stderr)
    harness.show(options, ratios, table, found)
    return 0


def table(found: dict[tuple[str, int], dict[str, float]]) -> str:
    """Markdown: a row a size and case."""
    lines = harness.head("size | case | seconds | peak MiB | seam ratio", "rlr")
    for (case, size), values in found.items():
        lines.append(f"| {size} | {case} | {values['seconds']:.1f} | {values['peak_mib']:.0f} | {values['seam']:.3f} |")
    return "\n".join(lines)


def ratios(found: dict[tuple[str, int], dict[str, float]]) -> dict[str, float]:
    """`time_512`, `memory_512` (tiled over whole, where both ran) and `seam_512`."""
    flat = {}
    for (case, size), values in found.items():
        if case == "tiled":
            flat[f"seam_{size}"] = round(values["seam"], 4)
            if ("whole", size) in found:
                flat[f"time_{size}"] = round(values["seconds"] / found["whole", size]["seconds"], 4)
                flat[f"memory_{size}"] = round(values["peak_mib"] / found["whole", size]["peak_mib"], 4)
    return flat


def measure(case: str, size: int, weights: str) -> dict[str, float]:
    """One prediction: its seconds, the process's peak memory, the seam ratio."""
    import torch

    from maquette.methods.nirne import NiRNE
    from maquette.types import Photo

    torch.set_num_threads(THREADS)
    photo = Photo(_rippled(size))
    method = NiRNE.from_pretrained(weights, detail_px=size if case == "tiled" else 0)
    if case == "whole":
        method = NiRNE.from_pretrained(weights, size_px=size, detail_px=0)
    started = time.perf_counter()
    normals = method(photo).normals
    seconds = time.perf_counter() - started
    peak = harness.mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {"seconds": seconds, "peak_mib": peak, "seam": seam_ratio(normals, method.net.config.size_px)}


def seam_ratio(normals: Any, tile_px: int) -> float:
    """Mean change across the borders of the finest tiles, along both axes, over the mean change elsewhere."""
    import torch

    from maquette.methods.framing import MARGIN
    from maquette.methods.tiles import starts

    size = normals.shape[0]
    side = round(size * (1 + 2 * MARGIN))
    begins = starts(size, min(tile_px, size))
    at = {round((s + edge) * side / size - (side - size) / 2) - 1 for s in begins for edge in (0, tile_px)}
    borders = sorted(k + shift for k in at for shift in (-1, 0, 1) if 1 <= k < size - 3)
    across, elsewhere = [], []
    for axis in (0, 1):
        change = torch.diff(normals, dim=axis).norm(dim=-1).mean(1 - axis)
        inside = torch.ones(len(change), dtype=torch.bool)
        inside[borders] = False
        across.append(change[borders].mean())
        elsewhere.append(change[inside].mean())
    return float(torch.stack(across).mean() / torch.stack(elsewhere).mean())


def _rippled(size: int) -> Any:
    """A linear photo (size, size, 3) of ripples over a bulge, lit from the upper left, with fine grain."""
    import torch

    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    slope_x = 0.7 * x + 0.35 * torch.sin(23 * x + 5 * y) + 0.1 * torch.sin(size / 9 * (x + 0.3 * y))
    slope_y = 0.7 * y + 0.35 * torch.cos(19 * y - 3 * x)
    facing = (-0.4 * slope_x + 0.5 * slope_y + 0.77) / (1 + slope_x**2 + slope_y**2).sqrt()
    grain = 0.02 * torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    return (facing.clamp_min(0) * 0.7 + 0.03 + grain).clamp_min(0)[..., None].expand(size, size, 3).contiguous()


if __name__ == "__main__":
    sys.exit(main())
