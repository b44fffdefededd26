"""What the reader gives is what the files hold: by hand, by WebDataset, and from a folder of the published kind."""

import json
import tarfile

import cv2
import numpy as np
import pytest
import torch
import trimesh

from maquette.errors import InputError
from maquette.io.images import write_png8
from maquette.io.normal_maps import write_normal_map
from maquette.shading.rigs import ring_lights
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multishade.reading import MultiShade
from maquette.synth.datasets.multishade.shards import generate
from maquette.synth.datasets.multishade.spec import MultiShadeSpec
from maquette.types import NormalMap

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine meshes, hence two shards; one of the meshes can't be read."""
    meshes = tmp_path_factory.mktemp("meshes")
    for number in range(9):
        trimesh.creation.icosphere(2).export(meshes / f"{number}.ply")
    (meshes / "1.ply").write_text("junk")
    out = tmp_path_factory.mktemp("data")
    with pytest.warns(UserWarning, match="left out"):
        generate(out, MultiShadeSpec(0, views=3, size_px=24, frames=5, meshes=find_meshes(meshes)), meshes)
    return out


def test_samples_are_read_by_number_across_shards_without_the_mesh_that_was_left_out(folder):
    data = MultiShade(folder)
    assert len(data) == 24
    assert data.frames == 5
    assert data.objects.tolist() == [thing for thing in (0, 2, 3, 4, 5, 6, 7, 8) for _ in range(3)]
    order = [23, 0, 20, 21, 5]
    batch = data.batch(order)
    assert batch.photo.shape == (5, 3, 24, 24)
    assert batch.mask.shape == (5, 1, 24, 24)
    assert batch.normal is not None
    assert batch.normal.shape == (5, 3, 24, 24)
    assert batch.shading.shape == (5, 5, 24, 24)
    for row, index in enumerate(order):
        facts = data.facts(index)
        assert facts["object"] == data.objects[index]
        alone = data.batch([index])
        torch.testing.assert_close(alone.photo[0], batch.photo[row], rtol=0, atol=0)


