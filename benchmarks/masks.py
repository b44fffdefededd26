"""How well `--mask auto` finds the object, beside GrabCut in the same run, a box and a point.

    python benchmarks/masks.py --data ../shared/data [--quick] [--json]
    python benchmarks/masks.py --data ../shared/data --refinements [--quick] [--json]

    diligent   DiLiGenT's ball and bear, five lights each, against the sets' masks (evaluation only)
    luces      LUCES' five objects (evaluation only)
    plain      cut-outs with alpha before textures and panoramas
    busy       the same cut-outs before photographs with objects of their own

Cut-outs are the chair, the horse and the robot of `photos` and three views of the chair of `multiview`, each before
every third of 14 plain grounds and every second of four busy ones, by turns; a third to nine tenths of a square as
large as that asks, at random but the same each time. IoU is of the masks, its mean and its worst; the edge is the mean
error of alpha within five pixels of the true outline, where the truth is known as alpha. The box is the true one, wider
by 3 % on each side; the point lies deepest in the truth.

`--json` prints one flat object: `SET_METHOD_iou`, and ratios of auto to GrabCut: what IoU leaves of 1
(`SET_error_ratio`), the edge (`SET_edge_ratio`) and the time (`time_ratio`).

`--refinements` compares three ways to make U^2-Net-p's map of 320 pixels as fine as the photo, on the plain cut-outs
where it finds the right object (IoU above 0.75): stretched as it is, led by the colours (guided filter), and as shipped
(GrabCut in the band of doubt, then the guided filter).
"""

import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import cv2
import harness
import numpy as np
import torch

from maquette.bench.normals.datasets import diligent, luces, require_folder
from maquette.errors import InputError
from maquette.io.images import read_photo, srgb_to_linear
from maquette.methods.framing import display
from maquette.methods.masks import cut_out
from maquette.methods.matte import guided, matte
from maquette.methods.saliency import saliency
from maquette.types import Photo

METHODS = ("grabcut", "auto", "box", "point")
OBJECTS = ("photos/chair.png", "photos/horse.png", "photos/robot.png")
OBJECTS += tuple(f"multiview/chair/train/r_{view}.png" for view in (0, 34, 68))
BUSY = ("photos/02_Office.jpg", "photos/07_Breads.jpg", "photos/coffee.png", "photos/dog.jpg")
EXTENTS = (0.33, 0.9)  # of an object in its square
EDGE_PX = 5
BOX_MARGIN = 0.03
GUIDED_SHARE = 0.008  # radius of the guided filter alone, of the longer side: the best of 0.004 to 0.032
RIGHT_OBJECT = 0.75


@dataclass(frozen=True)
class Case:
    """A photo, and the truth about its object: a mask as 0 and 1, or alpha."""

    group: str
    photo: Photo
    truth: np.ndarray
    is_alpha: bool


@dataclass(frozen=True)
class Found:
    """What one method found of one case."""

    iou: float
    edge: float | None
    seconds: float


def main(argv: list[str] | None = None) -> int:
    """Measure, print; returns 0."""
    parser = harness.arguments(__doc__, quick="two of each set; under a minute")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the test data")
    parser.add_argument("--refinements", action="store_true", help="ways to make the coarse map fine")
    options = parser.parse_args(argv)
    if options.refinements:
        compared = refinements(options.data, options.quick)
        harness.show(options, flat_refinements, table, compared)
        return 0
    found: dict[tuple[str, str], list[Found]] = {}
    for case in cases(options.data, options.quick):
        for method in METHODS:
            found.setdefault((case.group, method), []).append(measure(case, method))
            print(f"{case.group} {case.photo.name}: {method} {found[case.group, method][-1].iou:.3f}", file=sys.stderr)
    harness.show(options, flat, table, found)
    return 0


def cases(data: Path, quick: bool) -> Iterator[Case]:
    """Every photo with its truth, in a fixed order."""
    for read in (diligent, luces):
        for number, sample in enumerate(read(data, Path())):
            if (quick and number % 10 > 0) or (read is diligent and number % 2 > 0):
                continue
            assert sample.photo.mask is not None
            yield Case(read.__name__, sample.photo, sample.photo.mask.numpy().astype(np.float32), False)
    plain = sorted(require_folder(data / "materials", "textures").glob("*/*_Color.jpg"))
    plain += sorted(require_folder(data / "environments", "panoramas").glob("*.exr"))
    for group, grounds, every in (("plain", plain, 3), ("busy", [data / name for name in BUSY], 2)):
        rng = np.random.default_rng(1)
        for turn, name in enumerate(OBJECTS[::4] if quick else OBJECTS):
            cut = read_photo(data / name)
            for ground in grounds[turn % every :: every][: 1 if quick else None]:
                yield before(cut, ground, group, rng)


