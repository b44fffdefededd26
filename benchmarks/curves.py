"""Curves over one axis, drawn: what a bench's sweep becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, GRID = (255, 255, 255), (40, 40, 40), (225, 225, 225)
COLOURS = ((31, 90, 180), (200, 80, 30), (30, 140, 70), (140, 60, 160), (140, 140, 140))
WIDTH_PX, HEIGHT_PX, MARGIN_PX, ROW_PX = 420, 260, 52, 16
MOST_MARKS = 6


@dataclass(frozen=True)
class Chart:
    """One pair of axes.

    Attributes:
        title: goes above.
        axis: what lies along x.
        xs: of all curves.
        curves: by their names; what isn't finite is left out.
        marks: where lines cross the x axis; by default at round numbers.
    """

    title: str
    axis: str
    xs: Sequence[float]
    curves: Mapping[str, Sequence[float]]
    marks: Sequence[float] = ()


def draw_charts(charts: Sequence[Chart]) -> Image.Image:
    """Charts side by side; a curve has one colour in all of them.

    A chart's y begins at 0, or at its lowest value if that is above half of its highest.
    """
    names = list(dict.fromkeys(name for chart in charts for name in chart.curves))
    height = HEIGHT_PX + 2 * MARGIN_PX + ROW_PX * len(names)
    sheet = Image.new("RGB", (len(charts) * (WIDTH_PX + 2 * MARGIN_PX), height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, chart in enumerate(charts):
        _draw(draw, chart, place * (WIDTH_PX + 2 * MARGIN_PX) + MARGIN_PX, names)
    for row, name in enumerate(names):
        y = HEIGHT_PX + 2 * MARGIN_PX + ROW_PX * row - 8
        draw.line([(MARGIN_PX, y + 7), (MARGIN_PX + 24, y + 7)], fill=_colour(names, name), width=3)
        draw.text((MARGIN_PX + 32, y), name, INK, _font(12))
    return sheet


def value_range(chart: Chart) -> tuple[float, float]:
    """The lowest and highest y that are drawn."""
    values = [value for curve in chart.curves.values() for value in curve if isfinite(value)]
    high = max(values, default=1.0)
    low = min(values, default=0.0)
    low = low - 0.1 * (high - low) if low > high / 2 else min(low, 0.0)
    return low, high + 0.05 * (high - low) if high > low else low + 1


def round_numbers(low: float, high: float) -> list[float]:
    """At most `MOST_MARKS` multiples of 1, 2 or 5 times a power of ten, from low to high."""
    step = next(
        factor * power
        for power in (10.0 ** (floor(log10(high - low)) + more) for more in (-1, 0, 1))
        for factor in (1, 2, 5)
        if floor(high / (factor * power)) - ceil(low / (factor * power)) < MOST_MARKS
    )
    return [step * k for k in range(ceil(low / step), floor(high / step) + 1)]


def _draw(draw: ImageDraw.ImageDraw, chart: Chart, left: int, names: list[str]) -> None:
    low, high = value_range(chart)
    first, last = min(chart.xs), max(chart.xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / max(last - first, 1e-9)
        return left + WIDTH_PX * across, MARGIN_PX + HEIGHT_PX * (1 - (y - low) / (high - low))

    for x in chart.marks or round_numbers(first, last):
        draw.line([place(x, low), place(x, high)], fill=GRID)
        draw.text((place(x, low)[0] - 10, MARGIN_PX + HEIGHT_PX + 4), f"{x:.4g}", INK, _font(11))
    for y in round_numbers(low, high):
        draw.line([place(first, y), place(last, y)], fill=GRID)
        draw.text((left - 40, place(first, y)[1] - 7), f"{y:.4g}", INK, _font(11))
    draw.rectangle([place(first, high), place(last, low)], outline=INK)
    draw.text((left, MARGIN_PX - 24), chart.title, INK, _font(13))
    draw.text((left + WIDTH_PX // 3, MARGIN_PX + HEIGHT_PX + 20), chart.axis, INK, _font(12))
    for name, curve in chart.curves.items():
        for (x, y), (next_x, next_y) in pairwise(zip(chart.xs, curve, strict=True)):
            if isfinite(y) and isfinite(next_y):
                draw.line([place(x, y), place(next_x, next_y)], fill=_colour(names, name), width=2)


def _colour(names: list[str], name: str) -> tuple[int, int, int]:
    return COLOURS[names.index(name) % len(COLOURS)]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
