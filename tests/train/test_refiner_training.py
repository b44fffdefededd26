"""Training the refiner: no normals in the loss, every part learns, runs repeat exactly, it gets better."""

import json
from dataclasses import replace

import pytest
import torch

from maquette.errors import InputError
from maquette.methods.nirne import NiRNE
from maquette.nets.nirne_conv import PRESETS as NIRNE_PRESETS
from maquette.nets.nirne_conv import ConvNiRNENet
from maquette.nets.refiner import PRESETS
from maquette.runs.schedule import Phase
from maquette.synth.datasets.shards import ShapeData
from maquette.train.batches import imprecise
from maquette.train.refiner import scores as scoring
from maquette.train.refiner.config import LossWeights, RefinerTraining
from maquette.train.refiner.data import KINDS, guesses, inflated, make_refiner_batch, perturbed
from maquette.train.refiner.loss import refiner_loss
from maquette.train.refiner.recipe import train_refiner
from maquette.train.refiner.scores import validate_refiner

FIRST, SECOND = Phase(16, 4, 4, 1e-2, 1e-3), Phase(32, 3, 2, 1e-2, 1e-3)
CONFIG = RefinerTraining(PRESETS["tiny"], (FIRST, SECOND), inputs="", seed=4)


class KilledError(Exception):
    """Stands for a kill: whatever hasn't been written is lost."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tiny_shapes):
    return {"shapes": tiny_shapes}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A folder of untrained NiRNE weights, and the network."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    NiRNE(ConvNiRNENet(NIRNE_PRESETS["tiny"])).save_pretrained(folder)
    return folder, NiRNE.from_pretrained(folder).net


@pytest.fixture(scope="module")
def undisturbed(folders, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return train_refiner(CONFIG, folders, run, save_every_s=0.0).state_dict(), run


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_no_true_normal_enters_the_loss(tiny_shapes, predictor, monkeypatch):
    """Poisoned the moment rendering is over, they change neither the batch, nor the loss, nor any gradient."""
    from maquette.train.refiner import data as refiner_batches

    data, net = ShapeData(tiny_shapes), CONFIG.build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))

    def outcome() -> tuple[dict[str, float], list[torch.Tensor | None]]:
        batch = make_refiner_batch(data, replace(FIRST, batch=6), 0, 0, predictor[1])
        parts = refiner_loss(net, batch, LossWeights())
        net.zero_grad()
        parts["loss"].backward()
        return {name: float(value.detach()) for name, value in parts.items()}, [p.grad for p in net.parameters()]

    parts, gradients = outcome()
    render = refiner_batches.render_views

    def poison(surfaces, material):
        views = render(surfaces, material)
        surfaces.normal.fill_(torch.nan)
        return views

    monkeypatch.setattr(refiner_batches, "render_views", poison)
    poisoned, others = outcome()
    assert poisoned == parts
    for one, other in zip(gradients, others, strict=True):
        assert one is not None and other is not None
        assert torch.equal(one, other)
        assert bool(torch.isfinite(one).all())


def test_the_reprojection_reaches_every_part_of_the_network(tiny_shapes):
    """Off its zeros: the residual, the gate, both streams and what fuses them, from the reprojection error alone."""
    net = CONFIG.build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    batch = make_refiner_batch(ShapeData(tiny_shapes), replace(FIRST, batch=4), 0, 0, None)
    refiner_loss(net, batch, LossWeights())["fused"].backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    assert dead == []


@pytest.mark.parametrize("light_trust", [None, 0.1])
def test_it_learns_by_reprojection(tiny_shapes, light_trust):
    """On one batch the reprojection error falls by a tenth, with known lights and with fitted ones."""
    batch = make_refiner_batch(ShapeData(tiny_shapes), replace(FIRST, batch=6), 0, 0, None)
    weights, net = LossWeights(light_trust=light_trust), CONFIG.build()
    optimiser = torch.optim.Adam(net.parameters(), 2e-2)
    errors = []
    for _ in range(20):
        parts = refiner_loss(net, batch, weights)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        errors.append(float(parts["fused"].detach()))
    assert min(errors[-3:]) < 0.9 * errors[0]


@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_interrupted_again_and_again_it_ends_the_same(folders, tmp_path, undisturbed, every_s):
    """With checkpoints at every step, or only where a phase ends."""
    expected, run = undisturbed
    for fatal in (2, 4, 5):

        def die(line, fatal=fatal):
            if line["step"] == fatal:
                raise KilledError

        with pytest.raises(KilledError):
            train_refiner(CONFIG, folders, tmp_path, save_every_s=every_s, report=die)
    assert_same(train_refiner(CONFIG, folders, tmp_path, save_every_s=every_s).state_dict(), expected)
    logs = []
    for folder in (run, tmp_path):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in line.items() if k not in ("data_s", "step_s")} for line in lines])
    assert logs[0] == logs[1]


@pytest.mark.parametrize("change", [{"seed": 5}, {"loss": LossWeights(ssim=0.3)}, {"inputs": "nirne-small"}])
def test_a_run_of_another_configuration_is_refused(folders, undisturbed, change):
    with pytest.raises(InputError, match="another configuration"):
        train_refiner(replace(CONFIG, **change), folders, undisturbed[1])


def test_a_dataset_that_does_not_fit_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match="multiple of 48"):
        train_refiner(replace(CONFIG, phases=(replace(FIRST, size_px=48),)), folders, tmp_path)
    with pytest.raises(InputError, match="'sharp'"):
        train_refiner(replace(CONFIG, phases=(replace(FIRST, data="sharp"),)), folders, tmp_path)


def test_a_batch_is_a_function_of_seed_and_step(tiny_shapes, predictor):
    data = ShapeData(tiny_shapes)
    one, same, other = (make_refiner_batch(data, FIRST, 3, step, predictor[1]) for step in (7, 7, 8))
    for name in ("photo", "mask", "normals", "solid"):
        assert torch.equal(getattr(one, name), getattr(same, name))
    assert torch.equal(one.views.images, same.views.images)
    assert not torch.equal(one.views.images, other.views.images)
    length = one.normals.norm(dim=1, keepdim=True)
    assert torch.allclose(length, one.mask, atol=1e-5)


def test_a_fresh_network_leaves_every_kind_of_input_as_it_is(tiny_shapes, predictor, monkeypatch):
    monkeypatch.setattr(scoring, "VALIDATION_VIEWS", 8)
    scores = validate_refiner(CONFIG.build(), predictor[1], tiny_shapes, 16, "cpu")
    for kind in KINDS:
        for label in (kind, f"{kind}_spoilt"):
            given, *others = (scores[f"val_{label}_{what}_deg"] for what in ("given", "refined", "fused"))
            assert others == pytest.approx([given, given], abs=0.2)  # the bound of acos costs a tenth of a degree
    assert scores["val_flat_spoilt_given_deg"] != scores["val_flat_given_deg"]


def test_the_guesses_are_what_they_are_called(predictor):
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    mask = (x * x + y * y < 28**2).float()[None, None].expand(3, -1, -1, -1)
    seen = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * mask
    predicted, ball, wall = guesses(seen, mask, [0, 1, 2], predictor[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(predicted, (predictor[1](seen, mask)[0] * mask)[0], atol=0.02)
    inner = mask[0] * (x * x + y * y < 26**2)
    truth = torch.stack([x / 28, -y / 28, (1 - (x * x + y * y) / 28**2).clamp_min(0).sqrt()])
    assert float((ball * truth).sum(0)[inner[0] > 0].min()) > 0.97
    assert torch.equal(wall[2:], mask[0])


@pytest.mark.parametrize("side", [64, 128])
def test_an_inflated_map_is_unit_to_the_last_pixel_of_the_mask(side):
    mask = torch.zeros(1, side, side)
    mask[:, 3:-5, 7 : side // 2] = 1
    mask[:, 1, 1] = 1  # thinner than a pixel of the coarse map
    assert torch.allclose(inflated(mask).norm(dim=0, keepdim=True), mask, atol=1e-5)


def test_spoilt_maps_are_unit_and_some_are_left_alone():
    rng = torch.Generator().manual_seed(0)
    normals, mask = torch.zeros(64, 3, 16, 16), torch.ones(64, 1, 16, 16)
    mask[..., :3] = 0
    normals[:, 2:] = mask
    spoilt = perturbed(normals, mask, rng)
    assert torch.allclose(spoilt.norm(dim=1, keepdim=True), mask, atol=1e-5)
    changed = (spoilt - normals).abs().amax((1, 2, 3)) > 0
    assert 10 < int(changed.sum()) < 54


def test_masks_are_wrong_now_and_then():
    solid = torch.zeros(200, 1, 16, 16)
    solid[..., 4:12, 4:12] = 1
    sides = imprecise(solid, torch.Generator().manual_seed(0)).sum((1, 2, 3)).sqrt()
    shares = [float((sides == side).float().mean()) for side in (6, 8, 10, 16)]
    assert shares == pytest.approx([0.15, 0.65, 0.15, 0.05], abs=0.08)
