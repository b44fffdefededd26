"""Signed fields against distances worked out in NumPy, and the shortcuts of the evaluator against none."""

import numpy as np
import pytest

from maquette.geometry import field as f
from maquette.synth.solids.builder import Builder, polygon_distance, random_rotation
from maquette.synth.solids.families import CLASSIC
from maquette.synth.solids.shapes import sample_field

POINTS = np.random.default_rng(0).uniform(-1, 1, (200, 3))


def values(field: f.SolidField, points: np.ndarray = POINTS) -> np.ndarray:
    return np.array([f.evaluate(field, *map(float, p)) for p in points])


def single(kind: int, params: tuple[float, ...], **options) -> f.SolidField:
    builder = Builder(np.random.default_rng(0))
    builder.add(kind, params, **options)
    return builder.build()


def box_distance(points, half):
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


def exact_distances(p):
    """(kind, parameters, distance) of the primitives whose value is a true distance."""
    x, y, z = p.T
    ring = np.hypot(x, z)
    on_axis = np.stack([np.zeros_like(y), np.clip(y, -0.4, 0.4), np.zeros_like(y)], 1)
    return [
        (f.SPHERE, (0.6,), np.linalg.norm(p, axis=1) - 0.6),
        (f.BOX, (0.5, 0.3, 0.4), box_distance(p, [0.5, 0.3, 0.4])),
        (f.CYLINDER, (0.5, 0.3), box_distance(np.stack([ring, y], 1), [0.5, 0.3])),
        (f.TORUS, (0.5, 0.2), np.hypot(ring - 0.5, y) - 0.2),
        (f.CAPSULE, (0.25, 0.25, 0.4), np.linalg.norm(p - on_axis, axis=1) - 0.25),
        (f.PLANE, (0.1,), y - 0.1),
    ]


@pytest.mark.parametrize(("kind", "params", "expected"), exact_distances(POINTS))
def test_true_distances(kind, params, expected):
    np.testing.assert_allclose(values(single(kind, params)), expected, atol=1e-12)


def test_a_moved_primitive_is_the_primitive_at_the_moved_point():
    turn, center = random_rotation(np.random.default_rng(3)), np.array([0.2, -0.1, 0.15])
    local = (POINTS - center) @ turn
    for kind, params, expected in exact_distances(local):
        if kind == f.PLANE:
            continue
        got = values(single(kind, params, center=center, rotation=turn))
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "params", "inside"),
    [
        (f.ELLIPSOID, (0.7, 0.4, 0.5), lambda x, y, z: (x / 0.7) ** 2 + (y / 0.4) ** 2 + (z / 0.5) ** 2 < 1),
        (
            f.SUPERQUADRIC, (0.7, 0.4, 0.5, 0.5),
            lambda x, y, z: np.abs(x / 0.7) ** 4 + np.abs(y / 0.4) ** 4 + np.abs(z / 0.5) ** 4 < 1,
        ),
        (f.CONE, (0.6, 0.2, 0.5), lambda x, y, z: (np.hypot(x, z) < 0.4 - 0.4 * y) & (np.abs(y) < 0.5)),
    ],
)  # fmt: skip
def test_signs_of_the_approximate_distances(kind, params, inside):
    np.testing.assert_array_equal(values(single(kind, params)) < 0, inside(*POINTS.T))


def test_sharp_joints_are_set_operations():
    ball, box = np.linalg.norm(POINTS, axis=1) - 0.6, box_distance(POINTS - [0.3, 0, 0], [0.4, 0.4, 0.4])
    expected = {f.UNION: np.minimum(ball, box), f.SUBTRACT: np.maximum(ball, -box), f.INTERSECT: np.maximum(ball, box)}
    for operation, value in expected.items():
        builder = Builder(np.random.default_rng(0))
        builder.add(f.SPHERE, (0.6,))
        builder.add(f.BOX, (0.4, 0.4, 0.4), (0.3, 0, 0), operation=operation)
        got = values(builder.build())
        np.testing.assert_array_equal(got < 0, value < 0)
        near = np.abs(value) < 0.1  # farther off, bounding spheres may answer for what they hold
        np.testing.assert_allclose(got[near], value[near], atol=1e-12)


def test_a_fillet_adds_matter_only_near_the_joint():
    def joint(blend):
        builder = Builder(np.random.default_rng(0))
        builder.add(f.SPHERE, (0.4,), (-0.3, 0, 0))
        builder.add(f.SPHERE, (0.4,), (0.3, 0, 0), blend=blend)
        return values(builder.build())

    sharp, smooth = joint(0.0), joint(0.2)
    assert (smooth <= sharp + 1e-12).all()
    assert (sharp - smooth).max() <= 0.2 / 4 + 1e-12  # a quadratic fillet of size k is k/4 deep
    left = np.linalg.norm(POINTS + [0.3, 0, 0], axis=1)
    right = np.linalg.norm(POINTS - [0.3, 0, 0], axis=1)
    far = np.abs(left - right) > 0.2
    np.testing.assert_allclose(smooth[far], sharp[far], atol=1e-12)


