"""G-buffers of solids whose picture is known in closed form, and the marcher's shortcut against brute force."""

import numpy as np
import pytest

from maquette.geometry import field as f
from maquette.render.gbuffer import DISTANT, POINT, ObjectCamera, block_distance, solidify, trace
from maquette.synth.solids.builder import Builder

SIDE = 64
CELL = 2 / (SIDE - 1)
RADIUS = 0.7
NO_LIGHTS = np.zeros((0, 4))


def looking_from(backward, orthographic=False, px=64, distance=3.0) -> ObjectCamera:
    """A camera on the axis `backward` that looks at the origin and frames [-1, 1]."""
    backward = np.asarray(backward, float) / np.linalg.norm(backward)
    other = [0, 1, 0] if abs(backward[1]) < 0.9 else [0, 0, -1]
    right = np.cross(other, backward)
    right /= np.linalg.norm(right)
    pose = np.stack([right, np.cross(backward, right), backward, distance * backward], 1)
    focal = px / 2 if orthographic else px / 2 * distance
    return ObjectCamera(pose, px, px, focal, (px / 2, px / 2), orthographic)


def rays(view: ObjectCamera):
    """Origin and unit direction of every pixel in the object frame, float64."""
    u, v = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    x, y = (u - view.center_px[0]) / view.focal_px, (view.center_px[1] - v) / view.focal_px
    z = np.zeros_like(x)
    start = np.stack([x, y, z], -1) if view.orthographic else np.stack([z, z, z], -1)
    along = np.stack([z, z, z - 1] if view.orthographic else [x, y, z - 1], -1)
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    rotation, origin = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    return start @ rotation.T + origin, along @ rotation.T


@pytest.fixture(scope="module")
def ball():
    builder = Builder(np.random.default_rng(0))
    builder.add(f.SPHERE, (RADIUS,))
    return solidify(builder.build(), SIDE)


@pytest.mark.parametrize("orthographic", [False, True])
def test_a_ball_is_the_analytic_ball(ball, orthographic):
    view = looking_from([0.3, 0.5, 0.8], orthographic)
    buffer = trace(ball, view, NO_LIGHTS)
    origin, direction = rays(view)
    middle = -(origin * direction).sum(-1)
    miss = np.linalg.norm(origin + middle[..., None] * direction, axis=-1)
    certain = np.abs(miss - RADIUS) > 0.02 * CELL  # the grid's ball is flatter by a cell^2 / 8 radius
    np.testing.assert_array_equal(buffer.mask[certain], (miss < RADIUS)[certain])
    seen = buffer.mask & (miss < RADIUS - 0.05 * CELL)
    assert seen.sum() > 1000
    t = middle - np.sqrt(np.maximum(RADIUS**2 - miss**2, 0))
    hit = origin + t[..., None] * direction
    rotation, eye = view.camera_to_object[:, :3], view.camera_to_object[:, 3]
    error = np.linalg.norm(buffer.position - (hit - eye) @ rotation, axis=-1)[seen]
    assert np.median(error) < 0.01 * CELL
    assert error.max() < 0.1 * CELL
    cosine = (buffer.normal * (hit / RADIUS @ rotation)).sum(-1)[seen]
    turn = np.degrees(2 * np.arcsin(np.sqrt(np.clip(1 - cosine, 0, 2) / 2)))
    assert np.median(turn) < 0.05
    assert turn.max() < 1.5  # at the rim a normal is kept from facing away
    np.testing.assert_array_equal(buffer.normal[~buffer.mask], 0)
    np.testing.assert_array_equal(buffer.position[~buffer.mask], 0)


def test_a_ball_is_convex_open_everywhere_and_lit_by_what_it_faces(ball):
    view = looking_from([0, 0, 1])
    far, near = np.array([0.6, 0.64, 0.48]), np.array([0.2, 1.1, 1.3])
    lights = np.array([[*far, DISTANT], [*near, POINT]])
    buffer = trace(ball, view, lights)
    np.testing.assert_array_equal(buffer.openness[buffer.mask], 1)
    position = buffer.position + view.camera_to_object[:, 3]  # this camera's axes are the object's
    toward_near = near - position
    toward_near /= np.linalg.norm(toward_near, axis=-1, keepdims=True)
    for lit, cosine in ((buffer.lit[0], buffer.normal @ far), (buffer.lit[1], (buffer.normal * toward_near).sum(-1))):
        np.testing.assert_array_equal(lit[buffer.mask & (cosine > 0.1)], True)
        np.testing.assert_array_equal(lit[cosine < -0.1], False)
        np.testing.assert_array_equal(lit[~buffer.mask], False)


