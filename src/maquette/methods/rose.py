"""RoSE: imagine the object under a ring of lights, then solve for the normals."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.geometry.vectors import unit
from maquette.nets.rose import Condition, Rose
from maquette.shading.rigs import ring_lights
from maquette.shading.solve import solve_shading

SIGMAS = (80.0, 0.02)


@torch.no_grad()
def imagine(
    net: Rose,
    photo: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    steps: int = 4,
    guidance: float = 1.0,
    seed: int = 42,
) -> Float[Tensor, "batch frames 3 height width"]:
    """The sequence in -1..1, by Euler's method over the noise level; guidance is triangular over the frames."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    told = net.condition(photo, mask)
    blind = Condition(torch.zeros_like(told.tokens), torch.zeros_like(told.latent))
    count = net.config.frames
    scheduler = EulerDiscreteScheduler(
        prediction_type="sample",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=SIGMAS[1],
        sigma_max=SIGMAS[0],
    )
    scheduler.set_timesteps(steps)
    rng = torch.Generator().manual_seed(seed)
    n, c, h, w = told.latent.shape
    z = torch.randn(n, count, c, h, w, generator=rng).to(told.latent) * scheduler.init_noise_sigma
    rise = 1 - (torch.linspace(-1, 1, count)).abs()
    strength = (1 + (guidance - 1) * rise).to(z).reshape(1, -1, 1, 1, 1)
    for step, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
        level = sigma.expand(n).to(z)
        clean = net.clean(z, level, told)
        if guidance != 1:
            without = net.clean(z, level, blind)
            clean = without + strength * (clean - without)
        z = scheduler.step(clean, step, z, return_dict=False)[0]
    return net.decode(z)


def to_normals(
    net: Rose, sequence: Float[Tensor, "batch frames 3 height width"], solver: Literal["paper", "robust"] = "robust"
) -> Float[Tensor, "batch 3 height width"]:
    """Unit normals of a sequence."""
    if net.config.predicts == "normals":
        return unit(sequence.mean(1) + sequence.new_tensor([0, 0, 1e-4]).reshape(1, 3, 1, 1), 1)
    shading = (sequence.float().mean(2) + 1) / 2
    solution = solve_shading(shading.movedim(1, 0), ring_lights(net.config.frames), solver)
    return solution.normals.movedim(-1, 1).float()
