"""Training: what the network is given is consistent, runs repeat exactly, stages freeze what they should."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.nets.nirne import PRESETS
from maquette.synth.datasets import dataset
from maquette.synth.datasets.shards import ShapeData
from maquette.synth.looks.photo import Surfaces
from maquette.train.batches import Batch, prepare
from maquette.train.nirne.config import NirnePhase, NirneTraining
from maquette.train.nirne.data import guide_of, halved, make_batch, tiled
from maquette.train.nirne.loss import differences, nirne_loss
from maquette.train.nirne.recipe import fresh_weights, train_nirne
from maquette.train.nirne.scores import validate_nirne

FIRST = NirnePhase(32, 4, 2, 1e-2, 1e-3)
SECOND = NirnePhase(64, 3, 2, 1e-2, 1e-3, guided=0.7)
SHARP = NirnePhase(32, 3, 2, 1e-2, 1e-3, stage=2, data="sharp")
CONFIG = NirneTraining(PRESETS["tiny"], (FIRST, SECOND, SHARP), seed=4)


pytestmark = pytest.mark.usefixtures("one_thread")


class KilledError(Exception):
    """Stands for a kill: whatever hasn't been written is lost."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Eight shapes on a coarse grid, two views each of 64 pixels."""
    folder = tmp_path_factory.mktemp("shapes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "sample_solid", partial(dataset.sample_solid, side=32))
        dataset.generate(folder, dataset.DatasetSpec(8, seed=3, views=2, size_px=64))
    return {"shapes": folder, "sharp": folder}


@pytest.fixture(scope="module")
def undisturbed(folders, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return train_nirne(CONFIG, folders, run, save_every_s=0.0).state_dict(), run


def log_of(run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def interrupted(config, folders, run, every_s) -> dict[str, torch.Tensor]:
    """Train, but killed after steps 2, 5, 6 and 9 of ten; the weights at the end."""
    for fatal in (2, 5, 6, 9):

        def die(line, fatal=fatal):
            if line["step"] == fatal:
                raise KilledError

        with pytest.raises(KilledError):
            train_nirne(config, folders, run, save_every_s=every_s, report=die)
    return train_nirne(config, folders, run, save_every_s=every_s).state_dict()


@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_interrupted_again_and_again_it_ends_the_same(folders, tmp_path, undisturbed, every_s):
    """With checkpoints at every step, or only where a phase ends."""
    expected, run = undisturbed
    assert_same(interrupted(CONFIG, folders, tmp_path, every_s), expected)
    clocks = ("data_s", "step_s")
    lines = [[{k: v for k, v in line.items() if k not in clocks} for line in log_of(r)] for r in (tmp_path, run)]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == list(range(1, 11))


def test_in_bfloat16_it_ends_the_same_too_but_elsewhere(folders, tmp_path, undisturbed):
    """Weights stay in float32; the rounding of the convolutions moves them, a little."""
    config = replace(CONFIG, bf16=True)
    whole = train_nirne(config, folders, tmp_path / "whole").state_dict()
    assert_same(interrupted(config, folders, tmp_path / "killed", 0.0), whole)
    full, _ = undisturbed
    assert {value.dtype for value in whole.values()} == {torch.float32}
    differ = [name for name in whole if not torch.equal(whole[name], full[name])]
    assert len(differ) > 0.9 * len(whole)
    apart = torch.cat([(whole[name] - full[name]).flatten() for name in whole]).norm()
    moved = torch.cat([full[name].flatten() for name in full]).norm()
    assert 0 < float(apart / moved) < 0.2


def test_batches_made_ahead_by_another_process_are_the_same(folders, tmp_path):
    config = replace(CONFIG, phases=(replace(FIRST, steps=3),))
    alone, ahead = (train_nirne(config, folders, tmp_path / str(n), workers=n).state_dict() for n in (0, 1))
    assert_same(ahead, alone)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_learns(folders, tmp_path, bf16):
    """The error on one batch after a hundred steps of it is well below the flat guess's, in either precision."""
    phase = NirnePhase(32, 100, 8, 1e-2, 1e-3, shapes=1)
    lines: list[dict[str, float]] = []
    train_nirne(NirneTraining(PRESETS["tiny"], (phase,), bf16=bf16), folders, tmp_path, report=lines.append)
    first, last = (sum(line["train_deg"] for line in part) / 10 for part in (lines[:10], lines[-10:]))
    assert last < 0.87 * first


def test_a_finished_run_is_left_as_it_is(folders, undisturbed):
    weights, run = undisturbed
    before = (run / "checkpoint.safetensors").stat().st_mtime_ns
    assert_same(train_nirne(CONFIG, folders, run).state_dict(), weights)
    assert (run / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_the_seed_matters(folders, tmp_path, undisturbed):
    other = train_nirne(replace(CONFIG, seed=5, phases=(FIRST,)), folders, tmp_path).state_dict()
    assert any(not torch.equal(other[name], value) for name, value in undisturbed[0].items())


def test_it_starts_from_the_weights_that_it_is_given(folders, tmp_path, undisturbed):
    """A step of length zero leaves them as they are; a checkpoint in the run's folder comes before them."""
    given, run = undisturbed
    still = NirneTraining(PRESETS["tiny"], (NirnePhase(32, 1, 2, 0.0, 0.0),), weight_decay=0.0)
    assert_same(train_nirne(still, folders, tmp_path, init=given).state_dict(), given)
    other = {name: value + 1 for name, value in given.items()}
    assert_same(train_nirne(still, folders, tmp_path, init=other).state_dict(), given)
    assert_same(train_nirne(CONFIG, folders, run, init=other).state_dict(), given)
    with pytest.raises(InputError, match=r"^the initial weights don't fit the network [^\n]*$"):
        train_nirne(still, folders, tmp_path / "new", init=dict(list(given.items())[1:]))


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, seed=5),
        replace(CONFIG, net=replace(CONFIG.net, noise=0.1)),
        replace(CONFIG, phases=(replace(FIRST, lr=2e-2), SECOND, SHARP)),
    ],
)
def test_a_run_of_another_configuration_is_refused(folders, undisturbed, config):
    with pytest.raises(InputError, match="another configuration"):
        train_nirne(config, folders, undisturbed[1])


def damaged(kind: str, run) -> None:
    path, log = run / "checkpoint.safetensors", run / "log.jsonl"
    content = path.read_bytes()
    if kind == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "junk":
        path.write_bytes(b"junk" * 100)
    elif kind == "other tensors":
        save_file({"a": torch.zeros(2)}, path)
    elif kind == "no config":
        save_file(load_file(path), path, {"step": "3", "config": "[]"})
    elif kind == "a tensor less":
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(dict(list(tensors.items())[:-1]), path, metadata)
    else:
        log.write_text("{}\n")


@pytest.mark.parametrize("kind", ["cut off", "empty", "junk", "other tensors", "no config", "a tensor less", "the log"])
def test_a_damaged_checkpoint_is_one_line_and_stays(folders, tmp_path, undisturbed, kind):
    for path in undisturbed[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damaged(kind, tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"^[^\n]*(checkpoint.safetensors|log.jsonl): damaged [^\n]*delete it[^\n]*$"):
        train_nirne(CONFIG, folders, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_what_cannot_start_says_so_before_any_work(tmp_path, monkeypatch):
    """No dataset is needed to be told: of a folder that can't be written, of a batch that doesn't split."""
    (tmp_path / "file").write_text("in the way")
    for run in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"^--run [^\n]*; give a folder that can be written$"):
            train_nirne(CONFIG, {}, run)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"^a batch of 2 photos doesn't spread over 3 processes"):
        train_nirne(CONFIG, {}, tmp_path / "run")


def test_phases_that_lie_ahead_may_still_change(folders, tmp_path):
    train_nirne(replace(CONFIG, phases=(FIRST,)), folders, tmp_path)
    train_nirne(replace(CONFIG, phases=(FIRST, SECOND)), folders, tmp_path)
    assert log_of(tmp_path)[-1]["step"] == FIRST.steps + SECOND.steps


def test_stage_two_leaves_the_clean_stream_and_the_decoder_as_they_were(folders, tmp_path, undisturbed):
    before = train_nirne(replace(CONFIG, phases=(FIRST, SECOND)), folders, tmp_path).state_dict()
    after = undisturbed[0]
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"noisy", "join"}


