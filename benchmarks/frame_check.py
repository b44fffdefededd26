"""How often `maquette check-normals` is right, and whether its certainty is worth its number.

    python benchmarks/frame_check.py [--quick] [--json] [--shapes N] [--seed N]

Every map is made here, from the data engine's shapes and from random heights, in a frame drawn at random (one in
twenty with its axes exchanged), with the error of a network added to it, and rounded to 8 bits:

    object   a shape in front of nothing, so that its silhouette shows
    photo    the same, with a photo under random light and material
    crop     the middle of a shape, filling the frame: no silhouette, so x and y may both be flipped
    edge     a window of a shape with a piece of its silhouette: little to go by
    relief   a random height that fills the frame

A certainty is calibrated if, of the maps that it is 0.8 for, four in five are right. Peers in the same run: each
cue alone, and the guess that every map is OpenGL's. `--json` prints one flat object: for each kind the share that
is right over that of the best single cue, the mean certainty over the share that is right, and how many are told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import harness
import numpy as np
import torch

from maquette.geometry.frames import CAMERA_FRAMES, IDENTITY, names
from maquette.io.images import srgb_to_linear
from maquette.render.gbuffer import trace
from maquette.synth.datasets.dataset import pack
from maquette.synth.datasets.shards import unpack
from maquette.synth.looks.photo import photograph
from maquette.synth.solids.shapes import CLASSIC, sample_solid
from maquette.synth.views import sample_lights, sample_view
from maquette.tools.frame_check import CAN_TELL, MATRICES, check_frame

KINDS = ("object", "photo", "edge", "crop", "relief")
SIZE_PX = 128
GRID = 64
ERRORS_DEG = (0.0, 5.0, 15.0)
CROP = 48  # pixels
BINS = (0.0, 0.4, 0.6, 0.8, 0.9, 0.99, 1.01)

Map = tuple[str, np.ndarray, np.ndarray, np.ndarray | None]  # kind, normals in memory's frame, mask, luminance


@dataclass(frozen=True)
class Answer:
    """What was said of one map.

    Attributes:
        kind: of the map.
        truth, said: which of `MATRICES`.
        certainty: of what was said.
        alone: the probability that each cue by itself gives the truth, ties shared.
    """

    kind: str
    truth: int
    said: int
    certainty: float
    alone: dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="ten shapes; under a minute")
    parser.add_argument("--shapes", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=2, help="of everything; default: %(default)s")
    options = parser.parse_args(argv)
    answers = measure(10 if options.quick else options.shapes, options.seed)
    harness.show(options, ratios, table, answers)
    return 0


def measure(shapes: int, seed: int) -> list[Answer]:
    """Ask about every map once, in a frame of its own."""
    rng = np.random.default_rng(seed)
    answers = []
    for number, (kind, normals, mask, luminance) in enumerate(maps(shapes, seed)):
        truth = int(rng.integers(8, 48) if rng.random() < 0.05 else rng.integers(8))
        noisy = normals + np.radians(ERRORS_DEG[number % 3]) / np.sqrt(2) * smooth_noise(rng, mask.shape)
        noisy /= np.linalg.norm(noisy, axis=-1, keepdims=True).clip(1e-9)
        codes = np.round((noisy @ np.array(MATRICES[truth]).T * 0.5 + 0.5) * 255)
        stored = torch.from_numpy(codes / 255 * 2 - 1)
        light = None if luminance is None else torch.from_numpy(luminance)
        check = check_frame(stored, torch.from_numpy(mask), light)
        alone = {}
        for cue, values in check.cues.items():
            best = values > values.max() - 1e-6
            alone[cue] = float(best[truth] / best.sum())
        answers.append(Answer(kind, truth, MATRICES.index(check.best), check.certainty, alone))
    return answers


def maps(shapes: int, seed: int) -> Iterator[Map]:
    """Of every shape four maps, where its middle is large enough for a crop, and one height."""
    rng, draws = np.random.default_rng(seed + 10**6), torch.Generator().manual_seed(seed)
    for index in range(shapes):
        solid, family = sample_solid(seed, index, side=GRID, families=CLASSIC)
        view = sample_view(rng, solid.grid, family, SIZE_PX)
        lights = sample_lights(rng, view)
        arrays = pack(trace(solid, view, lights), view, lights)
        surfaces = unpack({key: torch.from_numpy(value[None]) for key, value in arrays.items()})
        normals = surfaces.normal[0].permute(1, 2, 0).double().numpy()
        mask = surfaces.mask[0, 0].numpy() > 0
        photo = srgb_to_linear(photograph(surfaces, draws)[0]).mean(0).double().numpy()
        yield "object", normals, mask, None
        yield "photo", normals, mask, photo
        window = edge_window(rng, mask)
        if window is not None:
            yield "edge", normals[window], mask[window], None
        window = inner_window(mask)
        if window is not None:
            yield "crop", normals[window], mask[window], None
        yield "relief", relief(rng), np.ones((SIZE_PX, SIZE_PX), bool), None


def edge_window(rng: np.random.Generator, mask: np.ndarray) -> tuple[slice, slice] | None:
    """A random square of `CROP` pixels of which the mask fills a third to nineteen twentieths, or `None`."""
    for _ in range(50):
        top, left = rng.integers(0, SIZE_PX - CROP, 2)
        window = (slice(top, top + CROP), slice(left, left + CROP))
        if 1 / 3 < mask[window].mean() < 0.95:
            return window
    return None


def inner_window(mask: np.ndarray) -> tuple[slice, slice] | None:
    """A square of `CROP` pixels inside the mask, or `None`."""
    for top in range(0, SIZE_PX - CROP, 4):
        for left in range(0, SIZE_PX - CROP, 4):
            window = (slice(top, top + CROP), slice(left, left + CROP))
            if mask[window].all():
                return window
    return None


def relief(rng: np.random.Generator) -> np.ndarray:
    """Normals of a sum of twelve waves over a frame; its slopes are 0.02 to 1 on average."""
    y, x = np.meshgrid(*[np.arange(SIZE_PX) / SIZE_PX * 2 * np.pi] * 2, indexing="ij")
    slope_x, slope_y = np.zeros_like(x), np.zeros_like(x)
    for _ in range(12):
        across, up = rng.integers(-6, 7, 2)
        wave = rng.normal() * np.sin(across * x - up * y + rng.uniform(0, 2 * np.pi))
        slope_x, slope_y = slope_x + across * wave, slope_y + up * wave
    scale = np.exp(rng.uniform(np.log(0.02), 0)) / np.hypot(slope_x, slope_y).mean()
    normals = np.stack([-slope_x * scale, -slope_y * scale, np.ones_like(x)], -1)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Vectors of unit variance that vary over some eight pixels, as the error of a network does."""
    coarse = rng.normal(size=(3, -(-shape[0] // 8) + 3, -(-shape[1] // 8) + 3))
    rows, columns = np.arange(shape[0]) / 8, np.arange(shape[1]) / 8
    i, j = rows.astype(int)[:, None], columns.astype(int)[None]
    a, b = (rows % 1)[:, None], (columns % 1)[None]
    weights = ((1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b)
    corners = (coarse[:, i, j], coarse[:, i, j + 1], coarse[:, i + 1, j], coarse[:, i + 1, j + 1])
    mixed = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
    return np.moveaxis(mixed / np.sqrt(sum(weight**2 for weight in weights)), 0, -1)


def ratios(answers: list[Answer]) -> dict[str, float | None]:
    """See the page of this file; kinds without a map are null."""
    flat: dict[str, float | None] = {}
    for kind in KINDS:
        of_kind = [answer for answer in answers if answer.kind == kind]
        right = float(np.mean([answer.said == answer.truth for answer in of_kind])) if of_kind else 0.0
        cues = cue_shares(of_kind)
        flat[f"{kind}_right_over_best_cue"] = right / max(cues.values()) if cues else None
        certainty = float(np.mean([answer.certainty for answer in of_kind])) if of_kind else 0.0
        flat[f"{kind}_certainty_over_right"] = certainty / right if right else None
        flat[f"{kind}_told"] = float(np.mean([a.certainty >= CAN_TELL for a in of_kind])) if of_kind else None
    return flat


def cue_shares(answers: list[Answer]) -> dict[str, float]:
    """How often each cue alone is right; where the map doesn't offer it, it guesses among 48."""
    cues = {cue for answer in answers for cue in answer.alone}
    return {cue: float(np.mean([answer.alone.get(cue, 1 / 48) for answer in answers])) for cue in sorted(cues)}


def table(answers: list[Answer]) -> str:
    """Shares, calibration and confusions, as Markdown."""
    opengl = MATRICES.index(IDENTITY)
    lines = harness.head(
        "maps | count | right | mean certainty | told (>= 0.9) | right of the told | OpenGL guess | cues alone",
        "lrrrrrrl",
    )
    for kind in KINDS:
        found = [answer for answer in answers if answer.kind == kind]
        if not found:
            continue
        told = [answer for answer in found if answer.certainty >= CAN_TELL]
        right = np.mean([answer.said == answer.truth for answer in found])
        sure = f"{np.mean([answer.said == answer.truth for answer in told]):.3f}" if told else "-"
        certainty = np.mean([answer.certainty for answer in found])
        guess = np.mean([answer.truth == opengl for answer in found])
        cues = ", ".join(f"{cue} {share:.2f}" for cue, share in cue_shares(found).items())
        lines.append(
            f"| {kind} | {len(found)} | {right:.3f} | {certainty:.3f} | {len(told) / len(found):.3f} | {sure} |"
            f" {guess:.3f} | {cues} |"
        )
    lines += ["", *harness.head("certainty | count | mean certainty | right", "lr")]
    for low, high in pairwise(BINS):
        found = [answer for answer in answers if low <= answer.certainty < high]
        if found:
            right = np.mean([answer.said == answer.truth for answer in found])
            mean = np.mean([answer.certainty for answer in found])
            lines.append(f"| {low:.2f} to {min(high, 1):.2f} | {len(found)} | {mean:.3f} | {right:.3f} |")
    return "\n".join([*lines, "", confusion([a for a in answers if a.kind in ("object", "photo", "edge")])])


def confusion(answers: list[Answer]) -> str:
    """Truth in rows, answers in columns, of the maps with a silhouette."""
    labels = [f"{'+-'[m[0][0] < 0]}x {'+-'[m[1][1] < 0]}y {'+-'[m[2][2] < 0]}z" for m in MATRICES[:8]] + ["exchanged"]
    known = [", ".join(name for name in names(m) if name in CAMERA_FRAMES) for m in MATRICES[:8]] + [""]
    counts = np.zeros((9, 9), int)
    for answer in answers:
        counts[min(answer.truth, 8), min(answer.said, 8)] += 1
    lines = harness.head(f"truth, with a silhouette | {' | '.join(labels)}", "lr")
    for label, name, row in zip(labels, known, counts, strict=True):
        lines.append(f"| {label} {name} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
