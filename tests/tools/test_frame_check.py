"""Every frame found on surfaces whose frame is known; what each cue can and can't tell; nothing claimed in vain."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter

from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES, IDENTITY, compose, signed_axes
from maquette.io.decode import read_pixels
from maquette.io.frame_conversion import read_stored_map
from maquette.io.images import read_mask, read_photo
from maquette.tools.frame_check import CAN_TELL, FACING_AWAY, MATRICES, check_frame

SIZE = 64
TURN = ((-1, 0, 0), (0, -1, 0), (0, 0, 1))  # x and y flipped: a mould for its cast
FLIP_X, FLIP_Z = CAMERA_FRAMES["dsine"].matrix, ((1, 0, 0), (0, 1, 0), (0, 0, -1))


def grid() -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(axis, -axis)
    return x, y


def ellipsoid() -> tuple[np.ndarray, np.ndarray]:
    """x^2 / 0.8^2 + y^2 / 0.5^2 + z^2 / 0.6^2 = 1, seen along z: no symmetry between the axes."""
    x, y = grid()
    inside = (x / 0.8) ** 2 + (y / 0.5) ** 2
    z = 0.6 * np.sqrt(np.clip(1 - inside, 0, 1))
    return unit(np.stack([x / 0.64, y / 0.25, z / 0.36], -1)), inside < 1


def waves(height: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A full frame of sin(5 x + 2 y) + cos(3 x - 4 y), times a height."""
    x, y = grid()
    slope_x = 5 * np.cos(5 * x + 2 * y) - 3 * np.sin(3 * x - 4 * y)
    slope_y = 2 * np.cos(5 * x + 2 * y) + 4 * np.sin(3 * x - 4 * y)
    slopes = height * 0.2 * np.stack([slope_x, slope_y], -1)
    return unit(np.concatenate([-slopes, np.ones((SIZE, SIZE, 1))], -1)), np.ones((SIZE, SIZE), bool)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)


def check(normals, mask, matrix=IDENTITY, luminance=None):
    stored = torch.from_numpy(np.round((normals @ np.array(matrix).T * 0.5 + 0.5) * 255) / 255 * 2 - 1)
    return check_frame(stored, torch.from_numpy(mask), None if luminance is None else torch.from_numpy(luminance))


def probability(result, matrix) -> float:
    return float(result.probability[MATRICES.index(matrix)])


@pytest.mark.parametrize("matrix", signed_axes())
def test_every_frame_is_found_on_an_object(matrix):
    result = check(*ellipsoid(), matrix)
    assert result.best == matrix
    assert result.can_tell
    assert result.facing_away == 0
    assert result.probability.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", CAMERA_FRAMES)
def test_a_full_frame_leaves_a_cast_and_its_mould(name):
    """Neither is claimed: half each, and nothing else."""
    matrix = CAMERA_FRAMES[name].matrix
    result = check(*waves(), matrix)
    assert "silhouette" not in result.cues
    assert not result.can_tell
    assert probability(result, matrix) == pytest.approx(0.5, abs=0.01)
    assert probability(result, compose(TURN, matrix)) == pytest.approx(0.5, abs=0.01)


def test_integrability_is_blind_to_the_opposite_normal_and_to_nothing_else():
    result = check(*waves())
    curl = result.cues["integrability"]
    by_matrix = dict(zip(MATRICES, curl, strict=True))
    for matrix, value in by_matrix.items():
        opposite = tuple(tuple(-x for x in row) for row in matrix)
        assert value == pytest.approx(by_matrix[opposite])
    assert by_matrix[TURN] == pytest.approx(by_matrix[FLIP_Z]) == pytest.approx(by_matrix[IDENTITY])
    others = [m for m in MATRICES if m not in (IDENTITY, TURN, FLIP_Z, ((-1, 0, 0), (0, -1, 0), (0, 0, -1)))]
    assert all(by_matrix[matrix] < curl.max() - 5 for matrix in others)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.48, 0.6, 0.64)])
def test_a_plane_tells_nothing_of_x_and_y(normal):
    result = check(np.tile(normal, (SIZE, SIZE, 1)), np.ones((SIZE, SIZE), bool))
    assert not result.can_tell
    signs = [result.probability[i] for i, m in enumerate(MATRICES[:8]) if m[2][2] == 1]
    assert signs == pytest.approx([signs[0]] * 4)
    assert signs[0] < 0.26


def test_the_cut_out_of_a_flat_wall_has_no_silhouette_to_go_by():
    """A rim alone is no evidence: its normals don't lie in the image plane."""
    x, y = grid()
    result = check(np.tile((0.0, 0.0, 1.0), (SIZE, SIZE, 1)), x * x + y * y < 0.5)
    assert "silhouette" in result.cues
    assert not result.can_tell


def test_less_relief_is_less_certain():
    """Down to what 8 bits leave of it."""
    shares = []
    for height in (0.3, 0.03, 0.003, 0.0):
        result = check(*waves(height))
        shares.append(probability(result, IDENTITY) + probability(result, TURN))
    assert all(more >= less for more, less in pairwise(shares))
    assert shares[0] > 0.99
    assert shares[-1] < 0.6