def test_a_dataset_that_does_not_fit_is_refused(folders, tmp_path):
    for phase in (replace(FIRST, size_px=96), replace(FIRST, size_px=48, tiles=0.5)):  # tiles are cut from photos of 96
        with pytest.raises(InputError, match="are 64 px; the phase needs at least 96"):
            train_nirne(NirneTraining(PRESETS["tiny"], (phase,)), folders, tmp_path)
    with pytest.raises(InputError, match="'sharp'"):
        train_nirne(NirneTraining(PRESETS["tiny"], (SHARP,)), {"shapes": folders["shapes"]}, tmp_path)


def test_a_batch_is_a_function_of_seed_step_and_rank(folders):
    data = ShapeData(folders["shapes"])
    phase = replace(FIRST, batch=4)

    def made(step, rank=0, world=1, seed=0):
        return make_batch(data, phase, seed, step, rank, world)

    for name in ("photo", "mask", "normal", "solid"):
        assert torch.equal(getattr(made(3), name), getattr(made(3), name))
    for other in (made(4), made(3, seed=1)):
        assert not torch.equal(made(3).photo, other.photo)
    assert made(3, 0, 2).photo.shape[0] == 2  # two processes share a batch
    assert not torch.equal(made(3, 0, 2).photo, made(3, 1, 2).photo)


