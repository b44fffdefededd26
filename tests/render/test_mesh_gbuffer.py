"""Mesh G-buffers against the plain ray-caster, a sphere and shadows worked out by hand."""

import numpy as np
import pytest
import trimesh
from oracles.raycast import raycast

from maquette.render.gbuffer import DISTANT, POINT, ObjectCamera
from maquette.render.mesh_gbuffer import trace_mesh, triangulate

PX = 48
NO_LIGHTS = np.zeros((0, 4))
CAMERA = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4.0]])


def looking(pose=CAMERA, px=PX, orthographic=False) -> ObjectCamera:
    focal = px / 2.4 if orthographic else px * 1.6
    return ObjectCamera(pose, px, px, focal, (px / 2 + 0.3, px / 2 - 0.7), orthographic)


def bumpy(seed: int) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(3, 0.7)
    mesh.vertices *= 1 + 0.25 * np.random.default_rng(seed).normal(size=(len(mesh.vertices), 1))
    return mesh


@pytest.mark.parametrize("orthographic", [False, True])
def test_hits_are_those_of_the_plain_ray_caster(orthographic):
    """A crumpled ball and a plane behind it: mask, depth, facet, corners' weights."""
    plane = trimesh.Trimesh([[-1, -1, -0.9], [1, -1, -0.9], [1, 1, -0.9], [-1, 1, -0.9]], [[0, 1, 2], [2, 0, 3]])
    mesh = trimesh.util.concatenate([bumpy(0), plane])  # one of the plane's triangles is wound the other way
    turn = trimesh.transformations.euler_matrix(0.4, 0.7, 0.2)[:3, :3]
    view = looking(np.concatenate([turn, turn @ [[0], [0], [4.0]]], 1), orthographic=orthographic)
    expected = raycast(mesh.vertices, mesh.faces, view)
    buffer, hits = trace_mesh(triangulate(mesh.vertices, mesh.faces), view, NO_LIGHTS)
    np.testing.assert_array_equal(buffer.mask, expected.mask)
    assert 0.2 < buffer.mask.mean() < 0.9
    np.testing.assert_allclose(-buffer.position[..., 2][buffer.mask], expected.depth[buffer.mask], atol=1e-6)
    points = (mesh.triangles[hits.face[buffer.mask]] * hits.weight[buffer.mask][..., None]).sum(1)
    seen = (points - view.camera_to_object[:, 3]) @ view.camera_to_object[:, :3]
    np.testing.assert_allclose(seen, buffer.position[buffer.mask], atol=1e-6)
    assert (hits.face[~buffer.mask] == -1).all()


def test_flat_facets_keep_their_normals_and_turn_to_the_viewer():
    box = trimesh.creation.box((1, 1, 1))
    inside_out = box.faces[:, ::-1]
    turn = trimesh.transformations.euler_matrix(0.5, 0.6, 0.1)[:3, :3]
    view = looking(np.concatenate([turn, turn @ [[0], [0], [4.0]]], 1))
    expected = raycast(box.vertices, box.faces, view)
    for faces in (box.faces, inside_out):
        buffer, _ = trace_mesh(triangulate(box.vertices, faces), view, NO_LIGHTS)
        np.testing.assert_allclose(buffer.normal, expected.normal, atol=1e-6)


@pytest.mark.parametrize(("subdivisions", "mean_deg", "worst_deg"), [(3, 0.15, 1.0), (5, 0.02, 1.0)])
def test_a_tessellated_sphere_s_normals_are_a_sphere_s(subdivisions, mean_deg, worst_deg):
    ball = trimesh.creation.icosphere(subdivisions, 0.9)
    view = looking()
    buffer, _ = trace_mesh(triangulate(ball.vertices, ball.faces), view, NO_LIGHTS)
    true = buffer.position[buffer.mask] + np.array([0, 0, 4.0])
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    error = np.degrees(np.arccos(np.clip((true * buffer.normal[buffer.mask]).sum(1), -1, 1)))
    assert error.mean() < mean_deg
    assert error.max() < worst_deg
    np.testing.assert_allclose(np.linalg.norm(buffer.normal[buffer.mask], axis=1), 1, atol=1e-6)


