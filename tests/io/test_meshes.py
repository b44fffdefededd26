"""Every format, written and read again by trimesh; what can't be written leaves nothing."""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from maquette.catalogue import MESH_SUFFIXES, MESH_WRITE_SUFFIXES
from maquette.errors import InputError
from maquette.io.height_maps import write_height_map
from maquette.io.images import read_photo, to_srgb8
from maquette.io.meshes import read_mesh, write_mesh
from maquette.types import Mesh


def quad(unit_mm=None, picture=None) -> Mesh:
    """A square, its left upper corner the picture's; normals lean to where the corners are."""
    vertices = np.array([[-20.0, 15, 1], [20, 15, 2], [-20, -15, 3], [20, -15, 4]])
    normals = vertices * (0.02, 0.02, 0) + (0, 0, 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    uv = np.array([[0.0, 1], [1, 1], [0, 0], [1, 0]])
    faces = torch.tensor([[0, 2, 3], [0, 3, 1]])
    textures = () if picture is None else (to_srgb8(picture),)
    vertices, normals, uv = (torch.from_numpy(array) for array in (vertices, normals, uv))
    return Mesh(vertices, faces, normals, uv, textures=textures, unit_mm=unit_mm)


def corners() -> torch.Tensor:
    """Red, green / blue, white."""
    colours = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    return colours.repeat_interleave(4, 0).repeat_interleave(4, 1)


@pytest.mark.parametrize("suffix", MESH_WRITE_SUFFIXES)
@pytest.mark.parametrize("unit_mm", [None, 1.0])
def test_what_is_written_is_what_is_read(tmp_path, suffix, unit_mm):
    mesh = quad(unit_mm, corners())
    files = write_mesh(tmp_path / f"a b{suffix}", mesh)
    assert sorted(path.name for path in files) == sorted(path.name for path in tmp_path.iterdir())
    assert files[0] == tmp_path / f"a b{suffix}"
    loaded = trimesh.load(files[0], process=False)
    # not force="mesh", which would compute the normals anew
    read = next(iter(loaded.geometry.values())) if isinstance(loaded, trimesh.Scene) else loaded
    scale = 1e-3 if unit_mm and suffix == ".glb" else 1.0
    found = read.vertices[read.faces]
    assert np.allclose(found, mesh.vertices[mesh.faces] * scale, atol=1e-5)
    if suffix != ".stl":
        assert np.allclose(read.vertex_normals[read.faces], mesh.normals[mesh.faces], atol=1e-5)
    if suffix in (".glb", ".obj"):
        assert np.allclose(read.visual.uv[read.faces], mesh.uv[mesh.faces], atol=1e-6)
        picture = read.visual.material.baseColorTexture if suffix == ".glb" else read.visual.material.image
        assert np.asarray(picture.convert("RGB"))[0, 0].tolist() == [255, 0, 0]
    if suffix == ".ply":
        assert read.visual.vertex_colors[:, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize("suffix", [s for s in MESH_WRITE_SUFFIXES if s in MESH_SUFFIXES])
def test_a_mesh_comes_back_as_itself(tmp_path, suffix):
    mesh = quad(picture=corners())
    read = read_mesh(write_mesh(tmp_path / f"a{suffix}", mesh)[0])
    assert torch.allclose(read.vertices[read.faces], mesh.vertices[mesh.faces], atol=1e-5)
    if suffix == ".stl":
        return
    assert torch.allclose(read.normals[read.faces], mesh.normals[mesh.faces], atol=1e-5)
    if suffix == ".ply":
        white = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
        assert torch.allclose(read.colors[read.faces], white[mesh.faces])
        return
    assert torch.allclose(read.uv[read.faces], mesh.uv[mesh.faces], atol=1e-6)
    assert torch.equal(read.textures[0], mesh.textures[0])


def test_what_a_mesh_lacks_is_not_written(tmp_path):
    bare = Mesh(quad().vertices, quad().faces)
    for suffix in MESH_WRITE_SUFFIXES:
        read = read_mesh(write_mesh(tmp_path / f"a{suffix}", bare)[0])
        assert torch.allclose(read.vertices[read.faces], bare.vertices[bare.faces], atol=1e-5)
        assert (read.uv, read.textures) == (None, ())
    colored = Mesh(bare.vertices, bare.faces, colors=torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]))
    assert torch.equal(read_mesh(write_mesh(tmp_path / "b.ply", colored)[0]).colors.float(), colored.colors)


