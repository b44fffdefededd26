"""Levelling against tilted planes with bumps that are known, and tiling against methods whose faults are known."""

import math

import numpy as np
import pytest
import torch

from maquette.errors import InputError
from maquette.geometry.vectors import unit
from maquette.methods.whole_frame import TILE_MARGIN, level, mean_plane, seam_ratio, tiled, tilt_deg
from maquette.metrics import angle_between_deg
from maquette.types import NormalMap, Photo

SIDE = 96


def full(normals: torch.Tensor) -> NormalMap:
    return NormalMap(normals.float(), torch.ones(normals.shape[:2], dtype=torch.bool))


def waves(side: int = SIDE, height: float = 0.03) -> torch.Tensor:
    """Slopes (side, side, 2) to the right and upwards of z = h sin(2 pi 3 x) sin(2 pi 2 y), x and y from 0 to 1."""
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    y, x = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    a, b = 2 * math.pi * 3, 2 * math.pi * 2
    return height * torch.stack([a * (a * x).cos() * (b * y).sin(), b * (a * x).sin() * (b * y).cos()], -1)


def of_slopes(slopes: torch.Tensor) -> torch.Tensor:
    return unit(torch.cat([-slopes, torch.ones_like(slopes[..., :1])], -1))


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.3, -0.2), (1.0, 0.5), (-1.5, 0.0)])
def test_the_plane_below_the_bumps_is_found_exactly(tilt):
    """Heights on a sloping plane: z = a x + b y + bumps. Its normal is that of (a, b), whatever the bumps."""
    normal_map = full(of_slopes(waves() + torch.tensor(tilt, dtype=torch.float64)))
    plane = of_slopes(torch.tensor(tilt, dtype=torch.float64))
    assert float(angle_between_deg(mean_plane(normal_map), plane.float())) < 0.02
    assert tilt_deg(normal_map) == pytest.approx(math.degrees(math.atan(math.hypot(*tilt))), abs=0.02)
    flat = level(normal_map)
    assert tilt_deg(flat) <= 0.15 * tilt_deg(normal_map) + 1e-3  # not nothing: pixels stand where they stood
    # The turn is rigid: angles between any two normals stay.
    before, after = normal_map.normals.reshape(-1, 3), flat.normals.reshape(-1, 3)
    assert torch.allclose(before @ before[::97].T, after @ after[::97].T, atol=1e-5)


def test_a_relief_that_is_seen_from_the_side_is_laid_flat():
    """A wave z = h sin(k u) on a plane that is turned by 40 degrees about y and seen in parallel projection.

    The place x of what stands at u on the plane is x = u cos t + z sin t. Normals there, turned back, are the wave's.
    """
    turn, height, cycles = math.radians(40), 0.02, 4
    u = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    z, slope = (
        height * (2 * math.pi * cycles * u).sin(),
        height * 2 * math.pi * cycles * (2 * math.pi * cycles * u).cos(),
    )
    x = u * math.cos(turn) + z * math.sin(turn)
    assert bool((x.diff() > 0).all())  # nothing is hidden
    place = torch.from_numpy(np.interp((np.arange(512) + 0.5) / 512 * math.cos(turn), x.numpy(), u.numpy()))
    seen = torch.from_numpy(np.interp(place.numpy(), u.numpy(), slope.numpy()))
    own = of_slopes(torch.stack([seen, torch.zeros_like(seen)], -1))
    c, s = math.cos(turn), math.sin(turn)
    # About y: x' = x cos + z sin, z' = z cos - x sin.
    shown = torch.stack([own[:, 0] * c + own[:, 2] * s, own[:, 1], own[:, 2] * c - own[:, 0] * s], -1)
    normal_map = full(shown.expand(16, -1, -1))
    assert float(normal_map.normals[..., 2].min()) > 0.1
    assert tilt_deg(normal_map) == pytest.approx(40, abs=0.1)
    assert float(angle_between_deg(level(normal_map).normals[0], own.float()).max()) < 0.1
    # The mean of the normals themselves would be off: pixels show more of what faces them.
    mean = unit(normal_map.normals.mean((0, 1)))
    assert abs(math.degrees(math.acos(float(mean[2]))) - 40) > 1


