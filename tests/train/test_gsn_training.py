"""Training GSN: runs repeat exactly whenever they are killed; it learns; what doesn't fit is refused at once."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from maquette.errors import InputError
from maquette.io.checkpoints import load_network, save_checkpoint
from maquette.nets.gsn import PRESETS, GSNConfig, GSNNet
from maquette.runs import state as checkpoints
from maquette.runs.schedule import Phase
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.train.gsn.config import TRAINING, GSNLoss, GSNTraining
from maquette.train.gsn.recipe import open_views, train_gsn
from maquette.train.gsn.scores import validate_gsn

HALF, FULL = Phase(16, 3, 2, 1e-3, 5e-4), Phase(32, 4, 2, 5e-4, 1e-4)
CONFIG = GSNTraining(PRESETS["tiny"], (HALF, FULL), views=2, seed=4)

pytestmark = pytest.mark.usefixtures("one_thread")


class KilledError(Exception):
    """Stands for a kill: whatever hasn't been written is lost."""


@pytest.fixture(scope="module")
def undisturbed(tiny_views, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return train_gsn(CONFIG, tiny_views, run, validation=tiny_views, save_every_s=0.0), run


def log_of(run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_clocks(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in ("data_s", "step_s")} for line in lines]


def differing(one, other) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


def killed_at(step: int):
    def die(line):
        if line["step"] == step:
            raise KilledError

    return die


@pytest.mark.parametrize(("every_s", "kills"), [(0.0, (1, 2, 3, 4, 5, 6, 7)), (1e9, (2, 5, 7))])
def test_interrupted_again_and_again_it_ends_the_same(tiny_views, tmp_path, undisturbed, every_s, kills):
    """With checkpoints at every step, or only where a phase ends; weights, moments, averages and curve."""
    net, run = undisturbed

    def go(report=lambda _: None):
        return train_gsn(CONFIG, tiny_views, tmp_path, validation=tiny_views, save_every_s=every_s, report=report)

    for fatal in kills:
        with pytest.raises(KilledError):
            go(killed_at(fatal))
    assert differing(go().state_dict(), net.state_dict()) == set()
    assert without_clocks(log_of(tmp_path)) == without_clocks(log_of(run))
    assert differing(*(load_file(folder / "checkpoint.safetensors") for folder in (tmp_path, run))) == set()


@pytest.mark.parametrize("file", ["log.jsonl", "checkpoint.safetensors"])
def test_a_kill_between_log_and_checkpoint_leaves_no_hole(tiny_views, tmp_path, undisturbed, monkeypatch, file):
    net, run = undisturbed
    write, written = checkpoints.write_bytes, []

    def die(path, content):
        write(path, content)
        written.append(path.name)
        if written.count(file) == 4:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_bytes", die)
        with pytest.raises(KilledError):
            train_gsn(CONFIG, tiny_views, tmp_path, validation=tiny_views, save_every_s=0.0)
    resumed = train_gsn(CONFIG, tiny_views, tmp_path, validation=tiny_views)
    assert differing(resumed.state_dict(), net.state_dict()) == set()
    assert without_clocks(log_of(tmp_path)) == without_clocks(log_of(run))


def test_what_it_returns_are_the_averages_and_nothing_depends_on_batches_statistics(undisturbed):
    net, run = undisturbed
    tensors = load_file(run / "checkpoint.safetensors")
    parameters = {name for name, _ in net.named_parameters()}
    assert set(net.state_dict()) == parameters
    assert differing({name: tensors[f"average.{name}"] for name in parameters}, net.state_dict()) == set()
    assert differing({name: tensors[f"model.{name}"] for name in parameters}, net.state_dict()) == parameters
    assert not net.training


def test_held_out_errors_are_logged_where_a_phase_ends_and_as_often_as_asked(tiny_views, tmp_path, undisturbed):
    net, run = undisturbed
    assert [line["step"] for line in log_of(run) if "val_psnr_db" in line] == [3, 7]
    train_gsn(CONFIG, tiny_views, tmp_path, validation=tiny_views, validate_every=2)
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines if "val_psnr_db" in line] == [2, 3, 4, 6, 7]
    assert lines[-1]["val_ecd"] > 0
    weights = train_gsn(CONFIG, tiny_views, tmp_path).state_dict()  # done already: the same, and looked at only
    assert differing(weights, net.state_dict()) == set()
    held_out = open_views(CONFIG, tiny_views, "val")
    found = validate_gsn(net, held_out, CONFIG, 32, torch.device("cpu"))
    net.eval()
    assert found == {key: lines[-1][key] for key in ("val_psnr_db", "val_ecd")}


def test_weights_that_were_saved_do_the_same(undisturbed, tiny_views, tmp_path):
    """Bit for bit in single precision; and nearly in half, which is what ships."""
    net, _ = undisturbed
    image = ViewsDataset(tiny_views).object(0).rgb[:2]
    for dtype, apart in ((torch.float32, 0.0), (torch.float16, 2e-3)):
        save_checkpoint(tmp_path, net.config, net.state_dict(), dtype)
        again = load_network(tmp_path, GSNConfig, GSNNet).eval()
        assert again.config == net.config
        with torch.no_grad():
            for name, value in vars(net(image)).items():
                torch.testing.assert_close(getattr(again(image), name), value, atol=apart, rtol=apart)


