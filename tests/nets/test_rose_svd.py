"""RoSE over a folder in the layout of Stable Video Diffusion: tiny, random weights, as diffusers itself writes it."""

import json
import re
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors import safe_open
from svd_folder import write_tiny_svd

from maquette.errors import InputError
from maquette.methods.rose import imagine
from maquette.nets.rose import RoSENet
from maquette.nets.rose_svd import ClipEncoder, read_svd, save_svd

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES, SIDE = 3, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_svd(tmp_path_factory.mktemp("svd"))


@pytest.fixture(scope="module")
def net(folder) -> RoSENet:
    return RoSENet(read_svd(folder, FRAMES, SIDE)).requires_grad_(False)


@pytest.fixture
def changed(folder, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def photos(count: int = 2, side: int = SIDE) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, side, side, generator=rng), torch.ones(count, 1, side, side)


def test_what_the_folder_says(folder):
    config = read_svd(folder)
    assert (config.frames, config.size_px) == (14, 64)
    assert config.multiple == 16  # a VAE of four levels, a U-Net of two
    assert config.time_ids == (6.0, 127.0, 1e-5)
    assert config.folder == str(folder.resolve())
    assert config.std == pytest.approx((0.27, 0.26, 0.28), abs=0.01)


def test_shapes_and_what_the_photo_tells(net):
    photo, mask = photos()
    told = net.condition(photo, mask)
    assert told.tokens.shape == (2, 1, 32)  # CLIP's embedding, one token
    assert told.latent.shape == (2, 4, 4, 4)
    grey = photo.mean(1, keepdim=True).expand_as(photo)
    unscaled = net.vae.encode(grey * 2 - 1).latent_dist.mode()
    assert torch.equal(told.latent, unscaled)  # the frames' latents are scaled, this one isn't
    sequence = (grey * 2 - 1)[:, None].expand(-1, FRAMES, -1, -1, -1)
    latents = net.encode(sequence)
    assert torch.allclose(latents[:, 1], unscaled * 0.18215)
    made = net.decode(latents)
    assert torch.allclose(made.flatten(0, 1), net.vae.decode(latents.flatten(0, 1) / 0.18215, FRAMES).sample, atol=1e-5)
    assert net.clean(latents, torch.tensor([0.5, 3.0]), told).shape == latents.shape