def test_one_texture_is_written(tmp_path):
    one = quad(picture=corners())
    with pytest.raises(InputError, match=r"b\.glb: the mesh has 2 textures; one at most"):
        write_mesh(tmp_path / "b.glb", Mesh(one.vertices, one.faces, uv=one.uv, textures=2 * one.textures))
    with pytest.raises(InputError, match="textures is given without uv"):
        Mesh(one.vertices, one.faces, textures=one.textures)


def test_gltf_coordinates_have_their_origin_at_the_top_and_the_picture_inside(tmp_path):
    write_mesh(tmp_path / "a.glb", quad(picture=corners()))
    content = (tmp_path / "a.glb").read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    header = json.loads(content[20 : 20 + length])
    assert {"POSITION", "NORMAL", "TEXCOORD_0"} <= set(header["meshes"][0]["primitives"][0]["attributes"])
    assert "uri" not in json.dumps(header)
    assert header["materials"][0]["doubleSided"] is True
    assert header["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0
    place = header["accessors"][header["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]]
    view = header["bufferViews"][place["bufferView"]]
    start = 20 + length + 8 + view.get("byteOffset", 0) + place.get("byteOffset", 0)
    assert np.frombuffer(content[start : start + 8], "<f4").tolist() == [0, 0]  # the left upper corner


def test_an_obj_names_its_picture_and_material(tmp_path):
    write_mesh(tmp_path / "my cup.obj", quad(picture=corners()))
    assert "mtllib my_cup.mtl" in (tmp_path / "my cup.obj").read_text()
    material = (tmp_path / "my_cup.mtl").read_text()
    assert "map_Kd my_cup.texture.png" in material
    assert "Kd 1.0" in material
    assert np.asarray(Image.open(tmp_path / "my_cup.texture.png")).shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", MESH_WRITE_SUFFIXES)
def test_without_a_picture(tmp_path, suffix):
    assert write_mesh(tmp_path / f"a{suffix}", quad()) == [tmp_path / f"a{suffix}"]
    assert len(trimesh.load(tmp_path / f"a{suffix}", force="mesh").faces) == 2


def test_bad_names_and_folders_leave_nothing(tmp_path):
    with pytest.raises(InputError, match=r"ends in one of .glb, .obj, .ply, .stl"):
        write_mesh(tmp_path / "a.fbx", quad())
    (tmp_path / "file").touch()
    for suffix in MESH_WRITE_SUFFIXES:
        with pytest.raises(InputError, match="cannot write"):
            write_mesh(tmp_path / "file" / f"a{suffix}", quad(picture=corners()))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_heights_in_16_bits_have_no_bands(tmp_path):
    heights = torch.linspace(-3, 7, 500)[None].repeat(16, 1).double()
    mask = torch.ones(16, 500, dtype=torch.bool)
    mask[:4] = False
    assert write_height_map(tmp_path / "h.png", heights, mask) == (-3.0, 7.0)
    codes = np.asarray(Image.open(tmp_path / "h.png")).astype(int)
    assert (codes[:4] == 0).all()
    steps = np.diff(codes[8])
    assert (steps.min(), steps.max()) == (131, 132)  # 65535 / 499: not one code is skipped or doubled
    assert len(np.unique(codes[8])) == 500
    assert (codes[8, 0], codes[8, -1]) == (0, 65535)


@pytest.mark.parametrize(("format", "suffix"), [("exr", ".exr"), ("npy", ".npy")])
def test_heights_in_floats_are_themselves(tmp_path, format, suffix):
    heights = torch.rand(16, 20, dtype=torch.float64) * 50 + 1
    mask = torch.rand(16, 20) > 0.3
    write_height_map(tmp_path / f"h{suffix}", heights, mask, format)
    read = np.load(tmp_path / "h.npy") if format == "npy" else read_photo(tmp_path / "h.exr").rgb[..., 0].numpy()
    assert np.array_equal(read, np.where(mask, heights, 0).astype(np.float32))


def test_a_flat_map_is_zero(tmp_path):
    write_height_map(tmp_path / "h.png", torch.full((16, 16), 2.5), torch.ones(16, 16, dtype=torch.bool))
    assert np.asarray(Image.open(tmp_path / "h.png")).max() == 0