@pytest.mark.parametrize("kind", [DISTANT, POINT])
def test_the_shadow_of_a_ball_on_a_table(kind):
    """Seen from above, to within the distance by which shadow rays start off the surface."""
    centre, radius, floor = np.array([0, -0.25, 0]), 0.3, -0.5
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.9, 0.1, 0.9), (0, floor - 0.1, 0))
    builder.add(f.SPHERE, (radius,), tuple(centre))
    solid = solidify(builder.build(), SIDE)
    view = looking_from([0, 1, 0], orthographic=True)
    # The point light hangs between the ball and a part of the table: beyond it, the ball casts no shadow.
    light = np.array([0.6, 0.5, 0.3]) if kind == DISTANT else np.array([-0.55, -0.1, 0.1])
    if kind == DISTANT:
        light /= np.linalg.norm(light)
    buffer = trace(solid, view, np.array([[*light, kind]]))
    origin, _ = rays(view)
    table = origin * [1, 0, 1] + [0, floor, 0]
    toward = light if kind == DISTANT else light - table
    reach = np.inf if kind == DISTANT else np.linalg.norm(toward, axis=-1)
    toward = toward / np.linalg.norm(toward, axis=-1, keepdims=True)
    along = ((centre - table) * toward).sum(-1)
    along = np.minimum(along, reach)
    passing = np.linalg.norm(table + along[..., None] * toward - centre, axis=-1)
    shadowed = (along > 0) & (passing < radius)
    flat = (np.hypot(table[..., 0], table[..., 2]) > radius + 2 * CELL) & (np.abs(table).max(-1) < 0.9 - 2 * CELL)
    certain = flat & (np.abs(passing - radius) > 2 * CELL)
    assert (certain & shadowed).sum() > 50
    assert (certain & ~shadowed).sum() > 500
    np.testing.assert_array_equal(buffer.lit[0][certain], ~shadowed[certain])


def test_the_mean_open_direction(ball):
    """Of a convex body it is the normal; in the corner of two walls it leans away from the wall."""
    buffer = trace(ball, looking_from([0.3, 0.5, 0.8]), NO_LIGHTS)
    cosine = (buffer.opening * buffer.normal).sum(-1)[buffer.mask]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 6  # sixteen rays, in whatever tangent frame
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.9, 0.1, 0.9), (0, -0.5, 0))
    builder.add(f.BOX, (0.1, 0.6, 0.9), (-0.5, 0, 0))  # to the left of what is asked
    buffer = trace(solidify(builder.build(), SIDE), looking_from([0, 1, 0], orthographic=True), NO_LIGHTS)
    beside, far = buffer.opening[32, 21], buffer.opening[32, 55]
    assert beside[0] > 0.3
    assert abs(beside[1]) < 0.12
    np.testing.assert_allclose(far, [0, 0, 1], atol=0.16)  # the wall is still seen from there
    np.testing.assert_array_equal(buffer.opening[~buffer.mask], 0)


