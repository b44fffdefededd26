"""`maquette normals --report` and `maquette mesh --report` through the real entry point."""

import json

import numpy as np
import pytest
from PIL import Image

from maquette.app.cli.main import main


@pytest.fixture
def photo(tmp_path):
    axis = np.linspace(-1, 1, 48)
    disc = np.add.outer(axis**2, axis**2) < 0.8
    path = tmp_path / "cup.png"
    Image.fromarray(np.dstack([np.full((48, 48, 3), 180, np.uint8), disc.astype(np.uint8) * 255])).save(path)
    return path


def test_the_page_is_written_and_named(photo, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = [str(photo), "-o", str(out), "--method", "inflate", "--convention", "directx", "--json"]
    assert main(["normals", *arguments, "--report"]) == 0
    said, errors = capfd.readouterr()
    assert errors == ""
    report = json.loads(said)
    assert report["report"] == str(out / "cup.report.html")
    page = (out / "cup.report.html").read_text("utf-8")
    assert "<h1>cup.png</h1>" in page
    assert "<dt>Frame</dt><dd>x right, y up, z towards the viewer</dd>" in page  # of the page
    assert "cup.normals.png: x right, y down, z towards the viewer" in page  # of the file
    assert "<dt>Method</dt><dd>inflate</dd>" in page
    assert 'id="relief"' in page
    relief = json.loads(page.split('id="data">')[1].split("</script>")[0])["relief"]
    # The half ball is as deep as its radius, but for its rim, where the normals lie in the image plane.
    assert 0.5 < (relief["farthest"] - relief["nearest"]) / (0.8**0.5 * 23.5) < 1.3
    assert sorted(path.name for path in out.iterdir()) == ["cup.normals.png", "cup.report.html", "cup.sheet.png"]


def test_without_the_option_there_is_no_page(photo, tmp_path, capfd):
    assert main(["normals", str(photo), "-o", str(tmp_path / "out"), "--method", "flat", "--json"]) == 0
    assert json.loads(capfd.readouterr()[0])["report"] is None
    assert not list((tmp_path / "out").glob("*.html"))


def test_a_page_that_cannot_be_written_is_one_line(photo, tmp_path, capfd):
    (tmp_path / "out" / "cup.report.html").mkdir(parents=True)
    assert main(["normals", str(photo), "-o", str(tmp_path / "out"), "--method", "inflate", "--report"]) == 2
    errors = capfd.readouterr()[1].splitlines()
    assert len(errors) == 1
    assert "cup.report.html" in errors[0]
    assert not list((tmp_path / "out").glob(".*"))


def test_a_mesh_has_a_page_with_its_own_depth(photo, tmp_path, capfd):
    mesh = tmp_path / "cup.ply"
    arguments = ["mesh", str(photo), "-o", str(mesh), "--method", "inflate", "--focal-px", "90", "--json", "--report"]
    assert main(arguments) == 0
    assert json.loads(capfd.readouterr()[0])["report"] == str(tmp_path / "cup.report.html")
    page = (tmp_path / "cup.report.html").read_text("utf-8")
    assert "<dt>Mesh</dt><dd>cup.ply</dd>" in page
    relief = json.loads(page.split('id="data">')[1].split("</script>")[0])["relief"]
    assert (relief["focal"], relief["center"], relief["orthographic"]) == (90, [24, 24], False)
    assert 0 < relief["nearest"] < relief["farthest"]


def test_a_page_of_a_normal_map_alone_is_refused(photo, tmp_path, capfd):
    mesh = tmp_path / "cup.ply"
    assert main(["mesh", str(photo), "-o", str(mesh), "--normals", "--report"]) == 2
    errors = capfd.readouterr()[1].splitlines()
    assert len(errors) == 1
    assert "--report" in errors[0]
    assert not mesh.exists()
