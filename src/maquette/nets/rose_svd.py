"""RoSE over Stable Video Diffusion, or a model in its layout, from a folder on the disk; nothing is ever downloaded.

    model_index.json
    unet/               UNetSpatioTemporalConditionModel: noisy latents beside the photo's, so twice the VAE's channels
    vae/                AutoencoderKLTemporalDecoder
    image_encoder/      CLIPVisionModelWithProjection: its embedding is the one token of cross-attention
    feature_extractor/  the mean and deviation of the colours that CLIP expects
    scheduler/          v-prediction over a continuous noise level

Weights are safetensors, plain ones or "fp16", never pickles. As Stable Video Diffusion does, the photo's latent is told
as it is, while the frames' are multiplied by the VAE's scaling factor. The training changes the first convolution and
all attention, as in the paper; the light path is known by the frames' numbers alone.

What the U-Net is told beside the noise level is constant. Of a `StableVideoDiffusionPipeline` these are six frames a
second and motion 127, its pipeline's defaults; any other model is told what RoSE's released code tells SV3D: an
elevation and an azimuth of zero. Both are told that the photo bears noise of 1e-5, which is too faint to be drawn.
"""

import json
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from maquette.errors import InputError
from maquette.io.files import atomic_path
from maquette.nets.rose_config import Backbone, BackboneTraits, SvdConfig

if TYPE_CHECKING:
    from maquette.nets.rose import RoSENet

_CLASSES = {
    "unet": "UNetSpatioTemporalConditionModel",
    "vae": "AutoencoderKLTemporalDecoder",
    "image_encoder": "CLIPVisionModelWithProjection",
}
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
_INDEX = "model_index.json"
_SCHEDULER = "scheduler/scheduler_config.json"
_COLOURS = "feature_extractor/preprocessor_config.json"
_NOISE_OF_PHOTO = 1e-5
_FRAME_RATE, _MOTION = 6.0, 127.0
_LEARNS = r"unet\.(conv_in|.*\.attn[12])\."


def read_svd(folder: Path, frames: int | None = None, size_px: int | None = None) -> SvdConfig:
    """See what lies in a folder, without reading its weights.

    Args:
        folder: in the layout of Stable Video Diffusion.
        frames: lights on the ring; as many as the U-Net was made for, if not given.
        size_px: side of the square images; likewise.

    Raises:
        InputError: there is no such folder; a part is missing, damaged or of another kind; a size that doesn't fit.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one in the layout of Stable Video Diffusion")
    index = _read(folder / _INDEX)
    configs = {part: _read(folder / part / "config.json") for part in _CLASSES}
    for part, expected in _CLASSES.items():
        kind = configs[part].get("_class_name") or (configs[part].get("architectures") or ["nothing"])[0]
        if kind != expected:
            raise InputError(f"{folder / part}: is a {kind}; a {expected} is needed")
        _variant(folder / part, _WEIGHTS[part])
    scheduler = _read(folder / _SCHEDULER)
    colours = _read(folder / _COLOURS)
    try:
        config = _described(folder, index, configs, colours, frames, size_px)
        unet, vae, clip = (configs[part] for part in _CLASSES)
        facts = [
            (unet["in_channels"], 2 * vae["latent_channels"], "unet: in_channels, to take twice the VAE's channels,"),
            (unet["out_channels"], vae["latent_channels"], "unet: out_channels, to give the VAE's,"),
            (clip["projection_dim"], unet["cross_attention_dim"], "image_encoder: projection_dim, the U-Net's width,"),
            (scheduler["prediction_type"], "v_prediction", "scheduler: prediction_type"),
            (scheduler["timestep_type"], "continuous", "scheduler: timestep_type"),
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{folder}: its configurations can't be understood ({error!r})") from None
    for found, needed, what in facts:
        if found != needed:
            raise InputError(f"{folder}: {what} is {found}; it must be {needed}")
    return config


def svd_parts(config: SvdConfig) -> Backbone:
    """The networks of the folder, in float32.

    Raises:
        InputError: transformers isn't installed, or weights are damaged or don't fit their configuration.
    """
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from diffusers.utils import logging as of_diffusers

    try:
        from transformers import CLIPVisionModelWithProjection
        from transformers.utils import logging as of_transformers
    except ImportError as error:
        raise InputError(f"{config.folder}: its CLIP needs transformers; pip install 'maquette[hf]'") from error
    for said in (of_diffusers, of_transformers):
        said.set_verbosity_error()
        said.disable_progress_bar()
    # With low_cpu_mem_usage it would ask for a package more, accelerate.
    vae = _load(AutoencoderKLTemporalDecoder, config.folder, "vae", low_cpu_mem_usage=False)
    unet = _load(UNetSpatioTemporalConditionModel, config.folder, "unet", low_cpu_mem_usage=False)
    clip = _load(CLIPVisionModelWithProjection, config.folder, "image_encoder")
    downscale = 2 ** (len(vae.config.block_out_channels) - 1)
    unet.register_to_config(num_frames=config.frames, sample_size=config.size_px // downscale)
    habits = BackboneTraits(1, scales_photo=False, tells_lights=False, time_ids=config.time_ids, learns=_LEARNS)
    encoder = ClipEncoder(clip, config.mean, config.std)
    return Backbone(vae, unet, encoder, nn.Identity(), None, 1 / vae.config.scaling_factor, habits)


def save_svd(net: "RoSENet", folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the model in the layout that it was read in; each file is whole or absent.

    Args:
        net: a RoSE over such a folder.
        folder: made if it isn't there.
        dtype: of the weights.

    Raises:
        InputError: the folder can't be written.
    """
    encoder, config = net.encoder, net.config
    assert isinstance(encoder, ClipEncoder)
    assert isinstance(config, SvdConfig)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
        for name, part in {"unet": net.unet, "vae": net.vae, "image_encoder": encoder.clip}.items():
            stored = part if dtype == torch.float32 else deepcopy(part).to(dtype)
            stored.save_pretrained(Path(partial) / name, safe_serialization=True)
        for name in (_INDEX, _SCHEDULER, _COLOURS):
            copy = Path(partial) / name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes((Path(config.folder) / name).read_bytes())
        for path in sorted(p for p in Path(partial).rglob("*") if p.is_file()):
            with atomic_path(folder / path.relative_to(partial)) as beside:
                path.rename(beside)


