"""The loop: the error reaches every part, the truth reaches none, and what it returns is the best that it saw."""

import copy
import inspect
import math
from dataclasses import fields, replace

import pytest
import torch

from maquette.errors import InputError
from maquette.methods.clone.loop import LoopConfig, Stages, fit, turn
from maquette.methods.clone.objective import PhotoTarget, Weights, held_out_error, objective
from maquette.shading.kernel import light_prior


def terms_of(surface, light, refiner, target, stages: Stages = "all"):
    seen = turn(surface, light, refiner, target, stages)
    return objective(surface, seen.own, seen.rendered, seen.fused, seen.shaded, light_prior(light), target, Weights())


def learnable(surface, light):
    surface = replace(surface, **{name: value.clone().requires_grad_() for name, value in surface.parameters().items()})
    return surface, replace(light, sh=light.sh.clone().requires_grad_(), kernel=light.kernel.clone().requires_grad_())


def gradients(loss, surface, light, refiner):
    parts = {
        **surface.parameters(),
        "light": light.sh,
        "kernel": light.kernel,
        **dict(refiner.named_parameters()),
    }
    found = torch.autograd.grad(loss, list(parts.values()), allow_unused=True)
    return {name: 0.0 if value is None else float(value.abs().max()) for name, value in zip(parts, found, strict=True)}


def test_the_reprojection_of_the_fused_normals_alone_reaches_every_part(surface, light, refiner, target):
    """Rotations, shapes, opacities, albedo, light, kernel, and every layer of refiner and gate: none is dead."""
    surface, light = learnable(surface, light)
    found = gradients(terms_of(surface, light, refiner, target)["fused"], surface, light, refiner)
    assert all(torch.isfinite(torch.tensor(value)) for value in found.values())
    # Along its ray, a Gaussian can move without a change in an orthographic picture: heights follow the normals.
    assert {name for name, value in found.items() if value == 0} == {"height"}


def test_the_whole_objective_reaches_the_heights_too(surface, light, refiner, target):
    surface, light = learnable(surface, light)
    terms = terms_of(surface, light, refiner, target)
    found = gradients(torch.stack(list(terms.values())).sum(), surface, light, refiner)
    assert min(found.values()) > 0
    assert set(terms) == {
        "fused", "gaussians", "silhouette", "thin", "albedo", "height", "smooth", "anchor", "light"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stages", "silent"), [("gaussians", ""), ("refiner", "gate."), ("no-gate", "gate."), ("all", "none")]
)
def test_an_ablation_leaves_out_what_it_says(surface, light, refiner, target, stages, silent):
    surface, light = learnable(surface, light)
    found = gradients(terms_of(surface, light, refiner, target, stages)["fused"], surface, light, refiner)
    for name in dict(refiner.named_parameters()):
        assert (found[name] == 0) == name.startswith(silent), name
    assert min(found[name] for name in ("rotation", "light", "kernel", "log_albedo")) > 0


def test_there_is_no_place_for_a_true_normal():
    """Structure: what the loop is told is the photo, where the object is, and the normals that it starts from."""
    assert {field.name for field in fields(PhotoTarget)} == {"photo", "whole", "mask", "kept", "first", "trust"}
    assert list(inspect.signature(fit).parameters) == ["surface", "light", "refiner", "target", "config", "report"]
    assert list(inspect.signature(objective).parameters) == [
        "surface", "own", "rendered", "fused", "shaded", "unlikely_light", "target", "weights"
    ]  # fmt: skip


def test_first_normals_that_are_a_guess_do_not_pull(surface, light, refiner, target):
    """With a trust of zero the objective doesn't know them; with a trust, the pull away from them grows."""
    turned = replace(target, first=target.first.flip(0))
    ours, theirs = (terms_of(surface, light, refiner, each) for each in (target, turned))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    sure = replace(turned, trust=torch.ones_like(target.trust))
    assert terms_of(surface, light, refiner, sure)["anchor"].item() > 0.01


def test_a_held_out_pixel_leaves_no_trace(surface, light, refiner, target):
    """Its own colour changes the error that is reported, and not a bit of the fit."""
    hidden = target.mask & ~target.kept
    other = replace(target, whole=torch.where(hidden[..., None], 1 - target.whole, target.whole))
    config = LoopConfig(iterations=2)
    losses: list[list[dict[str, float]]] = [[], []]
    found = [
        fit(surface, light, copy.deepcopy(refiner), each, config, lambda _i, said, _s, into=into: into.append(said))
        for into, each in zip(losses, (target, other), strict=True)
    ]
    assert found[0].held_out != found[1].held_out
    for one, two in zip(*losses, strict=True):
        assert {**one, "held_out": 0} == {**two, "held_out": 0}
    assert torch.equal(found[0].surface.rotation, found[1].surface.rotation)


def test_it_stops_when_nothing_gets_better_and_returns_the_best(surface, light, refiner, target):
    seen: list[tuple[int, float]] = []

    def note(iteration, said, _):
        if "held_out" in said:
            seen.append((iteration, said["held_out"]))
        turns.append(iteration)

    turns: list[int] = []
    wild = LoopConfig(iterations=40, patience=5, albedo_lr=3.0, rotation_lr=3.0, light_lr=3.0)
    found = fit(surface, light, refiner, target, wild, note)
    best = min(seen, key=lambda pair: pair[1])
    assert (found.iteration, found.held_out) == best
    assert turns[-1] == best[0] + 5 < 40
    again = turn(found.surface, found.light, found.refiner, target, "all")
    assert held_out_error(again.shaded, target) == found.held_out


@pytest.mark.parametrize(
    ("field", "value"), [("iterations", 0), ("patience", -1), ("rotation_lr", 0.0), ("network_lr", math.nan)]
)
def test_a_loop_that_could_not_run_is_named(field, value):
    with pytest.raises(InputError, match=f"clone: {field} is {value}"):
        LoopConfig(**{field: value})
