"""Training RoSE: runs repeat exactly whenever they are killed, each stage changes what it should, every part learns."""

import json
import re
from dataclasses import replace

import pytest
import torch
import trimesh
from svd_folder import write_tiny_svd

from maquette.errors import InputError
from maquette.methods.rose import imagine
from maquette.nets.rose import PRESETS, RoSENet
from maquette.nets.rose_svd import read_svd, save_svd
from maquette.runs import state as checkpoints
from maquette.runs.schedule import Phase
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multishade.reading import MultiShade
from maquette.synth.datasets.multishade.shards import generate
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
from maquette.train.rose.config import RoseTraining, svd_training
from maquette.train.rose.data import RingBatch, describe_data, is_multishade, open_source, ring_batch
from maquette.train.rose.loss import video_loss
from maquette.train.rose.recipe import train_rose
from maquette.train.rose.vae import start_from_components, truth, vae_loss

VAE, SMALL, FULL = (
    Phase(32, 3, 2, 1e-3, 1e-4),
    Phase(16, 2, 2, 1e-3, 1e-4, stage=2),
    Phase(32, 2, 2, 1e-3, 1e-4, stage=2),
)
CONFIG = RoseTraining(PRESETS["tiny"], (VAE, SMALL, FULL), encoder="", seed=4)
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


class KilledError(Exception):
    """Stands for a kill: whatever hasn't been written is lost."""


@pytest.fixture(scope="module")
def folders(tiny_shapes):
    return {"shapes": tiny_shapes}


