"""CLONE as a method: a photo, and normals to start from, to normals, Gaussians and a light.

After the loop of arXiv 2508.05950 (its second version: covariance normals, a light modulation kernel, a one-step
refiner, a gate, one reprojection objective), which gives neither weights nor sizes: those are ours.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import METHODS
from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle, expected_angle
from maquette.geometry.integrate import integrate
from maquette.geometry.rotation import facing_rotation
from maquette.geometry.vectors import unit
from maquette.io.checkpoints import load_network
from maquette.methods.baselines import flat, inflate
from maquette.methods.clone.loop import REFINER_TRUST, Fitted, LoopConfig, Round, fit, turn
from maquette.methods.clone.objective import PhotoTarget, settled
from maquette.methods.clone.surface import (
    RawSurface,
    camera_of,
    channels,
    finer,
    gaussians_of,
    normals_of,
    pixels,
    start,
)
from maquette.methods.framing import Window, mask_of, object_window
from maquette.methods.tiles import in_square, reorient, resize
from maquette.nets.refiner import MULTIPLE, RefinerConfig, RefinerNet
from maquette.render.splat.projected import FILTER_PX2
from maquette.render.splat.rasterize import rasterize
from maquette.shading.exposure import decode, normalise_exposure
from maquette.shading.kernel import LightKernel, fit_light, neutral_light
from maquette.types import Camera, Gaussians, NormalMap, Photo

COARSE_PX, FINE_PX = 128, 256
FINE_SHARE = 6  # of the iterations at the second resolution, one in so many
HELD_OUT = 0.05  # of the object's pixels
GUESS_RAD = 0.5  # what the inflated silhouette is wrong by on held-out renders of our own, on average
ASSUMED = 8.0  # concentration of a first map that doesn't say: 14 degrees
_TRUST_AT = 10.0  # concentration at which a first normal holds with the weight of the objective's anchor
_MOST_TRUST = 3.0
_GREY = 0.7  # first albedo, on average over the colours

First = Callable[[Photo], NormalMap]
Report = Callable[[int, dict[str, float], Round], None]


@dataclass(frozen=True)
class CloneResult:
    """What the loop found.

    Attributes:
        normal_map: at the photo's size.
        gaussians: one a pixel of the working square, linear colour under the photo's light, with albedo, turned onto
            the fused normals; x right, y up, z towards the viewer, the square spanning [-1, 1].
        camera: which sees them as the photo does.
        light: under which the albedo is the photo.
        held_out: mean absolute reprojection error, in display values, over pixels that were kept from the loop.
        iterations: until the state that was kept, over all resolutions.
        moved_deg: how far the normals were turned from the first ones, on average.
    """

    normal_map: NormalMap
    gaussians: Gaussians
    camera: Camera
    light: LightKernel
    held_out: float
    iterations: int
    moved_deg: float


class CLONE:
    """CLONE with loaded weights: call it with a `Photo`, get a `NormalMap`; `fit` returns all that it found.

    Attributes:
        refiner: refiner and gate; every photo fits a copy.
        first: gives the normals to start from; by default the inflated silhouette, a neutral start. The baselines count
            as guesses, others as they say, or as `ASSUMED`.
        config: how the loop runs.
        fine: whether a second, shorter loop works at up to `FINE_PX` pixels.
    """

    def __init__(
        self, refiner: RefinerNet, first: First | None = None, config: LoopConfig | None = None, fine: bool = True
    ) -> None:
        self.refiner = refiner.eval()
        self.first = first
        self.config = config or LoopConfig()
        self.fine = fine

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = METHODS["clone"].weights,
        first: First | None = None,
        config: LoopConfig | None = None,
        iterations: int | None = None,
    ) -> "CLONE":
        """Load shipped weights by name, or a folder with `config.json` and `model.safetensors`.

        Args:
            weights: of refiner and gate.
            first: what gives the normals to start from; None starts from the silhouette.
            config: of the loop.
            iterations: at most, in place of the configuration's.

        Raises:
            InputError: no such weights, or files that don't fit the network.
        """
        if iterations is not None:
            config = replace(config or LoopConfig(), iterations=iterations)
        return cls(load_network(weights, RefinerConfig, RefinerNet), first, config)

    def __call__(self, photo: Photo) -> NormalMap:
        """Normals on the photo's mask (everywhere, if it has none); see `fit`."""
        return self.fit(photo).normal_map

    def fit(self, photo: Photo, report: Report = lambda *_: None) -> CloneResult:
        """Run the loop, with a fixed seed.

        Args:
            photo: its mask's object is worked on in a square.
            report: told the iteration (counting on from one resolution to the next), the objective's terms, and what
                the loop saw.

        Raises:
            InputError: the mask is empty or too small.
        """
        window = object_window(photo)
        first = _first(photo, self.first)
        refiner = copy.deepcopy(self.refiner).requires_grad_(True)
        sides = _sides(window.height, self.fine)
        target = _target(photo, first, window, sides[0])
        # A guess isn't worth starting from when the refiner can better it.
        better = first.concentration is None and self.config.stages in ("all", "no-gate")
        if better:
            target = _trusting(target, _refined(target, refiner))
        surface, light = _start(target)
        fitted = fit(surface, light, refiner, target, self.config, report)
        iterations = fitted.iteration
        for side in sides[1:]:
            surface = finer(fitted.surface, target.mask, side)
            target = _target(photo, first, window, side)
            if better:
                target = _trusting(target, normals_of(surface))
            shorter = replace(self.config, iterations=max(self.config.iterations // FINE_SHARE, 1))
            fitted = fit(surface, fitted.light, refiner, target, shorter, _counting_from(iterations, report))
            iterations += fitted.iteration
        return self._result(photo, first, window, target, fitted, iterations)

    @torch.no_grad()
    def _result(
        self, photo: Photo, first: NormalMap, window: Window, target: PhotoTarget, fitted: Fitted, iterations: int
    ) -> CloneResult:
        # The loop is over: the answer may look at every pixel.
        seen = turn(
            fitted.surface, fitted.light, fitted.refiner, replace(target, photo=target.whole), self.config.stages
        )
        fused = unit(seen.fused + target.mask[..., None] * seen.fused.new_tensor([0.0, 0.0, 1e-6]))
        given = _target(photo, first, window, len(target.mask))
        begun = _begun(fitted.surface, given)
        normals, moved = _at_size_of(photo, first, window, begun, fused)
        mask = mask_of(photo)
        known = (
            torch.full(mask.shape, GUESS_RAD) if first.concentration is None else expected_angle(first.concentration)
        )
        # Two errors that know nothing of each other add up in squares.
        concentration = concentration_from_angle((known.square() + moved.square()).sqrt())
        side = len(target.mask)
        answer = _turned(given.first, begun, fused)
        if first.concentration is not None:
            answer = turned_at_most(given.first, answer, expected_angle(given.trust * _TRUST_AT))
        turned = replace(fitted.surface, rotation=facing_rotation(answer), log_scale=_closed(fitted.surface.log_scale))
        return CloneResult(
            NormalMap(normals * mask[..., None], mask, concentration * mask),
            gaussians_of(turned, target.mask, fitted.light, encode=False),
            camera_of(side),
            fitted.light,
            fitted.held_out,
            iterations,
            float(torch.rad2deg(moved[mask].mean())),
        )


def _closed(log_scale: Float[Tensor, "side side 3"]) -> Float[Tensor, "side side 3"]:
    """Scales (log pixels), the thinnest last, wide enough that no hole opens when the camera comes nearer.

    In the loop the rasterizer's filter closes the surface; what it adds at this resolution becomes the Gaussians' own.
    """
    widest, middle, thinnest = log_scale.sort(-1, descending=True).values.unbind(-1)
    along = torch.stack([widest, middle], -1)
    return torch.cat([0.5 * ((2 * along).exp() + FILTER_PX2).log(), thinnest[..., None]], -1)


def _first(photo: Photo, first: First | None) -> NormalMap:
    """The normals to start from: those asked for, or the silhouette's; a photo without one starts flat."""
    mask = mask_of(photo)
    if first is None:
        first = flat if bool(mask.all()) else inflate
    found = first(photo)
    if found.normals.shape[:2] != photo.rgb.shape[:2]:
        raise InputError(
            f"{photo.name}: the first normals are {found.normals.shape[1]}x{found.normals.shape[0]}, the photo "
            f"{photo.rgb.shape[1]}x{photo.rgb.shape[0]}; they must agree"
        )
    missing = mask & ~found.mask
    normals = torch.where(missing[..., None], found.normals.new_tensor([0.0, 0.0, 1.0]), found.normals)
    known = found.concentration
    if known is None and first not in (flat, inflate):
        known = torch.full(mask.shape, ASSUMED)
    return NormalMap(normals, mask, None if known is None else torch.where(missing, 0.0, known))


def _sides(side: int, fine: bool) -> list[int]:
    """Working resolutions, coarse to fine."""
    coarse = min(COARSE_PX, -(-side // MULTIPLE) * MULTIPLE)
    finest = min(FINE_PX, side // MULTIPLE * MULTIPLE)
    return [coarse, finest] if fine and finest >= 1.5 * coarse else [coarse]


def _target(photo: Photo, first: NormalMap, window: Window, side: int) -> PhotoTarget:
    linear, inside = in_square(photo, window, side)
    mask = inside[None, None]
    seen = normalise_exposure(linear, mask.float())
    solid = window.cut(mask_of(photo)[None].float())[None]
    normals = resize(window.cut(first.normals.permute(2, 0, 1))[None] * solid, side) * mask
    normals = unit(normals + mask * normals.new_tensor([0.0, 0.0, 1e-6]).reshape(1, 3, 1, 1), 1)
    trust = torch.zeros(side, side)
    if first.concentration is not None:
        known = resize(window.cut(first.concentration[None])[None] * solid, side) / resize(solid, side).clamp_min(1e-3)
        trust = (known / _TRUST_AT).clamp(0, _MOST_TRUST)[0, 0]
    draw = torch.rand(side, side, generator=torch.Generator().manual_seed(0))
    kept = inside & (draw >= HELD_OUT)
    kept = kept if bool(kept.any()) else inside
    return PhotoTarget(_filled(pixels(seen), inside, kept), pixels(seen), inside, kept, pixels(normals), trust)


def _filled(
    photo: Float[Tensor, "side side 3"], inside: Bool[Tensor, "side side"], kept: Bool[Tensor, "side side"]
) -> Float[Tensor, "side side 3"]:
    """The photo with the mean colour of its kept neighbours (5 x 5; of all, if there is none) at a held-out pixel."""
    known = kept[..., None].to(photo)
    sums = F.avg_pool2d(channels(torch.cat([photo * known, known], -1)), 5, 1, 2)
    nearby = pixels(sums[:, :3] / sums[:, 3:].clamp_min(1e-6))
    nearby = torch.where(pixels(sums[:, 3:]) > 0, nearby, photo[kept].mean(0))
    return torch.where((inside & ~kept)[..., None], nearby, photo)


def _start(target: PhotoTarget) -> tuple[RawSurface, LightKernel]:
    """Discs along the first normals, one albedo, and the light that suits both."""
    mask = target.mask
    height = settled(-integrate(NormalMap(target.first, mask)).depth.float(), target.first, mask)
    linear = decode(target.photo.clamp_min(0))
    color = linear[mask].mean(0)
    color = (_GREY * color / color.mean().clamp_min(1e-6)).clamp_min(0.02)
    surface = start(_facing(target), height)
    surface = replace(surface, log_albedo=surface.log_albedo + color.log())
    light = fit_light(linear, target.first, mask, color.expand_as(linear), start=neutral_light(), ridge=1e-2)
    return surface, light


@torch.no_grad()
def _refined(target: PhotoTarget, refiner: RefinerNet) -> Float[Tensor, "side side 3"]:
    solid = target.mask[..., None].to(target.photo)
    photo, guess, mask = (channels(image) for image in (target.photo, target.first, solid))
    return pixels(refiner(photo, guess, mask).fused)


def _trusting(target: PhotoTarget, first: Float[Tensor, "side side 3"]) -> PhotoTarget:
    """Another first map, worth what the refiner's are."""
    solid = target.mask[..., None].to(first)
    return replace(target, first=first.detach() * solid, trust=torch.full_like(target.trust, REFINER_TRUST))


def _turned(
    first: Float[Tensor, "side side 3"], begun: Float[Tensor, "side side 3"], fused: Float[Tensor, "side side 3"]
) -> Float[Tensor, "side side 3"]:
    """The first normals, turned as the loop turned what the rasterizer shows of them."""
    vectors = (channels(image) for image in (first, begun, fused))
    return pixels(reorient(*vectors))


def _facing(target: PhotoTarget) -> Float[Tensor, "side side 3"]:
    """The first normals; towards the viewer outside of the object."""
    return torch.where(target.mask[..., None], target.first, target.first.new_tensor([0.0, 0.0, 1.0]))


def _begun(surface: RawSurface, target: PhotoTarget) -> Float[Tensor, "side side 3"]:
    """The first normals as the rasterizer shows them, at the heights that were found.

    It blurs a little, and on a slope it favours the nearer side: half a degree on average, more than the loop may gain.
    What the loop did is the turn from here, in which that cancels.
    """
    discs = start(_facing(target), surface.height)
    return rasterize(gaussians_of(discs, target.mask, neutral_light()), camera_of(len(target.mask))).normals


def _at_size_of(
    photo: Photo,
    first: NormalMap,
    window: Window,
    begun: Float[Tensor, "side side 3"],
    fused: Float[Tensor, "side side 3"],
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
    """The fused normals at the photo's size, and by how much (radians) they differ from the first ones.

    The first normals keep detail that the working square has no room for: they are turned as the square's were, from
    `begun` to `fused`. Nowhere by more than they are expected to be wrong, if they say so: one photo doesn't tell
    enough for more.
    """
    mask, side = mask_of(photo), window.height
    given = window.cut(first.normals.permute(2, 0, 1))[None]
    base, onto = (unit(resize(channels(image), side), 1) for image in (begun, fused))
    turned = reorient(given, base, onto)
    # Where the square sees nothing of the object, there is nothing to turn by.
    turned = torch.where(
        ((base * base).sum(1, keepdim=True) > 0.5) & ((onto * onto).sum(1, keepdim=True) > 0.5), turned, given
    )
    normals = unit(window.paste(turned[0], (mask.shape[0], mask.shape[1])).permute(1, 2, 0))
    if first.concentration is not None:
        normals = turned_at_most(first.normals, normals, expected_angle(first.concentration))
    cosine = (normals * first.normals).sum(-1).clamp(-1, 1)
    return normals, torch.acos(cosine) * mask


def turned_at_most(
    start: Float[Tensor, "*batch 3"], end: Float[Tensor, "*batch 3"], most_rad: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    """Unit vectors on the way from `start` to `end` along the great circle, no farther from `start` than allowed."""
    cosine = (start * end).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine)
    across = unit(end - cosine * start)
    bounded = torch.minimum(angle, most_rad[..., None])
    return torch.where(angle > bounded, bounded.cos() * start + bounded.sin() * across, end)


def _counting_from(before: int, report: Report) -> Report:
    return lambda iteration, terms, seen: report(before + iteration, terms, seen)
