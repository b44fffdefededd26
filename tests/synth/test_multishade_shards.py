"""The same bytes whoever makes a MultiShade data set and however often it is killed; damage is found and mended."""

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import SimpleMaterial

from maquette.errors import InputError
from maquette.io.tars import list_tar, pack_tar
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multishade import shards
from maquette.synth.datasets.multishade.shards import generate
from maquette.synth.datasets.multishade.spec import MultiShadeSpec, open_manifest, read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 20  # meshes, hence three shards
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """Twenty small meshes, one of them unreadable."""
    folder = tmp_path_factory.mktemp("meshes")
    for number in range(COUNT):
        trimesh.creation.icosphere(1, 1 + number).export(folder / f"{number:02d}.ply")
    (folder / "05.ply").write_bytes(b"ply\njunk\n")
    return folder


@pytest.fixture(scope="module")
def spec(meshes) -> MultiShadeSpec:
    return MultiShadeSpec(0, seed=5, views=2, size_px=16, frames=4, meshes=find_meshes(meshes))


def contents(folder: Path) -> dict[str, bytes]:
    """What a reader of the data set sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, meshes, spec) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.warns(UserWarning, match=r"05\.ply: .*; it is left out") as told:
        generate(folder, spec, meshes)
    assert len(told) == 1
    found = contents(folder)
    assert sorted(found) == ["datasheet.md", "manifest.json", *(f"multishade-{n:06d}.tar" for n in range(3))]
    return found


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_two_processes_make_the_same(tmp_path, meshes, spec, undisturbed):
    generate(tmp_path, spec, meshes, workers=2)
    assert contents(tmp_path) == undisturbed


def test_ray_makes_the_same(tmp_path, meshes, undisturbed):
    pytest.importorskip("ray", reason="needs Ray: pip install 'maquette[scale]'")
    command = [sys.executable, "-m", "maquette.app.cli.main", "dataset", "multishade", "-o", str(tmp_path)]
    asked = ["--count", "0", "--seed", "5", "--views", "2", "--size-px", "16", "--frames", "4", "--meshes", str(meshes)]
    subprocess.run([*command, *asked, "--ray", "local", "--workers", "2"], env=ENVIRONMENT, check=True, timeout=180)
    assert contents(tmp_path) == undisturbed


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_parts_make_the_same(tmp_path, meshes, spec, undisturbed):
    for part in ((2, 3), (0, 3), (1, 3)):
        generate(tmp_path, spec, meshes, part)
    assert contents(tmp_path) == undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="forks a process and kills it by a Unix signal")
@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_killed_at_any_moment_and_started_again_it_makes_the_same(tmp_path, meshes, spec, undisturbed):
    """Three kills, after one shard, after another one, and at some moment; never a half file under a final name."""
    context = get_context("forkserver")
    context.set_forkserver_preload([generate.__module__])  # imported once, not by every child
    for wanted in (3, 4, 4):
        child = context.Process(target=generate, args=(tmp_path, spec, meshes))
        child.start()
        while len(contents(tmp_path)) < wanted and child.is_alive():
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.02))
        child.kill()
        child.join(60)
        assert child.exitcode in (-signal.SIGKILL, 0)
        for name, content in contents(tmp_path).items():
            assert content == undisturbed[name]
    generate(tmp_path, spec, meshes)
    assert contents(tmp_path) == undisturbed


@pytest.fixture
def whole(tmp_path, undisturbed) -> Path:
    """A copy of the data set to break."""
    for name, content in undisturbed.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_nothing_is_made_twice(whole, spec, meshes, undisturbed, monkeypatch):
    def refuse(*_):
        raise AssertionError("a shard that is there was made again")

    monkeypatch.setattr(shards, "make_shard", refuse)
    told = []
    generate(whole, spec, meshes, done=told.append)
    assert told == [0, 1, 2]
    assert contents(whole) == undisturbed


@pytest.mark.parametrize("kind", ["cut off", "empty", "junk", "other files", "without a sample"])
def test_a_damaged_shard_is_made_again_and_named(whole, spec, meshes, undisturbed, kind):
    path = whole / "multishade-000001.tar"
    content = path.read_bytes()
    files = [(m.name, content[m.start : m.start + m.size]) for m in list_tar(path)]
    broken = {
        "cut off": content[:-1024],
        "empty": b"",
        "junk": b"junk" * 1000,
        "other files": undisturbed["multishade-000000.tar"],
        "without a sample": pack_tar(files[len(spec.suffixes) :]),
    }
    path.write_bytes(broken[kind])
    with pytest.warns(UserWarning, match=r"multishade-000001\.tar: damaged .*; it is made again"):
        generate(whole, spec, meshes)
    assert contents(whole) == undisturbed


def test_a_folder_of_another_spec_is_refused_and_says_what_differs(whole, spec, meshes, undisturbed):
    for other, said in (
        (MultiShadeSpec(0, 6, 2, 1, 16, 4, None, spec.meshes), "seed 5 there, 6 here"),
        (MultiShadeSpec(0, 5, 2, 1, 16, 4, None, spec.meshes[:-1]), "its meshes are others"),
    ):
        with pytest.raises(InputError, match=f"another data set \\({said}"):
            generate(whole, other, meshes)
    assert contents(whole) == undisturbed


def test_a_mesh_that_changed_is_noticed(whole, tmp_path_factory, meshes):
    folder = tmp_path_factory.mktemp("changed")
    for path in meshes.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    trimesh.creation.box().export(folder / "03.ply")
    changed = MultiShadeSpec(0, seed=5, views=2, size_px=16, frames=4, meshes=find_meshes(folder))
    with pytest.raises(InputError, match="its meshes are others or have changed"):
        generate(whole, changed, folder)


@pytest.mark.parametrize("changed", ["mesh.obj", "material.mtl", "material_0.png"])
def test_the_digest_of_an_obj_knows_its_materials_and_pictures(tmp_path, changed):
    material = SimpleMaterial(image=Image.new("RGB", (4, 4), (200, 0, 0)))
    mesh = trimesh.creation.box()
    mesh.visual = TextureVisuals(mesh.vertices[:, :2], material)
    mesh.export(tmp_path / "mesh.obj")
    before = find_meshes(tmp_path)
    assert find_meshes(tmp_path) == before
    with (tmp_path / changed).open("ab") as file:
        file.write(b"\n")
    assert find_meshes(tmp_path) != before
    (tmp_path / "else.txt").write_text("no part of it")
    after = find_meshes(tmp_path)
    (tmp_path / "else.txt").unlink()
    assert find_meshes(tmp_path) == after


def test_the_digest_of_a_ply_knows_its_picture(tmp_path):
    path = tmp_path / "mesh.ply"
    trimesh.creation.icosphere(1).export(path, encoding="ascii")
    path.write_bytes(path.read_bytes().replace(b"1.0\n", b"1.0\ncomment TextureFile a b.png\n", 1))
    without = find_meshes(tmp_path)
    (tmp_path / "a b.png").write_bytes(b"1")
    one = find_meshes(tmp_path)
    (tmp_path / "a b.png").write_bytes(b"2")
    assert len({without, one, find_meshes(tmp_path)}) == 3


def test_the_manifest_is_the_spec_and_the_datasheet_tells_it(whole, spec):
    assert read_manifest(whole) == spec
    text = (whole / "datasheet.md").read_text()
    for fact in ("at most 40 samples", "0 procedural shapes", "20 meshes", "16 x 16 pixels", "90 degrees apart"):
        assert fact in text
    assert f"`07.ply`, sha256 {spec.meshes[7].sha256}" in text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"kind": "multishade"}',
        '{"count": 3, "seed": 0}',
        '{"kind": "multishade", "meshes": [], "x": 1}',
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: not a manifest of MultiShade"):
        read_manifest(tmp_path)


def test_an_older_format_is_read_and_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.synth.datasets.multishade.spec.FORMAT", 3)
    monkeypatch.setattr(shards, "FORMAT", 3)
    old = MultiShadeSpec(1, size_px=16, format=2)
    open_manifest(tmp_path, old)
    with pytest.raises(InputError, match="makes format 3, not 2"):
        generate(tmp_path, old)


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 0), ("seed", -1), ("views", 0), ("lights", 101), ("size_px", 8), ("frames", 2), ("frames", 65),
     ("detail", 1.5), ("format", 9)],
)  # fmt: skip
def test_a_spec_out_of_range_names_the_field(field, value):
    with pytest.raises(InputError, match=f"{field} is {value}; it must lie in"):
        MultiShadeSpec(**({"count": 1} | {field: value}))  # pyright: ignore[reportArgumentType]
