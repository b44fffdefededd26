"""RoSE's small VAE: trained on shadings, photos and normals, then frozen under the video model.

It starts as the principal components of the images' patches, which an optimiser would take hours to find, and learns
from there what is not linear.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from maquette.nets.rose import RoSENet
from maquette.shading.rigs import ring_lights, shading_frames
from maquette.synth.datasets.shards import ShapeData
from maquette.train.batches import Batch, move
from maquette.train.rose.data import RingBatch

VALIDATION_VIEWS = 24
_FRAMES = 3  # of a ring, in a batch: the VAE's decoder smooths over time
_RING = 36
_KL = 1e-6
_LOG_VARIANCE = -6.0  # of the latents, at first


def truth(net: RoSENet, batch: Batch) -> Float[Tensor, "batch frames 3 height width"]:
    """The sequence that the network is to imagine, in -1..1: the stored frames, where the data set has them."""
    normal = batch.normal * batch.solid
    if net.config.predicts == "normals":
        chosen = [i % 3 for i in range(net.config.frames)]
        return normal[:, chosen, None].expand(-1, -1, 3, -1, -1)
    if isinstance(batch, RingBatch):
        return as_sequence(batch.ring)
    return sequence_of(normal, ring_lights(net.config.frames))


def sequence_of(
    normal: Float[Tensor, "batch 3 height width"], lights: Float[Tensor, "count 3"]
) -> Float[Tensor, "batch count 3 height width"]:
    """Shadings under the lights, grey, in -1..1."""
    return as_sequence(shading_frames(normal.movedim(1, -1), lights).movedim(0, 1))


def as_sequence(
    shadings: Float[Tensor, "batch count height width"],
) -> Float[Tensor, "batch count 3 height width"]:
    """Shadings in 0..1 as the VAE takes them: grey, in -1..1."""
    return (2 * shadings - 1)[:, :, None].expand(-1, -1, 3, -1, -1)


def vae_loss(net: RoSENet, batch: Batch, rng: Generator) -> dict[str, Tensor]:
    """Squared difference of images and what the VAE makes of them, plus a little of its latents' divergence from noise.

    Of five batches three are shadings, a few frames of a ring that is turned at random; one is photos, half of them
    grey, and one the components of normals, as grey images.
    """
    kind = int(torch.randint(5, (), generator=rng, device=rng.device))
    images = _images(batch, kind, rng)
    posterior = net.posterior(images)
    noise = torch.randn(posterior.mean.shape, generator=rng, device=posterior.mean.device)
    made = net.decode_raw(posterior.mean + posterior.std * noise, images.shape[1]).float()
    error = (made - images).square().mean()
    spread = posterior.kl().float().mean() / posterior.mean[0].numel()
    return {"loss": error + _KL * spread, "vae_error": error, "vae_kl": spread}


@torch.no_grad()
def start_from_components(net: RoSENet, batch: Batch) -> None:
    """Encoder and decoder as the projection onto the leading principal components of the images' patches."""
    rng = torch.Generator(batch.photo.device).manual_seed(0)
    count, vae = net.vae.config.latent_channels, net.vae
    moments = []
    for kind in range(5):
        patches = F.pixel_unshuffle(_images(batch, kind, rng).flatten(0, 1), net.habits.fold).movedim(1, -1)
        patches = patches.reshape(-1, patches.shape[-1]).double()
        moments.append((patches.mean(0), patches.T @ patches / len(patches)))
    mean = torch.stack([m for m, _ in moments]).mean(0)
    covariance = torch.stack([c for _, c in moments]).mean(0) - mean[:, None] * mean
    basis = torch.linalg.eigh(covariance)[1][:, -count:].flip(1)
    basis = basis * basis.sum(0).sign()  # an eigenvector's sign is the library's choice

    encoder, decoder = vae.encoder, vae.decoder
    center = slice(None), slice(None), 1, 1
    encoder.conv_in.weight[:count] = 0
    encoder.conv_in.weight[center][:count] = basis.T.float()
    encoder.conv_in.bias[:count] = -(mean @ basis).float()
    _nothing(encoder.conv_out)
    encoder.conv_out.weight[center][:count, :count] = torch.eye(count)
    nn.init.dirac_(vae.quant_conv.weight)
    nn.init.zeros_(vae.quant_conv.bias)
    vae.quant_conv.bias[count:] = _LOG_VARIANCE
    decoder.conv_in.weight[:count] = 0
    decoder.conv_in.weight[center][:count] = torch.eye(count)
    decoder.conv_in.bias[:count] = 0
    _nothing(decoder.conv_out)
    decoder.conv_out.weight[center][:, :count] = basis.float()
    decoder.conv_out.bias.copy_(mean.float())
    nn.init.dirac_(decoder.time_conv_out.weight)
    nn.init.zeros_(decoder.time_conv_out.bias)


@torch.no_grad()
def normalise_latents(net: RoSENet, batch: Batch) -> None:
    """Bring the latents of a batch's shadings to a standard deviation of one, over all channels alike."""
    net.latent_std.fill_(1.0)
    images = sequence_of(batch.normal * batch.solid, ring_lights(net.config.frames))
    net.latent_std.copy_(net.encode(images).float().std())


@torch.no_grad()
def validate_vae(net: RoSENet, folder: Path, size_px: int, device: torch.device | str) -> dict[str, float]:
    """What the VAE alone costs: peak signal-to-noise of shadings, in dB, over fixed views of held-out shapes."""
    data = ShapeData(folder)
    surfaces = move(data.batch(views_of(data)[:12], data.spec.size_px // size_px), device)
    images = sequence_of(surfaces.normal, ring_lights(net.config.frames))
    made = net.decode(net.encode(images))
    error = ((made - images) / 2).square().mean()
    return {"val_vae_psnr_db": float(-10 * error.log10())}


def views_of(data: ShapeData) -> list[int]:
    """The held-out views that are scored, the same in every run."""
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()[:VALIDATION_VIEWS]


def _images(batch: Batch, kind: int, rng: Generator) -> Float[Tensor, "batch frames 3 height width"]:
    """Sequences in -1..1: shadings (kinds 0 to 2), photos (3), components of normals (4)."""
    device = batch.photo.device
    normal = batch.normal * batch.solid
    if kind < 3:
        first = int(torch.randint(_RING, (), generator=rng, device=device))
        chosen = [(first + i * _RING // 9) % _RING for i in range(_FRAMES)]
        return sequence_of(normal, ring_lights(_RING)[chosen])
    if kind == 3:
        grey = torch.rand(len(batch.photo), 1, 1, 1, generator=rng, device=device) < 0.5
        return torch.where(grey, batch.photo.mean(1, keepdim=True), batch.photo)[:, None] * 2 - 1
    return normal[:, :, None].expand(-1, -1, 3, -1, -1)


def _nothing(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
