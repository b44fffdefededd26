"""Materials: spatially varying albedo, roughness and metalness over a batch of G-buffers.

Textures are solid (functions of the position), so they need no parametrisation and have no seams. Noise is
a random volume sampled trilinearly: cheap on a CPU and the same code on a GPU. What is painted on a surface,
or follows its shape, comes on top in `maquette.synth.looks.paint`.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from maquette.synth.looks.pictures import repeat, textures

PATTERNS = 9  # plain, soft, patches, marble, stripes, checks, spots, speckle, photographed texture
_PATTERN_ODDS = (0.38, 0.1, 0.09, 0.06, 0.06, 0.05, 0.06, 0.08, 0.12)
# Of things that aren't metal: as drawn, very dark and glossy, glazed, varnished, soft as wax and skin are.
_FINISH_ODDS = (0.6, 0.1, 0.12, 0.06, 0.12)
_METAL_ODDS = (0.25, 0.35, 0.25, 0.15)  # polished, satin, brushed, rough
# Silver, gold, copper, brass, bronze, steel, aluminium, gunmetal.
_METALS = (
    (0.95, 0.93, 0.88), (0.98, 0.76, 0.34), (0.93, 0.62, 0.5), (0.9, 0.77, 0.43), (0.68, 0.45, 0.24),
    (0.56, 0.56, 0.57), (0.9, 0.91, 0.91), (0.2, 0.2, 0.22),
)  # fmt: skip
_VOLUME = 16


@dataclass(frozen=True)
class Material:
    """Batched surface properties, linear.

    Attributes:
        albedo: diffuse reflectance, or the specular colour of a metal.
        roughness: perceptual, in 0..1 (GGX alpha is its square).
        metal: 1 for a metal, 0 for a dielectric.
        specular: strength of a dielectric's reflection; 0 is perfectly matte, 1 has F0 = 0.04.
        coat: cover by a thin clear varnish, 0 to 1; none by default.
        brushed: an axis; grooves run in rings about it, finer the longer it is, at most 1. None by default.
        softness: how far light spreads below the surface, 0 to 1; not at all by default.
    """

    albedo: Float[Tensor, "batch 3 height width"]
    roughness: Float[Tensor, "batch 1 height width"]
    metal: Float[Tensor, "batch 1 #height #width"]
    specular: Float[Tensor, "batch 1 #height #width"]
    coat: Float[Tensor, "batch 1 1 1"] | None = None
    brushed: Float[Tensor, "batch 3 1 1"] | None = None
    softness: Float[Tensor, "batch 1 1 1"] | None = None


def pick(material: Material, rows: Int[Tensor, " picked"]) -> Material:
    """The material of some objects of a batch."""
    return replace(material, **{name: value[rows] for name, value in vars(material).items() if value is not None})


def without_gloss(material: Material) -> Material:
    """The same colours without any gloss, metal or softness: Lambert's surface."""
    zero = torch.zeros_like(material.metal)
    return Material(material.albedo, material.roughness, zero, torch.zeros_like(material.specular))


def sample_material(
    position: Float[Tensor, "batch 3 height width"], rng: Generator, metal: bool | None = None
) -> Material:
    """Draw a material for every object of a batch.

    Args:
        position: in object units, about the object's centre.
        rng: what is drawn from it is the same whatever `metal` says.
        metal: all of them are metals, or none; by default, one in eight.
    """
    n, device = len(position), position.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    # Plaster, clay, stoneware, plain plastic: half of what people photograph for its shape.
    plain = (per_object() < 0.5).float()
    by_chance = (per_object() < 0.25).float() * (1 - plain)
    metallic = by_chance if metal is None else torch.full_like(by_chance, float(metal))
    first, second = colours(n, rng, device), colours(n, rng, device)
    first = torch.where(metallic > 0, _metals(n, rng, device), first)
    patterned = (1 - plain) * torch.where(by_chance > 0, per_object() < 0.35, 1.0)
    albedo, varied = _patterned(position, first, second, patterned.flatten(), rng)

    glossy = (per_object() < 0.5).float() * (1 - 0.5 * plain)
    roughness = torch.lerp(0.55 + 0.45 * per_object(), 0.12 + 0.5 * per_object(), glossy)
    specular = (per_object() < 0.7).float() * (0.3 + per_object())
    roughness = roughness.expand(-1, 1, *position.shape[2:])
    material = Material(albedo, roughness, metallic, specular)
    material = _finished(material, plain, rng)
    rough = material.roughness + 0.35 * per_object() * (per_object() < 0.4) * (varied - 0.5)
    return replace(material, roughness=rough.clamp(0.05, 1))


def _finished(material: Material, plain: Tensor, rng: Generator) -> Material:
    """Gloss, varnish, brushing and softness by kind; what is plain is rarely anything but dull."""
    n, device = len(plain), plain.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *(shape or (1, 1, 1)), generator=rng, device=device)

    def kinds(odds: tuple[float, ...]) -> Tensor:
        weights = torch.tensor(odds, device=device)
        return torch.multinomial(weights, n, replacement=True, generator=rng).reshape(n, 1, 1, 1)

    metallic = material.metal > 0
    finish = kinds(_FINISH_ODDS).masked_fill((plain > 0) & (uniform() < 0.5), 0)
    specular = torch.where((finish > 0) & (finish < 4), 0.8 + 0.4 * uniform(), material.specular)
    finish = finish.masked_fill(metallic, 0)
    sheen = kinds(_METAL_ODDS)
    polished, satin, rough = 0.06 + 0.16 * uniform(), 0.22 + 0.2 * uniform(), 0.42 + 0.4 * uniform()
    smooth = 0.05 + 0.2 * uniform() ** 1.5
    of_metal = torch.where(sheen == 0, polished, torch.where(sheen == 3, rough, satin))
    roughness = torch.where(metallic, of_metal, material.roughness)
    roughness = torch.where((finish == 1) | (finish == 2), smooth, roughness)
    dark = 0.004 + 0.046 * uniform() ** 1.5
    shade = torch.where(finish == 1, dark / material.albedo.amax(1, keepdim=True).clamp_min(dark), 1.0)
    coated = (finish == 3) | ((finish == 2) & (uniform() < 0.4)) | (metallic & (uniform() < 0.15))
    axis = F.normalize(uniform(3, 1, 1) - 0.5, dim=1)
    return Material(
        albedo=(material.albedo * shade).clamp_min(0.003),
        roughness=roughness,
        metal=material.metal,
        specular=specular,
        coat=coated * (0.6 + 0.4 * uniform()),
        brushed=axis * ((sheen == 2) & metallic) * (0.6 + 0.4 * uniform()),
        softness=(finish == 4) * (0.2 + 0.8 * uniform()),
    )


