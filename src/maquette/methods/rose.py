"""RoSE: imagine the object under a ring of lights, then solve for the normals (Han et al. 2026, arXiv 2602.09929).

    photo, mask -> square about the object -> K shading frames, by Euler's method over the noise level -> normals of
    every pixel and the error to expect, by `maquette.shading.solve` -> the photo's size

The network knows max(n . l, 0) under lights at 45 degrees and no normals. The confidence is how well the frames agree
on one normal, how well the lights that are left determine it, and how long it is before it is made a unit vector.

Ours, where the paper is silent: the square, what stands in outside the object, the resampling (see `RoSE.imagine`).
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from maquette.catalogue import METHODS, ROSE_GUIDANCE, ROSE_STEPS, RingSolver
from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network
from maquette.methods.framing import Window, mask_of, object_window
from maquette.methods.tiles import in_square, resize
from maquette.nets.rose import RoseConfig, RoSENet
from maquette.nets.rose_svd import read_svd
from maquette.shading.exposure import normalise_exposure
from maquette.shading.rigs import ring_lights
from maquette.shading.solve import ShadingSolution, solve_shading
from maquette.types import NormalMap, Photo

SIGMAS = (80.0, 0.02)
STEPS = 1  # one step was best on held-out renders; see docs/methods/rose.md
GUIDANCE = 1.0
SEED = 42  # the paper's


@dataclass(frozen=True)
class Imagined:
    """What RoSE makes of a photo.

    Attributes:
        normal_map: at the photo's size, with the concentration that `expected_error` means.
        frames: shadings 0..1 of the object's square, at the network's resolution, zero outside the object: frame 0 lit
            from above, the others clockwise; see `maquette.shading.rigs.ring_lights`. None from a network that predicts
            normals directly, which then knows no concentration either.
    """

    normal_map: NormalMap
    frames: Float[Tensor, "frames side side"] | None


class RoSE:
    """A loaded network and how it is asked: call it with a `Photo`, get a `NormalMap`. The same photo, the same bits.

    Attributes:
        net: the network, in evaluation mode.
        steps: of Euler's method; each is a pass of the network, two with guidance.
        guidance: by how much the photo's say is exaggerated in the middle frame; falls to 1 at the first and the last.
            1 is none. The paper's is 2.5.
        solver: which frames a pixel believes; see `maquette.shading.solve`.
        seed: of the noise that the frames start from, which is drawn on the CPU: the same on every device.
    """

    def __init__(
        self,
        net: RoSENet,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        solver: RingSolver = "robust",
        seed: int = SEED,
    ) -> None:
        if steps not in ROSE_STEPS:
            raise InputError(f"{steps} steps; they must be {ROSE_STEPS}")
        if guidance not in ROSE_GUIDANCE:
            raise InputError(f"a guidance of {guidance:g}; it must lie in 0..{ROSE_GUIDANCE.high:g}")
        self.net = net.eval().requires_grad_(False)
        self.steps = steps
        self.guidance = guidance
        self.solver: RingSolver = solver
        self.seed = seed

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = METHODS["rose"].weights,
        device: str = "cpu",
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        solver: RingSolver = "robust",
        seed: int = SEED,
    ) -> "RoSE":
        """Load shipped weights by name, a folder with `config.json` and `model.safetensors`, or one in SVD's layout.

        Raises:
            InputError: no such weights, files that don't fit the network, or a number out of its range.
        """
        folder = Path(weights)
        is_svd = (folder / "model_index.json").is_file()
        net = RoSENet(read_svd(folder)) if is_svd else load_network(weights, RoseConfig, RoSENet)
        return cls(net.to(device), steps, guidance, solver, seed)

    def __call__(self, photo: Photo) -> NormalMap:
        """Normals and concentration on the photo's mask (everywhere, if it has none).

        Raises:
            InputError: as `imagine`.
        """
        return self.imagine(photo).normal_map

    @torch.inference_mode()
    def imagine(self, photo: Photo) -> Imagined:
        """Normals, concentration, and the shading frames that they come from.

        Raises:
            InputError: the mask is empty or smaller than `maquette.methods.framing.MINIMUM_PX` across.
        """
        window = object_window(photo)
        small, inside = in_square(photo, window, self.net.config.size_px)
        device = next(self.net.parameters()).device
        solid = inside[None, None].float()
        seen = normalise_exposure(small, solid).to(device)
        sequence = imagine(self.net, seen, solid.to(device), self.steps, self.guidance, self.seed).float().cpu()
        if self.net.config.predicts == "normals":
            normals = to_normals(self.net, sequence)[0]
            return Imagined(_at_photo(photo, window, inside, normals, None), None)
        frames = shadings(sequence)[0] * inside
        solution = solve_shading(frames[:, inside], ring_lights(len(frames)), self.solver)
        normals, concentration = torch.zeros(3, *inside.shape), torch.zeros(1, *inside.shape)
        normals[:, inside] = solution.normals.float().T
        concentration[:, inside] = concentration_from_angle(expected_error(solution)).float()
        return Imagined(_at_photo(photo, window, inside, normals, concentration), frames)


@torch.no_grad()
def imagine(
    net: RoSENet,
    photo: Float[Tensor, "batch 3 height width"],
    mask: Float[Tensor, "batch 1 height width"],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    seed: int = SEED,
) -> Float[Tensor, "batch frames 3 height width"]:
    """The sequence in -1..1: dz / dsigma = (z - z0(z, sigma)) / sigma from noise of 80 to none, by Euler's method.

    The noise levels are those of Karras et al. 2022 (equation 5, rho = 7), then 0.

    Args:
        net: either backbone.
        photo: in 0..1, exposure normalised, zero outside the mask (`maquette.shading.exposure.normalise_exposure`).
        mask: 1 on the object.
        steps: passes of the network; with guidance, twice as many.
        guidance: triangular over the frames, 1 at the first and the last.
        seed: of the noise, drawn on the CPU.
    """
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    told = net.condition(photo, mask)
    blind = told.withheld(told.latent.new_zeros(len(photo)))
    count = net.config.frames
    scheduler = EulerDiscreteScheduler(
        prediction_type="sample", use_karras_sigmas=True, sigma_min=SIGMAS[1], sigma_max=SIGMAS[0]
    )
    scheduler.set_timesteps(steps)
    scheduler.is_scale_input_called = True  # the network scales its input itself; without this, a warning a step
    rng = torch.Generator().manual_seed(seed)
    n, c, h, w = told.latent.shape
    z = torch.randn(n, count, c, h, w, generator=rng).to(told.latent) * scheduler.init_noise_sigma
    strength = guidance_of_frames(count, guidance).to(z).reshape(1, -1, 1, 1, 1)
    clean = z
    for step, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
        level = sigma.expand(n).to(z)
        clean = net.clean(z, level, told)
        if guidance != 1:
            without = net.clean(z, level, blind)
            clean = without + strength * (clean - without)
        z = scheduler.step(clean, step, z, return_dict=False)[0]
    return net.decode(
        clean
    )  # where the last step, to no noise, leads; z itself keeps the rounding of the noise it lost


def guidance_of_frames(count: int, strongest: float) -> Float[Tensor, " count"]:
    """1 at the first and the last frame, `strongest` in the middle, straight lines between: the paper's triangle."""
    return 1 + (strongest - 1) * (1 - torch.linspace(-1, 1, count).abs())


