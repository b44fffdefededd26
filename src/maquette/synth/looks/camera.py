"""A camera and its faults: exposure, background, colour cast, blur, noise, tone, sharpening, compression."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.synth.looks.backgrounds import sample_background

_TAPS = 4  # on each side of a blur's kernel


def expose(
    radiance: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"], rng: Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Photos in 0..1 of what radiance stands before a random background; as a good or a bad camera takes them."""
    n, device = len(radiance), radiance.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *(shape or (1, 1, 1)), generator=rng, device=device)

    radiance = radiance * _exposure(radiance, mask, rng)
    radiance = torch.where(mask > 0, radiance, sample_background(mask, rng))
    radiance = radiance * _cast(n, rng, device) * _vignette(radiance, rng)
    radiance = _blurred(radiance, rng)
    radiance = radiance.clamp_min(0) + _noise(radiance, rng)
    grey = (uniform() < 0.1).float() + (uniform() < 0.15) * (uniform() - 0.6)  # some are pale, some garish
    radiance = torch.lerp(radiance, radiance.mean(1, keepdim=True), grey.clamp_max(1)).clamp(0, 1)
    gamma = torch.where(uniform() < 0.75, 1 / 2.2, 0.4 + 0.6 * uniform())
    encoded = (radiance + 1e-6) ** gamma
    # A tone curve: phones lift the middle's contrast, flat profiles lower it.
    contrast = torch.where(uniform() < 0.4, 0.9 * uniform() - 0.3, 0.0)
    encoded = torch.lerp(encoded, encoded * encoded * (3 - 2 * encoded), contrast)
    encoded = _sharpened(encoded, rng).clamp(0, 1)
    encoded = torch.round(encoded * 255) / 255
    return _compressed(_reduced(encoded, rng), rng)


