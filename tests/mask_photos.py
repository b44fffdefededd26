"""Synthetic photos whose object is known, for the tests of masks."""

import torch

from maquette.types import Photo


def disc_photo(size: int = 240, radius: float = 0.3) -> tuple[Photo, torch.Tensor]:
    """A shaded orange disc with a white highlight on a grey, noisy table."""
    axis = torch.linspace(-0.5, 0.5, size)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    disc = x**2 + y**2 < radius**2
    highlight = (x + 0.1) ** 2 + (y + 0.1) ** 2 < 0.02**2
    noise = 0.02 * torch.rand(size, size, 1, generator=torch.Generator().manual_seed(0))
    rgb = torch.where(disc[..., None], torch.tensor([0.7, 0.25, 0.05]) * (1 - 0.5 * x[..., None]), 0.2) + noise
    rgb[highlight] = 1.0
    return Photo(rgb, name="disc"), disc


def two_discs() -> tuple[Photo, torch.Tensor, torch.Tensor]:
    """Left an orange disc, right a smaller blue one, on grey, 200x320; and the pixels of each."""
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(320) + 0.5, indexing="ij")
    left, right = (x - 90) ** 2 + (y - 100) ** 2 < 60**2, (x - 240) ** 2 + (y - 100) ** 2 < 45**2
    rgb = torch.full((200, 320, 3), 0.3)
    rgb[left], rgb[right] = torch.tensor([0.7, 0.2, 0.05]), torch.tensor([0.05, 0.15, 0.6])
    return Photo(rgb, name="discs"), left, right


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Intersection over union."""
    return ((a & b).sum() / (a | b).sum()).item()
