"""How wide NiRNE draws a sharp edge, in pixels of a 512 px photo: new weights against old ones.

    python benchmarks/sharpness.py [--quick] [--json] [--weights NAME@N ...]

The photo is a round piece of a roof: two planes that meet in a straight, sharp crease, matte, grey, under one lamp from
the side, at six turns of the crease. What the network says is projected onto the difference of both planes' normals,
averaged along the crease, and the width is where it goes from 10 to 90 % of what it says on the planes themselves. A
perfect map has a width of about one pixel. The step is how much of the true bend of 60 degrees it says: a width means
nothing where that is small. Ratios are of the first weights to the others.
"""

import math
import sys

import harness
import numpy as np
import torch

from maquette.geometry.vectors import unit
from maquette.methods.nirne import NiRNE
from maquette.types import Photo

SIDE = 512
SLOPE_DEG = 30.0  # of either plane
NEAR_PX, FAR_PX = 40, 100  # from the crease: where the planes are read


def main(argv: list[str] | None = None) -> int:
    """Print the table, or one flat JSON object of ratios."""
    parser = harness.arguments(__doc__, quick="two turns instead of six", json="print ratios only")
    parser.add_argument(
        "--weights",
        nargs="+",
        default=["nirne-small@512", "nirne-small@256", "nirne-small-1@256"],
        metavar="NAME@N",
        help="N: --detail-px",
    )
    options = parser.parse_args(argv)
    turns = (15.0, 75.0) if options.quick else tuple(range(10, 180, 30))
    rows = {}
    for text in options.weights:
        name, _, detail = text.partition("@")
        method = NiRNE.from_pretrained(name, detail_px=int(detail) if detail else None)
        rows[text] = np.mean([edge(method, math.radians(turn)) for turn in turns], 0)
    harness.show(options, ratios, table, rows)
    return 0


def ratios(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """Of the first weights' width to those of the others."""
    first, *others = rows
    return {f"width_{first}_over_{other}": rows[first][0] / rows[other][0] for other in others}


def table(rows: dict[str, np.ndarray]) -> str:
    """Markdown: a row a set of weights."""
    lines = harness.head("weights | edge width, px | step, of the true one", "lr")
    return "\n".join([*lines, *(f"| {text} | {width:.1f} | {step:.2f} |" for text, (width, step) in rows.items())])


def edge(method: NiRNE, turn_rad: float) -> tuple[float, float]:
    """Width of the crease in pixels, and the step over it as a share of the true one."""
    axis = (torch.arange(SIDE) + 0.5) - SIDE / 2
    across = axis[None, :] * math.cos(turn_rad) - axis[:, None] * math.sin(turn_rad)  # y is up
    slope = math.radians(SLOPE_DEG)
    outward = torch.tensor([math.cos(turn_rad), math.sin(turn_rad), 0.0])
    left, right = (
        unit(torch.tensor([0.0, 0, 1]) * math.cos(slope) + s * math.sin(slope) * outward) for s in (-1.0, 1.0)
    )
    normals = torch.where(across[..., None] < 0, left, right)
    light = unit(torch.tensor([0.5, 0.35, 0.8]))
    mask = axis[None, :] ** 2 + axis[:, None] ** 2 < (0.45 * SIDE) ** 2
    shade = 0.6 * (normals @ light).clamp_min(0)
    said = method(Photo(shade[..., None].expand(-1, -1, 3).contiguous(), mask)).normals
    along = (said @ (right - left)) / float((right - left) @ (right - left))  # -0.5 on the left, 0.5 on the right
    profile = np.array([float(along[mask & (across >= d) & (across < d + 1)].mean()) for d in range(-FAR_PX, FAR_PX)])
    low, high = profile[: FAR_PX - NEAR_PX].mean(), profile[FAR_PX + NEAR_PX :].mean()
    share = (profile - low) / (high - low)
    inner = slice(FAR_PX - NEAR_PX, FAR_PX + NEAR_PX)
    crossings = [np.interp(level, np.maximum.accumulate(share[inner]), np.arange(2 * NEAR_PX)) for level in (0.1, 0.9)]
    return float(crossings[1] - crossings[0]), float(high - low)


if __name__ == "__main__":
    sys.exit(main())
