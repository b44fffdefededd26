"""`maquette dataset multishade`: what it prints, and every mistake in one line with nothing half-written."""

import numpy as np
import pytest
import trimesh

from maquette.app.cli.main import main
from maquette.synth.datasets.multishade import cluster
from maquette.synth.datasets.multishade.reading import MultiShade

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    (folder / "below").mkdir()
    trimesh.creation.icosphere(1).export(folder / "below" / "ball.obj")
    trimesh.creation.box().export(folder / "box.glb")
    (folder / "notes.txt").write_text("no mesh")
    return folder


def run(*arguments: object) -> int:
    return main(["dataset", "multishade", *map(str, arguments)])


SMALL = ("--views", 1, "--size-px", 16, "--frames", 3)


def test_meshes_of_a_folder_and_those_below_it_are_made_and_read(tmp_path, meshes, capsys):
    assert run("-o", tmp_path / "out", "--count", 0, "--meshes", meshes, *SMALL, "--lights", 3) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out'}: 0 shapes and 2 meshes, 1 views of each, part 0/1 done\n"
    assert told.err == ""
    data = MultiShade(tmp_path / "out")
    assert data.objects.tolist() == [0, 0, 0, 1, 1, 1]
    assert [data.facts(index)["mesh"] for index in (0, 3)] == ["below/ball.obj", "box.glb"]
    assert data.batch([0]).shading.shape == (1, 3, 16, 16)
    assert len(np.unique(data.batch([0, 1, 2]).photo.numpy(), axis=0)) == 3


def test_a_mesh_that_cannot_be_read_is_named_and_the_rest_made(tmp_path, meshes, capsys):
    folder = tmp_path / "meshes"
    folder.mkdir()
    (folder / "bad.ply").write_text("junk")
    (folder / "good.glb").write_bytes((meshes / "box.glb").read_bytes())
    assert run("-o", tmp_path / "out", "--count", 0, "--meshes", folder, *SMALL) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"maquette: warning: {folder / 'bad.ply'}: not a whole mesh")
    assert len(MultiShade(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--count", 0), "count is 0; it must lie in 1.."),
        (("--count", -3), "count is -3"),
        (("--count", 1, "--views", 0), "views is 0"),
        (("--count", 1, "--lights", 1000), "lights is 1000"),
        (("--count", 1, "--size-px", 15), "size_px is 15"),
        (("--count", 1, "--frames", 2), "frames is 2; it must lie in 3..64"),
        (("--count", 1, "--detail", 2), "detail is 2.0"),
        (("--count", 1, "--seed", -1), "seed is -1"),
        (("--count", 1, "--shard", "2/2"), "--shard is '2/2'"),
        (("--count", 1, "--shard", "half"), "--shard is 'half'"),
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
    assert not list(tmp_path.glob("out/*"))


def test_a_folder_without_meshes_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("-o", tmp_path / "out", "--count", 1, "--meshes", tmp_path / "empty") == 2
    assert "holds no .glb, .obj, .ply; give a folder of meshes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("-o", tmp_path / "file" / "out", "--count", 1) == 2
    assert "give a folder that can be written" in capsys.readouterr().err


def test_ray_that_is_not_installed_says_how_to_install_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    assert run("-o", tmp_path, "--count", 1, "--ray", "local") == 2
    assert capsys.readouterr().err == "maquette: --ray needs Ray; pip install 'maquette[scale]'\n"
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:9", "127.0.0.1:99999", "somewhere"])
def test_a_cluster_that_is_not_there_is_one_line(tmp_path, capfd, monkeypatch, address):
    """Not even where a cluster was once, and died: Ray's note of it is still there."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'maquette[scale]'")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert run("-o", tmp_path, "--count", 1, "--ray", address) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"maquette: --ray {address}: no cluster there (")
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "manifest.json").exists()


def test_another_data_set_in_the_folder_is_refused(tmp_path, meshes, capsys):
    assert run("-o", tmp_path, "--count", 0, "--meshes", meshes, *SMALL) == 0
    assert run("-o", tmp_path, "--count", 0, "--meshes", meshes, *SMALL, "--seed", 1) == 2
    assert "another data set (seed 0 there, 1 here)" in capsys.readouterr().err
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "manifest.json").write_text('{"count": 1, "seed": 0}')
    assert run("-o", tmp_path / "shapes", "--count", 1) == 2
    assert "not a manifest of MultiShade (of another kind)" in capsys.readouterr().err
