"""Textured renders against what is known of them: which way up a picture stands, and what a board's normals are."""

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from maquette import metrics
from maquette.bench.normals import textured
from maquette.bench.normals.textured import TexturedPart, read_parts, render_relief, render_textured
from maquette.io.images import write_exr
from maquette.types import Mesh


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """The same light from everywhere."""
    path = tmp_path_factory.mktemp("environment") / "sky.exr"
    write_exr(path, torch.ones(16, 32, 3))
    return path


@pytest.fixture
def small(monkeypatch):
    pytest.importorskip("mitsuba", reason="path tracing needs the extra [render]")
    monkeypatch.setattr(textured, "SIDE_PX", 48)
    monkeypatch.setattr(textured, "SAMPLES", 9)
    monkeypatch.setattr(textured, "RELIEF_SIDE", 96)


def quarters() -> np.ndarray:
    """Red above, blue below on the left; green above, white below on the right."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32, 0] = picture[:32, 32:, 1] = picture[32:, :32, 2] = 220
    picture[32:, 32:] = 220
    return picture


def wall(picture: np.ndarray) -> TexturedPart:
    """A square that faces +z."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    normals = np.tile([0.0, 0.0, 1.0], (4, 1))
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    vertices, normals, uv = (torch.from_numpy(array) for array in (vertices, normals, uv))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return TexturedPart(Mesh(vertices, faces, normals, uv, textures=(torch.from_numpy(picture),)), 0.9)


def test_a_picture_stands_upright_and_the_truth_is_that_of_the_wall(small, sky, monkeypatch):
    monkeypatch.setattr(textured, "rotation", lambda axis, angle: np.eye(3))
    render = render_textured([wall(quarters())], [sky], 1)
    facing = torch.tensor([0.0, 0.0, 1.0]).expand(48, 48, 3)
    assert float(metrics.angular_error_deg(render.truth.normals, facing, render.truth.mask).max()) < 0.1
    for (row, column), channels in {(14, 14): [0], (14, 33): [1], (33, 14): [2], (33, 33): [0, 1, 2]}.items():
        codes = render.codes[row, column].float()
        others = [channel for channel in range(3) if channel not in channels]
        assert float(codes[channels].min()) > 60 + float(codes[others].max() if others else 0)


def test_a_sheet_seen_from_behind_has_no_truth(small, sky, monkeypatch):
    monkeypatch.setattr(textured, "rotation", lambda axis, angle: np.diag([-1.0, 1.0, -1.0]) if axis else np.eye(3))
    render = render_textured([wall(quarters())], [sky], 1)
    assert not bool(render.truth.mask.any())


def test_a_relief_fills_the_frame_whatever_its_lean(small, sky):
    for seed in range(6):
        truth = render_relief("folds", quarters(), [sky], seed).truth
        assert float(truth.mask.float().mean()) > 0.97  # but for what is turned away
        assert bool(truth.mask[[0, 0, -1, -1], [0, -1, 0, -1]].any())


def test_a_relief_is_its_seed_s(small, sky):
    first, again, other = (render_relief("rock", quarters(), [sky], seed) for seed in (1, 1, 2))
    assert torch.equal(first.codes, again.codes)
    assert torch.equal(first.truth.normals, again.truth.normals)
    assert not torch.equal(first.codes, other.codes)


def test_parts_of_a_scene_come_placed_with_what_they_look_like(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    rough = np.zeros((8, 8, 3), np.uint8)
    rough[..., 1], rough[..., 2] = 100, 200
    material = PBRMaterial(
        baseColorTexture=Image.fromarray(quarters()), metallicRoughnessTexture=Image.fromarray(rough)
    )
    uv = np.random.default_rng(0).random((len(mesh.vertices), 2))
    mesh.visual = TextureVisuals(uv=uv, material=material)
    scene = trimesh.Scene()
    turn = np.array([[0.0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    scene.add_geometry(mesh, transform=turn)
    scene.export(tmp_path / "ball.glb")
    (found,) = read_parts(tmp_path / "ball.glb")
    assert np.allclose(found.mesh.vertices.numpy(), mesh.vertices @ turn[:3, :3].T + [5, 0, 0], atol=1e-6)
    # On a sphere the normal is the place, wherever the scene puts it.
    assert np.abs(found.mesh.normals.numpy() - (found.mesh.vertices.numpy() - [5, 0, 0])).max() < 0.02
    assert np.allclose(found.mesh.uv, uv, atol=1e-6)
    assert np.array_equal(found.mesh.textures[0], quarters())
    assert np.all(found.roughness == 100)
    assert np.all(found.metalness == 200)


def test_an_obj_is_smooth_across_the_seams_of_its_texture(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    lines = ["mtllib ball.mtl", "usemtl skin"]
    lines += [f"v {x} {y} {z}" for x, y, z in mesh.vertices]
    lines += [f"vt {u} {v}" for u, v in np.random.default_rng(0).random((3 * len(mesh.faces), 2))]
    for number, face in enumerate(mesh.faces):  # every corner has texture coordinates of its own: seams everywhere
        lines.append("f " + " ".join(f"{v + 1}/{3 * number + corner + 1}" for corner, v in enumerate(face)))
    (tmp_path / "ball.obj").write_text("\n".join(lines) + "\n")
    (tmp_path / "ball.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    Image.fromarray(quarters()).save(tmp_path / "skin.png")
    (found,) = read_parts(tmp_path / "ball.obj")
    assert len(found.mesh.vertices.numpy()) == 3 * len(mesh.faces)
    assert np.abs(found.mesh.normals.numpy() - found.mesh.vertices.numpy()).max() < 0.03


def test_a_file_without_texture_is_refused(tmp_path):
    trimesh.creation.icosphere(subdivisions=1).export(tmp_path / "plain.ply")
    with pytest.raises(ValueError, match="no textured triangles"):
        read_parts(tmp_path / "plain.ply")
