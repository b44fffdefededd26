"""Gaussians from a formula: what the fixtures `known.*` were made of, and what every round trip starts from."""

import numpy as np
import torch

from maquette.types import Gaussians

COUNT = 260  # two chunks of a compressed PLY


def known(count: int = COUNT, degree: int = 1) -> Gaussians:
    """Different values everywhere but few scales and colours, so that codebooks hold them."""
    k = np.arange(count)[:, None]
    rotation = np.sin(k * np.array([[0.7, 1.3, 2.1, 0.4]]) + np.array([[0.5, 1.0, 2.0, 3.0]]))
    coefficients = (degree + 1) ** 2
    which = np.arange(coefficients)[None, :, None] * 3 + np.arange(3)
    sh = 0.4 * np.sin(which + 1.7 * (k[..., None] % 4))
    sh[:, 0] *= 2
    values = {
        "mean": np.sin(k * np.array([[0.9, 1.7, 2.3]])) * np.array([[2.0, 1.0, 0.5]]),
        "scale": np.exp(-4 + 0.25 * ((k * np.array([[1, 3, 7]])) % 9)),
        "rotation": rotation / np.linalg.norm(rotation, axis=-1, keepdims=True),
        "opacity": (5 + (k[:, 0] * 11) % 240) / 255,
        "sh": sh,
    }
    return Gaussians(**{name: torch.from_numpy(value).float() for name, value in values.items()}, encoding="srgb")
