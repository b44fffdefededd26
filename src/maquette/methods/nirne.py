"""NiRNE, the default: a photo to a normal map with a concentration per pixel, deterministic.

The whole object at the network's training size gives the shape; tiles at higher resolution add detail to it.
"""

from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network, save_checkpoint
from maquette.methods.framing import mask_of, object_window
from maquette.methods.tiles import resize, sharpen
from maquette.nets.nirne import MULTIPLE, NiRNEConfig, normalise_exposure
from maquette.nets.nirne import NiRNE as NiRNENet
from maquette.types import NormalMap, Photo

DETAIL_PX = 256  # by default: on held-out renders of 512 px, more took time and brought no accuracy


class NiRNE:
    """A loaded network: call it with a `Photo`, get a `NormalMap`.

    Attributes:
        net: the network, in evaluation mode.
        size_px: the object is resized to a square of about this side; by default the training size.
        mirrored: average with the prediction of the mirrored photo: twice the time, a little more accurate.
        detail_px: tiles add detail up to this resolution of the object, or the photo's own if that is lower; 0
            leaves it at `size_px`.
    """

    def __init__(
        self, net: NiRNENet, size_px: int | None = None, mirrored: bool = True, detail_px: int = DETAIL_PX
    ) -> None:
        if not 0 <= detail_px <= 16384:
            raise InputError(f"detail up to {detail_px} px; it must lie in 0..16384, where 0 is none")
        self.net = net.eval().requires_grad_(False)
        self.size_px = _multiple(net.config.size_px if size_px is None else size_px)
        self.mirrored = mirrored
        self.detail_px = detail_px

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = "nirne-small",
        device: str = "cpu",
        size_px: int | None = None,
        mirrored: bool = True,
        detail_px: int = DETAIL_PX,
    ) -> "NiRNE":
        """Load shipped weights by name, or a folder with `config.json` and `model.safetensors`.

        Raises:
            InputError: no such weights, or files that don't fit the network.
        """
        return cls(load_network(weights, NiRNEConfig, NiRNENet).to(device), size_px, mirrored, detail_px)

    def enlarged(self, factor: float) -> "NiRNE":
        """The same network at so many times its working size, for a photo that was made so many times larger."""
        return NiRNE(self.net, round(self.size_px * factor), self.mirrored, min(round(self.detail_px * factor), 16384))

    def save_pretrained(self, directory: Path) -> None:
        """Write `config.json` and `model.safetensors` (float16)."""
        save_checkpoint(directory, self.net.config, self.net.state_dict())

    @torch.inference_mode()
    def __call__(self, photo: Photo) -> NormalMap:
        """Normals and concentration on the photo's mask (everywhere, if it has none).

        Raises:
            InputError: the mask is empty or smaller than `maquette.methods.framing.MINIMUM_PX` across.
        """
        mask, window = mask_of(photo), object_window(photo)
        side = window.height
        device = next(self.net.parameters()).device
        solid = window.cut(mask[None].float())[None].to(device)
        crop = window.cut(photo.rgb.permute(2, 0, 1))[None].to(device) * solid

        cover = resize(solid, self.size_px)
        small = resize(crop, self.size_px) / cover.clamp_min(1e-3)
        coarse = (cover >= 0.5).float()
        if not bool(coarse.any()):  # thinner than a pixel of the network's everywhere
            coarse = (cover > 0).float()
        normal, kappa = self._predict(normalise_exposure(small, coarse), coarse)
        finest = min(side, self.detail_px)
        if finest > self.size_px:
            cover = resize(solid, finest)
            seen = resize(crop, finest) / cover.clamp_min(1e-3)
            normal, kappa = sharpen(self._predict_tiles, seen, (cover >= 0.5).float(), normal, kappa, self.size_px)

        size = (mask.shape[0], mask.shape[1])
        normals = window.paste(resize(normal, side)[0].cpu(), size).permute(1, 2, 0)
        concentration = window.paste(resize(kappa, side)[0].cpu().clamp_min(1e-3), size)[0]
        facing = torch.tensor([0.0, 0.0, 1e-6])  # never a zero vector
        return NormalMap(unit(normals + facing) * mask[..., None], mask, concentration * mask)

    def _predict_tiles(self, photos: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Parts of a photo, linear, each exposed for itself."""
        return self._predict(normalise_exposure(photos, masks), masks)

    def _predict(self, photo: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        normal, kappa = self.net(photo, mask)
        if not self.mirrored:
            return normal, kappa
        other, other_kappa = self.net(photo.flip(3), mask.flip(3))
        other = other.flip(3) * other.new_tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
        return unit(normal + other, 1), (kappa + other_kappa.flip(3)) / 2


def _multiple(size_px: int) -> int:
    if not 32 <= size_px <= 4096:
        raise InputError(f"a working size of {size_px} px; it must lie in 32..4096")
    return -(-size_px // MULTIPLE) * MULTIPLE
