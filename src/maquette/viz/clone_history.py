"""How CLONE's loop ran: the curves of its terms as a picture, and what it saw as the frames of a film."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from maquette.methods.clone.loop import Round
from maquette.methods.clone.surface import displayed
from maquette.methods.framing import object_window
from maquette.methods.tiles import in_square
from maquette.shading.exposure import normalise_exposure
from maquette.types import NormalMap, Photo
from maquette.viz.pictures import normals_in_colour
from maquette.viz.splat_pictures import codes

EVERY = 3  # turns between frames of the film
PANEL_PX, LABEL_PX = 256, 24
PANELS = ("photo", "explained", "normals", "gate", "albedo")
HELD_OUT = "held_out"
_PLOT_PX, _MARGIN_PX, _LEGEND_PX = (720, 460), 56, 200
_LEAST = 1e-4  # where the logarithmic axis begins, at the lowest
_PAPER, _INK, _GRID = (255, 255, 255), (40, 40, 40), (225, 225, 225)
_COLOURS = (
    (31, 90, 180), (30, 140, 70), (200, 120, 20), (120, 60, 160), (20, 150, 160),
    (150, 110, 60), (190, 60, 120), (110, 130, 30), (130, 130, 130),
)  # fmt: skip


class History:
    """What `CLONE.fit` reports, kept: hand in `record`.

    Attributes:
        turns: the objective's terms at every turn of the loop, and `held_out` where it was looked at.
        finer: turns at which the loop went on at a higher resolution.
        frames: of the film.
    """

    def __init__(self, photo: Photo) -> None:
        self.photo = photo
        self.turns: list[dict[str, float]] = []
        self.finer: list[int] = []
        self.frames: list[UInt8[Tensor, "height width 3"]] = []
        self._side = 0
        self._shown: Float[Tensor, "side side 3"] = torch.zeros(0, 0, 3)

    def record(self, iteration: int, terms: dict[str, float], seen: Round) -> None:
        """Take one turn down."""
        side = len(seen.gate)
        changed = side != self._side
        if changed:
            if self.turns:
                self.finer.append(len(self.turns))
            self._side, self._shown = side, _photo_in_square(self.photo, side)
        if changed or len(self.turns) % EVERY == 0:
            self.frames.append(frame(self._shown, seen, f"iteration {iteration}"))
        self.turns.append(dict(terms))


def curves(history: History) -> UInt8[Tensor, "height width 3"]:
    """Every term over the turns of the loop, on a logarithmic axis; the held-out error in black."""
    width, height = _PLOT_PX
    sheet = Image.new("RGB", (width + 2 * _MARGIN_PX + _LEGEND_PX, height + 2 * _MARGIN_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    found = {name: _points(history, name) for name in sorted({name for turn in history.turns for name in turn})}
    values = [value for points in found.values() for _, value in points]
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = max(math.ceil(math.log10(max(values)) - 1e-9), low + 1)
    last = max(len(history.turns) - 1, 1)

    def place(turn: int, value: float) -> tuple[float, float]:
        across = (math.log10(value) - low) / (high - low)
        return _MARGIN_PX + width * turn / last, _MARGIN_PX + height * (1 - across)

    for power in range(low, high + 1):
        left, row = place(0, 10.0**power)
        draw.line([(left, row), (left + width, row)], fill=_GRID)
        draw.text((8, row - 8), f"{10.0**power:g}", _INK, _font(12))
    for turn in [0, *history.finer, last]:
        column = place(turn, 10.0**low)[0]
        draw.line([(column, _MARGIN_PX), (column, _MARGIN_PX + height)], fill=_GRID)
        draw.text((column - 6, _MARGIN_PX + height + 6), str(turn), _INK, _font(12))
    draw.text((_MARGIN_PX + width // 2 - 90, _MARGIN_PX + height + 26), "turns of the loop", _INK, _font(13))
    draw.text((_MARGIN_PX, 14), "terms of the objective, and the error at held-out pixels", _INK, _font(15))
    # The held-out error last, so that nothing is drawn over it.
    names = [name for name in found if name != HELD_OUT] + [name for name in found if name == HELD_OUT]
    for rank, name in enumerate(names):
        colour = _INK if name == HELD_OUT else _COLOURS[rank % len(_COLOURS)]
        points = [place(*point) for point in found[name]]
        draw.line(points * (2 if len(points) == 1 else 1), fill=colour, width=4 if name == HELD_OUT else 2)
        label = f"{name.replace('_', ' ')}  {found[name][-1][1]:.4f}"
        draw.text((2 * _MARGIN_PX + width - 30, _MARGIN_PX + 20 * rank), label, colour, _font(13))
    return torch.from_numpy(np.array(sheet))


def frame(shown: Float[Tensor, "side side 3"], seen: Round, note: str) -> UInt8[Tensor, "height width 3"]:
    """One frame: the photo, its explanation by the fused normals, these, the gate (white is the input), the albedo."""
    mask = seen.fused.norm(dim=-1) > 0.5
    inside = mask[..., None]
    albedo = seen.rendered.features
    assert albedo is not None
    albedo = displayed(albedo / seen.rendered.alpha.clamp_min(0.05)[..., None]) * inside
    pictures = [
        codes(shown),
        codes(seen.shaded.detach()),
        normals_in_colour(NormalMap((seen.fused * inside).detach(), mask)),
        codes((seen.gate * mask).detach()[..., None].expand(-1, -1, 3)),
        codes(albedo.detach()),
    ]
    sheet = Image.new("RGB", (PANEL_PX * len(pictures), PANEL_PX + LABEL_PX), _INK)
    draw = ImageDraw.Draw(sheet)
    for column, (label, picture) in enumerate(zip(PANELS, pictures, strict=True)):
        large = cv2.resize(picture.contiguous().numpy(), (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
        sheet.paste(Image.fromarray(large), (column * PANEL_PX, LABEL_PX))
        draw.text((column * PANEL_PX + 8, 4), f"{label}, {note}" if column == 1 else label, _PAPER, _font(13))
    return torch.from_numpy(np.array(sheet))


def _points(history: History, name: str) -> list[tuple[int, float]]:
    return [(turn, max(terms[name], _LEAST)) for turn, terms in enumerate(history.turns) if name in terms]


def _photo_in_square(photo: Photo, side: int) -> Float[Tensor, "side side 3"]:
    """In display values, exposed as the loop sees it."""
    linear, mask = in_square(photo, object_window(photo), side)
    return normalise_exposure(linear, mask[None, None].float())[0].permute(1, 2, 0)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