def test_points_know_their_part():
    """Two balls, a tube and a hole that belongs to nobody else; blends are split where both are equally far."""
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.8, 0.1, 0.8), blend=0.0)  # 1
    builder.add(f.SPHERE, (0.25,), (0.4, 0.1, 0.4), blend=0.1)  # 2
    builder.tube(np.array([[-0.6, 0.1, 0.4], [-0.4, 0.1, 0.4], [-0.2, 0.1, 0.4]]), np.full(3, 0.1), 0.0)  # 3
    with builder.grouped():  # 4
        builder.add(f.SPHERE, (0.1,), (0.3, 0.1, -0.4))
        builder.add(f.SPHERE, (0.1,), (0.5, 0.1, -0.4))
    builder.add(f.SPHERE, (0.15,), (-0.4, 0.1, -0.4), operation=f.SUBTRACT)  # 5
    buffer = trace(solidify(builder.build(), SIDE), looking_from([0, 1, 0], orthographic=True), NO_LIGHTS)

    def part(x: float, z: float) -> int:
        return int(buffer.part[int(32 + 32 * z), int(32 + 32 * x)])

    assert [part(0, 0), part(0.4, 0.4), part(-0.5, 0.4), part(-0.3, 0.4)] == [1, 2, 3, 3]
    assert [part(0.3, -0.4), part(0.5, -0.4), part(-0.4, -0.4)] == [4, 4, 5]
    np.testing.assert_array_equal(buffer.part > 0, buffer.mask)


def test_a_plain_is_open_and_the_bottom_of_a_shaft_is_not():
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.9, 0.6, 0.9))
    builder.add(f.CYLINDER, (0.2, 0.5), (0, 0.4, 0), operation=f.SUBTRACT)
    buffer = trace(solidify(builder.build(), SIDE), looking_from([0, 1, 0], orthographic=True), NO_LIGHTS)
    middle = slice(30, 34)
    assert buffer.openness[middle, middle].max() <= 0.25  # a cone of 22 degrees is open: a share of 0.07 by cosine
    np.testing.assert_array_equal(buffer.openness[8:16, 8:56], 1)


@pytest.mark.parametrize("height", [-0.5, 0.0, 0.5])
def test_the_openness_of_a_spherical_hollow(height):
    """From anywhere on a sphere, a cap of it is seen by its share of the whole sphere's area, cosine-weighted.

    A hollow that is cut off at `height` radii above its centre lacks a cap of (1 - height) / 2: so much is open,
    at its bottom as beside its rim. Rays start 1.6 cells off the wall, which lets a little more in.
    """
    radius, px = 0.6, 48
    top = height * radius
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.9, (top + 0.85) / 2, 0.9), (0, (top - 0.85) / 2, 0))
    builder.add(f.SPHERE, (radius,), operation=f.SUBTRACT)
    buffer = trace(solidify(builder.build(), 128), looking_from([0, 1, 0], True, px), NO_LIGHTS)
    axis = (np.arange(px) + 0.5) / (px / 2) - 1
    opening = np.hypot(*np.meshgrid(axis, axis)) < 0.9 * radius * np.sqrt(1 - height**2)
    assert opening.sum() > 200
    openness, expected = buffer.openness[opening], (1 - height) / 2
    assert expected - 0.005 < openness.mean() < expected + 0.045
    assert np.abs(openness - expected).max() < 3 / 16  # three of the sixteen rays


def test_a_slow_marcher_finds_no_more_than_the_fast_one(ball):
    """Blocks may be skipped only where nothing lies: distances are never larger than the brute-force ones."""
    rng = np.random.default_rng(2)
    grid = rng.normal(size=(21, 21, 21)).astype(np.float32) + 1.8
    got = block_distance(grid)
    blocks = np.zeros((5, 5, 5), bool)
    for index in np.ndindex(5, 5, 5):
        corner = tuple(slice(4 * i, min(4 * i + 4, 20) + 1) for i in index)
        blocks[index] = (grid[corner] < 0).any() and (grid[corner] >= 0).any()
    surface = np.argwhere(blocks)
    assert len(surface)
    for index in np.ndindex(5, 5, 5):
        assert got[index] == np.abs(surface - index).max(1).min()
    assert (block_distance(np.ones((9, 9, 9), np.float32)) > 0).all()


def test_the_largest_piece_stays_and_the_cube_is_closed():
    builder = Builder(np.random.default_rng(0))
    builder.add(f.BOX, (0.5, 0.2, 1.5), (0, -0.5, 0))  # leaves the cube on two sides
    builder.add(f.SPHERE, (0.2,), (0, 0.6, 0))  # a crumb
    solid = solidify(builder.build(), 33)
    inside = solid.grid < 0
    assert inside.any()
    assert not inside[:, 16:, :].any()
    for axis in range(3):
        assert not inside.take([0, -1], axis).any()
