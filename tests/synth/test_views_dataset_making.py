"""The same bytes whoever makes a data set of views and however often it is stopped; damage is found and mended."""

import json
from pathlib import Path

import pytest
import trimesh

from maquette.errors import InputError
from maquette.synth.datasets.mesh_files import find_meshes
from maquette.synth.datasets.multiview import objects
from maquette.synth.datasets.multiview.objects import generate
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import ViewsSpec, open_manifest, read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """Three small meshes in two folders, one of them unreadable."""
    folder = tmp_path_factory.mktemp("meshes")
    for name in ("ball", "box"):
        (folder / name).mkdir()
    trimesh.creation.icosphere(1).export(folder / "ball" / "a.ply")
    trimesh.creation.box().export(folder / "box" / "b.ply")
    (folder / "box" / "c.ply").write_bytes(b"ply\njunk\n")
    return folder


@pytest.fixture(scope="module")
def spec(meshes) -> ViewsSpec:
    return ViewsSpec(
        1, 5, 0, 0, ("screwdriver",), ("ball",), views=2, test_views=2, size_px=16, meshes=find_meshes(meshes)
    )


def contents(folder: Path) -> dict[str, bytes]:
    """What a reader of the data set sees."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if not str(name).count("/.")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, meshes, spec) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.warns(UserWarning, match=r"c\.ply: .*; it is left out") as told:
        generate(folder, spec, meshes)
    assert len(told) == 1
    found = contents(folder)
    assert len(found) == 2 + 3 * (2 + 4 * 2)
    assert len(ViewsDataset(folder)) == 3
    return found


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_two_processes_make_the_same(tmp_path, meshes, spec, undisturbed):
    generate(tmp_path, spec, meshes, workers=2)
    assert contents(tmp_path) == undisturbed


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_parts_make_the_same(tmp_path, meshes, spec, undisturbed):
    for part in ((1, 2), (0, 2)):
        generate(tmp_path, spec, meshes, part)
    assert contents(tmp_path) == undisturbed


class Killed(BaseException):
    """Stands for a kill: no handler of errors catches it."""


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_stopped_after_an_object_or_within_one_it_goes_on_to_the_same(tmp_path, meshes, spec, undisturbed, monkeypatch):
    def stop(task):
        raise Killed

    with pytest.raises(Killed):
        generate(tmp_path, spec, meshes, done=stop)
    kept = contents(tmp_path)
    assert len(kept) == 2 + (2 + 4 * 2)  # one object, whole
    assert kept.items() <= undisturbed.items()

    # A kill within the writing of an object leaves a hidden folder, which no reader takes for one.
    real, written = Path.write_bytes, []

    def write_some(path, content):
        if ".partial" in str(path):
            written.append(path)
            if len(written) == 5:
                raise Killed
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_some)
    monkeypatch.setattr("maquette.io.files.shutil.rmtree", lambda *_, **__: None)  # nobody tidies up after a kill
    with pytest.raises(Killed):
        generate(tmp_path, spec, meshes)
    monkeypatch.undo()
    assert contents(tmp_path) == kept
    assert len(ViewsDataset(tmp_path)) == 1
    again = []
    generate(tmp_path, spec, meshes, done=again.append)
    assert len(again) == 4
    assert contents(tmp_path) == undisturbed


@pytest.fixture
def whole(tmp_path, undisturbed) -> Path:
    """A copy of the data set to break."""
    for name, content in undisturbed.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*it is left out")
def test_nothing_is_made_twice_and_damage_is_mended_and_named(whole, spec, meshes, undisturbed, monkeypatch):
    made, real = [], objects.make_object

    def note(spec, meshes, task):
        made.append(task.name)
        return real(spec, meshes, task)

    monkeypatch.setattr(objects, "make_object", note)
    generate(whole, spec, meshes)
    assert made == ["box-train-000001"] or made == [task.name for task in spec.tasks() if task.mesh == 2]
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"")):
        damage(whole / "screwdriver_train" / "screwdriver-train-000000" / "rgb" / "000001.png")
        with pytest.warns(UserWarning, match=r"damaged \(rgb/000001\.png is missing or empty\); it is made again"):
            generate(whole, spec, meshes)
        assert contents(whole) == undisturbed


def test_a_folder_of_another_spec_is_refused_and_says_what_differs(whole, spec, meshes, undisturbed):
    other = ViewsSpec(1, 6, 0, 0, ("screwdriver",), ("ball",), 2, 2, 16, meshes=spec.meshes)
    with pytest.raises(InputError, match=r"another data set \(seed 5 there, 6 here\)"):
        generate(whole, other, meshes)
    assert contents(whole) == undisturbed


def test_the_manifest_is_the_spec_and_the_datasheet_tells_it(whole, spec):
    assert read_manifest(whole) == spec
    text = (whole / "datasheet.md").read_text()
    for fact in ("at most 4 objects", "which have a test alone: ball", "16 x 16", "`ball_test`: 1 objects"):
        assert fact in text
    facts = json.loads((whole / "screwdriver_train" / "screwdriver-train-000000" / "object.json").read_text())
    assert facts["category"] == "screwdriver"
    assert sum(x * x for x in facts["extent"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "multishade"}', '{"kind": "views", "meshes": []}'])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: not a manifest of views"):
        read_manifest(tmp_path)


def test_an_older_format_is_read_and_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr("maquette.synth.datasets.multiview.spec.FORMAT", 2)
    monkeypatch.setattr(objects, "FORMAT", 2)
    old = ViewsSpec(1, size_px=16, format=1)
    open_manifest(tmp_path, old)
    with pytest.raises(InputError, match="makes format 2, not 1"):
        generate(tmp_path, old)


def test_meshes_that_nobody_says_where_they_are_are_refused(tmp_path, spec):
    with pytest.raises(InputError, match="holds 3 meshes; say by --meshes"):
        generate(tmp_path, spec, shard=(1, 4))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("count", -1, "count is -1; it must lie in"),
        ("seed", -1, "seed is -1"),
        ("views", 0, "views is 0"),
        ("test_views", 1, "test_views is 1"),
        ("size_px", 8, "size_px is 8"),
        ("radius", 0.5, "radius is 0.5"),
        ("format", 9, "format is 9"),
        ("categories", ("boat",), "'boat' is none; there are bottle, bowl"),
        ("categories", ("cup", "cup"), "each may stand there once"),
        ("held_out", ("boat",), "'boat' is not among the categories"),
        ("count", 0, "there is no object to make"),
    ],
)
def test_a_spec_out_of_range_names_the_field(field, value, said):
    options = {"count": 1, "held_out": ()} | {field: value}
    with pytest.raises(InputError, match=said):
        ViewsSpec(**options)
