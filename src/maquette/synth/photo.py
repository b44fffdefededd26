"""From stored G-buffers to photographs: batched shading and a camera, in torch, on any device.

One G-buffer gives endless photos: each call draws materials, lights, an environment and a camera anew.
Shading is direct light from up to two of the stored lights (with their traced shadows), plus a prefiltered
environment dimmed by ambient occlusion, plus one bounce of the object's own colour in its hollows.
"""

from dataclasses import dataclass
from math import pi

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from maquette.geometry.vectors import unit
from maquette.render.gbuffer import POINT
from maquette.synth.environments import LEVELS, bank, look_up, specular_level
from maquette.synth.materials import Material, sample_material
from maquette.synth.views import AREA_SAMPLES


@dataclass(frozen=True)
class Surfaces:
    """A batch of G-buffers, camera frame, channels first.

    Attributes:
        normal: unit; zero outside the mask.
        position: object units, relative to the camera.
        local: position relative to the object's centre.
        view: unit vectors from the surface to the camera.
        mask: 1 on the object.
        lit: 1 where a light reaches the surface.
        openness: 1 minus ambient occlusion.
        lights: xyz and kind, as `maquette.synth.views` orders them.
        opening: unit, the mean direction in which nothing stands near; the normal where all is closed.
        part: whole numbers from 1, the part of the object; 0 where it isn't known.
    """

    normal: Float[Tensor, "batch 3 height width"]
    position: Float[Tensor, "batch 3 height width"]
    local: Float[Tensor, "batch 3 height width"]
    view: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    lit: Float[Tensor, "batch lights height width"]
    openness: Float[Tensor, "batch 1 height width"]
    lights: Float[Tensor, "batch lights 4"]
    opening: Float[Tensor, "batch 3 height width"]
    part: Float[Tensor, "batch 1 height width"]


def photograph(surfaces: Surfaces, rng: Generator) -> Float[Tensor, "batch 3 height width"]:
    """Photos in 0..1, display-encoded as a camera writes them; something random lies behind the objects."""
    material = sample_material(surfaces.local, rng)
    radiance = shade(surfaces, material, rng)
    return expose(radiance, surfaces.mask, rng)