def test_the_best_light_fits_equally_well_in_every_frame():
    """Shading's residual can't choose: n . l = (P n) . (P l). What it fits is the same to rounding."""
    normals, mask = ellipsoid()
    luminance = (normals @ np.array([0.3, 0.5, 0.8])).clip(0)
    fits = [check(normals, mask, matrix, luminance).shading_fit for matrix in MATRICES[::9]]
    assert fits == pytest.approx([fits[0]] * len(fits), abs=0.01)
    assert fits[0] > 0.9


def test_with_a_photo_light_from_above_is_likelier_but_never_certain():
    normals, mask = waves(0.5)
    light = np.array([0.0, 0.6, 0.8])
    for direction, likelier in ((light, IDENTITY), (light * [1, -1, 1], TURN)):
        luminance = (normals @ direction).clip(0)
        result = check(normals, mask, luminance=luminance)
        assert result.best == likelier
        assert 0.55 < result.certainty < 0.8
        assert not result.can_tell
    # a photo that has nothing to do with the map adds nothing
    noise = np.random.default_rng(0).random((SIZE, SIZE))
    result = check(normals, mask, luminance=noise)
    assert result.shading_fit < 0.05
    assert result.certainty == pytest.approx(0.5, abs=0.03)


def test_a_black_photo_and_one_light_on_a_plane():
    for luminance in (np.zeros((SIZE, SIZE)), np.ones((SIZE, SIZE))):
        result = check(*waves(), luminance=luminance)
        assert result.certainty == pytest.approx(0.5, abs=0.01)


def test_normals_in_world_space_are_told_by_facing_away():
    """A ball seen from above, written in axes of the world: no signed permutation turns all of it to the viewer."""
    normals, mask = ellipsoid()
    a = np.radians(50)
    turn = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    twist = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    assert check(normals @ (turn @ twist).T, mask).facing_away > FACING_AWAY


def test_of_a_few_pixels_nothing_is_said():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:4, :4] = True
    with pytest.raises(InputError, match="only 16 pixels"):
        check(waves()[0], mask)


def test_large_maps_are_averaged_down():
    normals, mask = ellipsoid()
    large = check(normals.repeat(5, 0).repeat(5, 1), mask.repeat(5, 0).repeat(5, 1), FLIP_X)
    assert large.best == FLIP_X
    assert large.can_tell


@pytest.mark.parametrize("name", ["Bowl", "Bunny", "Cup", "Die", "Hippo"])
@pytest.mark.parametrize("with_photo", [False, True])
def test_the_trap_maps_whose_x_points_left_are_found_out(shared_data, name, with_photo):
    folder = shared_data("luces")
    stored = read_stored_map(folder / "normals" / f"{name}.png")
    mask = stored.is_normal & read_mask(folder / "mask" / f"{name}.png")
    luminance = read_photo(folder / "images" / f"{name}.png").rgb.mean(-1).double() if with_photo else None
    result = check_frame(stored.vectors, mask, luminance)
    assert result.best == FLIP_X
    assert result.certainty >= CAN_TELL


@pytest.mark.parametrize("name", ["ball", "bear"])
def test_maps_with_x_right_and_y_up_are_recognised(shared_data, name):
    folder = shared_data("diligent") / f"{name}PNG"
    normals = torch.from_numpy(loadmat(folder / "Normal_gt.mat")["Normal_gt"]).double()
    result = check_frame(normals, read_mask(folder / "mask.png"))
    assert result.best == IDENTITY
    assert result.certainty >= CAN_TELL


def test_a_16_bit_map_with_x_right_and_y_up_is_recognised(shared_data):
    folder = shared_data("integration/bear")
    stored = read_stored_map(folder / "normal_map.png")
    result = check_frame(stored.vectors, stored.is_normal & read_mask(folder / "mask.png"))
    assert result.best == IDENTITY
    assert result.certainty >= CAN_TELL


@pytest.mark.parametrize("name", ["gold/Metal007", "rock/Rock020"])
def test_a_material_s_green_points_down_as_its_heights_say(shared_data, name):
    """The tile's own displacement map is the witness: it is DirectX's, if its x points right."""
    stem = shared_data("materials") / f"{name}_1K"
    stored = read_stored_map(stem.with_name(f"{stem.name}_Normal.jpg"))
    heights = read_pixels(stem.with_name(f"{stem.name}_Displacement.jpg"))[..., 0].astype(float)
    down, right = np.gradient(gaussian_filter(heights, 2))
    for slope, values, sign in ((right, stored.vectors[..., 0], 1), (-down, stored.vectors[..., 1], -1)):
        uphill = np.corrcoef(-slope.ravel(), gaussian_filter(values.numpy(), 2).ravel())[0, 1]
        assert uphill * sign > 0.5
    result = check_frame(stored.vectors, stored.is_normal)
    assert not result.can_tell
    assert probability(result, CAMERA_FRAMES["directx"].matrix) == pytest.approx(probability(result, FLIP_X))
    if_x_right = [p for p, m in zip(result.probability, MATRICES, strict=True) if m[0] == (1, 0, 0)]
    assert probability(result, CAMERA_FRAMES["directx"].matrix) > CAN_TELL * sum(if_x_right)
