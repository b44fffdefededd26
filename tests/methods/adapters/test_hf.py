"""A tiny random Marigold pipeline, written to a folder by diffusers itself, as a method."""

import json
import shutil
import sys

import diffusers
import numpy as np
import pytest
import torch
import transformers

from maquette.errors import InputError
from maquette.io.images import srgb_to_linear
from maquette.io.normal_maps import write_normal_map
from maquette.methods.adapters.hf import Marigold
from maquette.types import Photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two-level networks of eight channels; a vocabulary of four words."""
    words = tmp_path_factory.mktemp("words")
    (words / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=4,
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=2,
        num_hidden_layers=1,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    pipeline = diffusers.MarigoldNormalsPipeline(
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=8,
            out_channels=4,
            block_out_channels=(8, 8),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=8,
            norm_num_groups=4,
            attention_head_dim=4,
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=[8, 8],
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
            norm_num_groups=4,
        ),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False),
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(words, model_max_length=77),
        prediction_type="normals",
        use_full_z_range=True,
        default_denoising_steps=2,
        default_processing_resolution=32,
    )
    target = tmp_path_factory.mktemp("pipeline")
    pipeline.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def method(folder) -> Marigold:
    return Marigold.from_folder(folder)


def photo(height=40, width=56) -> Photo:
    rgb = srgb_to_linear(torch.rand(height, width, 3, generator=torch.Generator().manual_seed(1)))
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[5:35, 10:50] = True
    return Photo(rgb, mask)


def test_a_folder_becomes_a_method(method):
    given = photo()
    got = method(given)
    assert torch.equal(got.mask, given.mask)
    assert torch.allclose(got.normals.norm(dim=-1), given.mask.float(), atol=1e-5)
    assert got.concentration is None
    assert bool(method(Photo(given.rgb)).mask.all())


def test_the_same_photo_gives_the_same_map_whatever_was_drawn_before(folder, method):
    first = method(photo()).normals
    torch.rand(7)
    assert torch.equal(method(photo()).normals, first)
    assert torch.equal(Marigold.from_folder(folder)(photo()).normals, first)
    assert not torch.equal(Marigold.from_folder(folder, seed=1)(photo()).normals, first)


def test_an_8_bit_photo_reaches_the_pipeline_as_it_is(method, monkeypatch):
    seen = []
    preprocess = method.pipeline.image_processor.preprocess
    monkeypatch.setattr(
        method.pipeline.image_processor,
        "preprocess",
        lambda image, *rest: seen.append(image) or preprocess(image, *rest),
    )
    codes = torch.arange(256).repeat(40)[: 40 * 56 * 3].reshape(40, 56, 3) / 255
    method(Photo(srgb_to_linear(codes)))
    assert torch.allclose(seen[0][0].permute(1, 2, 0), codes, atol=1e-5)
    # In a camera's own units, large or small, it is exposed first.
    for scale in (1000.0, 1e-4):
        method(Photo(srgb_to_linear(codes) * scale))
    assert torch.allclose(seen[1], seen[2], atol=1e-4)
    assert float(seen[1].max()) <= 1
    assert float(seen[1].mean()) > 0.4


def test_the_documented_frame_is_that_of_memory(method, monkeypatch, tmp_path):
    """x right, y up, z to the viewer: diffusers' words, and its own picture of a prediction against our file."""
    words = diffusers.pipelines.marigold.MarigoldImageProcessor.visualize_normals.__doc__
    for axis, direction in (("X", "right"), ("Y", "top"), ("Z", "facing the observer")):
        sentence = words.split(f"Flips the {axis} axis")[1].split("Default direction is ")[1]
        assert sentence.startswith(direction)

    axis = torch.linspace(-0.7, 0.7, 32)
    x, y = axis[None].expand(32, 32), -axis[:, None].expand(32, 32)
    truth = torch.stack([x, y, (1 - x**2 - y**2).sqrt()], -1)
    monkeypatch.setattr(method.pipeline, "decode_prediction", lambda _: truth.permute(2, 0, 1)[None])
    given = Photo(torch.full((32, 32, 3), 0.5))
    got = method(given)
    assert torch.allclose(got.normals, truth, atol=1e-5)
    assert got.normals[16, 28, 0] > 0.5  # on the right it looks right
    assert got.normals[3, 16, 1] > 0.5  # above it looks up
    write_normal_map(tmp_path / "ours.png", got, "opengl", "png8")
    from PIL import Image

    ours = np.asarray(Image.open(tmp_path / "ours.png")).astype(int)
    prediction = method.pipeline(given.rgb.permute(2, 0, 1)[None], output_type="pt").prediction
    theirs = np.asarray(method.pipeline.image_processor.visualize_normals(prediction)[0]).astype(int)
    assert np.abs(ours - theirs).max() <= 1  # they cut off, we round


def damaged(folder, target, how):
    shutil.copytree(folder, target)
    if how == "no weights":
        (target / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif how == "cut weights":
        weights = target / "vae" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "pickle":  # never loaded
        weights = target / "unet" / "diffusion_pytorch_model.safetensors"
        weights.unlink()
        torch.save({}, weights.with_suffix(".bin"))
    elif how == "depth":
        index = json.loads((target / "model_index.json").read_text())
        (target / "model_index.json").write_text(json.dumps(index | {"_class_name": "MarigoldDepthPipeline"}))
    else:
        (target / "model_index.json").write_text("{")
    return target


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no weights", "can't be loaded"),
        ("cut weights", "can't be loaded"),
        ("pickle", "can't be loaded"),
        ("depth", "holds a MarigoldDepthPipeline"),
        ("no json", "model_index.json can't be read"),
    ],
)
def test_a_damaged_folder_is_one_line(folder, tmp_path, how, message):
    with pytest.raises(InputError, match=message) as caught:
        Marigold.from_folder(damaged(folder, tmp_path / "damaged", how))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "damaged") in str(caught.value)


def test_without_transformers_it_says_what_to_type(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "diffusers.pipelines.marigold.pipeline_marigold_normals", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs transformers; pip install 'maquette\[hf\]'"):
        Marigold.from_folder(folder)