def shadings(sequence: Float[Tensor, "batch frames 3 height width"]) -> Float[Tensor, "batch frames height width"]:
    """What a sequence in -1..1 shows: the mean of the channels, as light in 0..1."""
    return ((sequence.float().mean(2) + 1) / 2).clamp(0, 1)


def to_normals(
    net: RoSENet, sequence: Float[Tensor, "batch frames 3 height width"], solver: RingSolver = "robust"
) -> Float[Tensor, "batch 3 height width"]:
    """Unit normals of a sequence in -1..1; (0, 0, 0) where all frames are black."""
    if net.config.predicts == "normals":
        grey = sequence.mean(2)
        normal = torch.stack([grey[:, axis::3].mean(1) for axis in range(3)], 1)
        return unit(normal + normal.new_tensor([0, 0, 1e-4]).reshape(1, 3, 1, 1), 1)
    solution = solve_shading(shadings(sequence).movedim(1, 0), ring_lights(net.config.frames), solver)
    return solution.normals.movedim(-1, 1).float()


def expected_error(solution: ShadingSolution) -> Float[Tensor, "*pixels"]:
    """The angle in radians by which normals from imagined frames are expected to be off, at most pi / 2.

    Ours. To what the solver expects of residual and conditioning it adds what the length of x tells. Where the network
    hesitates between normals, its frames are means over them, and so is x; the mean of unit vectors at angles theta
    from its direction has the length E cos(theta) = 1 - E theta^2 / 2. So theta^2 is 2 (1 - |x|) in the mean, of which
    theta's own mean is sqrt(pi / 4), as the solver has it. A length above one counts as one as far below.
    """
    hesitation = math.pi / 2 * solution.self_check
    return (solution.expected_angle_rad.square() + hesitation).sqrt().clamp_max(math.pi / 2)


def _at_photo(
    photo: Photo,
    window: Window,
    inside: Bool[Tensor, "side side"],
    normals: Float[Tensor, "3 side side"],
    concentration: Float[Tensor, "1 side side"] | None,
) -> NormalMap:
    """A map of the square as one of the photo.

    Outside the object nothing was imagined: the nearest pixel of it stands in, so that its rim stays its own.
    """
    mask = mask_of(photo)
    nearest = distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(np.asarray(nearest)).long()

    def pasted(image: Tensor) -> Tensor:
        grown = resize(image[:, row, column][None], window.height)[0]
        return window.paste(grown, (mask.shape[0], mask.shape[1])).permute(1, 2, 0)

    facing = torch.tensor([0.0, 0.0, 1e-6])  # where every frame is black, and never a zero vector
    found = unit(pasted(normals) + facing) * mask[..., None]
    if concentration is None:
        return NormalMap(found, mask)
    # Averaged as logarithms: a thousandfold concentration is no thousandfold say.
    return NormalMap(found, mask, pasted(concentration.clamp_min(1e-3).log())[..., 0].exp() * mask)
