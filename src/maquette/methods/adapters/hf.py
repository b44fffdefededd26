"""A local diffusers `MarigoldNormalsPipeline` as a method.

Frame: diffusers documents the prediction as unit vectors with "X axis points right, Y axis points up, and Z axis
points at the viewer" (its guide "Marigold Computer Vision", and `MarigoldImageProcessor.visualize_normals`), a
nose that faces the camera as [0, 0, 1]. That is the frame of memory: nothing is turned. The tests pin it.
"""

import json
from pathlib import Path
from typing import Any

import torch

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.methods.framing import display, mask_of
from maquette.types import NormalMap, Photo

SHORTEST = 0.5  # a shorter vector has no direction: there is no normal


class Marigold:
    """A loaded pipeline: call it with a `Photo`, get a `NormalMap`.

    The pipeline starts from noise; its seed is fixed, so that the same photo always gives the same map. It sees
    the whole photo as a screen shows it (it was trained on scenes), and its steps and its working size are those
    that its own folder recommends. It knows no confidence.

    Attributes:
        pipeline: the diffusers pipeline.
        seed: of the noise.
    """

    def __init__(self, pipeline: Any, seed: int = 0) -> None:
        self.pipeline = pipeline
        self.seed = seed

    @classmethod
    def from_folder(cls, folder: Path, device: str = "cpu", seed: int = 0) -> "Marigold":
        """Load what `save_pretrained` wrote; nothing is downloaded, and no code of the folder's is run.

        Raises:
            InputError: transformers isn't installed, or the folder holds no whole `MarigoldNormalsPipeline`.
        """
        try:
            from diffusers.pipelines.marigold.pipeline_marigold_normals import MarigoldNormalsPipeline
            from diffusers.utils import logging
        except ImportError as error:
            raise InputError(f"hf:{folder}: needs transformers; pip install 'maquette[hf]'") from error
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            name = json.loads((folder / "model_index.json").read_bytes())["_class_name"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"hf:{folder}: its model_index.json can't be read; is the folder whole?") from error
        if name != "MarigoldNormalsPipeline":
            raise InputError(f"hf:{folder}: holds a {name}; a MarigoldNormalsPipeline is needed")
        try:
            pipeline = MarigoldNormalsPipeline.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
        except Exception as error:  # each part of the folder fails in its own way
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"hf:{folder}: can't be loaded ({reason}); is the folder whole?") from error
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline.to(device), seed)

    @torch.inference_mode()
    def __call__(self, photo: Photo) -> NormalMap:
        """Normals on the photo's mask (everywhere, if it has none).

        Raises:
            InputError: the pipeline answers NaN.
        """
        picture = display(photo).permute(2, 0, 1)[None]
        generator = torch.Generator().manual_seed(self.seed)
        found = self.pipeline(picture, generator=generator, output_type="pt").prediction
        normals = found[0].permute(1, 2, 0).float().cpu()
        if not bool(torch.isfinite(normals).all()):
            raise InputError(f"{photo.name}: the pipeline's normals are NaN; are its weights whole?")
        mask = mask_of(photo) & (normals.norm(dim=-1) > SHORTEST)
        return NormalMap(unit(normals) * mask[..., None], mask)
