"""`maquette dataset views`: what it prints, and every mistake in one line with nothing half-written."""

import pytest
import trimesh

from maquette.app.cli.main import main
from maquette.synth.datasets.multiview.reading import ViewsDataset
from maquette.synth.datasets.multiview.spec import read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ("--views", 2, "--test-views", 3, "--size-px", 16)


def run(*arguments: object) -> int:
    return main(["dataset", "views", *map(str, arguments)])


def test_categories_splits_and_held_out_ones_are_made_and_read(tmp_path, capsys):
    out = tmp_path / "out"
    assert run("-o", out, "--count", 1, "--test", 1, "--categories", "table,hammer", *SMALL) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}: 3 objects of 2 categories, part 0/1 done\n"
    assert told.err == ""
    assert read_manifest(out).held_out == ("hammer",)
    data = ViewsDataset(out)
    assert list(zip(data.categories, data.splits, strict=True)) == [
        ("hammer", "test"),
        ("table", "test"),
        ("table", "train"),
    ]
    assert [data.view_count(index) for index in range(3)] == [3, 3, 2]


def test_meshes_alone(tmp_path, capsys):
    (tmp_path / "meshes" / "mug").mkdir(parents=True)
    trimesh.creation.box().export(tmp_path / "meshes" / "mug" / "a.glb")
    options = ("--meshes", tmp_path / "meshes", "--held-out", "mug", *SMALL)
    assert run("-o", tmp_path / "out", "--count", 0, *options) == 0
    assert capsys.readouterr().err == ""
    data = ViewsDataset(tmp_path / "out")
    assert (data.categories, data.splits) == (["mug"], ["test"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--count", 0), "there is no object to make"),
        (("--count", -3), "count is -3"),
        (("--count", 1, "--views", 0), "views is 0"),
        (("--count", 1, "--size-px", 15), "size_px is 15"),
        (("--count", 1, "--radius", 0.1), "radius is 0.1"),
        (("--count", 1, "--categories", "boat"), "'boat' is none"),
        (("--count", 1, "--held-out", "boat"), "'boat' is not among the categories"),
        (("--count", 1, "--categories", "cup", "--held-out", "lamp"), "'lamp' is not among the categories (cup)"),
        (("--count", 1, "--shard", "2/2"), "--shard is '2/2'"),
        (("--count", 1, "--workers", 0), "workers is 0; it must lie in 1..256"),
        (("--count", 1, "--meshes", "nowhere"), "--meshes nowhere: no such folder"),
        (("--count", "many"), "--count"),
        ((), "--count"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, options, said):
    assert run("-o", tmp_path / "out", *options) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_output_that_cannot_be_written_and_another_data_set_are_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("-o", tmp_path / "file" / "out", "--count", 1) == 2
    assert "give a folder that can be written" in capsys.readouterr().err
    (tmp_path / "manifest.json").write_text('{"count": 1, "seed": 0}')
    assert run("-o", tmp_path, "--count", 1) == 2
    assert "not a manifest of views (of another kind)" in capsys.readouterr().err
