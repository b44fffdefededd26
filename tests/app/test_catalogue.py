"""The catalogue's facts stand once: no verb repeats them, what they name exists, and other floors read them."""

import ast
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest
import torch
from PIL import Image

from maquette import catalogue
from maquette.app.cli import main as entry
from maquette.app.cli.main import main
from maquette.catalogue import BENCH_SETS, METHODS, SPLAT_FORMATS, BenchSet, SplatFormat, resolve
from maquette.types import NormalMap

VERBS = sorted(Path(entry.__file__).parent.glob("*.py"))
SUFFIXES = {
    *(*catalogue.NORMAL_MAP_SUFFIXES, *catalogue.OTHER_PICTURE_SUFFIXES, *catalogue.VIDEO_SUFFIXES),
    *(*catalogue.FILM_SUFFIXES, *catalogue.MESH_SUFFIXES, *SPLAT_FORMATS),
}
WEIGHTS = {each.weights for each in METHODS.values() if each.weights} | {catalogue.AUTO_NIRNE_WEIGHTS}
LIMITS = {catalogue.DETAIL_RANGE_PX.high, catalogue.CLONE_ITERATIONS.high}
TABLES = (
    *(catalogue.AXES, catalogue.SOLVERS, catalogue.RING_SOLVERS, catalogue.SPHERES, catalogue.RENDERED),
    *(catalogue.MASK_WORDS, catalogue.NORMALS_METHODS, tuple(BENCH_SETS), tuple(catalogue.FORMAT_SUFFIXES)),
)


def _repeated(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    found = []
    named = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}  # of files
    for node in ast.walk(tree):
        if node in named:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            if node.value in SUFFIXES | WEIGHTS | set(BENCH_SETS) | LIMITS:
                found.append(f"{path.name}:{node.lineno}: {node.value!r}")
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            words = {each.value for each in node.elts if isinstance(each, ast.Constant)}
            found += [f"{path.name}:{node.lineno}: {words}" for table in TABLES if words == set(table)]
    return found


@pytest.mark.parametrize("path", [path for path in VERBS if path.name != "train.py"], ids=lambda path: path.stem)
def test_no_verb_repeats_a_fact(path):
    assert _repeated(path) == []


def test_a_repeated_fact_is_found(tmp_path):
    copied = tmp_path / "verb.py"
    copied.write_text('A = ".spz"\nB = {"x": "gsn-small"}\nC = ("robust", "paper")\nD = 16384\nE = "a .spz file"\n')
    assert sorted(line.split(":")[1] for line in _repeated(copied)) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_what_it_asks_for(name):
    method = METHODS[name]
    parameters = signature(resolve(method.path)).parameters
    keywords = {*method.asks, *(setting.keyword for setting in method.settings if setting.keyword)}
    assert keywords <= set(parameters)
    if method.weights:
        assert parameters["weights"].default == method.weights


def test_every_codec_and_set_is_there():
    paths = [path for each in SPLAT_FORMATS.values() for path in (each.read, each.write) if path]
    assert all(callable(resolve(path)) for path in (*paths, *(each.load for each in BENCH_SETS.values())))


def test_it_imports_nothing_heavy():
    script = "import sys, maquette.catalogue; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_new_splat_format_is_an_entry_and_a_codec(tmp_path):
    """In a process of its own, where the entry stands in the table from the beginning."""
    (tmp_path / "mine.py").write_text("from maquette.io.splats.spz import read_spz as read\n")
    script = (
        "import maquette.catalogue as c\n"
        "c.SPLAT_FORMATS['.mine'] = c.SplatFormat('.mine', 'rub', 'mine:read')\n"
        "c.SPLAT_SUFFIXES += ('.mine',)\n"
        "from maquette.app.cli.main import main\n"
        "raise SystemExit(main(['render', 'a.mine', '-o', 'a.png']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "maquette: a.mine: no such file\n")
    assert SplatFormat(".mine", "rub", "mine:read").write == ""


def test_a_set_says_where_its_loader_is():
    assert BenchSet("mine", "pathlib:Path.cwd", "").load.partition(":")[2] == "Path.cwd"
    assert resolve("pathlib:Path.cwd") == Path.cwd


@pytest.mark.parametrize(
    ("verb", "output"), [("mesh", ["-o", "a.ply"]), ("relight", ["-o", "a.png"]), ("normals", ["-o", "out"])]
)
def test_a_methods_settings_reach_it_from_every_verb(tmp_path, monkeypatch, verb, output):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32), (90, 120, 200)).save("cup.png")
    asked = []

    def build(method, weights, device, detail_px, settings):
        asked.append((method, settings))
        return lambda photo: NormalMap(torch.tensor([0.0, 0.0, 1.0]).expand(32, 32, 3), torch.ones(32, 32) > 0)

    monkeypatch.setattr("maquette.app.predictors.build_predictor", build)
    monkeypatch.setattr("maquette.app.cli.normals._extras", lambda _: None)
    given = ["--mask", "none", "--method", "rose", "--steps", "2", "--guidance", "1.5"]
    assert main([verb, "cup.png", *output, *given]) == 0
    assert asked == [("rose", {"steps": 2, "guidance": 1.5})]


@pytest.mark.parametrize(
    "arguments",
    [
        ["mesh", "cup.png", "-o", "a.glb"],
        ["relight", "cup.png", "-o", "a.png"],
        ["normals", "--video", "cup.mp4", "-o", "out"],
        ["bench", "normals", "--data", "."],
        ["splat", "cup.png", "-o", "a.ply", "--method", "gsn"],
    ],
)
def test_settings_of_another_method_are_refused_by_every_verb(tmp_path, monkeypatch, capfd, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.mp4").touch()
    assert main([*arguments, "--iterations", "3"]) == 2
    assert "--iterations: belongs to --method clone; the method here is" in capfd.readouterr().err
