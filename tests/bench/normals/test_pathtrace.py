"""The path tracer's truth against a sphere worked out by hand, and its seed against itself."""

import sys

import numpy as np
import pytest
import torch
import trimesh

from maquette import metrics
from maquette.errors import InputError
from maquette.io.images import write_exr

pytest.importorskip("mitsuba", reason="path tracing needs the extra [render]")

from maquette.bench.normals.pathtrace import Render, render_scene


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A sky that is bright above and to the right."""
    sky = torch.full((16, 32, 3), 0.2)
    sky[:8] = 1.0
    path = tmp_path_factory.mktemp("environment") / "sky.exr"
    write_exr(path, sky)
    return path


def ball(environment, seed: int, material: str | None = "diffuse") -> Render:
    mesh = trimesh.creation.icosphere(subdivisions=5)
    return render_scene(np.asarray(mesh.vertices) * 3 + 7, np.asarray(mesh.faces), [environment], seed, material, 64, 9)


def analytic_normals(render: Render) -> tuple[torch.Tensor, torch.Tensor]:
    """Where rays through pixel centres meet the unit sphere at the origin; normals and hits."""
    camera = render.camera
    distance = float(camera.camera_to_world[2, 3])
    row, column = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    x = (column + 0.5 - camera.center_px[0]) / camera.focal_px
    y = -(row + 0.5 - camera.center_px[1]) / camera.focal_px
    ray = torch.nn.functional.normalize(torch.stack([x, y, -torch.ones_like(x)], -1).double(), dim=-1)
    along = -distance * ray[..., 2]
    inside = along**2 - (distance**2 - 1)
    near = along - inside.clamp_min(0).sqrt()
    origin = torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    return origin + near[..., None] * ray, inside > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_truth_of_a_sphere_is_the_analytic_one(environment, seed):
    render = ball(environment, seed)
    normals, hit = analytic_normals(render)
    assert int((hit != render.truth.mask).sum()) <= 0.02 * int(hit.sum())  # the rim of the polyhedron
    error = metrics.angular_error_deg(render.truth.normals, normals.float(), hit & render.truth.mask)
    assert float(error.mean()) < 0.15
    front = render.truth.mask & (normals[..., 2] > 0.5)
    assert float(metrics.angular_error_deg(render.truth.normals, normals.float(), front).max()) < 1.5


@pytest.mark.parametrize("holed", [False, True])
def test_a_mesh_that_is_inside_out_is_turned_even_with_holes(environment, holed):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.update_faces(mesh.triangles_center[:, 1] > -0.98 if holed else np.ones(len(mesh.faces), bool))
    for faces in (mesh.faces, mesh.faces[:, ::-1]):
        truth = render_scene(np.asarray(mesh.vertices), np.asarray(faces), [environment], 0, "plastic", 32, 4).truth
        assert float(truth.normals[16, 16, 2]) > 0.9


def test_unit_inside_zero_outside_and_the_frame_is_filled(environment):
    truth = ball(environment, 3).truth
    length = torch.linalg.vector_norm(truth.normals, dim=-1)
    assert torch.allclose(length[truth.mask], torch.ones(int(truth.mask.sum())), atol=1e-5)
    assert float(length[~truth.mask].abs().sum()) == 0
    rows = torch.nonzero(truth.mask.any(1))
    assert 0.88 * 64 <= int(rows.max() - rows.min()) + 1 <= 62


def test_a_photo_is_exposed_for_the_object_and_lit_from_somewhere(environment):
    render = ball(environment, 4)
    brightest = render.codes[render.truth.mask].max(-1).values.float()
    clipped = float((brightest == 255).float().mean())
    assert 0.003 < clipped < 0.12  # the white percentile is drawn from 90 to 99.5
    assert float(brightest.std()) > 10


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(environment):
    first, again, other = (ball(environment, seed, None) for seed in (5, 5, 6))
    assert torch.equal(first.codes, again.codes)
    assert torch.equal(first.truth.normals, again.truth.normals)
    assert not torch.equal(first.codes, other.codes)


def test_wrong_material_no_environment_and_no_mitsuba_are_told(environment, monkeypatch):
    with pytest.raises(InputError, match="choose from diffuse, plastic, metal"):
        ball(environment, 0, "cheese")
    triangle = (np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="no environment map"):
        render_scene(*triangle, [], 0)
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(InputError, match=r"pip install 'maquette\[render\]'"):
        render_scene(*triangle, [environment], 0)