def test_it_learns_a_few_objects(tiny_views, tmp_path):
    """What is rendered of four objects nears their views."""
    config = replace(CONFIG, phases=(Phase(16, 28, 4, 1e-2, 1e-3),), loss=GSNLoss(ecd=0.0))
    train_gsn(config, tiny_views, tmp_path)
    lines = log_of(tmp_path)
    for part in ("render", "mse"):
        assert sum(line[part] for line in lines[-5:]) < 0.6 * sum(line[part] for line in lines[:5])


def test_the_distance_of_turned_splats_falls_when_it_counts(tiny_views, tmp_path):
    """Beside a run that only measures it."""
    found = {}
    for weight in (1e-9, 3.0):
        weights = GSNLoss(ssim=0.0, mask=0.0, normal=0.0, ecd=weight, turned_share=1.0)
        config = replace(CONFIG, phases=(Phase(16, 15, 4, 3e-3, 1e-3),), loss=weights, views=1)
        train_gsn(config, tiny_views, tmp_path / str(weight))
        found[weight] = sum(line["ecd"] for line in log_of(tmp_path / str(weight))[-5:])
    assert found[3.0] < 0.8 * found[1e-9]


def test_bfloat16_convolves_in_it_and_keeps_weights_in_single_precision(tiny_views, tmp_path):
    config = replace(CONFIG, phases=(replace(FULL, steps=2),), bf16=True)
    net = train_gsn(config, tiny_views, tmp_path)
    plain = train_gsn(replace(config, bf16=False), tiny_views, tmp_path / "plain")
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert differing(net.state_dict(), plain.state_dict())
    for one, other in zip(log_of(tmp_path), log_of(tmp_path / "plain"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)


def test_a_blind_network_learns_one_splat_for_all(tiny_views, tmp_path, monkeypatch):
    """Held-out images don't reach it either: its errors are those of the splat that it makes of white."""
    config = replace(CONFIG, phases=(replace(HALF, steps=2),), blind=True)
    given, forward = [], GSNNet.forward
    monkeypatch.setattr(GSNNet, "forward", lambda self, image: (given.append(image), forward(self, image))[1])
    train_gsn(config, tiny_views, tmp_path, validation=tiny_views)
    assert len(given) == 2 + 2  # steps, held-out objects
    assert all(bool((image == 1).all()) for image in given)


def test_only_the_split_that_is_meant_is_seen(tiny_views):
    assert set(open_views(CONFIG, tiny_views, "train").data.splits) == {"train"}
    assert set(open_views(CONFIG, tiny_views, "val").data.splits) == {"val"}
    one = next(path for path in sorted(tiny_views.glob("cup_train/*")) if path.is_dir())
    assert len(open_views(CONFIG, one, "train")) == 1


def test_given_weights_are_gone_on_from(tiny_views, tmp_path, undisturbed):
    given = undisturbed[0].state_dict()
    still = replace(CONFIG, phases=(replace(FULL, steps=1, lr=0.0, lr_end=0.0),), weight_decay=0.0)
    assert differing(train_gsn(still, tiny_views, tmp_path, init=given).state_dict(), given) == set()


def test_what_does_not_fit_is_refused_before_any_work(tiny_views, tmp_path, undisturbed):
    net, run = undisturbed
    far = replace(CONFIG, net=replace(CONFIG.net, distance=2.0))
    with pytest.raises(InputError, match=r"^[^\n]*stand at 1.3 from the origin, the network's at 2; [^\n]*--distance"):
        train_gsn(far, tiny_views, tmp_path / "run")
    with pytest.raises(InputError, match="holds no object"):
        train_gsn(CONFIG, tmp_path, tmp_path / "run")
    with pytest.raises(InputError, match=r"holds no object of test"):
        open_views(CONFIG, tiny_views, "test")
    for other in (replace(CONFIG, seed=5), replace(CONFIG, loss=GSNLoss(ecd=0.0)), replace(CONFIG, views=3)):
        with pytest.raises(InputError, match="another configuration"):
            train_gsn(other, tiny_views, run)
    wider = replace(CONFIG, net=replace(CONFIG.net, side=5))
    with pytest.raises(InputError, match="the initial weights don't fit the network"):
        train_gsn(wider, tiny_views, tmp_path / "run", init=net.state_dict())
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_the_presets_fit_the_data_that_is_made_for_them():
    """Views of 128 pixels from 1.3; the last phase at full size; splats as the networks' presets say."""
    for name, config in TRAINING.items():
        assert config.net == PRESETS[name]
        assert config.net.distance == 1.3
        assert all(128 % phase.size_px == 0 for phase in config.phases)
        assert config.phases[-1].size_px == 128
        assert config.views >= 2
    with torch.device("meta"):
        assert isinstance(TRAINING["small"].build(), GSNNet)