def before(cut: Photo, ground: Path, group: str, rng: np.random.Generator) -> Case:
    """A cut-out somewhere before a photograph that fills a square."""
    if cut.alpha is None:
        raise InputError(f"{cut.name}: has no alpha; the cut-outs of the test data are needed")
    rows, columns = (np.flatnonzero((cut.alpha > 0.5).any(axis).numpy()) for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    share, colour = cut.alpha[box].numpy(), display(cut)[box].numpy()
    side = int(max(share.shape) / rng.uniform(*EXTENTS))
    behind = _filled(display(read_photo(ground)).numpy(), side, rng)
    top, left = (int(rng.integers(0, side - length + 1)) for length in share.shape)
    place = slice(top, top + share.shape[0]), slice(left, left + share.shape[1])
    alpha = np.zeros((side, side), np.float32)
    alpha[place] = share
    picture = behind * (1 - alpha[..., None])
    picture[place] += colour * share[..., None]
    codes = torch.from_numpy((picture * 255).round() / 255).float()  # as a file of 8 bits holds it
    return Case(group, Photo(srgb_to_linear(codes), name=f"{cut.name} before {ground.stem}"), alpha, True)


def measure(case: Case, method: str) -> Found:
    """One method on one case; one that refuses it has found nothing."""
    how = {"box": _box, "point": _point}.get(method, lambda _: method)(case.truth > 0.5)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            photo = cut_out(replace(case.photo, mask=None, alpha=None), how)
        except InputError:
            photo = case.photo.with_mask(torch.zeros(case.truth.shape, dtype=torch.bool))
    seconds = time.perf_counter() - start
    assert photo.mask is not None
    alpha = (photo.mask.float() if photo.alpha is None else photo.alpha).numpy()
    edge = edge_error(alpha, case.truth) if case.is_alpha else None
    return Found(overlap(photo.mask.numpy(), case.truth > 0.5), edge, seconds)


def refinements(data: Path, quick: bool) -> dict[tuple[str, str], list[Found]]:
    """What each of the three ways makes of the plain cut-outs."""
    found: dict[tuple[str, str], list[Found]] = {}
    for case in cases(data, quick):
        if case.group != "plain":
            continue
        picture = display(case.photo).numpy()
        coarse = saliency(picture)
        if overlap(_stretched(picture, coarse) > 0.5, case.truth > 0.5) < RIGHT_OBJECT:
            continue
        for name, way in (("stretched", _stretched), ("guided", _led), ("shipped", matte)):
            start = time.perf_counter()
            alpha = way(picture, coarse)
            seconds = time.perf_counter() - start
            one = Found(overlap(alpha > 0.5, case.truth > 0.5), edge_error(alpha, case.truth), seconds)
            found.setdefault(("plain", name), []).append(one)
    return found


def flat_refinements(found: dict[tuple[str, str], list[Found]]) -> dict[str, float]:
    """`guided_edge_ratio`, `shipped_error_ratio`, ...: to the stretched map."""
    plain, named = found["plain", "stretched"], {}
    for name in ("guided", "shipped"):
        values = found["plain", name]
        named[f"{name}_error_ratio"] = round((1 - _iou(values)) / max(1 - _iou(plain), 1e-6), 4)
        named[f"{name}_edge_ratio"] = round(_edge(values) / max(_edge(plain), 1e-6), 4)
    return named


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def edge_error(alpha: np.ndarray, truth: np.ndarray) -> float:
    """The mean error of alpha within `EDGE_PX` of where the truth passes a half."""
    solid = (truth > 0.5).astype(np.uint8)
    window = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
    near = cv2.dilate(solid, window) > cv2.erode(solid, window)
    return float(np.abs(alpha - truth)[near].mean())


def flat(found: dict[tuple[str, str], list[Found]]) -> dict[str, float]:
    """The values of the module's page, by name."""
    named = {f"{group}_{method}_iou": _iou(values) for (group, method), values in found.items()}
    for group in dict.fromkeys(group for group, _ in found):
        ours, other = found[group, "auto"], found[group, "grabcut"]
        named[f"{group}_error_ratio"] = (1 - _iou(ours)) / max(1 - _iou(other), 1e-6)
        if ours[0].edge is not None:
            named[f"{group}_edge_ratio"] = _edge(ours) / max(_edge(other), 1e-6)
    times = {m: median(one.seconds for (_, name), v in found.items() if name == m for one in v) for m in METHODS}
    named["time_ratio"] = times["auto"] / times["grabcut"]
    return {name: round(value, 4) for name, value in named.items()}


def table(found: dict[tuple[str, str], list[Found]]) -> str:
    """The same in Markdown, with the worst IoU and the seconds."""
    lines = harness.head("photos | n | by | IoU | worst | edge | s", "lrlr")
    for (group, method), values in found.items():
        worst, seconds = min(one.iou for one in values), median(one.seconds for one in values)
        edge = "" if values[0].edge is None else f"{_edge(values):.3f}"
        lines.append(
            f"| {group} | {len(values)} | {method} | {_iou(values):.3f} | {worst:.3f} | {edge} | {seconds:.2f} |"
        )
    return "\n".join(lines)


def _iou(values: list[Found]) -> float:
    return fmean(one.iou for one in values)


def _edge(values: list[Found]) -> float:
    return fmean(one.edge for one in values if one.edge is not None)


def _filled(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square of a picture, scaled so that it fills it."""
    scale = side / min(image.shape[:2])
    size = (max(side, round(image.shape[1] * scale)), max(side, round(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _stretched(picture: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    return cv2.resize(coarse, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _led(picture: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    return guided(picture, _stretched(picture, coarse), max(1, round(GUIDED_SHARE * max(picture.shape))))


def _box(truth: np.ndarray) -> str:
    rows, columns = (np.flatnonzero(truth.any(axis)) for axis in (1, 0))
    margin = BOX_MARGIN * max(np.ptp(rows), np.ptp(columns))
    ends = (columns[0] - margin, rows[0] - margin, columns[-1] + 1 + margin, rows[-1] + 1 + margin)
    return "box:" + ",".join(f"{end:.0f}" for end in ends)


def _point(truth: np.ndarray) -> str:
    depth = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5)
    row, column = divmod(int(depth.argmax()), truth.shape[1])
    return f"point:{column + 0.5},{row + 0.5}"


if __name__ == "__main__":
    sys.exit(main())