def test_what_is_read_is_what_the_standard_library_finds(folder):
    data = MultiShade(folder)
    files = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files |= {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    keys = sorted({name.split(".")[0] for name in files})
    batch = data.batch(range(len(keys)))
    for row, key in enumerate(keys):

        def image(suffix, key=key):
            return cv2.imdecode(np.frombuffer(files[key + suffix], np.uint8), cv2.IMREAD_UNCHANGED)

        np.testing.assert_allclose(batch.photo[row].permute(1, 2, 0) * 255, image(".photo.png")[..., ::-1], atol=1e-4)
        np.testing.assert_array_equal(batch.mask[row, 0] * 255, image(".mask.png"))
        for frame in range(5):
            stored = image(f".shading-{frame:02d}.png")
            assert stored.dtype == np.uint16
            np.testing.assert_allclose(batch.shading[row, frame] * 65535, stored, atol=0.01)
        assert data.facts(row) == json.loads(files[f"{key}.json"])


def test_normals_are_unit_and_shade_as_the_frames_do(folder):
    batch = MultiShade(folder).batch(range(24))
    assert batch.normal is not None
    torch.testing.assert_close(batch.normal.norm(dim=1, keepdim=True), batch.mask, atol=1e-5, rtol=0)
    shaded = torch.einsum("kc,bchw->bkhw", ring_lights(5).float(), batch.normal).clamp_min(0)
    torch.testing.assert_close(shaded, batch.shading, atol=4 / 65535, rtol=0)


def test_webdataset_reads_the_tars(folder):
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset: pip install 'maquette[scale]'")
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    data = MultiShade(folder)
    assert len(found) == len(data)
    batch = data.batch(range(len(data)))
    for row, sample in enumerate(found):
        assert sample["json"] == data.facts(row)
        np.testing.assert_allclose(sample["photo.png"], batch.photo[row].permute(1, 2, 0) * 255, atol=1e-4)
        assert {key for key in sample if key.startswith("shading")} == {f"shading-{n:02d}.png" for n in range(5)}


def test_what_is_missing_or_damaged_is_one_line(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="holds 5 frames of a sample, not 9"):
        MultiShade(tmp_path, frames=9)
    tar = tmp_path / "multishade-000001.tar"
    content = bytearray(tar.read_bytes())
    content[600:9000] = bytes(8400)  # contents, perhaps headers
    tar.write_bytes(content)
    with pytest.raises(InputError, match=r"multishade-000001\.tar: damaged"):
        MultiShade(tmp_path)
    tar.unlink()
    with pytest.raises(InputError, match=r"multishade-000001\.tar: cannot be read.*run `maquette dataset multishade`"):
        MultiShade(tmp_path)


def test_a_picture_that_was_damaged_is_named(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tar = tmp_path / "multishade-000000.tar"
    content = tar.read_bytes()
    start = content.index(b"\x89PNG", content.index(b"000002_00_00.photo.png"))
    tar.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    data = MultiShade(tmp_path)
    with pytest.raises(InputError, match=r"000002_00_00\.photo\.png is no image"):
        data.batch([3])


@pytest.fixture
def pairs():
    """A sphere's normals, and photos of it: a red and a green one."""
    x = (torch.arange(20) + 0.5) / 10 - 1
    x, y = x[None, :].expand(20, 20), -x[:, None].expand(20, 20)
    mask = x * x + y * y < 0.9
    normals = torch.where(mask[..., None], torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1), 0.0)
    red, green = (torch.zeros(20, 20, 3, dtype=torch.uint8) for _ in range(2))
    red[..., 0], green[..., 1] = 200, 100
    return NormalMap(normals, mask), red, green


def check_sphere(data: MultiShade, truth: NormalMap, tolerance: float = 1e-4) -> None:
    batch = data.batch(range(len(data)))
    assert batch.normal is not None
    for row in range(len(data)):
        np.testing.assert_array_equal(batch.mask[row, 0] > 0, truth.mask)
        torch.testing.assert_close(batch.normal[row].permute(1, 2, 0), truth.normals, atol=tolerance, rtol=0)
        exact = (truth.normals.double() @ ring_lights(data.frames).T).clamp_min(0).permute(2, 0, 1).float()
        torch.testing.assert_close(batch.shading[row], exact, atol=tolerance, rtol=0)
    assert batch.photo[0, :, 5, 5].tolist() == pytest.approx([0, 100 / 255, 0])  # display values as they are
    assert batch.photo[1, :, 5, 5].tolist() == pytest.approx([200 / 255, 0, 0])


def test_the_assumed_layout_is_read_with_a_warning(tmp_path, pairs):
    truth, red, green = pairs
    for thing in ("first", "second"):
        for view in ("top", "front"):
            place = tmp_path / "train" / thing / view
            write_normal_map(place / "normal.png", truth)
            write_png8(place / "point.png", red)
            write_png8(place / "parallel.png", green)
            write_png8(place / "mask.png", truth.mask.to(torch.uint8) * 255)
    with pytest.warns(UserWarning, match="taken for the published MultiShade by an assumed layout"):
        data = MultiShade(tmp_path)
    assert len(data) == 8
    assert data.frames == 9
    assert data.objects.tolist() == [0] * 4 + [1] * 4
    assert data.facts(0)["photo"].endswith("train/first/front/parallel.png")
    with pytest.warns(UserWarning, match="assumed layout"):
        check_sphere(MultiShade(tmp_path, frames=6), truth)


@pytest.mark.filterwarnings("error")
def test_a_layout_file_says_it_for_certain(tmp_path, pairs):
    """Photos and normals in folders of their own, normals in another frame, object and view in one name."""
    truth, red, green = pairs
    for thing in ("a1", "b2"):
        write_normal_map(tmp_path / "normals" / f"{thing}_top.png", truth, "opencv")
        write_png8(tmp_path / "images" / f"{thing}_top_00.png", green)
        write_png8(tmp_path / "images" / f"{thing}_top_01.png", red)
    write_png8(tmp_path / "images" / "c3_top_00.png", red)  # without normals: no pair
    layout = {"photo": "images/{object}_{view}_{light}.png", "normal": "normals/{object}_{view}.png"}
    (tmp_path / "layout.json").write_text(json.dumps(layout | {"convention": "opencv"}))
    data = MultiShade(tmp_path)
    assert len(data) == 4
    assert data.objects.tolist() == [0, 0, 1, 1]
    check_sphere(data, truth)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ({"photo": "{object}.png"}, "not a layout"),
        ({"photo": "{object}.png", "normal": "{view}.png"}, "its photo has no {view}"),
        ({"photo": "{object}.png", "normal": "{object}.n.png", "convention": "up"}, "its convention is none of opengl"),
        ({"photo": "{a}.png", "normal": "{a}.n.png"}, "its photo has no {object}"),
        ({"photo": "{object}.png", "normal": "{object}.n.png", "other": 1}, "not a layout"),
        ({"photo": "{object}.jpg", "normal": "{object}.n.png"}, "no photo in .* fits it"),
        ({"photo": "../{object}.png", "normal": "{object}.n.png"}, "no photo in .* fits it"),
        ({"photo": "/{object}.png", "normal": "{object}.n.png"}, "must lie below the folder"),
        ([], "not a layout"),
    ],
)
def test_a_layout_that_is_none_is_one_line(tmp_path, layout, said):
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    with pytest.raises(InputError, match=said):
        MultiShade(tmp_path)


def test_a_folder_of_neither_kind_says_what_both_look_like(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"ours has a manifest\.json and tars; the published one a layout\.json, or folders"
    ):
        MultiShade(tmp_path)
    with pytest.raises(InputError, match="no MultiShade data set"):
        MultiShade(tmp_path / "nowhere")


def test_photos_of_several_sizes_make_no_batch(tmp_path, pairs):
    truth, red, _ = pairs
    write_normal_map(tmp_path / "a" / "normal.png", truth)
    write_png8(tmp_path / "a" / "photo.png", red)
    write_normal_map(tmp_path / "b" / "normal.png", NormalMap(truth.normals[:18], truth.mask[:18]))
    write_png8(tmp_path / "b" / "photo.png", red[:18])
    write_normal_map(tmp_path / "c" / "normal.png", truth)
    write_png8(tmp_path / "c" / "photo.png", red[:18])
    with pytest.warns(UserWarning, match="assumed"):
        data = MultiShade(tmp_path)
    with pytest.raises(InputError, match="different sizes"):
        data.batch([0, 1])
    with pytest.raises(InputError, match=r"photo\.png: photo, normal map and mask must be of one size"):
        data.batch([2])
    with pytest.raises(InputError, match="be some"):
        data.batch([])
