"""Pictures of a bench: strips of photo, truth and predictions, and the plots of a confidence."""

from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maquette import metrics
from maquette.bench.normals.datasets import Sample
from maquette.bench.normals.evaluate import SetResult
from maquette.io.images import to_srgb8
from maquette.types import NormalMap

TILE_PX = 192
LABEL_PX = 18
MAX_ERROR_DEG = 60.0  # where the colours of the error map end
EXPOSURE_PERCENTILE = 99.0
PAPER, INK, GRID = (255, 255, 255), (40, 40, 40), (225, 225, 225)
BLUE, GREEN, GREY = (31, 90, 180), (30, 140, 70), (140, 140, 140)
PANEL_PX, MARGIN_PX = 360, 56


def strips(result: SetResult) -> Image.Image:
    """A row per object: photo, truth, then prediction and error map of every method.

    The error map goes from dark (0 degrees) to bright (60 and more). Normals are shown as (n + 1) / 2, y up.
    """
    methods = list(result.overall)
    labels = ["photo", "truth"] + [label for m in methods for label in (m, f"error 0-{MAX_ERROR_DEG:.0f} deg")]
    rows = [_strip(sample, predictions) for sample, predictions in result.shown]
    height = len(rows) * TILE_PX + LABEL_PX
    sheet = Image.new("RGB", (len(labels) * TILE_PX, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        draw.text((column * TILE_PX + 4, 2), label, fill=INK, font=_font(12))
    for row, picture in enumerate(rows):
        sheet.paste(Image.fromarray(picture), (0, LABEL_PX + row * TILE_PX))
    return sheet


def calibration_plot(found: dict[str, Any], title: str) -> Image.Image:
    """Reliability on the left, sparsification on the right.

    Args:
        found: one method's entry of `maquette.bench.normals.report.calibrations`.
        title: goes above.
    """
    honest, curve = found["reliability"], found["sparsification"]
    top = max(*honest["predicted_deg"], *honest["measured_deg"])
    sheet = Image.new("RGB", (2 * (PANEL_PX + 2 * MARGIN_PX), PANEL_PX + 2 * MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, 6), title, fill=INK, font=_font(15))
    gap = f"expected calibration error {honest['expected_calibration_error_deg']:.2f} deg"
    left = _Panel(draw, MARGIN_PX, top, top, gap, ("predicted error, deg", "measured error, deg"))
    left.curve((0.0, top), (0.0, top), GREY, "calibrated", 0)
    left.curve(honest["predicted_deg"], honest["measured_deg"], BLUE, "bins of equal count", 1, dots=True)
    area = f"AUSE {curve['ause_deg']:.2f} deg (chance {curve['random_ause_deg']:.2f})"
    right = _Panel(
        draw,
        PANEL_PX + 3 * MARGIN_PX,
        1.0,
        1.1 * max(curve["predicted_deg"]),
        area,
        ("most uncertain part dropped", "mean error of the rest, deg"),
    )
    right.legend = MARGIN_PX + PANEL_PX - 60  # these curves fall from the upper left
    right.curve(curve["dropped"], curve["random_deg"], GREY, "chance", 0)
    right.curve(curve["dropped"], curve["predicted_deg"], BLUE, "predicted confidence", 1)
    right.curve(curve["dropped"], curve["oracle_deg"], GREEN, "oracle", 2)
    return sheet


class _Panel:
    """Axes from 0 to (right, top) in data units, drawn at once; curves are added."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, x: int, right: float, top: float, title: str, axes: tuple[str, str]
    ) -> None:
        self.draw, self.x, self.right, self.top = draw, x, right, top
        self.legend = MARGIN_PX + 8  # row of the first label
        for k in range(6):
            value = k / 5
            column, row = self._place(value * right, value * top)
            draw.line([(column, MARGIN_PX), (column, MARGIN_PX + PANEL_PX)], fill=GRID)
            draw.line([(x, row), (x + PANEL_PX, row)], fill=GRID)
            digits = 1 if right <= 10 else 0
            draw.text((column - 8, MARGIN_PX + PANEL_PX + 4), f"{value * right:.{digits}f}", INK, _font(12))
            draw.text((x - 30, row - 8), f"{value * top:.{1 if top <= 10 else 0}f}", INK, _font(12))
        draw.rectangle([x, MARGIN_PX, x + PANEL_PX, MARGIN_PX + PANEL_PX], outline=INK)
        draw.text((x, MARGIN_PX - 24), f"{axes[1]}   {title}", INK, _font(13))
        draw.text((x + PANEL_PX // 3, MARGIN_PX + PANEL_PX + 22), axes[0], INK, _font(13))

    def curve(self, xs: Any, ys: Any, colour: Any, label: str, rank: int, dots: bool = False) -> None:
        """Draw one curve, and its label as the `rank`-th line of the legend."""
        points = [self._place(x, y) for x, y in zip(xs, ys, strict=True)]
        self.draw.line(points, fill=colour, width=2)
        if dots:
            for column, row in points:
                self.draw.ellipse([column - 3, row - 3, column + 3, row + 3], fill=colour)
        self.draw.text((self.x + 10, self.legend + 16 * rank), label, fill=colour, font=_font(13))

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return self.x + PANEL_PX * x / self.right, MARGIN_PX + PANEL_PX * (1 - y / self.top)


def _strip(sample: Sample, predictions: dict[str, NormalMap]) -> np.ndarray:
    truth, rgb = sample.truth, sample.photo.rgb
    mask = truth.mask if sample.photo.mask is None else sample.photo.mask
    # The exposure of a viewer, so that dark photos can be seen: the 99th percentile of the object is white.
    white = np.percentile(rgb[mask].max(-1).values.numpy(), EXPOSURE_PERCENTILE)
    tiles = [to_srgb8(rgb / max(float(white), 1e-6)).numpy(), _colours(truth)]
    for prediction in predictions.values():
        tiles += [_colours(prediction), _error_colours(prediction, sample)]
    window = _window(mask.numpy())
    return np.concatenate([_tile(tile, window) for tile in tiles], axis=1)


def _colours(normals: NormalMap) -> np.ndarray:
    codes = ((normals.normals.cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    return np.where(normals.mask.cpu().numpy()[..., None], codes, 255).astype(np.uint8)


def _error_colours(prediction: NormalMap, sample: Sample) -> np.ndarray:
    mask = sample.truth.mask
    error = torch.zeros(mask.shape, dtype=torch.float64)
    error[mask] = metrics.angular_error_deg(prediction.normals.cpu(), sample.truth.normals, mask)
    levels = (error / MAX_ERROR_DEG).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.where(mask.numpy()[..., None], colours, 255).astype(np.uint8)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """A square around the object, 5 % larger, cut at the borders of the picture."""
    rows, columns = np.nonzero(mask)
    side = int(1.05 * max(np.ptp(rows), np.ptp(columns))) + 1
    top = max(0, int(rows.min() + rows.max() - side) // 2)
    left = max(0, int(columns.min() + columns.max() - side) // 2)
    return slice(top, top + side), slice(left, left + side)


def _tile(picture: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    cut = Image.fromarray(np.ascontiguousarray(picture[window]))
    cut = ImageOps.contain(cut, (TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (TILE_PX, TILE_PX), PAPER)
    tile.paste(cut, ((TILE_PX - cut.width) // 2, (TILE_PX - cut.height) // 2))
    return np.asarray(tile)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
