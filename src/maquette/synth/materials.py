"""Materials: spatially varying albedo, roughness and metalness over a batch of G-buffers.

Textures are solid (functions of the position), so they need no parametrisation and have no seams. Noise is
a random volume sampled trilinearly: cheap on a CPU and the same code on a GPU.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

PATTERNS = 9  # plain, soft, patches, marble, stripes, checks, spots, speckle, photographed texture
_PATTERN_ODDS = (0.38, 0.1, 0.09, 0.06, 0.06, 0.05, 0.06, 0.08, 0.12)
_VOLUME = 16


@dataclass(frozen=True)
class Material:
    """Batched surface properties, linear.

    Attributes:
        albedo: diffuse reflectance, or the specular colour of a metal.
        roughness: perceptual, in 0..1 (GGX alpha is its square).
        metal: 1 for a metal, 0 for a dielectric.
        specular: strength of a dielectric's reflection; 0 is perfectly matte, 1 has F0 = 0.04.
    """

    albedo: Float[Tensor, "batch 3 height width"]
    roughness: Float[Tensor, "batch 1 height width"]
    metal: Float[Tensor, "batch 1 1 1"]
    specular: Float[Tensor, "batch 1 1 1"]


def sample_material(
    position: Float[Tensor, "batch 3 height width"], rng: Generator, metal: bool | None = None
) -> Material:
    """Draw a material for every object of a batch.

    Args:
        position: in object units, about the object's centre.
        rng: what is drawn from it is the same whatever `metal` says.
        metal: all of them are metals, or none; by default, one in ten.
    """
    n, device = len(position), position.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng, device=device)

    def per_object() -> Tensor:
        return uniform(1, 1, 1)

    volume = uniform(4, _VOLUME, _VOLUME, _VOLUME)
    local = _rotate(position, _rotations(n, rng, device)) + (uniform(3, 1, 1) - 0.5)
    frequency = 0.8 * 6 ** per_object()
    broad = _noise(volume, local * frequency)
    fine = _noise(volume.flip(1), local * frequency * 3.1)
    pattern = _pattern(local, broad, fine, frequency, rng)

    # Plaster, clay, stoneware, plain plastic: half of what people photograph for its shape.
    plain = (per_object() < 0.5).float()
    by_chance = (per_object() < 0.2).float() * (1 - plain)
    metallic = by_chance if metal is None else torch.full_like(by_chance, float(metal))
    first, second = _colours(n, rng, device), _colours(n, rng, device)
    # Metals are bright, and their colours are few: keep the hue, lift the value.
    first = torch.lerp(first, 0.45 + 0.5 * first, metallic)
    contrast = 0.15 + 0.85 * per_object()
    albedo = torch.lerp(first, torch.lerp(first, second, contrast), pattern[0] * (1 - plain))
    textured = pattern[1] * (1 - plain)
    albedo = torch.lerp(albedo, _photographed(local, frequency, rng), textured)
    mottle = 0.25 * per_object() * (per_object() < 0.5) * (1 - plain)
    albedo = (albedo * (1 + mottle * (fine[:, 1:2] - 0.5))).clamp(0.005, 0.98)

    glossy = (per_object() < 0.5).float() * (1 - 0.5 * plain)
    roughness = torch.lerp(0.55 + 0.45 * per_object(), 0.12 + 0.5 * per_object(), torch.maximum(glossy, metallic))
    varied = 0.35 * per_object() * (per_object() < 0.4)
    roughness = (roughness + varied * (broad[:, 2:3] - 0.5)).clamp(0.05, 1)
    specular = (per_object() < 0.7).float() * (0.3 + per_object())
    return Material(albedo, roughness.expand(-1, 1, *position.shape[2:]), metallic, specular)


def _pattern(local: Tensor, broad: Tensor, fine: Tensor, frequency: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A weight in 0..1 between two colours, and a mask of the objects that wear a photographed texture."""
    n, device = len(local), local.device
    odds = torch.tensor(_PATTERN_ODDS, device=device)
    kind = torch.multinomial(odds, n, replacement=True, generator=rng).reshape(n, 1, 1, 1)
    a, b = broad[:, :1], fine[:, :1]
    wave = torch.sin(3 * frequency * local[:, 1:2] + 9 * (a - 0.5) * (kind == 3))
    checks = torch.sin(4 * frequency * local).sign().prod(1, keepdim=True)
    choices = [
        torch.zeros_like(a),
        a,
        ((a - 0.5) * 25 + 0.5).clamp(0, 1),
        wave * 0.5 + 0.5,
        (wave * 6 + 0.5).clamp(0, 1),
        checks * 0.5 + 0.5,
        ((b - 0.68) * 20).clamp(0, 1),
        ((b - 0.5) * 3 + (fine[:, 3:] - 0.5) * 3 + 0.5).clamp(0, 1),
        torch.zeros_like(a),
    ]
    weight = sum((kind == k) * choice for k, choice in enumerate(choices))
    return torch.as_tensor(weight), (kind == PATTERNS - 1).float()