def _exposure(radiance: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """A factor for every photo: for the mean, or for the highlights as a camera does that fears to clip them.

    A few are far too dark or too bright.
    """
    n, device = len(mask), mask.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    luminance = radiance.mean(1, keepdim=True) * mask
    mean = luminance.sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
    size = max(mask.shape[-1] // 32, 1)
    peak = F.avg_pool2d(luminance, size).amax((2, 3), keepdim=True)
    by_mean = (0.04 + 0.4 * per_object() ** 1.2) / mean.clamp_min(1e-6)
    by_peak = (0.25 + 0.75 * per_object()) / peak.clamp_min(1e-6)
    factor = torch.where(per_object() < 0.25, torch.minimum(by_mean, by_peak), by_mean)
    fault = per_object()
    return factor * torch.where(fault < 0.07, 0.08 + 0.4 * per_object(), torch.where(fault > 0.95, 2 + per_object(), 1))


def _cast(n: int, rng: Generator, device: torch.device) -> Tensor:
    """White balance: nearly right, or, in a sixth of the photos, as wrong as under tungsten or in shade."""
    near = 1 + 0.2 * (torch.rand(n, 3, 1, 1, generator=rng, device=device) - 0.5)
    warmth = torch.randn(n, 1, 1, 1, generator=rng, device=device)
    axis = torch.tensor([0.3, 0.0, -0.5], device=device).reshape(1, 3, 1, 1)
    wrong = torch.rand(n, 1, 1, 1, generator=rng, device=device) < 0.17
    return near * torch.where(wrong, torch.exp(axis * warmth), 1.0)


def _vignette(images: Tensor, rng: Generator) -> Tensor:
    """Darker corners in a third."""
    n, _, height, width = images.shape
    device = images.device
    draws = torch.rand(2, n, 1, 1, 1, generator=rng, device=device)
    y = torch.linspace(-1, 1, height, device=device)[:, None]
    x = torch.linspace(-1, 1, width, device=device)
    return 1 - 0.4 * draws[0] * (draws[1] < 0.3) * (x * x + y * y) / 2


def _blurred(images: Tensor, rng: Generator) -> Tensor:
    """Two in three out of focus by up to a pixel (one in eight by up to two), one in twelve shaken."""
    n, device = len(images), images.device
    draws = torch.rand(5, n, generator=rng, device=device)
    sigma = 0.25 + torch.where(draws[0] < 0.12, 1.75, 0.65) * draws[1]
    sigma = torch.where(draws[2] < 0.67, sigma, 0.3)  # no lens is sharper
    images = _gaussian(images, sigma)
    rows = torch.nonzero(draws[3] < 0.08).flatten()
    if not len(rows):
        return images
    # Shaken along a line: the mean of images shifted along it.
    angle, reach = 6.2832 * draws[4, rows], 1 + 2 * draws[1, rows]
    step = torch.stack([angle.cos(), angle.sin()], 1) * (2 * reach / images.shape[-1])[:, None]
    identity = torch.eye(2, 3, device=device).expand(len(rows), 2, 3)
    shaken = torch.zeros_like(images[rows])
    for t in (-1.0, -0.5, 0.0, 0.5, 1.0):
        moved = torch.cat([identity[..., :2], t * step[..., None]], 2)
        grid = F.affine_grid(moved, list(shaken.shape), align_corners=False)
        shaken = shaken + 0.2 * F.grid_sample(images[rows], grid, padding_mode="border", align_corners=False)
    return images.index_copy(0, rows, shaken)


def _gaussian(images: Tensor, sigma: Float[Tensor, " batch"]) -> Tensor:
    """Blur each image by its own deviation in pixels."""
    n, c, h, w = images.shape
    taps = torch.exp(-0.5 * (torch.arange(-_TAPS, _TAPS + 1, device=images.device) / sigma[:, None]) ** 2)
    kernel = (taps / taps.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(images.reshape(1, n * c, h, w), (_TAPS,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * c)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * c).reshape(n, c, h, w)


def _noise(radiance: Tensor, rng: Generator) -> Tensor:
    """Shot and read noise on two in three, grey or coloured; coarser than a pixel now and then, as after denoising."""
    n, _, height, width = radiance.shape
    device = radiance.device
    draws = torch.rand(3, n, 1, 1, 1, generator=rng, device=device)
    grain = torch.randn(radiance.shape, generator=rng, device=device)
    coarse = F.interpolate(grain[:, :, : height // 2, : width // 2], (height, width), mode="bilinear")
    grain = torch.where(draws[2] < 0.2, 1.5 * coarse, grain)
    grain = torch.where((draws[2] > 0.7) & (draws[2] < 0.85), grain[:, :1], grain)
    strength = 0.025 * draws[0] ** 3 * (draws[1] < 0.7)
    return grain * strength * (radiance.clamp_min(0) * 0.5 + 0.02).sqrt()


def _sharpened(images: Tensor, rng: Generator) -> Tensor:
    """Halos beside edges, as phones make them, on a quarter."""
    draws = torch.rand(2, len(images), generator=rng, device=images.device)
    rows = torch.nonzero(draws[0] < 0.25).flatten()
    if not len(rows):
        return images
    picked = images[rows]
    low = F.avg_pool2d(F.pad(picked, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = (0.3 + 1.2 * draws[1, rows]).reshape(-1, 1, 1, 1)
    return images.index_copy(0, rows, picked + amount * (picked - low))


def _reduced(images: Tensor, rng: Generator) -> Tensor:
    """One in ten was small once: reduced by up to three and enlarged again."""
    draws = torch.rand(2, len(images), generator=rng, device=images.device).tolist()
    for index in (i for i, draw in enumerate(draws[0]) if draw < 0.1):
        image = images[index : index + 1]
        height, width = image.shape[2:]
        share = 1 / (1.2 + 1.8 * draws[1][index])
        size = (max(int(height * share), 8), max(int(width * share), 8))
        small = F.interpolate(image, size, mode="bilinear", antialias=True)
        images[index] = F.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)
    return images


def _compressed(images: Tensor, rng: Generator) -> Tensor:
    """JPEG on three in ten, at a quality of 25 to 95."""
    draws = torch.rand(len(images), 2, generator=rng, device=images.device).cpu()
    for index in torch.nonzero(draws[:, 0] < 0.3).flatten().tolist():
        pixels = (images[index].permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        quality = int(25 + 70 * float(draws[index, 1]) ** 0.6)
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)).astype(np.float32) / 255
        images[index] = torch.from_numpy(decoded).permute(2, 0, 1).to(images.device)
    return images