def test_truth_is_unit_on_the_object_and_zero_off_it(folders):
    data = ShapeData(folders["shapes"])
    batch = make_batch(data, replace(FIRST, batch=16), 0, 0)
    assert batch.normal.shape == (16, 3, 32, 32)
    assert torch.allclose(batch.normal.norm(dim=1), batch.solid[:, 0], atol=1e-5)
    assert set(batch.mask.unique().tolist()) <= {0.0, 1.0}


def bumpy(count: int, size: int = 32) -> Surfaces:
    """A smooth surface without any symmetry, as many times as asked for; the mask has one corner cut off."""
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    normal = unit(torch.stack([0.5 * x + 0.2 * y * x + 0.1, 0.4 * y - 0.3 * x * x, 1 + 0.2 * y * x]), 0)
    mask = ((x < 0.3) | (y < 0.6)).float() * (y > -0.8)

    def repeated(image):
        return image.expand(count, *image.shape).contiguous()

    normal, mask = repeated(normal * mask), repeated(mask[None])
    nothing = torch.zeros_like(normal)
    lights = torch.zeros(count, 8, 4)
    return Surfaces(normal, nothing, nothing, nothing, mask, mask.expand(-1, 8, -1, -1), mask, lights, normal, mask)


def test_mirrored_and_turned_photos_stay_true_to_their_normals():
    """Lambert's photo, however turned, is Lambert's of the turned normals under the turned light."""
    count = 96
    surfaces = bumpy(count)
    light = unit(torch.tensor([0.35, 0.2, 0.9]))
    linear = (surfaces.normal * light.reshape(1, 3, 1, 1)).sum(1, keepdim=True).clamp_min(0).expand(-1, 3, -1, -1)
    batch = prepare(surfaces, linear ** (1 / 2.2), torch.Generator().manual_seed(0))
    mask = surfaces.mask[:1]
    turns = {  # what happens to the image, and to a direction (x, y, z)
        "same": (mask, light),
        "mirrored": (mask.flip(3), light * torch.tensor([-1.0, 1, 1])),
        "turned": (mask.rot90(1, (2, 3)), light[[1, 0, 2]] * torch.tensor([-1.0, 1, 1])),
        "both": (mask.flip(3).rot90(1, (2, 3)), light[[1, 0, 2]] * torch.tensor([-1.0, -1, 1])),
    }
    seen = dict.fromkeys(turns, 0)
    for n in range(count):
        (name,) = [name for name, (image, _) in turns.items() if torch.equal(batch.solid[n], image[0])]
        seen[name] += 1
        shown = batch.photo[n, 0] ** 2.2
        inside = (batch.solid[n, 0] > 0) & (batch.mask[n, 0] > 0)
        shading = (batch.normal[n] * turns[name][1].reshape(3, 1, 1)).sum(0)
        unclipped = inside & (shown < 0.999) & (shading > 0.02)
        exposure = shown[unclipped] / shading[unclipped]
        assert float(unclipped.sum()) > 0.5 * float(inside.sum())
        assert float(exposure.std() / exposure.mean()) < 1e-3
    assert min(seen.values()) > 0
    assert seen["same"] + seen["turned"] == pytest.approx(count / 2, abs=20)  # half are mirrored
    assert seen["turned"] + seen["both"] == pytest.approx(0.15 * count, abs=14)