class ClipEncoder(nn.Module):
    """CLIP's embedding of the photo, resized to what CLIP takes: one token."""

    def __init__(self, clip: Any, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.clip: Any = clip
        self.mean, self.std = mean, std

    def forward(
        self, photo: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch 1 channels"]:
        """The token; the photo in 0..1 is zero outside the mask already."""
        side = self.clip.config.image_size
        mean, std = (photo.new_tensor(values).reshape(1, 3, 1, 1) for values in (self.mean, self.std))
        small = F.interpolate(photo, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return self.clip(pixel_values=(small - mean) / std).image_embeds[:, None]


def _described(
    folder: Path,
    index: dict[str, Any],
    configs: dict[str, Any],
    colours: dict[str, Any],
    frames: int | None,
    size_px: int | None,
) -> SvdConfig:
    unet, vae = configs["unet"], configs["vae"]
    downscale = 2 ** (len(vae["block_out_channels"]) - 1)
    count, rest = divmod(unet["projection_class_embeddings_input_dim"], unet["addition_time_embed_dim"])
    if rest or count < 1:
        raise ValueError("projection_class_embeddings_input_dim is no multiple of addition_time_embed_dim")
    svd = index.get("_class_name") == "StableVideoDiffusionPipeline" and count == 3
    time_ids = (_FRAME_RATE, _MOTION, _NOISE_OF_PHOTO) if svd else (_NOISE_OF_PHOTO, *[0.0] * (count - 1))
    (red, green, blue), (red_std, green_std, blue_std) = colours["image_mean"], colours["image_std"]
    return SvdConfig(
        frames=unet["num_frames"] if frames is None else frames,
        size_px=unet["sample_size"] * downscale if size_px is None else size_px,
        folder=str(folder.resolve()),
        multiple=downscale * 2 ** (len(unet["block_out_channels"]) - 1),
        time_ids=time_ids,
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: not there; a folder in the layout of Stable Video Diffusion is needed")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no object of JSON")
    return content


def _variant(part: Path, stem: str) -> str | None:
    """None for plain weights, "fp16" if only those are there."""
    for variant in (None, "fp16"):
        name = stem if variant is None else f"{stem}.{variant}"
        shards = f"{stem}.safetensors.index{f'.{variant}' if variant else ''}.json"
        if (part / f"{name}.safetensors").is_file() or (part / shards).is_file():
            return variant
    raise InputError(f"{part / stem}.safetensors: not there; only safetensors are read, whole or as fp16")


def _load(kind: Any, folder: str, part: str, **options: Any) -> Any:
    where = Path(folder) / part
    variant = _variant(where, _WEIGHTS[part])
    try:
        network, report = kind.from_pretrained(
            where,
            local_files_only=True,
            use_safetensors=True,
            variant=variant,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # of many kinds, from three libraries
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{where}: can't be loaded ({reason})") from None
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"]})
    if wrong:
        raise InputError(f"{where}: the weights don't fit their configuration ({', '.join(map(str, wrong[:3]))}, ...)")
    return network