@cache
def _textures() -> Tensor:
    """Photographed albedo textures (CC0) as (textures, 3, side, side), linear."""
    folder = resources.files("maquette.synth").joinpath("assets")
    images = []
    for name in ("gold", "marble", "rock", "wood"):
        data = np.frombuffer(folder.joinpath(f"{name}.jpg").read_bytes(), np.uint8)
        images.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1] / 255.0)
    return torch.from_numpy(np.stack(images).astype(np.float32) ** 2.2).permute(0, 3, 1, 2).contiguous()


def _photographed(local: Tensor, frequency: Tensor, rng: Generator) -> Tensor:
    """A texture projected along one axis, with its own tint."""
    n, device = len(local), local.device
    textures = _textures().to(device)
    pick = torch.randint(len(textures), (n,), generator=rng, device=device)
    grid = (local[:, :2] * frequency * 0.35).permute(0, 2, 3, 1)
    grid = 1 - ((grid % 4) - 2).abs()  # mirrored repetition has no seam
    tint = 0.6 + 0.8 * torch.rand(n, 3, 1, 1, generator=rng, device=device)
    return (F.grid_sample(textures[pick], grid, align_corners=False) * tint).clamp(0, 1)


def _colours(n: int, rng: Generator, device: torch.device) -> Tensor:
    """(n, 3, 1, 1) plausible albedos: a third are greys, the rest of mild to strong saturation."""
    value = 0.06 + 0.84 * torch.rand(n, 1, 1, 1, generator=rng, device=device)
    hue = torch.rand(n, 3, 1, 1, generator=rng, device=device)
    saturation = torch.rand(n, 1, 1, 1, generator=rng, device=device) ** 1.5
    saturation = saturation * (torch.rand(n, 1, 1, 1, generator=rng, device=device) > 0.33)
    return value * (1 - saturation + saturation * hue / hue.amax(1, keepdim=True).clamp_min(0.05))


def _noise(volume: Tensor, points: Tensor) -> Tensor:
    """(batch, channels, height, width) trilinear noise in 0..1; one lattice cell per unit, mirrored."""
    grid = (points / (_VOLUME / 2)).permute(0, 2, 3, 1)[:, None]
    return F.grid_sample(volume, grid, padding_mode="reflection", align_corners=False)[:, :, 0]


def _rotate(vectors: Tensor, rotations: Tensor) -> Tensor:
    return torch.einsum("nij,njhw->nihw", rotations, vectors)


def _rotations(n: int, rng: Generator, device: torch.device) -> Tensor:
    """Uniform random rotations, from unit quaternions."""
    q = F.normalize(torch.randn(n, 4, generator=rng, device=device), dim=1)
    w, x, y, z = q.unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(n, 3, 3)