def _patterned(position: Tensor, first: Tensor, second: Tensor, wanted: Tensor, rng: Generator) -> tuple[Tensor, ...]:
    """Albedo, and noise in 0..1 that roughness may follow; where no pattern is wanted, one colour and one half."""
    n, _, height, width = position.shape
    albedo = first.clamp(0.005, 0.98).expand(-1, -1, height, width)
    varied = torch.full((n, 1, 1, 1), 0.5, device=position.device).expand(-1, -1, height, width)
    rows = torch.nonzero(wanted).flatten()
    if not len(rows):
        return albedo, varied
    worn, noise = _worn(position[rows], first[rows], second[rows], rng)
    return albedo.index_copy(0, rows, worn), varied.index_copy(0, rows, noise)


def _worn(position: Tensor, first: Tensor, second: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """A pattern of two colours or a photographed texture, mottled, for every object; and the broad noise in it."""
    n, device = len(position), position.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    volume = torch.rand(n, 4, _VOLUME, _VOLUME, _VOLUME, generator=rng, device=device)
    local = rotate(position, rotations(n, rng, device)) + (torch.rand(n, 3, 1, 1, generator=rng, device=device) - 0.5)
    frequency = 0.8 * 6 ** per_object()
    broad = noise(volume, local * frequency)
    fine = noise(volume.flip(1), local * frequency * 3.1)
    weight, textured = _pattern(local, broad, fine, frequency, rng)
    contrast = 0.15 + 0.85 * per_object()
    albedo = torch.lerp(first, torch.lerp(first, second, contrast), weight)
    albedo = torch.lerp(albedo, _photographed(local, frequency, rng), textured)
    mottle = 0.25 * per_object() * (per_object() < 0.5)
    return (albedo * (1 + mottle * (fine[:, 1:2] - 0.5))).clamp(0.005, 0.98), broad[:, 2:3]


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


def _photographed(local: Tensor, frequency: Tensor, rng: Generator) -> Tensor:
    """A texture projected along one axis, with its own tint."""
    n, device = len(local), local.device
    images = textures().to(device)
    chosen = images[torch.randint(len(images), (n,), generator=rng, device=device)]
    tint = 0.6 + 0.8 * torch.rand(n, 3, 1, 1, generator=rng, device=device)
    return (repeat(chosen, local[:, :2] * frequency * 0.35) * tint).clamp(0, 1)


def _metals(n: int, rng: Generator, device: torch.device) -> Tensor:
    """(n, 3, 1, 1) specular colours of metals, each a little its own."""
    table = torch.tensor(_METALS, device=device)
    chosen = table[torch.randint(len(table), (n,), generator=rng, device=device)]
    return (chosen * (0.85 + 0.2 * torch.rand(n, 3, generator=rng, device=device)))[:, :, None, None].clamp_max(0.98)


def colours(n: int, rng: Generator, device: torch.device) -> Float[Tensor, "n 3 1 1"]:
    """Plausible albedos: a third are greys, the rest of mild to strong saturation."""
    value = 0.06 + 0.84 * torch.rand(n, 1, 1, 1, generator=rng, device=device)
    hue = torch.rand(n, 3, 1, 1, generator=rng, device=device)
    saturation = torch.rand(n, 1, 1, 1, generator=rng, device=device) ** 1.5
    saturation = saturation * (torch.rand(n, 1, 1, 1, generator=rng, device=device) > 0.33)
    return value * (1 - saturation + saturation * hue / hue.amax(1, keepdim=True).clamp_min(0.05))


def noise(
    volume: Float[Tensor, "batch channels side side side"], points: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Trilinear noise in 0..1 from a volume of `_VOLUME` cells a side; one lattice cell per unit, mirrored."""
    grid = (points / (_VOLUME / 2)).permute(0, 2, 3, 1)[:, None]
    return F.grid_sample(volume, grid, padding_mode="reflection", align_corners=False)[:, :, 0]


def solid_noise(points: Float[Tensor, "batch 3 height width"], rng: Generator) -> Float[Tensor, "batch 1 height width"]:
    """New noise in 0..1, one lattice cell per unit."""
    volume = torch.rand(len(points), 1, _VOLUME, _VOLUME, _VOLUME, generator=rng, device=points.device)
    return noise(volume, points)


def rotate(vectors: Tensor, turns: Tensor) -> Tensor:
    """(batch, 3, height, width) turned by (batch, 3, 3)."""
    return torch.einsum("nij,njhw->nihw", turns, vectors)


def rotations(n: int, rng: Generator, device: torch.device) -> Float[Tensor, "n 3 3"]:
    """Uniform random rotations, from unit quaternions."""
    q = F.normalize(torch.randn(n, 4, generator=rng, device=device), dim=1)
    w, x, y, z = q.unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(n, 3, 3)
