"""From stored G-buffers to photographs: batched shading in torch, on any device; the camera is `synth.looks.camera`.

One G-buffer gives endless photos: each call draws materials, paint, lights, an environment and a camera anew.
Shading is direct light from up to three of the stored lights (with their traced shadows) or a flash, plus a
prefiltered environment as it is seen through the open part of the sky, plus what the object sends into its hollows.
"""

from dataclasses import replace
from math import pi

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import POINT
from maquette.synth.looks.camera import expose
from maquette.synth.looks.environments import LEVELS, bank, look_up, open_level, specular_level
from maquette.synth.looks.lighting import FLASH, Lighting, sample_lighting
from maquette.synth.looks.materials import Material, pick
from maquette.synth.looks.paint import sample_look
from maquette.synth.looks.reflection import (
    base_reflectance,
    brushed_normal,
    dot,
    fifth,
    masked_blur,
    reflect,
    softened,
)
from maquette.synth.surfaces import Surfaces, some
from maquette.synth.views import AREA_SAMPLES

__all__ = ["Surfaces", "bounce", "direct_light", "environment_light", "expose", "photograph", "reflect", "shade"]


def photograph(surfaces: Surfaces, rng: Generator) -> Float[Tensor, "batch 3 height width"]:
    """Photos in 0..1, display-encoded as a camera writes them; something random lies behind the objects."""
    material = sample_look(surfaces, rng)
    radiance = shade(surfaces, material, rng)
    return expose(radiance, surfaces.mask, rng)


def shade(surfaces: Surfaces, material: Material, rng: Generator) -> Float[Tensor, "batch 3 height width"]:
    """Linear radiance under a random choice of the stored lights and a random environment."""
    lighting = sample_lighting(len(surfaces.normal), rng, surfaces.normal.device)
    total = torch.zeros_like(surfaces.normal)
    for slot in range(lighting.source.shape[1]):
        rows = torch.nonzero(lighting.strength[:, slot].flatten(1).any(1)).flatten()
        if len(rows):
            total = total.index_add(0, rows, _lamp(surfaces, material, lighting, slot, rows))
    total = total + lighting.ambient * _environment(surfaces, material, rng)
    return total + bounce(surfaces, material, total)


def direct_light(
    surfaces: Surfaces,
    material: Material,
    source: Int[Tensor, " batch"],
    irradiance: Float[Tensor, "batch channels 1 1"],
) -> Float[Tensor, "batch 3 height width"]:
    """Reflected light of one source per object, shadows included, nothing from anywhere else.

    Args:
        surfaces: the G-buffers.
        material: of their surfaces.
        source: 0 to 3, a stored light; 4, the area light; 5, a flash at the camera.
        irradiance: at normal incidence, over pi; of a point light, at the object's centre.
    """
    direction, visible = _source(surfaces, source)
    lit = visible * reflect(surfaces.normal, surfaces.view, direction, material)
    return irradiance * _through(surfaces, material, direction, visible, lit)