@pytest.fixture(scope="module")
def undisturbed(folders, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return train_rose(CONFIG, folders, run, save_every_s=0.0).state_dict(), run


@pytest.fixture(scope="module")
def shaded(tmp_path_factory):
    """MultiShade of two boxes, three views each, of nine frames of 32 pixels."""
    meshes, folder = tmp_path_factory.mktemp("meshes"), tmp_path_factory.mktemp("multishade")
    for size in (1, 2):
        trimesh.creation.box((1, size, 1)).export(meshes / f"{size}.ply")
    generate(folder, MultiShadeSpec(0, seed=1, views=3, size_px=32, meshes=find_meshes(meshes)), meshes)
    return folder


def log_of(run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_clocks(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in ("data_s", "step_s")} for line in lines]


def differing(one, other) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize(("every_s", "kills"), [(0.0, (1, 3, 4, 5, 6)), (1e9, (2, 4, 6))])
def test_interrupted_again_and_again_it_ends_the_same(folders, tmp_path, undisturbed, every_s, kills):
    """With checkpoints at every step, or only where a phase ends; killed right after the VAE's last step, too."""
    expected, run = undisturbed
    for fatal in kills:

        def die(line, fatal=fatal):
            if line["step"] == fatal:
                raise KilledError

        with pytest.raises(KilledError):
            train_rose(CONFIG, folders, tmp_path, save_every_s=every_s, report=die)
    assert differing(train_rose(CONFIG, folders, tmp_path, save_every_s=every_s).state_dict(), expected) == set()
    assert without_clocks(log_of(tmp_path)) == without_clocks(log_of(run))


def test_a_kill_at_the_change_of_stages_repeats_the_latents_scale(folders, tmp_path, undisturbed):
    """The checkpoint of the VAE's end is on the disk, the scale isn't: it is found again from the same batch."""
    expected, _ = undisturbed
    train_rose(replace(CONFIG, phases=(VAE,)), folders, tmp_path)
    assert float(expected["latent_std"]) != 1.0
    assert differing(train_rose(CONFIG, folders, tmp_path).state_dict(), expected) == set()


@pytest.mark.parametrize("file", ["log.jsonl", "checkpoint.safetensors"])
def test_a_kill_between_log_and_checkpoint_leaves_no_hole(folders, tmp_path, undisturbed, monkeypatch, file):
    """Whichever of the two had just been written, the curve and the weights end as if nothing had happened."""
    expected, run = undisturbed
    write, written = checkpoints.write_bytes, []

    def die(path, content):
        write(path, content)
        written.append(path.name)
        if written.count(file) == 4:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_bytes", die)
        with pytest.raises(KilledError):
            train_rose(CONFIG, folders, tmp_path, save_every_s=0.0)
    assert differing(train_rose(CONFIG, folders, tmp_path).state_dict(), expected) == set()
    assert without_clocks(log_of(tmp_path)) == without_clocks(log_of(run))


def test_each_stage_changes_its_parts_and_a_further_phase_goes_on(folders, tmp_path):
    """The VAE, then the video model over it; a second video phase finds the latents scaled as the first left them."""
    states = [
        train_rose(replace(CONFIG, phases=CONFIG.phases[:count]), folders, tmp_path).state_dict() for count in (1, 2, 3)
    ]
    torch.manual_seed(CONFIG.seed)
    fresh = CONFIG.build().state_dict()

    def parts(names: set[str]) -> set[str]:
        return {name.split(".")[0] for name in names}

    assert parts(differing(fresh, states[0])) == {"vae"}
    assert parts(differing(states[0], states[1])) == {"unet", "project", "lay", "latent_std"}
    assert parts(differing(states[1], states[2])) == {"unet", "project", "lay"}


def test_given_weights_keep_their_vae(folders, tmp_path, undisturbed):
    """The stage that trains it goes on from what it is given, not from principal components."""
    given = undisturbed[0]
    still = replace(CONFIG, phases=(replace(VAE, steps=1, lr=0.0, lr_end=0.0),), weight_decay=0.0)
    assert differing(train_rose(still, folders, tmp_path, init=given).state_dict(), given) == set()


# What learns nothing, by design.
NOTHING_TO_LEARN = {
    "attention over time to a single token: whatever is asked, the answer is that": (
        r"unet\..*temporal_transformer_blocks\.0\.(attn2\.to_[qk]|norm2)\."
    ),
    "32 channels in 32 groups: what is added to a whole channel is normalised away": (
        r".*\.(conv1|conv2|conv_shortcut)\.bias$"
    ),
    "the same, of embeddings that are added to whole channels": r".*\.time_emb_proj\.|unet\.(time|add)_embedding\.",
    "diffusers' temporal decoder uses its attention from the second residual block on; there is one": (
        r"vae\.decoder\.mid_block\.attentions\.0\."
    ),
    "attention with keys that are all shifted alike": r"vae\.encoder\.mid_block\.attentions\.0\.to_k\.bias$",
}


def test_every_parameter_that_a_stage_trains_learns(folders):
    """Off its zeros; but for what can't, by name."""
    net, rng = CONFIG.build(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
    batch = open_source(CONFIG, folders, FULL, CPU)(0)

    def dead(loss: torch.Tensor) -> set[str]:
        net.zero_grad()
        loss.backward()
        size = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in net.named_parameters()}
        return {name for name, value in size.items() if value < 1e-6 * max(size.values())}

    def named(*parts: str) -> set[str]:
        return {name for name, _ in net.named_parameters() if name.split(".")[0] in parts}

    of_the_vae = dead(vae_loss(net, batch, torch.Generator().manual_seed(0))["loss"])
    of_the_video = dead(video_loss(net, batch, replace(CONFIG, unseen=0.0), torch.Generator().manual_seed(0))["loss"])
    assert of_the_vae >= named("unet", "project", "lay", "encoder")
    assert of_the_video >= named("vae", "encoder")
    silent = (of_the_vae & named("vae")) | (of_the_video & named("unet", "project", "lay"))
    explained = {reason: {name for name in silent if re.match(p, name)} for reason, p in NOTHING_TO_LEARN.items()}
    assert silent - set().union(*explained.values()) == set()
    assert {reason for reason, names in explained.items() if not names} == set()


def test_photos_are_withheld_as_often_as_asked(folders):
    """Guidance needs a network that was told nothing now and then: zeros for tokens and latent, both at once."""
    net, seen = CONFIG.build().requires_grad_(False), []
    batch = open_source(CONFIG, folders, replace(FULL, batch=40), CPU)(0)
    clean = net.clean
    net.clean = lambda noisy, sigma, told: (seen.append((told, sigma)), clean(noisy, sigma, told))[1]
    for share in (0.0, 0.5, 1.0):
        seen.clear()
        video_loss(net, batch, replace(CONFIG, unseen=share), torch.Generator().manual_seed(0))
        told, sigma = seen[0]
        blind = [told.tokens.abs().amax((1, 2)) == 0, told.latent.abs().amax((1, 2, 3)) == 0]
        assert torch.equal(*blind)
        assert float(blind[0].float().mean()) == pytest.approx(share, abs=0.2 if share == 0.5 else 0)
        assert float(sigma.log().mean()) == pytest.approx(CONFIG.log_sigma[0], abs=0.8)


def test_the_video_model_learns(folders, tmp_path):
    """On photos of one shape its loss falls."""
    lines: list[dict[str, float]] = []
    phase = replace(FULL, steps=25, shapes=1, lr=3e-3)
    train_rose(replace(CONFIG, phases=(replace(VAE, steps=1), phase)), folders, tmp_path, report=lines.append)
    first, last = (sum(line["loss"] for line in some) / 8 for some in (lines[1:9], lines[-8:]))
    assert last < 0.8 * first


def test_the_vae_starts_as_principal_components(folders):
    """Before any step it is far better than with random weights."""
    source = open_source(CONFIG, folders, replace(VAE, batch=4), CPU)
    random, net = CONFIG.build(), CONFIG.build()
    start_from_components(net, source(0))

    def error(net: RoSENet, images: torch.Tensor) -> float:
        with torch.no_grad():
            return float((net.decode(net.encode(images)) - images).square().mean())

    images = truth(net, source(0))
    assert error(net, images) < 0.05 * error(random, images)


def test_what_does_not_fit_is_refused_before_any_work(folders, tmp_path, undisturbed, monkeypatch):
    for config, message in (
        (replace(CONFIG, phases=(replace(VAE, size_px=24),)), "photos of 24 px; this network needs a multiple of 16"),
        (replace(CONFIG, phases=(replace(VAE, size_px=48),)), "multiple of 48"),
        (replace(CONFIG, phases=(replace(VAE, data="sharp"),)), "'sharp'"),
    ):
        with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
            train_rose(config, folders, tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        train_rose(replace(CONFIG, unseen=0.2), folders, undisturbed[1])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        train_rose(CONFIG, folders, tmp_path)


def test_multishade_gives_its_own_frames(shaded):
    """The target is what is stored, not computed from the normals; a batch follows from seed and step."""
    data, net = MultiShade(shaded), CONFIG.build()
    batch = ring_batch(data, [0, 4], 7, CPU)
    stored = data.batch([0, 4])
    assert torch.equal(batch.ring, stored.shading)
    assert torch.equal(truth(net, batch), (2 * stored.shading - 1)[:, :, None].expand(-1, -1, 3, -1, -1))
    computed = shading_frames(batch.normal.movedim(1, -1), ring_lights(9)).movedim(0, 1)
    assert float((computed - batch.ring).abs().max()) < 0.01  # the same light path, but for their 8 bits
    assert not torch.equal(truth(net, replace(batch, ring=batch.ring / 2)), truth(net, batch))
    assert torch.equal(batch.photo * (1 - batch.mask), torch.zeros_like(batch.photo))
    source = open_source(CONFIG, {"shapes": shaded}, replace(FULL, batch=4), CPU)
    one, same, other = source(3), source(3), source(4)
    assert isinstance(one, RingBatch) and isinstance(same, RingBatch)
    assert torch.equal(one.ring, same.ring) and torch.equal(one.photo, same.photo)
    assert not torch.equal(one.photo, other.photo)


def test_only_the_first_objects_of_multishade_are_taken(shaded):
    source = open_source(CONFIG, {"shapes": shaded}, replace(FULL, batch=30, shapes=1), CPU)
    data = MultiShade(shaded)
    first = data.batch([i for i, thing in enumerate(data.objects) if thing == 0]).normal
    assert len(first) == 3
    for normal in source(0).normal:
        assert any(torch.equal(normal, known) for known in first)


def test_it_trains_on_multishade_and_repeats_itself(shaded, tmp_path, tiny_shapes):
    config = replace(CONFIG, phases=(VAE, FULL))

    def die(line):
        if line["step"] == 4:
            raise KilledError

    folders = {"shapes": shaded}
    expected = train_rose(config, folders, tmp_path / "whole").state_dict()
    with pytest.raises(KilledError):
        train_rose(config, folders, tmp_path / "killed", save_every_s=0.0, report=die)
    assert differing(train_rose(config, folders, tmp_path / "killed").state_dict(), expected) == set()
    assert describe_data(shaded)["kind"] == "multishade"
    assert describe_data(tiny_shapes)["views"] == 2
    assert not is_multishade(tiny_shapes)


def test_multishade_that_does_not_fit_is_one_line(shaded, tmp_path):
    folders = {"shapes": shaded}
    with pytest.raises(InputError, match=r"^[^\n]*its images are 32 px; the phase needs 16$"):
        train_rose(replace(CONFIG, phases=(replace(VAE, size_px=16),)), folders, tmp_path)
    with pytest.raises(InputError, match=r"^[^\n]*holds 9 frames[^\n]*not 6$"):
        train_rose(replace(CONFIG, net=replace(CONFIG.net, frames=6)), folders, tmp_path)


@pytest.fixture(scope="module")
def svd(tmp_path_factory):
    return write_tiny_svd(tmp_path_factory.mktemp("svd"))


def test_stable_video_diffusion_trains_its_first_convolution_and_its_attention(svd, folders, tmp_path, monkeypatch):
    """Two steps move these parameters and no other; killed between them, the run ends the same, and is saved whole."""
    monkeypatch.setattr("maquette.train.rose.config.SVD_PHASES", (replace(FULL, size_px=32),))
    config = replace(svd_training(svd), net=read_svd(svd, 3, 32))
    assert config.betas == (0.9, 0.999)

    def die(line):
        if line["step"] == 1:
            raise KilledError

    with pytest.raises(KilledError):
        train_rose(config, folders, tmp_path / "killed", save_every_s=0.0, report=die)
    before = RoSENet(config.net).state_dict()
    trained = train_rose(config, folders, tmp_path / "killed")
    whole = train_rose(config, folders, tmp_path / "whole").state_dict()
    assert differing(trained.state_dict(), whole) == set()
    moved = differing(before, whole)
    attention = {name for name in whole if re.search(r"\.attn[12]\.", name) and name.startswith("unet.")}
    # Attention to one token is that token: queries and keys never learn, but weight decay may still shrink them.
    learns = {name for name in attention if not re.search(r"attn2\.to_[qk]\.", name)}
    assert learns | {"unet.conv_in.weight", "unet.conv_in.bias"} <= moved
    assert moved <= attention | {"unet.conv_in.weight", "unet.conv_in.bias"}
    assert any("temporal" in name for name in learns)
    save_svd(trained, tmp_path / "saved")
    again = RoSENet(read_svd(tmp_path / "saved", 3, 32)).requires_grad_(False)
    assert differing(again.state_dict(), whole) == set()
    photo, mask = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    sequence = imagine(again, photo, mask, steps=2, guidance=2.5)
    assert sequence.shape == (1, 3, 3, 32, 32)
    assert torch.equal(sequence, imagine(trained.requires_grad_(False), photo, mask, steps=2, guidance=2.5))


def test_stable_video_diffusion_has_its_vae_already(svd, folders, tmp_path):
    config = RoseTraining(read_svd(svd, 3, 32), (VAE,), encoder="")
    with pytest.raises(InputError, match="its VAE is trained already"):
        train_rose(config, folders, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        svd_training(tmp_path / "nowhere")
