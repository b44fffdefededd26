"""Meshes with colours come back as they were written; what can't be read is one line."""

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from maquette.errors import InputError
from maquette.geometry.mesh import weld
from maquette.io import meshes
from maquette.io.mesh_colors import colors_at, shrink_textures
from maquette.io.meshes import NEUTRAL, read_mesh

QUAD = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
UV = (QUAD[:, :2] + 1) / 2


def quarters() -> np.ndarray:
    """Red above left, green above right, blue below left, white below right."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16, :16, 0] = picture[:16, 16:, 1] = picture[16:, :16, 2] = 255
    picture[16:, 16:] = 255
    return picture


def textured(material) -> trimesh.Trimesh:
    return trimesh.Trimesh(QUAD, FACES, visual=TextureVisuals(UV, material=material), process=False)


def seen(mesh, x: float, y: float) -> list[float]:
    """The colour at a place of the quad."""
    for face in range(len(mesh.faces)):
        a, b, c = mesh.vertices[mesh.faces[face]][:, :2].numpy()
        v, w = np.linalg.solve(np.stack([b - a, c - a], 1), np.array([x, y]) - a)
        if min(v, w, 1 - v - w) >= 0:
            return colors_at(mesh, np.array([face]), np.array([[1 - v - w, v, w]]))[0].round(4).tolist()
    raise AssertionError


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_a_picture_lies_the_right_way_up(tmp_path, suffix):
    image = Image.fromarray(quarters())
    material = PBRMaterial(baseColorTexture=image) if suffix == ".glb" else SimpleMaterial(image=image)
    textured(material).export(tmp_path / f"quad{suffix}")
    mesh = read_mesh(tmp_path / f"quad{suffix}")
    assert seen(mesh, -0.5, 0.5) == [1, 0, 0]
    assert seen(mesh, 0.5, 0.5) == [0, 1, 0]
    assert seen(mesh, -0.5, -0.5) == [0, 0, 1]
    assert seen(mesh, 0.5, -0.5) == [1, 1, 1]


def test_gltf_s_factor_is_linear_and_multiplies_the_picture(tmp_path):
    material = PBRMaterial(baseColorTexture=Image.fromarray(quarters()), baseColorFactor=[128, 255, 255, 255])
    textured(material).export(tmp_path / "quad.glb")
    assert seen(read_mesh(tmp_path / "quad.glb"), 0.5, -0.5) == pytest.approx([128 / 255, 1, 1], abs=1e-3)
    textured(PBRMaterial(baseColorFactor=[51, 102, 153, 255])).export(tmp_path / "plain.glb")
    assert seen(read_mesh(tmp_path / "plain.glb"), 0, 0.1) == pytest.approx([0.2, 0.4, 0.6], abs=1e-3)


def test_vertex_colours_are_decoded_then_mixed(tmp_path):
    codes = [[255, 0, 0, 255], [0, 255, 0, 255], [0, 255, 0, 255], [255, 0, 0, 255]]
    trimesh.Trimesh(QUAD, FACES, vertex_colors=codes, process=False).export(tmp_path / "quad.ply")
    assert seen(read_mesh(tmp_path / "quad.ply"), 0, 0.3) == [0.5, 0.5, 0]


def test_a_mesh_without_colours_is_grey(tmp_path):
    trimesh.Trimesh(QUAD, FACES, process=False).export(tmp_path / "quad.ply")
    assert seen(read_mesh(tmp_path / "quad.ply"), 0, 0.3) == [NEUTRAL] * 3


def test_a_scene_s_parts_are_placed_and_keep_their_pictures(tmp_path):
    """Two quads, one moved aside; the vertices that they then share are one, for smooth normals."""
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    scene = trimesh.Scene()
    scene.add_geometry(textured(PBRMaterial(baseColorTexture=pictures[0])))
    scene.add_geometry(
        textured(PBRMaterial(baseColorTexture=pictures[1])),
        transform=trimesh.transformations.translation_matrix([2, 0, 0]),
    )
    scene.export(tmp_path / "scene.glb")
    mesh = read_mesh(tmp_path / "scene.glb")
    assert len(weld(mesh)[0]) == 6
    assert len(mesh.faces) == 4
    assert seen(mesh, 0, 0.3) == [1, 0, 0]
    assert seen(mesh, 2, 0.3) == [0, 0, 1]


def test_pictures_shrink_to_their_mean(tmp_path):
    checks = np.tile(np.array([[0, 200], [200, 0]], np.uint8), (64, 64))[..., None].repeat(3, 2)
    textured(PBRMaterial(baseColorTexture=Image.fromarray(checks))).export(tmp_path / "quad.glb")
    mesh = shrink_textures(read_mesh(tmp_path / "quad.glb"), 32)
    assert mesh.textures[0].shape == (32, 32, 3)
    assert set(mesh.textures[0].flatten().tolist()) == {100}
    assert shrink_textures(mesh, 64).textures[0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.ply", b"", "is empty"),
        ("junk.glb", b"glTF" + b"junk" * 100, "not a whole mesh"),
        ("cut.ply", b"ply\nformat ascii 1.0\nelement vertex 5\n", "not a whole mesh"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", "no triangles"),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "NaN"),
        ("point.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "one point"),
        ("mesh.fbx", b"solid", "ends in one of"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, said, capfd):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as told:
        read_mesh(tmp_path / name)
    assert name in str(told.value)
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    trimesh.Trimesh(QUAD, FACES, process=False).export(tmp_path / "quad.ply")
    with pytest.raises(InputError, match=r"quad\.ply: has 2 triangles; at most 1"):
        read_mesh(tmp_path / "quad.ply", max_faces=1)
    monkeypatch.setattr(meshes, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"quad\.ply: is larger"):
        read_mesh(tmp_path / "quad.ply")
