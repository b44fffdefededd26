"""Paint: what is printed on a surface, and what follows its shape. It changes colour and gloss, never a normal.

Prints (lettering, emblems, stripes, photographs, grain, painted shadows) are projected from outside and know nothing
of the shape below; a network must not take them for relief. Paint that follows the shape (colour by part, by height,
dirt in hollows, worn edges, dust) is what real things wear, and a hint.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from maquette.synth.looks.materials import Material, colours, pick, rotate, rotations, sample_material, solid_noise
from maquette.synth.looks.pictures import LETTERED, inks, repeat, scenes
from maquette.synth.surfaces import Surfaces, some

PARTS = 64  # colours by part repeat after so many
_PRINTED, _PAINTED, _AGED = 0.38, 0.2, 0.25  # shares of the objects
_PHOTOGRAPHS = 0.25  # of the prints
_GILT = 0.08


def sample_look(surfaces: Surfaces, rng: Generator) -> Material:
    """A material for every object of a batch, painted and aged."""
    material = sample_material(surfaces.local, rng)
    draws = torch.rand(3, len(surfaces.mask), generator=rng, device=surfaces.mask.device)
    for layer, share, draw in zip((painted, printed, aged), (_PAINTED, _PRINTED, _AGED), draws, strict=True):
        rows = torch.nonzero(draw < share).flatten()
        if len(rows):
            changed = layer(some(surfaces, rows), pick(material, rows), rng)
            material = _put(material, rows, changed)
    return material


def printed(surfaces: Surfaces, material: Material, rng: Generator) -> Material:
    """A print on every object: an ink over what is there, or a photograph in its place; gilt now and then."""
    n, device = len(surfaces.mask), surfaces.mask.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    places = _projected(surfaces, rng)
    stencils = inks().to(device)
    which = torch.randint(len(stencils), (n,), generator=rng, device=device)
    lettered = (which < LETTERED).reshape(n, 1, 1, 1)
    scale = torch.where(lettered, 0.7 + 1.6 * per_object(), 0.5 * 6 ** per_object())
    ink = repeat(stencils[which], places * scale, ~lettered)
    crisp = torch.where(per_object() < 0.6, 4.0, 1.0)
    ink = ((ink - 0.5) * crisp + 0.5).clamp(0, 1)
    ink = torch.where(per_object() < 0.3, 1 - ink, ink)

    first, second = colours(n, rng, device), colours(n, rng, device)
    cover = torch.where(per_object() < 0.5, 1.0, per_object())  # half of the prints are transparent
    # Strong contrast is common: print is made to be read.
    first = torch.where(per_object() < 0.35, torch.where(per_object() < 0.6, 0.02, 0.9), first)
    albedo = torch.where(per_object() < 0.3, second, material.albedo)
    albedo = torch.lerp(albedo, first.expand_as(albedo), ink * cover)
    photo = per_object() < _PHOTOGRAPHS
    albedo = torch.where(photo, _photograph(places * scale, rng), albedo).clamp(0.005, 0.98)

    gilt = (per_object() < _GILT) & ~photo
    gold = torch.tensor([0.98, 0.76, 0.34], device=device).reshape(1, 3, 1, 1)
    albedo = torch.lerp(albedo, gold.expand_as(albedo), ink * gilt)
    metal = torch.maximum(material.metal * ~photo, ink * gilt)
    uneven = (per_object() < 0.4) & ~photo
    other = (0.1 + 0.8 * per_object()).expand_as(material.roughness)
    roughness = torch.where(uneven, torch.lerp(material.roughness, other, ink), material.roughness)
    specular = torch.where(uneven | gilt, material.specular.clamp_min(0.3), material.specular)
    return replace(material, albedo=albedo, metal=metal, roughness=roughness, specular=specular)


def painted(surfaces: Surfaces, material: Material, rng: Generator) -> Material:
    """Colour that follows the shape: by part, or by height in bands, as glaze is dipped and layers lie."""
    n, device = len(surfaces.mask), surfaces.mask.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    by_part = per_object() < 0.55
    axis = F.normalize(torch.randn(n, 3, generator=rng, device=device) * 0.4 + torch.tensor([0, 1.0, 0]).to(device))
    height = torch.einsum("ni,nihw->nhw", axis, surfaces.local)[:, None]
    wobble = 0.25 * per_object() ** 2 * (solid_noise(surfaces.local * 4, rng) - 0.5)
    band = ((height + wobble) * (0.6 + 4 * per_object() ** 2) + 8 * per_object()).floor()
    number = torch.where(by_part, surfaces.part, band).long() % PARTS
    # Part 0, or every other band at least, stays as it is.
    table = torch.cat([colours(n * PARTS, rng, device).reshape(n, PARTS, 3), _gloss(n, rng, device)], 2)
    looks = torch.gather(table, 1, number.flatten(1)[..., None].expand(-1, -1, 5)).unflatten(1, number.shape[2:])
    looks = looks.permute(0, 3, 1, 2)
    change = (torch.where(by_part, looks[:, 4:] < 0.75, number % 2 == 1) & (surfaces.mask > 0)).float()
    metal = torch.where(per_object() < 0.3, (looks[:, 4:] < 0.25).float(), material.metal)
    return replace(
        material,
        albedo=torch.lerp(material.albedo, looks[:, :3], change).clamp(0.005, 0.98),
        roughness=torch.lerp(material.roughness, looks[:, 3:4], change),
        metal=torch.lerp(material.metal.expand_as(change), metal.expand_as(change), change),
    )


def aged(surfaces: Surfaces, material: Material, rng: Generator) -> Material:
    """Dirt or patina in the hollows, edges worn bare, dust on what faces up."""
    n, device = len(surfaces.mask), surfaces.mask.device

    def per_object() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    kind = per_object()
    patchy = 0.5 + solid_noise(surfaces.local * (3 + 9 * per_object()), rng)
    threshold = 0.1 + 0.5 * per_object()
    hollow = ((1 - surfaces.openness - 0.3 * threshold) * 2.5 * patchy).clamp(0, 1)
    sunk = ((-curvature(surfaces) - threshold) * 2 * patchy).clamp(0, 1)
    edge = ((curvature(surfaces) - 0.4 - threshold) * 3 * patchy).clamp(0, 1)
    up = F.normalize(torch.tensor([0, 0.9, 0.3], device=device) + 0.2 * torch.randn(n, 3, generator=rng, device=device))
    facing = torch.einsum("ni,nihw->nhw", up, surfaces.normal)[:, None].clamp_min(0) ** 2 * patchy
    weight = torch.where(kind < 0.5, torch.maximum(hollow, sunk), torch.where(kind < 0.75, edge, facing.clamp(0, 1)))
    weight = weight * (0.4 + 0.6 * per_object())

    # Brown dirt or verdigris; bare metal, pale body or a darker coat below; grey dust.
    dirt = torch.tensor([0.09, 0.065, 0.045], device=device).reshape(1, 3, 1, 1) * (0.3 + 2 * per_object())
    verdigris = torch.tensor([0.16, 0.38, 0.31], device=device).reshape(1, 3, 1, 1)
    dirt = torch.where(material.metal * (per_object() < 0.6) > 0, verdigris, dirt)
    bare = torch.where(per_object() < 0.5, 0.8, colours(n, rng, device))
    dust = torch.tensor([0.5, 0.46, 0.42], device=device).reshape(1, 3, 1, 1)
    layer = torch.where(kind < 0.5, dirt, torch.where(kind < 0.75, bare, dust))
    shiny = ((kind >= 0.5) & (kind < 0.75) & (per_object() < 0.4)).float()
    rough = torch.where(shiny > 0, 0.35, 0.9).expand_as(weight)
    return replace(
        material,
        albedo=torch.lerp(material.albedo, layer.expand_as(material.albedo), weight).clamp(0.003, 0.98),
        roughness=torch.lerp(material.roughness, rough, weight),
        metal=torch.lerp(material.metal.expand_as(weight), shiny.expand_as(weight), weight),
    )


def curvature(surfaces: Surfaces) -> Float[Tensor, "batch 1 height width"]:
    """How much the surface bends, in screen space: turn of the normal over a fiftieth of the image; convex is positive.

    Smoothed over three pixels; zero at the outline, where no neighbour is known.
    """
    normal, mask = surfaces.normal, surfaces.mask
    x = F.pad(normal[:, :1, :, 2:] - normal[:, :1, :, :-2], (1, 1, 0, 0))
    y = F.pad(normal[:, 1:2, :-2] - normal[:, 1:2, 2:], (0, 0, 1, 1))
    inner = -F.max_pool2d(-mask, 3, 1, 1)
    bend = (x + y) * inner * (normal.shape[-1] / 100)
    return F.avg_pool2d(bend, 3, 1, 1)


def _projected(surfaces: Surfaces, rng: Generator) -> Float[Tensor, "batch 2 height width"]:
    """Where on a flat picture each point lies: slid from the front or any side, wrapped around, or from six sides."""
    n, device = len(surfaces.mask), surfaces.mask.device
    kind = torch.multinomial(torch.tensor([0.3, 0.3, 0.2, 0.2], device=device), n, replacement=True, generator=rng)
    front = (kind == 0).reshape(n, 1, 1)
    turn = torch.where(front, torch.eye(3, device=device), rotations(n, rng, device))
    around = (kind == 2).reshape(n, 1, 1)
    turn = torch.where(around, torch.eye(3, device=device), turn)
    kind = kind.reshape(n, 1, 1, 1)
    points = rotate(surfaces.local, turn)
    x, y, z = points.split(1, 1)
    flat = points[:, :2]
    wrapped = torch.cat([torch.atan2(x, z) * 0.7, y], 1)
    side = rotate(surfaces.normal, turn).abs()
    six = torch.where(
        side[:, :1] > side[:, 1:].amax(1, keepdim=True),
        torch.cat([z, y], 1),
        torch.where(side[:, 1:2] > side[:, 2:], torch.cat([x, z], 1), flat),
    )
    places = torch.where(kind == 2, wrapped, torch.where(kind == 3, six, flat))
    # A little aslant, and anywhere.
    angle = 0.25 * torch.randn(n, 1, 1, 1, generator=rng, device=device)
    u, v = places.split(1, 1)
    shift = 0.8 * torch.rand(n, 2, 1, 1, generator=rng, device=device) - 0.4
    return torch.cat([u * angle.cos() + v * angle.sin(), u * angle.sin() - v * angle.cos()], 1) + shift


def _photograph(places: Tensor, rng: Generator) -> Tensor:
    """A piece of a photographed scene, bright to dim."""
    n, device = len(places), places.device
    images = scenes().to(device)
    which = torch.randint(len(images), (n,), generator=rng, device=device)
    narrow = images.shape[2] / images.shape[3]
    aspect = torch.tensor([narrow, 1.0], device=device).reshape(1, 2, 1, 1)
    shift = torch.rand(n, 2, 1, 1, generator=rng, device=device) * torch.tensor([2.0, 0], device=device)[:, None, None]
    seen = repeat(images[which], places * aspect + shift)
    return seen * (0.6 + 1.2 * torch.rand(n, 1, 1, 1, generator=rng, device=device))


def _gloss(n: int, rng: Generator, device: torch.device) -> Tensor:
    """(n, PARTS, 2): a roughness, and a number that decides whether a part is repainted and of what."""
    draws = torch.rand(n, PARTS, 2, generator=rng, device=device)
    return torch.cat([0.1 + 0.9 * draws[..., :1], draws[..., 1:]], -1)


def _put(material: Material, rows: Int[Tensor, " picked"], changed: Material) -> Material:
    """The material with some objects' albedo, roughness, metal and specular replaced."""

    def put(old: Tensor, new: Tensor) -> Tensor:
        size = new.shape[2:] if new.shape[2:].numel() > old.shape[2:].numel() else old.shape[2:]
        return old.expand(-1, -1, *size).index_copy(0, rows, new.expand(-1, -1, *size))

    names = ("albedo", "roughness", "metal", "specular")
    return replace(material, **{name: put(getattr(material, name), getattr(changed, name)) for name in names})