def shade(surfaces: Surfaces, material: Material, rng: Generator) -> Float[Tensor, "batch 3 height width"]:
    """Linear radiance under a random choice of the stored lights and a random environment."""
    n, device = len(surfaces.normal), surfaces.normal.device

    def per_object(*odds: float) -> Tensor:
        weights = torch.tensor(odds, device=device)
        return torch.multinomial(weights, n, replacement=True, generator=rng).reshape(n, 1, 1, 1)

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=rng, device=device)

    # Hard single light | light and room | two lights | environment alone.
    mode = per_object(0.36, 0.26, 0.14, 0.24)
    main = (mode < 3) * (0.5 + uniform())
    second = (mode == 2) * (0.2 + 0.8 * uniform())
    ambient = torch.where(mode == 0, 0.08 * uniform() ** 2, torch.where(mode == 3, 1.0, 0.05 + 0.6 * uniform()))

    source = torch.multinomial(torch.tensor([0.2, 0.2, 0.15, 0.25, 0.2], device=device).expand(n, -1), 2, generator=rng)
    total = torch.zeros_like(surfaces.normal)
    for slot, strength in enumerate((main, second)):
        tint = 1 + 0.25 * (torch.rand(n, 3, 1, 1, generator=rng, device=device) - 0.5)
        total = total + direct_light(surfaces, material, source[:, slot], strength * tint)
    total = total + ambient * _environment(surfaces, material, rng)
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
        source: 0 to 3, a stored light; 4, the area light.
        irradiance: at normal incidence, over pi; of a point light, at the object's centre.
    """
    direction, visible = _source(surfaces, source)
    return irradiance * visible * reflect(surfaces.normal, surfaces.view, direction, material)


def bounce(
    surfaces: Surfaces, material: Material, radiance: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """What the object adds to its own light: a hollow is lit by its walls, as bright as the object is on average."""
    mean = (radiance * surfaces.mask).sum((2, 3), keepdim=True) / surfaces.mask.sum((2, 3), keepdim=True).clamp_min(1)
    return material.albedo * mean * (1 - surfaces.openness)


def reflect(normal: Tensor, view: Tensor, light: Tensor, material: Material) -> Tensor:
    """Outgoing radiance for a light of irradiance pi at normal incidence: Lambert plus GGX (Walter 2007).

    All (batch, 3, height, width), unit; includes the cosine. Smith's shadowing in Hammon's approximation,
    Fresnel by Schlick.
    """
    nl = (normal * light).sum(1, keepdim=True).clamp_min(0)
    diffuse = (1 - material.metal) * material.albedo
    if not bool((material.metal + material.specular).any()):  # nothing here has a highlight
        return nl * diffuse
    half = unit(light + view, 1)
    nv = (normal * view).sum(1, keepdim=True).clamp_min(1e-3)
    nh = (normal * half).sum(1, keepdim=True).clamp(0, 1)
    vh = (view * half).sum(1, keepdim=True).clamp(0, 1)
    a2 = material.roughness**4
    lobe = a2 / (pi * ((nh * nh * (a2 - 1)) + 1) ** 2)
    alpha = material.roughness**2
    shadowing = 0.5 / torch.lerp(2 * nl * nv, nl + nv, alpha).clamp_min(1e-4)
    base = torch.lerp(0.04 * material.specular, material.albedo, material.metal)
    fresnel = base + (1 - base) * (1 - vh) ** 5 * (material.specular > 0)
    return nl * (diffuse + pi * lobe * shadowing * fresnel)


def _source(surfaces: Surfaces, choice: Tensor) -> tuple[Tensor, Tensor]:
    """Direction to, and visible fraction (with falloff) of, source `choice`: lights 0 to 3, or 4, the area light."""
    n = len(choice)
    rows = torch.arange(n, device=choice.device)
    light = surfaces.lights[rows, choice.clamp_max(4)]
    first = surfaces.lights.shape[1] - AREA_SAMPLES
    axis = surfaces.lights[:, first:, :3].mean(1)
    vector = torch.where((choice == 4)[:, None], axis, light[:, :3])[:, :, None, None]
    is_point = ((light[:, 3] == POINT) & (choice != 4)).reshape(n, 1, 1, 1)
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
    return direction, torch.where((choice == 4).reshape(n, 1, 1, 1), area, single) * falloff


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
    """Reflected environment light: irradiance at the normal, the prefiltered panorama along the mirror ray.

    Args:
        surfaces: the G-buffers.
        material: of their surfaces.
        environments: one an object, as `maquette.synth.environments.prefilter` makes them.
        turn: rotations from the camera's frame to the panorama's.
    """
    normal = torch.einsum("nij,njhw->nihw", turn, surfaces.normal)
    view = torch.einsum("nij,njhw->nihw", turn, surfaces.view)
    cosine = (normal * view).sum(1, keepdim=True).clamp_min(0)
    mirrored = 2 * cosine * normal - view
    irradiance = look_up(environments, normal, torch.full_like(cosine, LEVELS - 1))
    glossy = look_up(environments, mirrored, specular_level(material.roughness))
    base = torch.lerp(0.04 * material.specular, material.albedo, material.metal)
    smooth = 1 - material.roughness
    fresnel = base + (torch.maximum(smooth, base) - base) * (1 - cosine) ** 5 * (material.specular > 0)
    diffuse = (1 - material.metal) * material.albedo
    return surfaces.openness * (diffuse * irradiance + fresnel * glossy)


def expose(
    radiance: Float[Tensor, "batch 3 height width"], mask: Float[Tensor, "batch 1 height width"], rng: Generator
) -> Float[Tensor, "batch 3 height width"]:
    """A camera: background, white balance, exposure, vignetting, defocus, noise, a tone curve, 8 bits, JPEG."""
    n, _, height, width = radiance.shape
    device = radiance.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *(shape or (1, 1, 1)), generator=rng, device=device)

    luminance = radiance.mean(1, keepdim=True)
    count = mask.sum((2, 3), keepdim=True).clamp_min(1)
    mean = (luminance * mask).sum((2, 3), keepdim=True) / count
    radiance = radiance / mean.clamp_min(1e-6) * (0.04 + 0.4 * uniform() ** 1.5)
    radiance = torch.where(mask > 0, radiance, _background(n, height, width, rng, device))
    radiance = radiance * (1 + 0.2 * (uniform(3, 1, 1) - 0.5))
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device), torch.linspace(-1, 1, width, device=device), indexing="ij"
    )
    radiance = radiance * (1 - 0.35 * uniform() * (uniform() < 0.3) * (x * x + y * y) / 2)
    radiance = _defocus(radiance, uniform().flatten(), uniform().flatten())
    noise = torch.randn(radiance.shape, generator=rng, device=device)
    strength = 0.02 * uniform() ** 3 * (uniform() < 0.7)
    radiance = radiance + noise * strength * (radiance.clamp_min(0) * 0.5 + 0.02).sqrt()
    grey = (uniform() < 0.12).float()
    radiance = torch.lerp(radiance, radiance.mean(1, keepdim=True), grey).clamp(0, 1)
    gamma = torch.where(uniform() < 0.6, 1 / 2.2, 0.4 + 0.6 * uniform())
    encoded = (radiance + 1e-6) ** gamma
    encoded = torch.round(encoded * 255) / 255
    return _jpeg(encoded, rng)


def _background(n: int, height: int, width: int, rng: Generator, device: torch.device) -> Tensor:
    """Black, plain, or cloudy with a gradient, dim to bright."""
    coarse = torch.rand(n, 3, 4, 4, generator=rng, device=device)
    cloudy = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    plain = torch.rand(n, 3, 1, 1, generator=rng, device=device)
    kind = torch.rand(n, 1, 1, 1, generator=rng, device=device)
    return torch.where(kind < 0.3, 0.0, torch.where(kind < 0.6, plain.expand_as(cloudy), cloudy)) ** 2


def _defocus(images: Tensor, chance: Tensor, amount: Tensor) -> Tensor:
    """Blur half of the images by a Gaussian of up to 0.9 pixels."""
    sigma = 0.25 + 0.65 * amount
    taps = torch.exp(-0.5 * (torch.arange(-2, 3, device=images.device) / sigma[:, None]) ** 2)
    taps = torch.where((chance < 0.5)[:, None], taps, torch.tensor([0.0, 0, 1, 0, 0], device=images.device))
    taps = taps / taps.sum(1, keepdim=True)
    n, c, h, w = images.shape
    kernel = taps.repeat_interleave(c, 0)
    flat = F.pad(images.reshape(1, n * c, h, w), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * c)
    return F.conv2d(flat, kernel[:, None, :, None], groups=n * c).reshape(n, c, h, w)


def _jpeg(images: Tensor, rng: Generator) -> Tensor:
    """Compress a fifth of the images at a quality of 40 to 95."""
    draws = torch.rand(len(images), 2, generator=rng, device=images.device).cpu()
    for index in torch.nonzero(draws[:, 0] < 0.2).flatten().tolist():
        pixels = (images[index].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
        quality = int(40 + 55 * float(draws[index, 1]))
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)).astype(np.float32) / 255
        images[index] = torch.from_numpy(decoded).permute(2, 0, 1).to(images.device)
    return images


def _turns(n: int, rng: Generator, device: torch.device) -> Tensor:
    """Rotations of the environment: any turn about the vertical, then a tilt of up to 30 degrees or so."""
    yaw = 2 * pi * torch.rand(n, generator=rng, device=device)
    tilt = 0.3 * torch.randn(n, generator=rng, device=device)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    spin = torch.stack([yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()], 1).reshape(n, 3, 3)
    lean = torch.stack([one, zero, zero, zero, tilt.cos(), -tilt.sin(), zero, tilt.sin(), tilt.cos()], 1)
    return spin @ lean.reshape(n, 3, 3)