def test_mirrored_primitives_are_symmetric_in_x():
    field = single(f.CAPSULE, (0.2, 0.1, 0.3), center=(0.4, 0.1, 0.0), mirror=True)
    np.testing.assert_array_equal(values(field), values(field, POINTS * [-1, 1, 1]))


@pytest.mark.parametrize("name", CLASSIC)
def test_skipping_by_bounding_spheres_never_changes_inside_and_outside(name):
    """The evaluator skips primitives that a bounding sphere rules out; without bounds it must agree."""
    builder = Builder(np.random.default_rng([5, len(name)]))
    CLASSIC[name][0](builder)
    field = builder.build()
    everything = field.primitives.copy()
    everything[:, f.BOUND] = f.FAR
    with_skips, without = f.sample_grid(field, 33), f.sample_grid(field._replace(primitives=everything), 33)
    assert (with_skips < 0).any()
    # The values may differ far from the surface; where they disagree in sign, both must be on it.
    disagree = (with_skips < 0) != (without < 0)
    assert np.abs(with_skips[disagree]).max(initial=0) < 1e-6


def test_the_grid_holds_the_field():
    field, _ = sample_field(1, 4)
    grid = f.sample_grid(field, 9)
    axis = np.linspace(-1, 1, 9)
    for k, j, i in ((0, 0, 0), (4, 4, 4), (2, 7, 5), (8, 1, 3)):
        assert grid[k, j, i] == np.float32(f.evaluate(field, axis[i], axis[j], axis[k]))


@pytest.mark.parametrize("pixels", [32, 64, 128])
def test_the_gradient_of_a_ball_is_radial_at_the_scale_of_a_pixel(pixels):
    """Half a pixel away on either side, as G-buffers take it, of a ball that fills the frame; to second order."""
    radius = 0.6
    field, eps = single(f.SPHERE, (radius,)), radius / pixels
    for point in POINTS[:50]:
        radial = point / np.linalg.norm(point)
        normal = np.array(f.gradient(field, *map(float, radius * radial), eps))
        assert np.linalg.norm(normal) == pytest.approx(1)
        error = np.linalg.norm(normal - radial)
        assert np.degrees(error) < 0.05
        assert error < 0.5 * (eps / radius) ** 2


def test_the_gradient_of_a_plane_is_exact():
    turn = random_rotation(np.random.default_rng(4))
    field = single(f.PLANE, (0.1,), rotation=turn)
    np.testing.assert_allclose(f.gradient(field, 0.2, 0.1, -0.3, 0.05), turn[:, 1], atol=1e-12)


def test_gradient_noise_is_smooth_bounded_and_zero_on_the_lattice():
    lattice = [(0.0, 0.0, 0.0), (3.0, -2.0, 7.0), (-11.0, 5.0, 1.0)]
    assert all(f.gradient_noise(*point) == 0 for point in lattice)
    points = np.random.default_rng(1).uniform(-30, 30, (2000, 3))
    noise = np.array([f.gradient_noise(*p) for p in points])
    assert np.abs(noise).max() < 1.5
    assert noise.std() > 0.15
    step = 1e-6  # across cells too: half of the points are moved onto a cell's face first
    points[::2, 0] = np.round(points[::2, 0]) - step / 2
    moved = np.array([f.gradient_noise(x + step, y, z) - f.gradient_noise(x, y, z) for x, y, z in points])
    assert np.abs(moved).max() < 10 * step


def test_polygon_distance_of_a_square():
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    axis = np.linspace(-1, 1, 31)
    u, v = np.meshgrid(axis, axis)
    expected = box_distance(np.stack([u, v], -1), [0.5, 0.5])
    np.testing.assert_allclose(polygon_distance(square, 31), expected, atol=1e-12)


def test_a_profile_revolves_into_its_solid():
    """A lathe of a square outline is a cylinder, to the table's resolution."""
    builder = Builder(np.random.default_rng(0))
    square = np.array([[-0.5, -0.4], [0.5, -0.4], [0.5, 0.4], [-0.5, 0.4]])
    builder.add(f.REVOLVE, (1.0,), table=builder.profile(square))
    expected = box_distance(np.stack([np.hypot(POINTS[:, 0], POINTS[:, 2]), POINTS[:, 1]], 1), [0.5, 0.4])
    within = np.hypot(POINTS[:, 0], POINTS[:, 2]) < 1
    np.testing.assert_allclose(values(builder.build())[within], expected[within], atol=2.0 / 127)


def test_displacement_moves_the_surface_by_no_more_than_its_amplitude():
    builder = Builder(np.random.default_rng(0))
    builder.add(f.SPHERE, (0.5,))
    builder.noise(f.FBM, 4.0, 0.02, octaves=3, gain=0.5)
    builder.noise(f.CRACKS, 4.0, 0.03)
    field = builder.build()
    direction = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    reach = 0.02 * 1.5 / (1 - 0.5) + 0.03
    assert (values(field, direction * (0.5 - reach)) < 0).all()
    assert (values(field, direction * (0.5 + reach)) > 0).all()