def test_outside_the_mask_nothing_counts_and_nothing_is_turned():
    normals = of_slopes(waves() + 0.5)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[:, : SIDE // 3] = True  # one cycle of the waves
    normals = torch.where(mask[..., None], normals, torch.zeros_like(normals)).float()
    kappa = torch.rand(SIDE, SIDE)
    flat = level(NormalMap(normals, mask, kappa))
    assert float(angle_between_deg(mean_plane(NormalMap(normals, mask)), of_slopes(torch.tensor([0.5, 0.5])))) < 0.05
    assert float(flat.normals[~mask].abs().max()) == 0
    assert torch.equal(flat.mask, mask)
    assert flat.concentration is kappa
    with pytest.raises(InputError, match="without a pixel"):
        level(NormalMap(normals, mask & False))


def test_seams_are_measured_along_both_axes():
    assert seam_ratio(full(of_slopes(waves()))) == pytest.approx(1, abs=0.3)
    axis = torch.linspace(-0.5, 0.5, SIDE, dtype=torch.float64)
    for bend in (axis[None, :].expand(SIDE, SIDE), axis[:, None].expand(SIDE, SIDE)):
        assert seam_ratio(full(of_slopes(torch.stack([bend, torch.zeros_like(bend)], -1)))) > 50
    assert seam_ratio(full(torch.tensor([0.0, 0.0, 1.0]).expand(SIDE, SIDE, 3))) == 0


def picture(height: int = SIDE, width: int = SIDE) -> Photo:
    """A photo that repeats, whose red and green are a wave's slopes."""
    rows = torch.arange(height, dtype=torch.float64)[:, None] / height
    columns = torch.arange(width, dtype=torch.float64)[None, :] / width
    red = (2 * math.pi * (2 * columns + rows)).sin().expand(height, width)
    green = (2 * math.pi * 3 * rows).cos().expand(height, width)
    return Photo((torch.stack([red, green, torch.zeros_like(red)], -1) * 0.4 + 0.5).float())


def local(photo: Photo) -> NormalMap:
    """A method that looks at one pixel at a time."""
    return NormalMap(of_slopes(photo.rgb[..., :2] - 0.5), torch.ones(photo.rgb.shape[:2], dtype=torch.bool))


def leaning(photo: Photo) -> NormalMap:
    """A method that takes the frame's border for a silhouette, and leans outwards there."""
    height, width = photo.rgb.shape[:2]
    x = torch.linspace(-1, 1, width).expand(height, width)
    y = torch.linspace(1, -1, height)[:, None].expand(height, width)
    lean = torch.stack([x.abs() ** 9 * x.sign(), y.abs() ** 9 * y.sign()], -1) * 3
    return full(of_slopes(photo.rgb[..., :2] - 0.5 - lean))


@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 96), (90, 40), (33, 129)])
def test_a_method_without_borders_gives_what_it_gives(height, width):
    photo = picture(height, width)
    assert torch.allclose(tiled(local, photo).normals, local(photo).normals, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 96), (96, 48)])
def test_a_method_that_leans_at_the_border_wraps_and_no_longer_leans(height, width):
    photo = picture(height, width)
    assert seam_ratio(leaning(photo)) > 5
    wrapped = tiled(leaning, photo)
    assert seam_ratio(wrapped) < 1.5
    before = angle_between_deg(leaning(photo).normals, local(photo).normals)
    after = angle_between_deg(wrapped.normals, local(photo).normals)
    assert float(after.max()) < float(before.max()) / 4


def test_concentrations_are_means_and_the_photo_s_mask_is_aside():
    def certain(photo: Photo) -> NormalMap:
        assert photo.mask is not None
        assert bool(photo.mask.all())
        return NormalMap(local(photo).normals, photo.mask, photo.rgb[..., 0] * 10)

    photo = picture()
    hidden = photo.with_mask(torch.zeros(SIDE, SIDE, dtype=torch.bool))
    found = tiled(certain, hidden)
    assert found.concentration is not None
    assert torch.allclose(found.concentration, photo.rgb[..., 0] * 10, atol=1e-4)
    assert bool(found.mask.all())


def test_a_method_with_a_size_of_its_own_sees_the_texture_at_the_same_scale():
    class Sized:
        """Shrinks what it is given to a square of its own."""

        def __init__(self, size_px: float = 64) -> None:
            self.size_px = size_px

        def enlarged(self, factor: float) -> "Sized":
            return Sized(self.size_px * factor)

        def __call__(self, photo: Photo) -> NormalMap:
            seen.append(self.size_px / max(photo.rgb.shape[:2]))
            return local(photo)

    seen: list[float] = []
    Sized()(picture())
    tiled(Sized(), picture())
    assert seen[1] == pytest.approx(seen[0])
    tiled(Sized(), picture(96, 48))
    assert seen[2] == pytest.approx(seen[0])


def test_what_does_not_wrap_is_told():
    """A method that puts a step where the padded frame's tile begins, which no blending can hide."""
    side = SIDE + 2 * round(TILE_MARGIN * SIDE)

    def stepping(photo: Photo) -> NormalMap:
        assert photo.rgb.shape[0] == side
        place = (torch.arange(side) - (side - SIDE) // 2) % SIDE
        bend = (place / SIDE - 0.5).expand(side, side).double()
        return full(of_slopes(torch.stack([bend, torch.zeros_like(bend)], -1)))

    with pytest.warns(UserWarning, match=r"^brick.jpg: opposite edges of its map differ \d+\.\d times"):
        tiled(stepping, Photo(picture().rgb, name="brick.jpg"))


def test_nirne_wraps_and_keeps_the_scale():
    from maquette.bench.normals.textures import made, photograph
    from maquette.methods.nirne import NiRNE

    nirne = NiRNE.from_pretrained()
    larger = nirne.enlarged(1.5)
    assert (larger.size_px, larger.detail_px) == (nirne.size_px * 1.5, nirne.detail_px * 1.5)
    assert larger.net is nirne.net
    photo = Photo(photograph(made("bricks"), 60.0, 50.0).clamp(0, 1)[::4, ::4])
    plain, wrapped = nirne(photo), tiled(nirne, photo)
    assert seam_ratio(plain) > 4
    assert seam_ratio(wrapped) <= 2
    assert wrapped.concentration is not None