def test_masks_are_whole_grown_shrunk_or_absent():
    batch = prepare(bumpy(200), torch.rand(200, 3, 32, 32), torch.Generator().manual_seed(1))
    extra = (batch.mask - batch.solid).sum((1, 2, 3))
    assert bool((extra == 0).any() and (extra < 0).any())
    absent = batch.mask.mean((1, 2, 3)) == 1
    assert 0.2 < float(absent.float().mean()) < 0.4
    grown = (extra > 0) & ~absent
    assert 0.07 < float(grown.float().mean()) < 0.25
    assert torch.equal(batch.photo * (1 - batch.mask), torch.zeros_like(batch.photo))  # it sees nothing else


def test_the_loss_is_least_at_the_truth():
    surfaces = bumpy(2)
    batch = Batch(torch.zeros(2, 3, 32, 32), surfaces.mask, surfaces.normal, surfaces.mask)
    kappa = torch.ones(2, 1, 32, 32)
    off = unit(surfaces.normal + torch.tensor([0.2, 0, 0]).reshape(1, 3, 1, 1), 1)
    for edges in (0.0, 1.0):
        assert float(nirne_loss(surfaces.normal, kappa, batch, edges)) < float(nirne_loss(off, kappa, batch, edges))


def test_differences_by_hand():
    """A crease of 90 degrees that the prediction misses: steps over it are wrong by sqrt(2), all others right."""
    true = torch.zeros(1, 3, 8, 8)
    true[:, 2, :, :4], true[:, 0, :, 4:] = 1, 1
    wall = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    whole = torch.ones(1, 1, 8, 8)
    # Of 7, 6 and 4 steps of 1, 2 and 4 pixels along a row, 1, 2 and 4 cross it; along columns none does.
    expected = 2**0.5 * (1 / 7 + 2 / 6 + 4 / 4) / 6
    assert float(differences(wall, true, whole)) == pytest.approx(expected, abs=1.1e-3)
    assert float(differences(wall.mT, true.mT, whole)) == pytest.approx(expected, abs=1.1e-3)
    assert float(differences(true, true, whole)) == pytest.approx(0, abs=1.1e-3)
    # A constant error has no differences; nor has an edge that lies outside the mask.
    assert float(differences(true + 0.1, true, whole)) == pytest.approx(0, abs=1.1e-3)
    outside = whole.clone()
    outside[..., 4:] = 0
    assert float(differences(wall, true, outside)) == pytest.approx(0, abs=1.1e-3)


def test_a_guide_lies_where_its_photo_lies():
    """The coarse pass sees half of what the fine one sees; of a tile, the part that the tile is."""
    batch = prepare(bumpy(2), torch.rand(2, 3, 32, 32), torch.Generator().manual_seed(2))
    batch = replace(batch, mask=batch.solid)
    coarse = halved(batch)
    assert coarse.photo.shape == (2, 3, 16, 16)
    assert torch.equal(coarse.photo * (1 - coarse.mask), torch.zeros_like(coarse.photo))
    small = unit(torch.nn.functional.avg_pool2d(batch.normal, 2), 1)
    for cut, normal in (
        (replace(batch, coarse=coarse), batch.normal),
        (tiled(batch, 5, 9), batch.normal[..., 5:21, 9:25]),
    ):
        inner = -torch.nn.functional.max_pool2d(-cut.solid, 5, 1, 2) > 0
        cosine = (guide_of(cut, small) * normal).sum(1, keepdim=True)[inner]
        assert float(cosine.min()) > 0.99
    assert torch.equal(tiled(batch, 5, 9).normal, batch.normal[..., 5:21, 9:25])
    assert torch.equal(tiled(batch, 5, 9).photo, batch.photo[..., 5:21, 9:25])


