"""Phases, the learning rate within one, and how long a run will take."""

from dataclasses import dataclass

import pytest
from torch import nn

from maquette.runs.progress import Pace, pace
from maquette.runs.schedule import WARM_UP, Phase, Schedule, learning_rate


@dataclass(frozen=True)
class Config(Schedule):
    """Ten steps of one pixel, then five of four pixels."""

    phases: tuple[Phase, ...] = (Phase(1, 10, 3, 1.0, 0.5), Phase(2, 5, 3, 1.0, 0.5))
    seed: int = 0
    weight_decay: float = 0.0
    clip: float = 1.0
    bf16: bool = False

    def build(self) -> nn.Module:
        return nn.Identity()


def lines(first: int, last: int) -> list[dict[str, float]]:
    """Steps of two seconds."""
    return [{"loss": 1.0, "step": step, "data_s": 0.5, "step_s": 1.5} for step in range(first, last + 1)]


def test_phases_follow_each_other():
    assert [(first, last) for _, first, last in Config().spans()] == [(0, 10), (10, 15)]
    assert Config().steps == 15


def test_the_learning_rate_warms_up_and_falls_by_a_cosine():
    phase = Phase(1, 1000, 1, 1e-3, 1e-4)
    assert learning_rate(phase, 0) == pytest.approx(1e-3 / WARM_UP)
    assert learning_rate(phase, 500) == pytest.approx((1e-3 + 1e-4) / 2)
    assert learning_rate(phase, 999) == pytest.approx(1e-4, rel=1e-3)
    assert learning_rate(Phase(1, 1000, 1, 1e-3, 1e-3), 700) == 1e-3


@pytest.mark.parametrize(
    ("log", "left_s"),
    [
        (lines(1, 5), 2 * 5 + 4 * 2 * 5),  # a step of four pixels takes four times as long
        (lines(11, 12), 2 * 3),
        (lines(8, 11), 8 / 7 * 16),  # seven pixels in eight seconds, sixteen to go
        (lines(15, 15), 0),
    ],
)
def test_the_time_left_counts_pixels(log, left_s):
    assert pace(Config(), log).left_s == pytest.approx(left_s)
    assert pace(Config(), log).steps_per_s == pytest.approx(0.5)


def test_a_pace_is_read_at_a_glance():
    assert str(Pace(2.5, 3723.4)) == "2.5 steps/s, 1:02:03 left"
