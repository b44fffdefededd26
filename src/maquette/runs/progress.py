"""How fast a run is, how long it will take, and a picture of its curves."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from maquette.runs.state import Training

RECENT = 100  # steps whose time counts
PANEL_PX, MARGIN_PX, COLUMNS, MOST_PANELS = (380, 170), 44, 2, 8
PAPER, INK, GRID, CURVE = (255, 255, 255), (40, 40, 40), (225, 225, 225), (31, 90, 180)


@dataclass(frozen=True)
class Pace:
    """How fast a run is.

    Attributes:
        steps_per_s: of late, with the time that data took, without that of held-out errors.
        left_s: until the end, if a pixel costs in later phases what it costs now.
    """

    steps_per_s: float
    left_s: float

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.left_s), 60)
        return f"{self.steps_per_s:.3g} steps/s, {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"


def pace(schedule: Training[Any], log: Sequence[dict[str, float]]) -> Pace:
    """The pace by the last lines of a log, of which there is at least one."""
    recent = log[-RECENT:]
    seconds = max(sum(line["data_s"] + line["step_s"] for line in recent), 1e-9)
    first, now = int(recent[0]["step"]) - 1, int(recent[-1]["step"])
    left = _pixels(schedule, now, schedule.steps) / _pixels(schedule, first, now)
    return Pace(len(recent) / seconds, left * seconds)


def _pixels(schedule: Training[Any], first: int, last: int) -> int:
    """Of the images of steps first to last - 1."""
    return sum(
        phase.batch * phase.size_px**2 * max(0, min(last, end) - max(first, begin))
        for phase, begin, end in schedule.spans()
    )


def draw_curves(schedule: Training[Any], log: Sequence[dict[str, float]]) -> bytes:
    """The loss and the held-out scores over the steps, as PNG; the title says how far the run is."""
    scores = [key for key in dict.fromkeys(key for line in log for key in line) if key.startswith("val_")]
    names = ["loss", *scores][:MOST_PANELS]
    rows = -(-len(names) // COLUMNS)
    width, height = PANEL_PX[0] + 2 * MARGIN_PX, PANEL_PX[1] + MARGIN_PX
    sheet = Image.new("RGB", (COLUMNS * width, rows * height + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"step {int(log[-1]['step'])} of {schedule.steps}, {pace(schedule, log)}"
    draw.text((MARGIN_PX, 8), title, INK, ImageFont.load_default(14))
    for place, name in enumerate(names):
        points = [(float(line["step"]), line[name]) for line in log if math.isfinite(line.get(name, math.nan))]
        corner = place % COLUMNS * width + MARGIN_PX, place // COLUMNS * height + MARGIN_PX + 8
        _draw_panel(draw, name, corner, points, schedule.steps)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _draw_panel(
    draw: ImageDraw.ImageDraw, name: str, corner: tuple[int, int], points: list[tuple[float, float]], steps: int
) -> None:
    """One curve in its axes; of points that share a column of pixels, their mean."""
    (left, top), (width, height) = corner, PANEL_PX
    columns: dict[int, list[float]] = {}
    for step, value in points:
        columns.setdefault(round(step / steps * width), []).append(value)
    means = {column: sum(values) / len(values) for column, values in columns.items()}
    low, high = min(means.values(), default=0.0), max(means.values(), default=1.0)
    span = high - low or 1.0
    font = ImageFont.load_default(11)
    draw.rectangle((left, top, left + width, top + height), outline=GRID)
    last = f": {points[-1][1]:.4g}" if points else ""
    draw.text((left, top - 15), name + last, INK, font)
    for value, y in ((high, top), (low, top + height - 12)):
        draw.text((left + width + 3, y), f"{value:.3g}", INK, font)
    line = [(left + column, top + height * (1 - (value - low) / span)) for column, value in sorted(means.items())]
    draw.line(line, fill=CURVE, width=2)
    for x, y in line if len(line) < 50 else ():
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=CURVE)
