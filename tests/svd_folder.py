"""A folder in Stable Video Diffusion's layout: tiny, with random weights, written by diffusers and transformers."""

from pathlib import Path

import torch


def write_tiny_svd(folder: Path, time_ids: int = 3, image_px: int = 224) -> Path:
    """The pipeline that `save_pretrained` writes; the sizes are the least that diffusers' groups of 32 channels allow.

    Args:
        folder: to write to.
        time_ids: how many constants the U-Net is told; Stable Video Diffusion has 3.
        image_px: side of the photos that CLIP takes.
    """
    import diffusers
    import transformers

    torch.manual_seed(3)
    vae = diffusers.AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4, block_out_channels=(32, 32, 32, 32)
    )
    unet = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 64),
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=16 * time_ids,
        layers_per_block=1,
        cross_attention_dim=32,
        num_attention_heads=(2, 2),
        num_frames=14,
        sample_size=8,
    )
    clip = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=32,
            projection_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=image_px,
            patch_size=image_px // 7,
        )
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        timestep_spacing="leading",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
    )
    pipeline = diffusers.StableVideoDiffusionPipeline(
        vae=vae, image_encoder=clip, unet=unet, scheduler=scheduler, feature_extractor=transformers.CLIPImageProcessor()
    )
    pipeline.save_pretrained(folder)
    return folder
