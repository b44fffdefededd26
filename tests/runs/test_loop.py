"""The loop on the smallest of recipes: a weight that is drawn to the batches' number."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image
from torch import nn

from maquette.runs.loop import Recipe, Step, descend, fit
from maquette.runs.processes import Processes
from maquette.runs.schedule import Phase, Schedule
from maquette.runs.state import State, start

FIRST, SECOND = Phase(1, 4, 2, 0.1, 0.05), Phase(2, 3, 2, 0.1, 0.01)


@pytest.fixture(autouse=True)
def heeded():
    """Ctrl-C as a terminal has it; what was started in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Weight(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(1))

    def forward(self, target: torch.Tensor) -> torch.Tensor:
        return (self.value - target).square().mean()


@dataclass(frozen=True)
class Config(Schedule):
    """A run of it."""

    phases: tuple[Phase, ...] = (FIRST, SECOND)
    seed: int = 1
    weight_decay: float = 0.01
    clip: float = 1.0
    bf16: bool = False

    def build(self) -> Weight:
        return Weight()


def batches(phase: Phase, processes: Processes) -> Callable[[int], torch.Tensor]:
    return lambda step: torch.randn(phase.batch, generator=torch.Generator().manual_seed(step)) + 3


def loss(step: Step, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": step.network(batch)}


RECIPE = Recipe(Config(), batches, loss, lambda log: {})


def log_of(run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_hooks_are_called_where_they_belong(tmp_path):
    """Freeze and begin at each phase's first step, held-out scores at its end and as often as asked."""
    calls = []
    recipe = replace(
        RECIPE,
        check=lambda: calls.append("check"),
        freeze=lambda model, phase: calls.append(f"freeze {phase.size_px}"),
        begin=lambda state, phase, batch: calls.append(f"begin at {state.step}"),
        validate=lambda model, phase: calls.append(f"validate {phase.size_px}") or {"val_error": 1.0},
        validate_every=3,
    )
    fit(recipe, tmp_path)
    first = ["check", "freeze 1", "begin at 0", "validate 1", "validate 1"]
    assert calls == [*first, "freeze 2", "begin at 4", "validate 2", "validate 2"]
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines if "val_error" in line] == [3, 4, 6, 7]
    assert set(lines[0]) == {"loss", "norm", "lr", "step", "data_s", "step_s"}


def test_the_curves_are_a_picture_beside_the_log(tmp_path):
    fit(replace(RECIPE, validate=lambda *_: {"val_a": 1.0, "val_b": float("nan")}), tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert len(set(picture.convert("RGB").getdata())) > 3


@pytest.mark.parametrize("at", [2, 4])
def test_ctrl_c_saves_before_it_leaves_and_the_run_goes_on(tmp_path, at):
    """Though the next checkpoint would be far away; what the run ends with is what an undisturbed one ends with."""
    expected = fit(RECIPE, tmp_path / "whole").state_dict()
    before = signal.getsignal(signal.SIGINT)

    def press(line: dict[str, float]) -> None:
        if line["step"] == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, tmp_path / "run", save_every_s=1e9, report=press)
    assert [line["step"] for line in log_of(tmp_path / "run")] == list(range(1, at + 1))
    assert signal.getsignal(signal.SIGINT) is before
    steps = []
    resumed = fit(RECIPE, tmp_path / "run", report=lambda line: steps.append(line["step"]))
    assert steps == list(range(at + 1, 8))
    assert torch.equal(resumed.state_dict()["value"], expected["value"])


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    def press(_: dict[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, tmp_path, save_every_s=1e9, report=press)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_step_whose_gradient_is_not_finite_is_skipped(tmp_path, wrong):
    state = start(Config(), tmp_path, torch.device("cpu"))
    before = state.model.value.detach().clone()
    _, norm = descend(state, state.model(torch.tensor([wrong])), FIRST, 0, 1.0)
    assert norm != norm or norm == float("inf")
    assert torch.equal(state.model.value, before)
    descend(state, state.model(torch.tensor([3.0])), FIRST, 0, 1.0)
    assert not torch.equal(state.model.value, before)


def test_the_optimiser_has_the_configurations_betas(tmp_path):
    @dataclass(frozen=True)
    class Slow(Config):
        @property
        def betas(self) -> tuple[float, float]:
            return 0.5, 0.6

    for config, betas in ((Config(), (0.9, 0.98)), (Slow(), (0.5, 0.6))):
        state: State = start(config, tmp_path, torch.device("cpu"))
        assert [group["betas"] for group in state.optimiser.param_groups] == [betas]
