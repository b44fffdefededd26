"""The shape dataset: the same bytes however it was made, and what is decoded is what was traced."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import numba
import numpy as np
import pytest
import torch
import trimesh
from safetensors.numpy import load_file, save

from maquette.app.cli.main import main
from maquette.errors import InputError
from maquette.render.gbuffer import trace
from maquette.synth.datasets import dataset
from maquette.synth.datasets.dataset import DatasetSpec, generate, octahedral_encode, pack, read_manifest
from maquette.synth.datasets.shards import ShapeData, coarsen, octahedral_decode, unpack
from maquette.synth.solids.shapes import sample_solid
from maquette.synth.views import lights_to_camera, sample_lights, sample_view

# The real program with small shapes, one to a shard. It kills itself, as no handler can prevent, right before
# or after it renames its n-th file, if it is told to.
CHILD = """
import os, signal, sys
from functools import partial
from pathlib import Path
from maquette.synth.datasets import dataset
dataset.SHAPES_PER_SHARD = 1
dataset.sample_solid = partial(dataset.sample_solid, side=24)
folder, shard, when, nth = sys.argv[1:]
renames, rename = 0, os.replace
def replace(source, target):
    global renames
    renames += 1
    if when == "before" and renames == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
    if when == "after" and renames == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
spec = dataset.DatasetSpec(12, seed=5, views=1, size_px=16)
dataset.generate(Path(folder), spec, tuple(int(n) for n in shard.split("/")))
"""


def start(folder, shard="0/1", when="never", nth=0) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder), shard, when, str(nth)])


def contents(folder) -> dict[str, bytes]:
    """What a reader of the dataset sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder).wait(120) == 0
    found = contents(folder)
    assert len(found) == 13  # twelve shards and the manifest
    return found


def test_killed_at_any_moment_and_started_again_is_undisturbed(tmp_path, undisturbed):
    """Three kills at the worst moments, one at a random one; then the run completes byte for byte."""
    for when, nth in (("before", 1), ("after", 2), ("before", 3)):
        assert start(tmp_path, when=when, nth=nth).wait(120) == -signal.SIGKILL
        for name, data in contents(tmp_path).items():
            assert data == undisturbed[name]  # never a half file under a final name
    child = start(tmp_path)
    while len(contents(tmp_path)) < 7 and child.poll() is None:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
    child.kill()
    child.wait()
    assert start(tmp_path).wait(120) == 0
    assert contents(tmp_path) == undisturbed


def test_two_parts_at_once_are_the_whole(tmp_path, undisturbed):
    parts = [start(tmp_path, f"{i}/2") for i in range(2)]
    assert [part.wait(120) for part in parts] == [0, 0]
    assert contents(tmp_path) == undisturbed


def test_the_number_of_threads_changes_nothing():
    if numba.get_num_threads() < 2:
        pytest.skip("one thread only: NUMBA_NUM_THREADS or the machine says so")
    spec, before = DatasetSpec(1, seed=2, views=1, size_px=32), numba.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            numba.set_num_threads(threads)
            made.append(dataset.make_shard(spec, 0))
    finally:
        numba.set_num_threads(before)
    for key in made[0]:
        np.testing.assert_array_equal(made[0][key], made[1][key])


def test_nothing_is_made_twice(tiny_shapes, monkeypatch):
    def refuse(*_):
        raise AssertionError("a shard that is there was made again")

    monkeypatch.setattr(dataset, "make_shard", refuse)
    told = []
    generate(tiny_shapes, read_manifest(tiny_shapes), done=told.append)
    assert told == [0, 1]


@pytest.fixture
def small(tiny_shapes, tmp_path, monkeypatch):
    """A copy of the tiny dataset to break, and the generator that made it."""
    for name, data in contents(tiny_shapes).items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(dataset, "sample_solid", partial(dataset.sample_solid, side=32))
    return tmp_path


@pytest.mark.parametrize("kind", ["cut off", "too long", "empty", "junk", "other keys", "of a smaller dataset"])
def test_a_damaged_shard_is_made_again_and_named(small, tiny_shapes, kind):
    path = small / "shard-000001.safetensors"
    whole = path.read_bytes()
    arrays = load_file(path)
    broken = {
        "cut off": whole[:-1],
        "too long": whole + b"0",
        "empty": b"",
        "junk": b"junk" * 1000,
        "other keys": save({"depth": arrays["depth"]}),
        "of a smaller dataset": save({key: array[:2] for key, array in arrays.items()}),
    }
    path.write_bytes(broken[kind])
    with pytest.warns(UserWarning, match=r"shard-000001.safetensors: damaged [^\n]*; it is made again$") as told:
        generate(small, read_manifest(small))
    assert len(told) == 1
    assert contents(small) == contents(tiny_shapes)


