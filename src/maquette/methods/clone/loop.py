"""The loop: rasterize, refine, fuse, shade, compare, and let the error reach every part."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.methods.clone.objective import PhotoTarget, Weights, held_out_error, objective
from maquette.methods.clone.surface import RawSurface, camera_of, channels, displayed, gaussians_of, normals_of, pixels
from maquette.nets.refiner import RefinerNet
from maquette.render.splat.rasterize import rasterize
from maquette.shading.kernel import LightKernel, light_prior, radiance
from maquette.types import RenderOutput

Stages = Literal["all", "gaussians", "refiner", "no-gate"]
REFINER_TRUST = (
    0.45  # of the refiner's normals, in the units of `PhotoTarget.trust`: an error of 25 degrees, as on renders
)
_CHECK_EVERY = 5  # iterations between looks at the held-out pixels


@dataclass(frozen=True)
class LoopConfig:
    """How the loop runs.

    Attributes:
        iterations: at most, at each resolution.
        patience: it stops when so many iterations brought no lower held-out error.
        rotation_lr, height_lr, albedo_lr, shape_lr, light_lr, network_lr: of Adam; radians, pixels, and logs.
        stages: what the answer is made of: all of it; the Gaussians' normals alone; the refiner's alone, on the first
            normals; or fused half and half without the gate. For ablations.
        weights: of the objective's terms.
    """

    iterations: int = 60
    patience: int = 30
    rotation_lr: float = 0.005
    height_lr: float = 0.1
    albedo_lr: float = 0.01
    shape_lr: float = 0.01
    light_lr: float = 0.01
    network_lr: float = 2e-5
    stages: Stages = "all"
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
                raise InputError(f"clone: {each.name} is {value}; it must be positive")


@dataclass(frozen=True)
class Round:
    """What one turn of the loop sees.

    Attributes:
        rendered: the Gaussians in display values; features are albedo.
        own: every Gaussian's normal, by pixel.
        seen: the rasterized normals; unit inside the mask.
        refined, gate: the network's.
        fused: the answer.
        shaded: the photo as the answer explains it, in display values; zero outside the mask.
    """

    rendered: RenderOutput
    own: Float[Tensor, "side side 3"]
    seen: Float[Tensor, "side side 3"]
    refined: Float[Tensor, "side side 3"]
    gate: Float[Tensor, "side side"]
    fused: Float[Tensor, "side side 3"]
    shaded: Float[Tensor, "side side 3"]


@dataclass(frozen=True)
class Fitted:
    """Where the loop stopped; `held_out` is the reprojection error of pixels that it never saw."""

    surface: RawSurface
    light: LightKernel
    refiner: RefinerNet
    held_out: float
    iteration: int


def turn(
    surface: RawSurface,
    light: LightKernel,
    refiner: RefinerNet,
    target: PhotoTarget,
    stages: Stages,
    backend: str = "auto",
) -> Round:
    """Once around: from the parameters to the photo that they predict."""
    side = len(target.mask)
    solid = target.mask[..., None].to(target.photo)
    rendered = rasterize(gaussians_of(surface, target.mask, light), camera_of(side), backend=backend)
    own = normals_of(surface)
    # A pixel of the mask that no Gaussian covers shows its own Gaussian's normal.
    seen = torch.where((rendered.alpha.detach() > 0.01)[..., None], rendered.normals, own) * solid
    given = target.first * solid if stages == "refiner" else seen
    if stages == "gaussians":
        refined, gate, fused = seen, torch.ones_like(rendered.alpha), seen
    else:
        said = refiner(channels(target.photo), channels(given), channels(solid))
        refined = pixels(said.refined)
        # A first map that is known to be good is held: two estimates weigh by their squared concentrations.
        held = target.trust**2 / (target.trust**2 + REFINER_TRUST**2)
        gate = held + (1 - held) * said.gate[0, 0]
        fused = unit(gate[..., None] * given + (1 - gate[..., None]) * refined) * solid
        if stages == "refiner":
            fused = refined
        elif stages == "no-gate":
            fused = unit(given + refined)
    assert rendered.features is not None
    albedo = rendered.features / rendered.alpha.clamp_min(0.05)[..., None]
    shaded = displayed(albedo * radiance(light, fused)) * solid
    return Round(rendered, own, seen, refined, gate, fused, shaded)


def fit(
    surface: RawSurface,
    light: LightKernel,
    refiner: RefinerNet,
    target: PhotoTarget,
    config: LoopConfig,
    report: Callable[[int, dict[str, float], Round], None] = lambda *_: None,
) -> Fitted:
    """Minimise the objective; returns the state with the lowest held-out error.

    Args:
        surface: where it starts.
        light: the same.
        refiner: changed in place; hand in a copy.
        target: the photo.
        config: how.
        report: told the iteration, the terms (and `held_out`, where it was looked at), and what was seen.
    """
    surface = RawSurface(
        **{name: value.detach().clone().requires_grad_() for name, value in surface.parameters().items()}
    )
    light = replace(
        light, sh=light.sh.detach().clone().requires_grad_(), kernel=light.kernel.detach().clone().requires_grad_()
    )
    optimiser = torch.optim.Adam(_groups(surface, light, refiner, config), betas=(0.9, 0.99))
    best = Fitted(surface, light, refiner, math.inf, 0)
    kept = None
    for iteration in range(config.iterations + 1):
        seen = turn(surface, light, refiner, target, config.stages)
        terms = objective(
            surface, seen.own, seen.rendered, seen.fused, seen.shaded, light_prior(light), target, config.weights
        )
        said = {name: float(value.detach()) for name, value in terms.items()}
        if iteration % _CHECK_EVERY == 0:
            error = held_out_error(seen.shaded, target)
            said["held_out"] = error
            if error < best.held_out:
                best = replace(best, held_out=error, iteration=iteration)
                kept = _snapshot(surface, light, refiner)
        report(iteration, said, seen)
        if iteration == config.iterations or iteration - best.iteration >= config.patience:
            break
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    assert kept is not None
    refiner.load_state_dict(kept[2])
    return replace(best, surface=kept[0], light=kept[1])


def _groups(
    surface: RawSurface, light: LightKernel, refiner: RefinerNet, config: LoopConfig
) -> list[dict[str, object]]:
    rates = {
        "rotation": config.rotation_lr,
        "height": config.height_lr,
        "log_albedo": config.albedo_lr,
        "log_scale": config.shape_lr,
        "opacity_logit": config.shape_lr,
    }
    groups: list[dict[str, object]] = [{"params": [getattr(surface, name)], "lr": rate} for name, rate in rates.items()]
    groups.append({"params": [light.sh, light.kernel], "lr": config.light_lr})
    groups.append({"params": list(refiner.parameters()), "lr": config.network_lr})
    return groups


def _snapshot(
    surface: RawSurface, light: LightKernel, refiner: RefinerNet
) -> tuple[RawSurface, LightKernel, dict[str, Tensor]]:
    copied = RawSurface(**{name: value.detach().clone() for name, value in surface.parameters().items()})
    weights = {name: value.detach().clone() for name, value in refiner.state_dict().items()}
    return copied, replace(light, sh=light.sh.detach().clone(), kernel=light.kernel.detach().clone()), weights
