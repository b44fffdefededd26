"""Photometric stereo: several photos of one still object, each under another distant light, to one normal map.

The photos come one after the other, so that a hundred of them needn't fit into memory: of each only the grey of
the object's pixels is kept. Grey is the mean of the channels after each was divided by the light's intensity.
Where nobody measured the lights, a ball in the scene tells them: a mirror by its highlight, a matte one by its
shading. All of it supposes lights and camera far away (orthographic view) and photos in linear light.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.catalogue import Solver, Sphere
from maquette.errors import InputError
from maquette.geometry.directional import concentration_from_angle
from maquette.io.images import read_mask
from maquette.shading.solve import ShadingSolution, check_lights, solve_shading
from maquette.types import Lights, NormalMap, Photo

_LEAST_ANGLE_RAD = 2e-4  # where kappa is 10000
_MATTE_PIXELS = 4096  # of the ball: more make the light no surer
_MATTE_SHARE = 0.95  # of the radius: the rim is blurred with what lies behind
_CHROME_SHARE = 0.95
_HIGHLIGHT_SHARE = 0.9  # of the brightest value: what belongs to the highlight
_LEAST_HIGHLIGHT = 2.0  # brightest over median of the ball
_LARGEST_HIGHLIGHT = 0.3  # of the radius, from its middle
_LEAST_ROUNDNESS = 0.9


@dataclass(frozen=True)
class PhotometricResult:
    """What the photos of one object say.

    Attributes:
        normal_map: with the concentration that the expected error means.
        albedo: linear RGB, in units of the photos divided by the lights' intensities; zero outside the mask.
        solution: of the mask's pixels, in row-major order.
    """

    normal_map: NormalMap
    albedo: Float[Tensor, "height width 3"]
    solution: ShadingSolution


@dataclass(frozen=True)
class Circle:
    """The outline of a ball: centre and radius in pixels, pixel centres at +0.5, y down."""

    x_px: float
    y_px: float
    radius_px: float


def photometric_stereo(
    photos: Iterable[Photo], lights: Lights, mask: Bool[Tensor, "height width"], solver: Solver = "robust"
) -> PhotometricResult:
    """Normals, colour albedo and confidence of what the mask holds.

    The albedo's size is that of the grey fit, its hue that of the sum of the photos.

    Args:
        photos: linear, in the order of the lights.
        lights: in the frame of memory.
        mask: where the object is.
        solver: which frames a pixel believes; see `maquette.shading.solve`.

    Raises:
        InputError: as `solve_shading`; photos of different sizes, a photo that is NaN or infinite, more or
            fewer photos than lights, an empty mask, or photos that are black all over it.
    """
    check_lights(lights.directions, lights.source)
    if not bool(mask.any()):
        raise InputError("photometric stereo: the mask is empty; at least one pixel of the object is needed")
    greys, hue = _gather(photos, lights, mask)
    solution = solve_shading(greys, lights.directions, solver)
    normals = torch.zeros(*mask.shape, 3)
    normals[mask] = solution.normals.float()
    seen = torch.zeros_like(mask)
    seen[mask] = solution.albedo > 0
    if not bool(seen.any()):
        raise InputError("photometric stereo: every photo is black where the mask is; lit photos are needed")
    concentration = torch.zeros(mask.shape)
    concentration[mask] = concentration_from_angle(solution.expected_angle_rad, _LEAST_ANGLE_RAD).float()
    albedo = torch.zeros(*mask.shape, 3)
    tint = hue / hue.mean(dim=-1, keepdim=True).clamp_min(1e-12)
    albedo[mask] = (tint * solution.albedo[:, None]).float()
    return PhotometricResult(NormalMap(normals, seen, concentration * seen), albedo, solution)


def mean_photo(photos: Iterable[Photo], lights: Lights | None = None) -> Photo:
    """The mean of the photos, each divided by its light's intensity if that is known: shows all of the object.

    Its mask and name are those of the first photo.

    Raises:
        InputError: there is no photo, they differ in size, or all of them are black.
    """
    total, first, count = torch.zeros(0), None, 0
    for count, photo in enumerate(photos, start=1):
        _require_same_size(photo, first)
        rgb = photo.rgb if lights is None else photo.rgb / lights.intensities[count - 1]
        total = rgb.clone() if first is None else total + rgb
        first = first or photo
    if first is None:
        raise InputError("mean of photos: there are none; at least one is needed")
    if not bool(total.any()):
        raise InputError(f"{first.name}: it and every other photo is black; lit photos are needed")
    return Photo(total / count, first.mask, first.name)


def lights_from_sphere(photos: Iterable[Photo], kind: Sphere, circle: Circle) -> Lights:
    """The light of every photo, from a ball in it.

    `chrome`: the mirror direction at the centre of its highlight, l = 2 (n . v) n - v with v = (0, 0, 1);
    intensities stay one. `matte`: the ball's normals are known and its light isn't, so `solve_shading` with the
    roles swapped finds the light; its length is the intensity, told relative to the mean of all.

    Args:
        photos: linear.
        kind: what the ball is made of.
        circle: its outline, within the photos.

    Raises:
        InputError: photos of different sizes, a circle that leaves the photo or is smaller than 4 pixels, a
            chrome ball without a highlight, a matte one that is black, a light from behind.
    """
    found, first = [], None
    inside = normals = torch.zeros(0)
    for photo in photos:
        _require_same_size(photo, first)
        if first is None:
            inside, normals = sphere_normals(circle, photo)
        first = first or photo
        grey = photo.rgb.mean(dim=-1)[inside].double()
        light = _mirrored(grey, normals, photo) if kind == "chrome" else _lighting(grey, normals, photo)
        if light[2] <= 0:
            raise InputError(
                f"{photo.name}: its light seems to come from behind the ball; is the circle right"
                f" ({circle.x_px:g},{circle.y_px:g},{circle.radius_px:g}), and is the ball {kind}?"
            )
        found.append(light)
    vectors = torch.stack(found)
    strength = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    intensities = (strength / strength.mean()).expand(-1, 3)
    return Lights((vectors / strength).float(), intensities.float().clone(), f"the {kind} ball")


def sphere_normals(circle: Circle, photo: Photo) -> tuple[Bool[Tensor, "height width"], Float[Tensor, "pixels 3"]]:
    """The photo's pixels whose centres lie within the circle (row-major), and the ball's normals there.

    Raises:
        InputError: the circle leaves the photo, or is smaller than 4 pixels.
    """
    height, width = photo.rgb.shape[:2]
    x, y, radius = circle.x_px, circle.y_px, circle.radius_px
    if radius < 4 or x - radius < -1 or y - radius < -1 or x + radius > width + 1 or y + radius > height + 1:
        raise InputError(
            f"the ball's circle {x:g},{y:g},{radius:g} must lie in {photo.name} ({width}x{height})"
            " and have a radius of at least 4 pixels"
        )
    right = ((torch.arange(width, dtype=torch.float64) + 0.5 - x) / radius).expand(height, width)
    up = (-(torch.arange(height, dtype=torch.float64) + 0.5 - y) / radius)[:, None].expand(height, width)
    square = right.square() + up.square()
    inside = square < 1
    return inside, torch.stack([right, up, (1 - square).clamp_min(0).sqrt()], dim=-1)[inside]


def read_circle(text: str) -> Circle:
    """A ball's outline from `CX,CY,R` in pixels, or from the file of a mask that shows the ball's disc.

    The disc's centre is its centroid, its radius that of a circle of its area.

    Raises:
        InputError: neither three numbers nor a mask that can be read, or the mask holds no disc.
    """
    words = text.split(",")
    if len(words) == 3:
        try:
            x, y, radius = (float(word) for word in words)
        except ValueError:
            x = y = radius = math.nan
        if not all(math.isfinite(value) for value in (x, y, radius)):
            raise InputError(f"{text}: is no circle; CX,CY,R in pixels, or the file of a mask, is needed")
        return Circle(x, y, radius)
    return circle_of_mask(read_mask(Path(text)), text)


def circle_of_mask(mask: Bool[Tensor, "height width"], where: str = "mask") -> Circle:
    """The circle of a mask that shows a whole disc.

    Raises:
        InputError: the mask is empty, or what it shows isn't round.
    """
    rows, columns = torch.nonzero(mask, as_tuple=True)
    if len(rows) == 0:
        raise InputError(f"{where}: is empty; a mask that shows the ball's disc is needed")
    x, y = columns.double().mean() + 0.5, rows.double().mean() + 0.5
    radius = math.sqrt(len(rows) / math.pi)
    far = torch.sqrt((columns + 0.5 - x).square() + (rows + 0.5 - y).square()).max()
    if radius / max(float(far), 0.5) < _LEAST_ROUNDNESS:
        raise InputError(f"{where}: doesn't show one whole disc; a mask of the ball alone is needed")
    return Circle(float(x), float(y), radius)


def _gather(
    photos: Iterable[Photo], lights: Lights, mask: Bool[Tensor, "height width"]
) -> tuple[Float[Tensor, "frames pixels"], Float[Tensor, "pixels 3"]]:
    """Grey of the mask's pixels in every photo, and the sum of their colours."""
    count = len(lights.directions)
    greys = torch.empty(count, int(mask.sum()))
    hue = torch.zeros(greys.shape[1], 3, dtype=torch.float64)
    first, number = None, 0
    for number, photo in enumerate(photos, start=1):
        _require_same_size(photo, first)
        first = first or photo
        if number > count:
            continue
        if photo.rgb.shape[:2] != mask.shape:
            raise InputError(
                f"{photo.name}: is {_size(photo.rgb)}, the mask {_size(mask)}; they must have the same size"
            )
        colours = photo.rgb[mask] / lights.intensities[number - 1]
        if not bool(torch.isfinite(colours).all()):
            raise InputError(f"{photo.name}: holds NaN or infinity; finite values are needed")
        greys[number - 1] = colours.mean(dim=-1)
        hue += colours
    if number != count:
        raise InputError(f"{lights.source}: holds {count} lights for {number} photos; there must be one for each")
    return greys, hue