def test_the_verb_tells_of_a_damaged_shard_in_one_line(small, tiny_shapes, capsys):
    (small / "shard-000001.safetensors").write_bytes(b"")
    options = ["--count", "10", "--seed", "3", "--views", "2", "--size-px", "32", "--threads", "1"]
    before = numba.get_num_threads()
    try:
        assert main(["dataset", "shapes", "-o", str(small), *options]) == 0
    finally:
        numba.set_num_threads(before)
    out, err = capsys.readouterr()
    assert out.startswith(f"{small}: 10 shapes")
    assert err.count("\n") == 1
    assert err.startswith("maquette: warning: ")
    assert "shard-000001" in err
    assert contents(small) == contents(tiny_shapes)


def test_shards_of_an_older_generator_are_kept_but_not_made(small):
    text = (small / "manifest.json").read_text()
    (small / "manifest.json").write_text(text.replace(f'"format": {dataset.FORMAT}', '"format": 1'))
    generate(small, read_manifest(small))
    (small / "shard-000001.safetensors").unlink()
    with pytest.raises(InputError, match=f"shard-000001.*missing.*makes format {dataset.FORMAT}, not 1"):
        generate(small, read_manifest(small))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shapes", "--count", "1", "--threads", "-1"], "--threads is -1"),
        (["shapes", "--count", "2.5"], "2.5"),
        (["shapes", "--count", "1", "--seed", "-1"], "seed is -1"),
        (["preview", "--seed", "-1"], "seed is -1"),
        (["preview", "--count", "0"], "count is 0"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, arguments, message):
    target = tmp_path / ("new" if arguments[0] == "shapes" else "new.png")
    assert main(["dataset", arguments[0], "-o", str(target), *arguments[1:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert not target.exists()


def test_another_dataset_is_refused(tiny_shapes, capsys):
    before = contents(tiny_shapes)
    assert main(["dataset", "shapes", "-o", str(tiny_shapes), "--count", "10", "--seed", "4"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "manifest.json" in message
    assert contents(tiny_shapes) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"count": 1, "colour": 2}',
        '{"count": -3}',
        '{"count": 2.5}',
        '{"count": "2"}',
        '{"count": true}',
        '{"count": 2, "detail": "much"}',
        "{",
        '{"count": 1, "format": 9}',
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("shard", ["2/2", "x", "1", "-1/2", "0/0"])
def test_a_wrong_part_is_one_line(tmp_path, shard, capsys):
    assert main(["dataset", "shapes", "-o", str(tmp_path / "new"), "--count", "1", f"--shard={shard}"]) == 2
    assert "--shard" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "options", [{"count": 0}, {"count": 1, "views": 0}, {"count": 1, "size_px": 8}, {"count": 1, "detail": 1.5}]
)
def test_specs_name_the_field_and_its_range(options):
    (name, value), *_ = [(k, v) for k, v in options.items() if k != "count" or v == 0]
    with pytest.raises(InputError, match=f"{name} is {value}.*must lie in"):
        DatasetSpec(**options)


def test_missing_and_damaged_shards_are_named(tiny_shapes, tmp_path):
    for name, data in contents(tiny_shapes).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "shard-000001.safetensors").write_bytes(data[:100])
    assert len(ShapeData(tmp_path, shapes=8)) == 16  # the damaged one isn't needed
    with pytest.raises(InputError, match=r"shard-000001.*damaged"):
        ShapeData(tmp_path)
    os.remove(tmp_path / "shard-000001.safetensors")
    with pytest.raises(InputError, match=r"shard-000001.*missing"):
        ShapeData(tmp_path)


def test_the_manifest_says_what_the_shards_hold(tiny_shapes):
    assert json.loads((tiny_shapes / "manifest.json").read_text()) == {
        "count": 10, "seed": 3, "views": 2, "size_px": 32, "detail": None, "meshes": [],
        "format": dataset.FORMAT,
    }  # fmt: skip
    shapes = {key: (a.shape, str(a.dtype)) for key, a in load_file(tiny_shapes / "shard-000001.safetensors").items()}
    assert shapes == {
        "normal": ((4, 32, 32, 2), "int16"), "depth": ((4, 32, 32), "float32"), "lit": ((4, 32, 32), "uint8"),
        "openness": ((4, 32, 32), "uint8"), "lights": ((4, 8, 4), "float32"), "camera": ((4, 5), "float32"),
        "opening": ((4, 32, 32, 2), "int8"), "part": ((4, 32, 32), "uint8"),
    }  # fmt: skip
    assert 2 * 2 + 4 + 1 + 1 + 2 * 1 + 1 == 13  # bytes a pixel, as the documentation says


def test_octahedral_normals_come_back_within_six_thousandths_of_a_degree():
    normals = np.random.default_rng(0).normal(size=(200_000, 3))
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    normals = np.concatenate([normals / np.linalg.norm(normals, axis=1, keepdims=True), axes])
    back = octahedral_decode(torch.from_numpy(octahedral_encode(normals)).double() / 32767).numpy()
    error = np.degrees(2 * np.arcsin(np.minimum(np.linalg.norm(back - normals, axis=1) / 2, 1)))
    assert error.max() < 0.006
    np.testing.assert_allclose(back[-6:], axes, atol=1e-12)


@pytest.fixture(scope="module")
def traced():
    """G-buffers of one shape through perspective and orthographic cameras, as traced and as unpacked."""
    solid, family = sample_solid(6, 2, side=32)
    rng = np.random.default_rng(1)
    buffers, rows, views = [], [], []
    while len(buffers) < 8 or not any(v.orthographic for v in views):
        view = sample_view(rng, solid.grid, family, 32)
        lights = sample_lights(rng, view)
        views.append(view)
        buffers.append(trace(solid, view, lights))
        rows.append(pack(buffers[-1], view, lights_to_camera(lights, view)))
    arrays = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}
    return views, buffers, unpack(arrays)


def test_what_is_unpacked_is_what_was_traced(traced):
    views, buffers, surfaces = traced
    assert {view.orthographic for view in views} == {False, True}
    for n, (view, buffer) in enumerate(zip(views, buffers, strict=True)):
        np.testing.assert_array_equal(surfaces.mask[n, 0].numpy() > 0, buffer.mask)
        distance = np.linalg.norm(view.camera_to_object[:, 3])
        position = surfaces.position[n].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(position, buffer.position, atol=3e-6 * distance)
        normal = surfaces.normal[n].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(normal, buffer.normal, atol=1.1e-4)
        np.testing.assert_array_equal(surfaces.lit[n].numpy() > 0, buffer.lit)
        np.testing.assert_allclose(surfaces.openness[n, 0].numpy(), buffer.openness, atol=0.5 / 255)
        opening = surfaces.opening[n].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(opening, buffer.opening, atol=0.016)  # a step of an eighth-bit code
        np.testing.assert_allclose(np.linalg.norm(opening, axis=-1), buffer.mask, atol=1e-5)
        np.testing.assert_array_equal(surfaces.part[n, 0].numpy(), buffer.part)
        np.testing.assert_array_equal(buffer.part > 0, buffer.mask)


def test_view_vectors_and_local_positions(traced):
    views, buffers, surfaces = traced
    for n, (view, buffer) in enumerate(zip(views, buffers, strict=True)):
        mask = buffer.mask
        towards = surfaces.view[n].permute(1, 2, 0).numpy()[mask]
        expected = np.zeros_like(buffer.position) + [0, 0, 1] if view.orthographic else -buffer.position
        expected = expected[mask] / np.linalg.norm(expected[mask], axis=-1, keepdims=True)
        np.testing.assert_allclose(towards, expected, atol=1e-5)
        assert ((towards * buffer.normal[mask]).sum(-1) > 0.018).all()
        # Local positions lie about the object's origin, in its units: the solid is within the unit cube.
        local = surfaces.local[n].permute(1, 2, 0).numpy()[mask]
        sideways = view.camera_to_object[:, :2].T @ view.camera_to_object[:, 3]
        assert np.linalg.norm(local + [*sideways, 0], axis=-1).max() < 3**0.5


def test_coarsening_averages_what_the_pixels_saw(traced):
    _, _, surfaces = traced
    half = coarsen(surfaces, 2)
    blocks = surfaces.mask.reshape(-1, 1, 16, 2, 16, 2).transpose(3, 4).flatten(4)
    assert torch.equal(half.mask > 0, blocks.mean(-1) >= 0.5)
    full = (blocks.mean(-1) == 1) & (half.mask > 0)
    normals = surfaces.normal.reshape(-1, 3, 16, 2, 16, 2).mean((3, 5))
    normals = normals / normals.norm(dim=1, keepdim=True).clamp_min(1e-9)
    assert torch.allclose((half.normal - normals).abs() * full, torch.zeros(1), atol=1e-5)
    assert torch.allclose(half.normal.norm(dim=1), half.mask[:, 0], atol=1e-5)
    assert torch.equal(half.lights, surfaces.lights)


def test_a_coarse_pixel_is_of_one_part():
    """The part in its middle, or another of its parts where the middle is empty: never a mean of ids."""
    _, height, width = (part := torch.tensor([[[3.0, 3, 9, 9], [3, 7, 0, 0], [0, 0, 5, 0], [0, 0, 5, 0]]])).shape
    arrays = {
        "normal": torch.zeros(1, height, width, 2, dtype=torch.int16),
        "depth": (part > 0).float(),
        "lit": torch.zeros(1, height, width, dtype=torch.uint8),
        "openness": torch.zeros(1, height, width, dtype=torch.uint8),
        "lights": torch.zeros(1, 8, 4),
        "camera": torch.tensor([[4.0, 2, 2, 1, 2]]),
        "opening": torch.zeros(1, height, width, 2, dtype=torch.int8),
        "part": part.to(torch.uint8),
    }
    assert coarsen(unpack(arrays), 2).part.tolist() == [[[[7, 9], [0, 5]]]]


def test_datasets_of_older_formats_are_read(tiny_shapes, tmp_path):
    """They know neither opening nor parts: the normal and 0 stand for them."""
    for name, data in contents(tiny_shapes).items():
        (tmp_path / name).write_bytes(data)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 3', '"format": 2'))
    for number in range(2):
        path = tmp_path / f"shard-{number:06d}.safetensors"
        arrays = load_file(path)
        path.write_bytes(save({key: a for key, a in arrays.items() if key not in ("opening", "part")}))
    generate(tmp_path, read_manifest(tmp_path))  # nothing is missing
    old, new = ShapeData(tmp_path).batch([3, 17]), ShapeData(tiny_shapes).batch([3, 17])
    assert torch.equal(old.normal, new.normal)
    assert torch.equal(old.opening, old.normal)
    assert torch.equal(old.part, torch.zeros_like(old.mask))
    assert not torch.equal(new.opening, new.normal)


def test_meshes_join_the_shapes(tmp_path, capsys, monkeypatch):
    """Two balls that touch nothing: each is a part; normals are radial; the manifest names the file."""
    monkeypatch.setattr(dataset, "sample_solid", partial(dataset.sample_solid, side=24))
    folder, out = tmp_path / "meshes", tmp_path / "out"
    folder.mkdir()
    left, right = (trimesh.creation.icosphere(4).apply_translation([x, 0, 0]) for x in (-1.5, 1.5))
    trimesh.util.concatenate([left, right]).export(folder / "two.ply")
    options = ["dataset", "shapes", "-o", str(out), "--count", "7", "--views", "2", "--size-px", "64"]
    assert main([*options, "--meshes", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 7 shapes and 1 meshes, 16 views")
    spec = read_manifest(out)
    assert [mesh.name for mesh in spec.meshes] == ["two.ply"]
    data = ShapeData(out)
    assert len(data) == 16
    surfaces = data.batch([14, 15])
    assert set(surfaces.part.unique().tolist()) == {0, 1, 2}
    for part in (1, 2):
        one = (surfaces.part[0] == part) & (surfaces.mask[0] > 0)
        if one.sum() > 100:  # a ball of radius 0.9 / 2.5: the centre is a radius behind the surface
            behind = surfaces.position[0] - 0.36 * surfaces.normal[0]
            assert float(behind[:, one[0]].std(1).max()) < 0.01
    before = contents(out)
    (out / "shard-000000.safetensors").unlink()
    assert main(options) == 2  # without the meshes it is another dataset
    assert "its meshes are others" in capsys.readouterr().err
    with pytest.raises(InputError, match="say by --meshes"):
        generate(out, spec)
    (folder / "two.ply").write_bytes(b"ply")
    with pytest.raises(InputError, match=r"two\.ply is missing or has changed"):
        generate(out, spec, meshes=folder)
    trimesh.util.concatenate([left, right]).export(folder / "two.ply")
    generate(out, spec, meshes=folder)
    assert contents(out) == before


def test_batches_are_read_by_number_across_shards(tiny_shapes):
    data = ShapeData(tiny_shapes)
    assert len(data) == 20
    whole = {key: [] for key in ("depth", "camera")}
    for number in range(2):
        shard = load_file(tiny_shapes / f"shard-{number:06d}.safetensors")
        for key, rows in whole.items():
            rows.append(shard[key])
    depth = np.concatenate(whole["depth"])
    order = [19, 0, 15, 16, 7]
    batch = data.batch(order)
    np.testing.assert_array_equal(batch.mask[:, 0].numpy() > 0, depth[order] > 0)
    np.testing.assert_allclose(-batch.position[:, 2].numpy(), depth[order])