def test_it_samples_as_the_pipeline_of_diffusers_does(folder, net):
    """Same folder, photo and noise: conditioning, preconditioning, sampler and decoder agree with diffusers' own."""
    side = 224  # CLIP's own size, so that no two ways of resizing come between
    pipeline = diffusers.StableVideoDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.scheduler.register_to_config(sigma_min=0.02, sigma_max=80.0)
    pipeline.set_progress_bar_config(disable=True)
    photo, mask = photos(1, side)
    photo = photo.mean(1, keepdim=True).expand_as(photo)
    noise = torch.randn(1, FRAMES, 4, side // 8, side // 8, generator=torch.Generator().manual_seed(42))
    theirs = pipeline(
        photo,
        height=side,
        width=side,
        num_frames=FRAMES,
        num_inference_steps=2,
        max_guidance_scale=1.0,
        noise_aug_strength=1e-5,
        latents=noise,
        output_type="pt",
    ).frames
    ours = imagine(net, photo, mask, steps=2, guidance=1.0, seed=42)
    spread = float(theirs.std())
    assert spread > 0.01
    assert torch.allclose((ours / 2 + 0.5).clamp(0, 1), theirs, atol=1e-3 * spread)


def test_another_size_of_photo_is_brought_to_clips():
    """Constant photos stay constant; CLIP sees (value - mean) / deviation."""
    seen = []

    class Clip(torch.nn.Module):
        class config:
            image_size = 28

        def forward(self, pixel_values):
            seen.append(pixel_values)
            return type("Out", (), {"image_embeds": pixel_values.mean((2, 3))})

    encoder = ClipEncoder(Clip(), (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    token = encoder(torch.full((2, 3, 64, 64), 0.75), torch.ones(2, 1, 64, 64))
    assert seen[0].shape == (2, 3, 28, 28)
    assert torch.allclose(token, torch.tensor([0.5, 0.5, 0.375]).expand(2, 1, 3), atol=1e-6)


def test_it_saves_what_it_opens_and_diffusers_opens_that(net, tmp_path):
    save_svd(net, tmp_path / "saved")
    again = RoSENet(read_svd(tmp_path / "saved"))
    assert (again.config.frames, again.config.size_px) == (FRAMES, SIDE)  # of what was saved, not of the original
    expected, found = net.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    pipeline = diffusers.StableVideoDiffusionPipeline.from_pretrained(tmp_path / "saved", local_files_only=True)
    assert pipeline.unet.config.num_frames == FRAMES
    save_svd(net, tmp_path / "half", torch.float16)
    half = RoSENet(read_svd(tmp_path / "half", FRAMES, SIDE)).state_dict()
    assert all(
        torch.equal(half[name], value.half().float()) for name, value in net.state_dict().items() if "std" not in name
    )
    assert {value.dtype for value in net.state_dict().values() if value.is_floating_point()} == {torch.float32}
    with safe_open(tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert file.get_tensor("conv_in.weight").dtype == torch.float16
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "half"}


def test_the_layout_of_sv3d(tmp_path):
    """Two constants instead of three: the noise of the photo, and a camera that stays where it is."""
    config = read_svd(write_tiny_svd(tmp_path, time_ids=2), 9, SIDE)
    assert config.time_ids == (1e-5, 0.0)
    net = RoSENet(config)
    noisy = torch.randn(1, 9, 4, 4, 4)
    assert net.clean(noisy, torch.ones(1), net.condition(*photos(1))).shape == noisy.shape
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace("StableVideoDiffusionPipeline", "SV3DPipeline"))
    assert read_svd(tmp_path, 9, SIDE).time_ids == (1e-5, 0.0)


def test_weights_in_half_precision_alone_will_do(changed, net):
    for path in changed.rglob("*.safetensors"):
        path.rename(path.with_name(path.stem + ".fp16.safetensors"))
    found = RoSENet(read_svd(changed, FRAMES, SIDE)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def spoil(kind: str, folder: Path) -> None:
    unet = folder / "unet"
    if kind == "no part":
        shutil.rmtree(folder / "image_encoder")
    elif kind == "no weights":
        (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    elif kind == "no json":
        (folder / "vae" / "config.json").write_text("{")
    elif kind == "a list":
        (folder / "model_index.json").write_text("[]")
    elif kind == "another class":
        edit(folder / "vae" / "config.json", _class_name="AutoencoderKL")
    elif kind == "text to video":
        edit(unet / "config.json", in_channels=4)
    elif kind == "another width":
        edit(folder / "image_encoder" / "config.json", projection_dim=64)
    elif kind == "another sampler":
        edit(folder / "scheduler" / "scheduler_config.json", prediction_type="epsilon")
    elif kind == "a field less":
        edit(unet / "config.json", addition_time_embed_dim=None)
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "no part",
            r"image_encoder/config\.json: not there; a folder in the layout of Stable Video Diffusion is needed",
        ),
        ("no weights", r"unet/diffusion_pytorch_model\.safetensors: not there; only safetensors are read"),
        ("no json", r"vae/config\.json: no JSON"),
        ("a list", r"model_index\.json: holds no object"),
        ("another class", r"vae: is a AutoencoderKL; a AutoencoderKLTemporalDecoder is needed"),
        ("text to video", r"unet: in_channels, .* is 4; it must be 8"),
        ("another width", r"image_encoder: projection_dim, .* is 64; it must be 32"),
        ("another sampler", r"scheduler: prediction_type is epsilon; it must be v_prediction"),
        ("a field less", r"configurations can't be understood"),
    ],
)
def test_an_odd_folder_is_one_line_before_any_weight_is_read(changed, kind, message):
    spoil(kind, changed)
    with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
        read_svd(changed, FRAMES, SIDE)


def test_no_folder_and_sizes_that_do_not_fit(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_svd(tmp_path / "nowhere", FRAMES, SIDE)
    with pytest.raises(InputError, match="size_px is 40; it must be a multiple of 16"):
        read_svd(folder, FRAMES, 40)
    with pytest.raises(InputError, match="frames is 2"):
        read_svd(folder, 2, SIDE)


@pytest.mark.parametrize("fault", ["cut off", "other weights"])
def test_damaged_weights_are_one_line(changed, fault):
    path = changed / "unet" / "diffusion_pytorch_model.safetensors"
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.write_bytes((changed / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    with pytest.raises(InputError, match=re.escape(str(changed / "unet")) + r": [^\n]*$"):
        RoSENet(read_svd(changed, FRAMES, SIDE))
