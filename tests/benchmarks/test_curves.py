"""Drawn curves: their range, and that they are where their values say."""

from math import inf, nan

import pytest
from curves import (
    COLOURS,
    HEIGHT_PX,
    MARGIN_PX,
    WIDTH_PX,
    Chart,
    draw_charts,
    round_numbers,
    value_range,
)


def test_the_axis_begins_at_zero_unless_all_is_far_above_it():
    assert value_range(Chart("", "", [0.0, 1.0], {"a": [1.0, 5.0]}))[0] == 0
    assert value_range(Chart("", "", [0.0, 1.0], {"a": [20.0, 30.0]}))[0] == 19
    assert value_range(Chart("", "", [0.0, 1.0], {"a": [-1.0, nan], "b": [inf, 1.0]})) == pytest.approx((-1, 1.1))
    low, high = value_range(Chart("", "", [0.0, 1.0], {"a": [2.0, 2.0]}))
    assert low < high


def test_a_level_curve_is_drawn_at_its_height_in_its_colour():
    chart = Chart("title", "axis", [0.0, 10.0], {"level": [1.0, 1.0], "zero": [0.0, 0.0]})
    sheet = draw_charts([chart, chart])
    assert sheet.width == 2 * (WIDTH_PX + 2 * MARGIN_PX)
    _, high = value_range(chart)
    row = MARGIN_PX + round(HEIGHT_PX * (1 - 1 / high))
    for left in (MARGIN_PX, WIDTH_PX + 3 * MARGIN_PX):
        column = [sheet.getpixel((left + WIDTH_PX // 3, y)) for y in range(MARGIN_PX, MARGIN_PX + HEIGHT_PX - 4)]
        assert [y + MARGIN_PX for y, colour in enumerate(column) if colour == COLOURS[0]] == pytest.approx(
            [row - 1, row], abs=1
        )


def test_what_is_not_finite_leaves_a_gap():
    sheet = draw_charts([Chart("", "", [0.0, 1.0, 2.0, 3.0], {"a": [1.0, 1.0, nan, 1.0], "b": [0.0] * 4})])
    area = sheet.crop((MARGIN_PX, MARGIN_PX, MARGIN_PX + WIDTH_PX, MARGIN_PX + HEIGHT_PX))
    xs = [x for x in range(area.width) if any(area.getpixel((x, y)) == COLOURS[0] for y in range(area.height))]
    assert xs and max(xs) == pytest.approx(WIDTH_PX / 3, abs=3)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (17.9, 20.4, [18, 18.5, 19, 19.5, 20]),
        (-1.0, 1.1, [-1, -0.5, 0, 0.5, 1]),
        (0.0, 0.0151, [0, 0.005, 0.01, 0.015]),
    ],
)
def test_marks_are_round_numbers_within_the_axis(low, high, expected):
    assert round_numbers(low, high) == pytest.approx(expected)
