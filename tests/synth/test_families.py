"""Assemblies and expanses: solids within the cube, parts that stay apart, frames that are filled."""

import numpy as np
import pytest

from maquette.geometry import field as f
from maquette.geometry.field_points import evaluate_at
from maquette.render.gbuffer import solidify, trace
from maquette.synth.solids import shapes
from maquette.synth.solids.assemblies import ASSEMBLIES
from maquette.synth.solids.builder import Builder, random_rotation
from maquette.synth.solids.expanses import EXPANSES
from maquette.synth.views import POINT, expanse_view, sample_lights, shape_view, surface_points

RNG = np.random.default_rng(11)
POINTS = RNG.uniform(-1, 1, (3000, 3))


@pytest.fixture(scope="module", params=ASSEMBLIES | EXPANSES)
def drawn(request):
    families = {request.param: shapes.FAMILIES[request.param]}
    return request.param, shapes.sample_field(4, 2, families=families)[0]


def test_the_list_of_a_region_leaves_nothing_out(drawn):
    """Fields of many primitives look up which ones matter: signs are those of all of them, and so are near values."""
    _, field = drawn
    everything = field.only(0, len(field.primitives))
    listed, all_of_them = evaluate_at(field, POINTS), evaluate_at(everything, POINTS)
    near = np.abs(all_of_them) < 0.03
    assert near.sum() > 20
    np.testing.assert_array_equal(listed[near], all_of_them[near])
    np.testing.assert_array_equal(listed < 0, all_of_them < 0)


def test_sampling_near_the_surface_finds_all_of_it(drawn):
    """A block is skipped only where no value changes sign; what is skipped keeps its sign."""
    _, field = drawn
    full, near = f.sample_grid(field, 49), f.sample_near(field, 49, 4, 2 * 3**0.5 * 4 / 48 + field.warp[5] / 2)
    np.testing.assert_array_equal(full < 0, near < 0)
    surface = np.abs(full) < 0.05
    np.testing.assert_array_equal(full[surface], near[surface])


def test_an_assembly_lies_within_the_cube_in_one_piece(drawn):
    name, field = drawn
    grid = f.sample_grid(field, 48)
    inside = grid < 0
    assert inside.mean() > 0.004
    if name in EXPANSES:
        assert inside[:, 19, :].all()  # the ground, as far as the cube reaches
        return
    border = np.ones_like(inside)
    border[1:-1, 1:-1, 1:-1] = False
    assert inside[border].mean() < 0.02
    kept = (solidify(field, 48).grid < 0).sum()
    assert kept > 0.7 * inside[1:-1, 1:-1, 1:-1].sum()  # crumbs are few


@pytest.mark.parametrize("standing", [False, True])
def test_the_frame_of_an_expanse_ends_within_the_cube(standing):
    """All four corners meet the plane within 0.94, the camera above it, tilted by no more than its text says."""
    rng = np.random.default_rng(0)
    tilts = []
    for _ in range(200):
        view = expanse_view(rng, 64, standing)
        rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        tilts.append(np.degrees(np.arccos(rotation[1, 2])))
        for corner in ((0, 0), (64, 0), (0, 64), (64, 64)):
            x, y = (corner[0] - view.center_px[0]) / view.focal_px, (view.center_px[1] - corner[1]) / view.focal_px
            start = origin + rotation @ [x, y, 0] if view.orthographic else origin
            along = -rotation[:, 2] if view.orthographic else rotation @ [x, y, -1]
            foot = start - along * (start[1] / along[1])
            assert np.abs(foot).max() < 0.94 + 1e-9
    assert max(tilts) < (55 if standing else 50) + 1e-6
    assert min(tilts) > (15 if standing else 0) - 1e-6


def test_an_expanse_fills_its_frame_and_is_lit_from_above():
    for name in EXPANSES:
        solid, family = shapes.sample_solid(2, 0, side=32, families={name: EXPANSES[name]})
        rng = np.random.default_rng(3)
        for _ in range(4):
            view = shape_view(rng, solid.grid, family, 32)
            lights = sample_lights(rng, view, grounded=True)
            assert (lights[:, 1] >= 0.1).all()
            np.testing.assert_allclose(np.linalg.norm(lights[lights[:, 3] != POINT, :3], axis=1), 1, atol=1e-12)
            buffer = trace(solid, view, lights)
            assert buffer.mask.all()
            assert (buffer.part > 0).all()