def _require_same_size(photo: Photo, first: Photo | None) -> None:
    if first is not None and photo.rgb.shape != first.rgb.shape:
        raise InputError(
            f"{photo.name}: is {_size(photo.rgb)}, {first.name} {_size(first.rgb)}; photos of one view have one size"
        )


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _mirrored(grey: Float[Tensor, " pixels"], normals: Float[Tensor, "pixels 3"], photo: Photo) -> Float[Tensor, "3"]:
    """The light that a mirror's one highlight shows, by the centroid of the brightest pixels."""
    facing = normals[:, 2] > math.sqrt(1 - _CHROME_SHARE**2)
    brightest = grey[facing].max()
    if not brightest > _LEAST_HIGHLIGHT * grey[facing].median():
        raise InputError(f"{photo.name}: no highlight in the chrome ball; is the circle right?")
    lit = facing & (grey >= _HIGHLIGHT_SHARE * brightest)
    middle = normals[lit][:, :2].mean(dim=0)
    if float((normals[lit][:, :2] - middle).norm(dim=-1).max()) > _LARGEST_HIGHLIGHT:
        raise InputError(f"{photo.name}: the chrome ball has no one highlight, but bright spots far apart")
    x, y = middle
    normal = torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()])
    return 2 * normal[2] * normal - torch.tensor([0.0, 0.0, 1.0], dtype=normal.dtype)


def _lighting(grey: Float[Tensor, " pixels"], normals: Float[Tensor, "pixels 3"], photo: Photo) -> Float[Tensor, "3"]:
    """The light that a matte ball's shading shows, as long as it is strong."""
    facing = normals[:, 2] > math.sqrt(1 - _MATTE_SHARE**2)
    step = max(1, int(facing.sum()) // _MATTE_PIXELS)
    solution = solve_shading(grey[facing][::step], normals[facing][::step])
    if not float(solution.albedo) > 0:
        raise InputError(f"{photo.name}: the ball is black; is the circle right?")
    return solution.normals * solution.albedo