def test_a_convex_surface_is_lit_where_it_faces_the_light_and_open_everywhere():
    """Facets don't shadow themselves where the smooth normal sees the light."""
    ball = trimesh.creation.icosphere(3, 0.9)
    lights = np.array([[0.8, 0.6, 0, DISTANT], [0, 0.6, 0.8, DISTANT], [2.0, 0, 1.5, POINT]])
    buffer, _ = trace_mesh(triangulate(ball.vertices, ball.faces), looking(), lights)
    normal, place = buffer.normal[buffer.mask], buffer.position[buffer.mask] + [0, 0, 4]
    for light, lit in zip(lights, buffer.lit, strict=True):
        towards = light[:3] - place if light[3] == POINT else light[:3]
        cosine = (normal * (towards / np.linalg.norm(towards, axis=-1, keepdims=True))).sum(1)
        assert lit[buffer.mask][cosine > 0.02].mean() > 0.999
        assert not lit[buffer.mask][cosine <= 0].any()
    assert buffer.openness[buffer.mask].mean() > 0.999


def test_a_wall_casts_its_shadow_and_a_corner_is_less_open():
    """A floor that faces the camera and a wall that stands on it at x = 0, 0.5 high."""
    floor = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    wall = [[0, -1, 0], [0, 1, 0], [0, 1, 0.5], [0, -1, 0.5]]
    triangles = triangulate(np.array(floor + wall, float), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]))
    view = ObjectCamera(CAMERA, 64, 64, 64 / 2.2, (32, 32), True)
    half = np.sqrt(0.5)
    buffer, hits = trace_mesh(triangles, view, np.array([[half, 0, half, DISTANT], [1.0, 0, 0.5, POINT]]))
    on_floor = (hits.face == 0) | (hits.face == 1)
    x = buffer.position[..., 0]
    for lit, reach in ((buffer.lit[0], 0.5), (buffer.lit[1], 1.1)):  # at 45 degrees; level with the wall's top
        shadow = on_floor & (x < -0.04) & (x > -reach + 0.04)
        assert not lit[shadow].any()
        assert lit[on_floor & (x > 0.04)].all()
    assert buffer.lit[0][on_floor & (x < -0.54)].all()
    assert buffer.openness[on_floor & (np.abs(x) < 0.06)].mean() < 0.7
    assert buffer.openness[on_floor & (x > 0.9)].mean() > 0.9
    right = buffer.opening[on_floor & (x > 0.02) & (x < 0.1)].mean(0)  # away from the wall, as the other side is
    left = buffer.opening[on_floor & (x < -0.02) & (x > -0.1)].mean(0)
    np.testing.assert_allclose(right * [-1, 1, 1], left, atol=0.15)  # sixteen rays
    assert right[0] > 0.3
    np.testing.assert_array_equal(buffer.part, buffer.mask)


def test_degenerate_triangles_and_a_vertex_of_many_are_taken():
    fan = [[0, 0, 0.5]] + [[np.cos(a), np.sin(a), 0] for a in np.linspace(0, 2 * np.pi, 700, endpoint=False)]
    faces = [[0, 1 + k, 1 + (k + 1) % 700] for k in range(700)] + [[0, 0, 1], [1, 2, 2]]
    triangles = triangulate(np.array(fan) * 0.9, np.array(faces))
    assert len(triangles.face) == 700
    buffer, _ = trace_mesh(triangles, looking(), NO_LIGHTS)
    assert np.isfinite(buffer.normal).all()
    np.testing.assert_allclose(np.linalg.norm(buffer.normal[buffer.mask], axis=1), 1, atol=1e-6)
