"""NiRNE, the default: a photo to a normal map with a concentration per pixel, deterministic.

The object is seen whole at about the network's training size, then at twice that with the first answer as the guide,
and so on up to the resolution that is asked for; above `WHOLE_PX`, in overlapping tiles. A photo without a mask is
taken as it is, whatever its proportions: what leaves the frame isn't a silhouette.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from maquette.catalogue import DETAIL_PX, DETAIL_RANGE_PX, METHODS, TILED_DETAIL_PX
from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network, read_fields, save_checkpoint
from maquette.methods.framing import mask_of, object_window, photo_window, resize
from maquette.methods.tiles import blend_tiles, sharpen
from maquette.nets.nirne import MULTIPLE, NiRNEConfig, NiRNENet, enlarged
from maquette.nets.nirne_conv import MULTIPLE as CONV_MULTIPLE
from maquette.nets.nirne_conv import ConvNiRNEConfig, ConvNiRNENet
from maquette.shading.exposure import normalise_exposure
from maquette.types import NormalMap, Photo

WHOLE_PX = 512  # a finer pass than this sees tiles of this side

Network = NiRNENet | ConvNiRNENet


class NiRNE:
    """A loaded network: call it with a `Photo`, get a `NormalMap`.

    Attributes:
        net: the network, in evaluation mode.
        size_px: the object is first seen in a square of about this side; by default the training size.
        mirrored: average with the prediction of the mirrored photo: twice the time, a little more accurate.
        detail_px: finer passes add detail up to this resolution of the object, or the photo's own if that is lower; 0
            leaves it at `size_px`. By default `DETAIL_PX`, or `TILED_DETAIL_PX` of a network that knows no guide.
    """

    def __init__(
        self, net: Network, size_px: int | None = None, mirrored: bool = True, detail_px: int | None = None
    ) -> None:
        if detail_px is None:
            detail_px = DETAIL_PX if isinstance(net, NiRNENet) else TILED_DETAIL_PX
        if detail_px not in DETAIL_RANGE_PX:
            most = DETAIL_RANGE_PX.high
            raise InputError(f"detail up to {detail_px} px; it must lie in 0..{most}, where 0 is none")
        size_px = net.config.size_px if size_px is None else size_px
        if not 32 <= size_px <= 4096:
            raise InputError(f"a working size of {size_px} px; it must lie in 32..4096")
        self.net = net.eval().requires_grad_(False)
        multiple = MULTIPLE if isinstance(net, NiRNENet) else CONV_MULTIPLE
        self.size_px = -(-size_px // multiple) * multiple
        self.mirrored = mirrored
        self.detail_px = detail_px

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = METHODS["nirne"].weights,
        device: str = "cpu",
        size_px: int | None = None,
        mirrored: bool = True,
        detail_px: int | None = None,
    ) -> "NiRNE":
        """Load shipped weights by name, or a folder with `config.json` and `model.safetensors`.

        Raises:
            InputError: no such weights, or files that don't fit the network.
        """
        if "encoder" in read_fields(weights):
            net: Network = load_network(weights, NiRNEConfig, NiRNENet)
        else:  # the weights of before there was a pretrained encoder
            net = load_network(weights, ConvNiRNEConfig, ConvNiRNENet)
        return cls(net.to(device), size_px, mirrored, detail_px)

    def enlarged(self, factor: float) -> "NiRNE":
        """The same network at so many times its working size, for a photo that was made so many times larger."""
        detail_px = min(round(self.detail_px * factor), int(DETAIL_RANGE_PX.high))
        return NiRNE(self.net, round(self.size_px * factor), self.mirrored, detail_px)

    def save_pretrained(self, directory: Path) -> None:
        """Write `config.json` and `model.safetensors` (float16)."""
        save_checkpoint(directory, self.net.config, self.net.state_dict())

    @torch.inference_mode()
    def __call__(self, photo: Photo) -> NormalMap:
        """Normals and concentration on the photo's mask (everywhere, if it has none).

        Raises:
            InputError: the mask is empty or smaller than `maquette.methods.framing.MINIMUM_PX` across.
        """
        mask = mask_of(photo)
        window = object_window(photo)
        if bool(mask.all()) and isinstance(self.net, NiRNENet):
            window = photo_window(photo)
        device = next(self.net.parameters()).device
        solid = window.cut(mask[None].float())[None].to(device)
        crop = window.cut(photo.rgb.permute(2, 0, 1))[None].to(device) * solid
        passes = self._passes if isinstance(self.net, NiRNENet) else self._whole_then_tiles
        normal, kappa = passes(crop, solid)

        size = (mask.shape[0], mask.shape[1])
        inside = (window.height, window.width)
        normals = window.paste(resize(normal[0], inside).cpu(), size).permute(1, 2, 0)
        concentration = window.paste(resize(kappa[0], inside).cpu().clamp_min(1e-3), size)[0]
        facing = torch.tensor([0.0, 0.0, 1e-6])  # never a zero vector
        return NormalMap(unit(normals + facing) * mask[..., None], mask, concentration * mask)

    def _passes(self, crop: Tensor, solid: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse to fine, each pass guided by the one before it."""
        normal = kappa = guide = last = None
        for size in pass_sizes((crop.shape[2], crop.shape[3]), self.size_px, self.detail_px):
            seen, mask = _at(crop, solid, size)
            seen = normalise_exposure(seen, mask)
            if normal is not None and last is not None:
                guide = enlarged(normal, last, size)
            inputs = seen if guide is None else torch.cat([seen, guide], 1)
            if max(size) > WHOLE_PX and guide is not None:
                normal, kappa = blend_tiles(self._predict, inputs, mask, WHOLE_PX)
            else:
                normal, kappa = self._predict(inputs, mask)
            last = mask
        assert normal is not None and kappa is not None
        return normal, kappa

    def _whole_then_tiles(self, crop: Tensor, solid: Tensor) -> tuple[Tensor, Tensor]:
        """What networks without a guide do: the whole at the training size, then tiles add detail to it."""
        side = crop.shape[-1]
        seen, coarse = _at(crop, solid, (self.size_px, self.size_px))
        normal, kappa = self._predict(normalise_exposure(seen, coarse), coarse)
        finest = min(side, self.detail_px)
        if finest > self.size_px:
            seen, fine = _at(crop, solid, (finest, finest))
            normal, kappa = sharpen(self._predict_tiles, seen, fine, normal, kappa, self.size_px)
        return normal, kappa

    def _predict_tiles(self, photos: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Parts of a photo, linear, each exposed for itself."""
        return self._predict(normalise_exposure(photos, masks), masks)

    def _predict(self, seen: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Of photos, or of photos and guides (channels 3 to 5)."""
        return predict(self.net, self.mirrored, seen[:, :3], mask, seen[:, 3:] if seen.shape[1] > 3 else None)


def predict(
    net: Network, mirrored: bool, seen: Tensor, mask: Tensor, guide: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a network says of exposed photos; if `mirrored`, averaged with what it says of them mirrored."""

    def once(seen: Tensor, mask: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        return net(seen, mask) if guide is None else net(seen, mask, guide=guide)

    normal, kappa = once(seen, mask, guide)
    if not mirrored:
        return normal, kappa
    sign = seen.new_tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
    other, other_kappa = once(seen.flip(3), mask.flip(3), None if guide is None else guide.flip(3) * sign)
    return unit(normal + other.flip(3) * sign, 1), (kappa + other_kappa.flip(3)) / 2


def pass_sizes(window: tuple[int, int], size_px: int, detail_px: int) -> list[tuple[int, int]]:
    """(height, width) of every pass over a window: about `size_px` first, each of the others twice the one before.

    The length of a rectangle is that of the square of the same area. The last pass is as fine as `detail_px` and the
    window allow; all sides are multiples of what the network needs.
    """
    height, width = window
    length = math.sqrt(height * width)
    finest = max(min(length, detail_px), size_px) if detail_px else size_px
    doublings = max(round(math.log2(finest / size_px)), 0)
    lengths = [finest / 2 ** (doublings - k) for k in range(doublings + 1)]
    return [(_multiple(height * at / length), _multiple(width * at / length)) for at in lengths]


def _at(crop: Tensor, solid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The photo and its mask at another size: light is averaged over the object alone."""
    cover = resize(solid[0], size)[None]
    mask = (cover >= 0.5).float()
    if not bool(mask.any()):  # thinner than a pixel everywhere
        mask = (cover > 0).float()
    return resize(crop[0], size)[None] / cover.clamp_min(1e-3), mask


def _multiple(size_px: float) -> int:
    return max(-(-round(size_px) // MULTIPLE), 1) * MULTIPLE