def test_light_is_averaged_over_the_object_alone():
    """Half of a square is the object: the coarse pixel is as bright as that half."""
    photo = torch.full((1, 3, 4, 4), 0.5)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :1] = 1
    mask[..., 2:] = 1
    coarse = halved(Batch(photo * mask, mask, torch.zeros(1, 3, 4, 4), mask))
    assert torch.allclose(coarse.photo, torch.full((1, 3, 2, 2), 0.5), atol=1e-4)
    assert torch.equal(coarse.mask, torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("phase", "kinds"),
    [(FIRST, {"plain"}), (replace(FIRST, guided=0.3, tiles=0.3, small=0.2), {"plain", "guided", "tile", "small"})],
)
def test_batches_are_of_the_kinds_that_the_phase_asks_for(folders, phase, kinds):
    data = ShapeData(folders["shapes"])
    seen = set()
    for step in range(40):
        batch = make_batch(data, phase, 0, step)
        side = batch.photo.shape[-1]
        assert batch.photo.shape == (2, 3, side, side)
        if batch.coarse is None:
            seen.add({phase.size_px: "plain", phase.size_px // 2: "small"}[side])
        else:
            seen.add("tile" if batch.coarse.photo.shape[-1] == phase.size_px else "guided")
    assert seen == kinds


def test_the_encoder_starts_from_what_it_is_given_and_the_rest_from_the_seed():
    random = fresh_weights(CONFIG, None)
    torch.manual_seed(CONFIG.seed)
    assert_same(random, CONFIG.build().state_dict())


def test_the_concentration_learns_from_the_likelihood_alone():
    surfaces = bumpy(1)
    batch = Batch(torch.zeros(1, 3, 32, 32), surfaces.mask, surfaces.normal, surfaces.mask)
    raw = (surfaces.normal + 0.3).requires_grad_()
    grads = []
    for factor in (1.0, 20.0):
        (grad,) = torch.autograd.grad(nirne_loss(unit(raw, 1), torch.full((1, 1, 32, 32), factor), batch, 0.0), raw)
        grads.append(grad)
    assert torch.allclose(*grads)


def test_validation_of_a_flat_guess_is_the_flat_guess(folders, undisturbed):
    """A network whose head is zero says (0, 0, 1) everywhere: both figures agree."""
    from maquette.nets.nirne import NiRNENet

    net = NiRNENet(PRESETS["tiny"])
    with torch.no_grad():
        for parameter in net.head.parameters():
            parameter.zero_()
    scores = validate_nirne(net, folders["shapes"], "cpu")  # 64 px are a finer pass, with the one at 32 px as its guide
    assert scores["val_fine_deg"] == pytest.approx(scores["val_flat_deg"], abs=1e-3)
    assert 20 < scores["val_flat_deg"] < 70
    assert validate_nirne(net, folders["shapes"], "cpu") == scores
    assert scores["val_deg"] == pytest.approx(scores["val_flat_deg"], abs=5)  # what is averaged bends less


WORKER = """
import hashlib, os, sys
from pathlib import Path
import torch
from maquette.nets.nirne import PRESETS
from maquette.train.nirne.config import NirnePhase, NirneTraining
from maquette.train.nirne.recipe import train_nirne
torch.set_num_threads(1)
phases = (NirnePhase(32, 2, 2, 1e-2, 1e-3), NirnePhase(32, 2, 2, 1e-2, 1e-3, stage=2))
net = train_nirne(NirneTraining(PRESETS["tiny"], phases), {"shapes": Path(sys.argv[1])}, Path(sys.argv[2]))
digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in net.state_dict().values())).hexdigest()
Path(sys.argv[2], f"rank-{os.environ['RANK']}").write_text(digest)
"""


def test_two_processes_end_with_the_same_weights(tiny_shapes, tmp_path):
    """Over gloo, with the variables that torchrun and accelerate set; they start and finish as one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, str(tiny_shapes), str(tmp_path)]
    workers = [
        subprocess.Popen(command, env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [worker.wait(240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    digests = {(tmp_path / f"rank-{rank}").read_text() for rank in range(2)}
    assert len(digests) == 1
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3, 4]  # one process writes