def test_objects_take_half_of_the_frame_up_to_all_of_it():
    """Seven or more in eight are whole; the others are close-ups."""
    solid, family = shapes.sample_solid(8, 1, side=32, families=shapes.CLASSIC)
    points, rng = surface_points(solid.grid), np.random.default_rng(5)
    sizes = []
    for _ in range(150):
        view = shape_view(rng, solid.grid, family, 100)
        local = (points - view.camera_to_object[:, 3]) @ view.camera_to_object[:, :3]
        flat = local[:, :2] / (1 if view.orthographic else -local[:, 2:]) * view.focal_px * [1, -1] + view.center_px
        sizes.append(np.ptp(flat, axis=0).max() / 100)
        if sizes[-1] < 1:
            assert flat.min() > -1e-9
            assert flat.max() < 100 + 1e-9
    whole = np.array(sizes) < 1
    assert 0.8 < whole.mean() < 0.97
    assert 0.5 - 1e-9 < np.array(sizes)[whole].min() < 0.55
    assert 0.94 < np.array(sizes)[whole].max() < 0.99 + 1e-9


def test_what_is_placed_is_what_was_built_moved_and_shrunk():
    """Values are those of the other builder at the point taken back, times the scale; mirrored parts and tables too."""
    rng = np.random.default_rng(2)
    for family in ("figurine", "turned", "superquadric", "polyhedron"):
        other = Builder(rng)
        shapes.CLASSIC[family][0](other)
        whole = Builder(rng)
        turn, shift, scale = random_rotation(rng), np.array([0.2, -0.1, 0.05]), 0.6
        whole.profile(np.array([[-0.5, -0.5], [0.5, -0.5], [0.0, 0.5]]))  # another table before the other's
        whole.place(other, scale, turn, shift)
        back = (POINTS - shift) @ turn / scale
        expected = scale * evaluate_at(other.build(), np.ascontiguousarray(back))
        found = evaluate_at(whole.build(), POINTS)
        near = np.abs(expected) < 0.1
        assert near.sum() > 30
        np.testing.assert_allclose(found[near], expected[near], atol=1e-9)
        np.testing.assert_array_equal(found < 0, expected < 0)


def test_what_is_apart_carves_itself_only():
    builder = Builder(np.random.default_rng(0))
    builder.add(f.SPHERE, (0.5,))
    builder.apart()
    builder.add(f.BOX, (0.2, 0.2, 0.2), (0.6, 0, 0))
    builder.add(f.SPHERE, (0.4,), (0.3, 0, 0), operation=f.SUBTRACT)
    inside = evaluate_at(builder.build(), np.array([[0.3, 0, 0], [0.55, 0, 0], [0.75, 0.0, 0]])) < 0
    assert inside.tolist() == [True, False, True]  # of the ball; carved out of the box; left of the box


def test_a_relief_raises_the_surface_by_its_map():
    """A slab under a map of four steps: heights at the middles of the steps are the map's, tile after tile."""
    heights = np.array([[0.0, 1.0], [0.5, 0.25]])
    builder = Builder(np.random.default_rng(0))
    number = builder.relief(
        np.kron(heights, np.ones((8, 8))), np.kron([[0, 3], [9, 0]], np.ones((8, 8))), 0.1, 0.5, f.ON_TOP
    )
    builder.reliefs[0][4:6] = 0
    with builder.covered(number):
        builder.add(f.BOX, (0.9, 0.2, 0.9), (0, -0.2, 0))
    field = builder.build()
    for tile in range(-1, 1):
        for row in range(2):
            for column in range(2):
                x, z = 0.5 * tile + 0.25 * column + 0.125, 0.25 * row + 0.125
                at = [x, 0.1 * heights[row, column], z]
                assert f.evaluate(field, *at) == pytest.approx(0, abs=1e-6)
                cell = {3.0: f.PARTS + 1 + 3, 9.0: f.PARTS + 1 + 9, 0.0: 1}[[[0.0, 3.0], [9.0, 0.0]][row][column]]
                assert f.part_at(field, *at) == cell


def test_a_relief_closes_around_a_column():
    """Whole tiles go around: there is no step where the angle starts again."""
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * (np.arange(64) + 0.5) / 64)[None] * 0.5 + 0.5
    builder = Builder(rng)
    number = builder.relief(np.repeat(wave, 64, 0), np.zeros((64, 64)), 0.05, 0.3, f.AROUND)
    with builder.covered(number):
        builder.add(f.CYLINDER, (0.5, 0.6))
    field = builder.build()
    assert builder.rows[0][f.REPEATS] == round(2 * np.pi * 0.5 / 0.3) == 10
    angle = np.array([np.pi - 1e-6, -np.pi + 1e-6])
    before, after = evaluate_at(field, np.stack([0.52 * np.cos(angle), 0 * angle, 0.52 * np.sin(angle)], 1))
    assert before == pytest.approx(after, abs=1e-5)
    turn = np.linspace(-np.pi, np.pi, 1001)[:-1]
    values = evaluate_at(field, np.stack([0.52 * np.cos(turn), 0 * turn, 0.52 * np.sin(turn)], 1))
    strongest = np.abs(np.fft.rfft(values))[1:].argmax() + 1
    assert strongest == 10
    assert np.ptp(values) == pytest.approx(0.05, rel=0.02)
