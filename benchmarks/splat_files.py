"""What splat files lose, how large they are and how long they take, beside the standard PLY in the same run.

    python benchmarks/splat_files.py [--quick] [--json]

Made are Gaussians with three degrees of harmonics (200,000; 5,000 with `--quick`): means normal with a deviation of 2,
logarithms of scales -4 with 1, opacities even between 0.02 and 0.98, constant harmonics 0 with 0.8, the others 0 with
0.15, display values. Each format writes and reads them once (a `.glb` is written alone), after a small file that warms
up the imports. The losses are the worst and the median over all Gaussians: the distance of the means, the largest
factor of a scale, the angle of the rotation, the opacity, and the colour seen from 32 directions.

`--json` prints one flat object: size and seconds as ratios to the PLY, losses as they are.
"""

import sys
import tempfile
import time
from pathlib import Path

import harness
import torch

from maquette.geometry.sh import sh_color
from maquette.io.splats.files import read_splat, write_splat
from maquette.types import Gaussians

CASES: dict[str, tuple[str, int]] = {
    "ply": (".ply", 3),
    "spz2": (".spz", 2),
    "spz3": (".spz", 3),
    "spz4": (".spz", 4),
    "glb": (".glb", 3),
}
LOSSES = ("mean", "scale_factor", "rotation_deg", "opacity", "color")


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="5,000 Gaussians", json="one flat object of ratios and losses")
    options = parser.parse_args(argv)
    made = sample(5_000 if options.quick else 200_000)
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            measure(case, sample(10), Path(folder))
        found = {case: measure(case, made, Path(folder)) for case in CASES}
    harness.show(options, flat, table, found)
    return 0


def sample(count: int) -> Gaussians:
    """The Gaussians of the page above, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    sh = torch.randn(count, 16, 3, generator=generator) * 0.15
    sh[:, 0] *= 0.8 / 0.15
    return Gaussians(
        mean=2 * torch.randn(count, 3, generator=generator),
        scale=torch.exp(torch.randn(count, 3, generator=generator) - 4),
        rotation=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        opacity=0.02 + 0.96 * torch.rand(count, generator=generator),
        sh=sh,
        encoding="srgb",
    )


def measure(case: str, made: Gaussians, folder: Path) -> dict[str, float]:
    """Bytes a splat, seconds, and the worst and median losses, of one format."""
    suffix, version = CASES[case]
    start = time.perf_counter()
    path = write_splat(folder / f"{case}{suffix}", made, spz_version=version)  # pyright: ignore[reportArgumentType]
    found = {"write_s": time.perf_counter() - start, "bytes": path.stat().st_size / len(made)}
    if suffix == ".glb":
        return found
    start = time.perf_counter()
    back = read_splat(path)
    found["read_s"] = time.perf_counter() - start
    for name, values in losses(back, made).items():
        found[f"{name}_worst"], found[f"{name}_median"] = float(values.max()), float(values.median())
    return found


def losses(back: Gaussians, made: Gaussians) -> dict[str, torch.Tensor]:
    """How far each Gaussian is from what it was."""
    a, b = (torch.nn.functional.normalize(g.rotation.double(), dim=-1) for g in (back, made))
    half_chord = (a - b).norm(dim=-1).minimum((a + b).norm(dim=-1)) / 2
    directions = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    directions = torch.nn.functional.normalize(directions, dim=-1)
    seen = [
        (sh_color(back.sh, d.expand(len(made), 3)) - sh_color(made.sh, d.expand(len(made), 3))).abs().amax(-1)
        for d in directions
    ]
    return {
        "mean": (back.mean - made.mean).norm(dim=-1),
        "scale_factor": (back.scale / made.scale).log().abs().amax(-1).exp(),
        "rotation_deg": torch.rad2deg(4 * half_chord.asin()),
        "opacity": (back.opacity - made.opacity).abs(),
        "color": torch.stack(seen).amax(0),
    }


def flat(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """`spz3_size_ratio`, `spz3_read_ratio`, `spz3_color_worst`, ...: ratios are to the PLY."""
    named = {}
    for case, values in found.items():
        for key, value in values.items():
            if key in ("bytes", "write_s", "read_s"):
                ratio = {"bytes": "size", "write_s": "write", "read_s": "read"}[key]
                named[f"{case}_{ratio}_ratio"] = round(value / found["ply"][key], 4)
            else:
                named[f"{case}_{key}"] = float(f"{value:.3g}")
    return named


def table(found: dict[str, dict[str, float]]) -> str:
    """The same in Markdown: worst (median)."""
    head = ["format", "bytes a splat", "write s", "read s", "mean", "scale, factor", "rotation, degrees", "opacity"]
    rows = [[*head, "colour"], ["---"] * 9]
    for case, values in found.items():
        lost = [
            f"{values[f'{n}_worst']:.3g} ({values[f'{n}_median']:.3g})" if "read_s" in values else "" for n in LOSSES
        ]
        read = f"{values['read_s']:.2f}" if "read_s" in values else ""
        rows.append([case, f"{values['bytes']:.1f}", f"{values['write_s']:.2f}", read, *lost])
    return "\n".join(map(harness.row, rows))


if __name__ == "__main__":
    sys.exit(main())