def bounce(
    surfaces: Surfaces, material: Material, radiance: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """What the object adds to its own light: a hollow is lit by its walls, twice over.

    The walls are as bright and as coloured as the object is around there, in the image, and on average.
    """
    size = radiance.shape[-1]
    mean = (radiance * surfaces.mask).sum((2, 3), keepdim=True) / surfaces.mask.sum((2, 3), keepdim=True).clamp_min(1)
    factor = max(size // 16, 1)
    coarse, cover = F.avg_pool2d(radiance * surfaces.mask, factor), F.avg_pool2d(surfaces.mask, factor)
    near = masked_blur(coarse / cover.clamp_min(1e-6), cover, 5)
    near = F.interpolate(near, radiance.shape[2:], mode="bilinear", align_corners=False)
    received = material.albedo * (1 - surfaces.openness)
    return received * (1 + received) * (0.5 * mean + 0.5 * near)


def _lamp(surfaces: Surfaces, material: Material, lighting: Lighting, slot: int, rows: Tensor) -> Tensor:
    """One light on the objects that have it, its shadow hard or soft, its highlight a point or a window."""
    surfaces, material = some(surfaces, rows), pick(material, rows)
    direction, visible = _source(surfaces, lighting.source[rows, slot])
    blurred = masked_blur(visible, surfaces.mask, 2 * max(round(surfaces.mask.shape[-1] / 128), 1) + 1)
    visible = torch.lerp(visible, blurred, lighting.soft[rows, slot])
    window = torch.nonzero(lighting.window[rows, slot].flatten(1).any(1)).flatten()
    # A lamp has a size: its highlight is never smaller.
    wide = (material.roughness**2 + lighting.width[rows, slot]).clamp_max(1).sqrt()
    lit = visible * reflect(surfaces.normal, surfaces.view, direction, replace(material, roughness=wide))
    if len(window):
        panes = lighting.window[rows, slot][window]
        shaped = _window(some(surfaces, window), pick(material, window), direction[window], panes)
        lit = lit.index_copy(0, window, visible[window] * shaped)
    return lighting.strength[rows, slot] * _through(surfaces, material, direction, visible, lit)


def _window(surfaces: Surfaces, material: Material, light: Tensor, panes: Tensor) -> Tensor:
    """Reflected light of a far window or softbox: its image in what is smooth, edges as sharp as the surface is.

    Args:
        surfaces: the G-buffers.
        material: of their surfaces.
        light: direction to its centre.
        panes: half-widths right and up (tangents), the window's turn, and the width of its bars.
    """
    dull = reflect(
        surfaces.normal, surfaces.view, light, replace(material, roughness=material.roughness.clamp_min(0.5))
    )
    cosine = dot(surfaces.normal, surfaces.view).clamp_min(0)
    mirrored = 2 * cosine * surfaces.normal - surfaces.view
    turn = panes[:, 2:3]
    right = unit(torch.linalg.cross(torch.cat([turn.sin(), turn.cos(), 0 * turn], 1).expand_as(light), light, dim=1), 1)
    up = torch.linalg.cross(light, right, dim=1)
    ahead = dot(mirrored, light)
    alpha = (material.roughness**2).clamp_min(0.01)
    inside = (ahead > 0).float()
    for axis, half in ((right, panes[:, :1]), (up, panes[:, 1:2])):
        place = (dot(mirrored, axis) / ahead.clamp_min(0.05)).abs()
        inside = inside * torch.sigmoid((half - place) * (2 / alpha))
        inside = inside * (1 - torch.sigmoid((panes[:, 3:] - place) * (2 / alpha)))
    # As bright as its irradiance of pi asks; blurred, its image is dimmer and wider.
    radiance = pi / (4 * (panes[:, :1] + alpha) * (panes[:, 1:2] + alpha))
    sharp = ((0.5 - material.roughness) * 5).clamp(0, 1)
    base = base_reflectance(material)
    shine = (material.specular > 0) | (material.metal > 0)
    fresnel = base + (1 - base) * fifth(1 - cosine) * shine
    matte = dot(surfaces.normal, light).clamp_min(0) * (1 - material.metal) * material.albedo
    return torch.lerp(dull, matte * (1 - fresnel) + inside * radiance * fresnel, sharp)


def _through(surfaces: Surfaces, material: Material, light: Tensor, visible: Tensor, lit: Tensor) -> Tensor:
    """Reflected light with that of soft bodies put in the place of Lambert's."""
    if material.softness is None:
        return lit
    rows = torch.nonzero(material.softness.flatten()).flatten()
    if not len(rows):
        return lit
    normal, mask, shown = surfaces.normal[rows], surfaces.mask[rows], visible[rows]
    body = pick(material, rows)
    soft = softened(normal, light[rows], shown, mask, material.softness[rows])
    hard = shown * dot(normal, light[rows]).clamp_min(0)
    dimmed = 1 - 0.05 * (body.specular > 0)
    change = (1 - body.metal) * body.albedo * dimmed * (soft - hard)
    return lit.index_copy(0, rows, (lit[rows] + change).clamp_min(0))


def _source(surfaces: Surfaces, choice: Tensor) -> tuple[Tensor, Tensor]:
    """Direction to, and visible fraction (with falloff) of, a source: lights 0 to 3, 4, the area light, or 5, a flash.

    The flash stands at the camera: what is seen is lit. It falls off as a point light does.
    """
    n = len(choice)
    rows = torch.arange(n, device=choice.device)
    light = surfaces.lights[rows, choice.clamp_max(4)]
    first = surfaces.lights.shape[1] - AREA_SAMPLES
    axis = surfaces.lights[:, first:, :3].mean(1)
    vector = torch.where((choice == 4)[:, None], axis, light[:, :3])[:, :, None, None]
    flash = (choice == FLASH).reshape(n, 1, 1, 1)
    vector = torch.where(flash, 0.0, vector)
    is_point = ((light[:, 3] == POINT) & (choice != 4)).reshape(n, 1, 1, 1) | flash
    offset = vector - surfaces.position
    squared = (offset * offset).sum(1, keepdim=True)
    direction = unit(torch.where(is_point, offset, vector), 1)
    # Falloff relative to the distance from the object's centre.
    count = surfaces.mask.sum((2, 3), keepdim=True).clamp_min(1)
    center = ((surfaces.position - surfaces.local) * surfaces.mask).sum((2, 3), keepdim=True) / count
    reference = ((vector - center) ** 2).sum(1, keepdim=True)
    falloff = torch.where(is_point, reference / squared.clamp_min(0.05), 1.0)
    area = surfaces.lit[:, first:].mean(1, keepdim=True)
    single = surfaces.lit[rows, choice.clamp_max(first - 1)][:, None]
    stored = torch.where((choice == 4).reshape(n, 1, 1, 1), area, single)
    return direction, torch.where(flash, 1.0, stored) * falloff


def _environment(surfaces: Surfaces, material: Material, rng: Generator) -> Tensor:
    """Reflected light of a random environment, turned at random, for every object."""
    n, device = len(surfaces.normal), surfaces.normal.device
    environments = bank().to(device)
    chosen = environments[torch.randint(len(environments), (n,), generator=rng, device=device)]
    return environment_light(surfaces, material, chosen, _turns(n, rng, device))


def environment_light(
    surfaces: Surfaces,
    material: Material,
    environments: Float[Tensor, "batch 3 levels rows columns"],
    turn: Float[Tensor, "batch 3 3"],
) -> Float[Tensor, "batch 3 height width"]:
    """Reflected environment light: irradiance through the opening, the prefiltered panorama along the mirror ray.

    Args:
        surfaces: the G-buffers.
        material: of their surfaces.
        environments: one an object, as `maquette.synth.looks.environments.prefilter` makes them.
        turn: rotations from the camera's frame to the panorama's.
    """
    normal = surfaces.normal
    if material.brushed is not None:
        rows = torch.nonzero(material.brushed.flatten(1).any(1)).flatten()
        if len(rows):
            bent = brushed_normal(normal[rows], surfaces.view[rows], material.brushed[rows])
            normal = normal.index_copy(0, rows, bent)
    cosine = dot(normal, surfaces.view).clamp_min(0)
    mirrored = 2 * cosine * normal - surfaces.view
    known = _known(surfaces)
    level = torch.where(known, open_level(surfaces.openness), LEVELS - 1)
    irradiance = look_up(environments, _turned(turn, surfaces.opening), level)
    diffuse = surfaces.openness * (1 - material.metal) * material.albedo * irradiance
    if not bool((material.metal + material.specular).any()):
        return diffuse
    glossy = look_up(environments, _turned(turn, mirrored), specular_level(material.roughness))
    base = base_reflectance(material)
    grazing = fifth(1 - cosine) * ((material.specular > 0) | (material.metal > 0))
    fresnel = base + (torch.maximum(1 - material.roughness, base) - base) * grazing
    total = diffuse * (1 - fresnel) + _unoccluded(surfaces, mirrored, material.roughness, known) * fresnel * glossy
    if material.coat is None:
        return total
    rows = torch.nonzero(material.coat.flatten()).flatten()
    if not len(rows):
        return total
    coat = material.coat[rows] * (0.04 + 0.96 * grazing[rows])
    sharp = look_up(environments[rows], _turned(turn[rows], mirrored[rows]), torch.zeros_like(coat))
    return total.index_copy(0, rows, total[rows] * (1 - coat) + surfaces.openness[rows] * coat * sharp)


def _known(surfaces: Surfaces) -> Bool[Tensor, "batch 1 1 1"]:
    """Whether an object's openings were stored: where all of them are the normals, they weren't."""
    aside = (surfaces.opening - surfaces.normal).abs().amax((1, 2, 3))
    return (aside > 1e-3).reshape(-1, 1, 1, 1)


def _unoccluded(surfaces: Surfaces, mirrored: Tensor, roughness: Tensor, known: Tensor) -> Tensor:
    """Which share of the mirror's lobe reaches the sky: it does inside the cone that is open, if that is known."""
    edge = (1 - surfaces.openness).clamp_min(0).sqrt()  # cosine of the cone's half-angle
    width = 0.25 + roughness
    inside = (0.5 + (dot(mirrored, surfaces.opening) - edge) / width).clamp(0, 1)
    return torch.where(known, torch.lerp(inside, torch.ones_like(inside), surfaces.openness**4), surfaces.openness)


def _turned(turn: Tensor, vectors: Tensor) -> Tensor:
    return torch.einsum("nij,njhw->nihw", turn, vectors)


def _turns(n: int, rng: Generator, device: torch.device) -> Tensor:
    """Rotations of the environment: any turn about the vertical, then a tilt of up to 30 degrees or so."""
    yaw = 2 * pi * torch.rand(n, generator=rng, device=device)
    tilt = 0.3 * torch.randn(n, generator=rng, device=device)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    spin = torch.stack([yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()], 1).reshape(n, 3, 3)
    lean = torch.stack([one, zero, zero, zero, tilt.cos(), -tilt.sin(), zero, tilt.sin(), tilt.cos()], 1)
    return spin @ lean.reshape(n, 3, 3)
