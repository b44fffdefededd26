import re
import subprocess
import sys

import pytest

from maquette.app.cli.main import main
from maquette.app.method_names import MethodName, read_method
from maquette.catalogue import NORMALS_METHODS
from maquette.errors import InputError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").touch()
    (tmp_path / "at@opengl").touch()
    (tmp_path / "mine.py").touch()
    for name in ("pipe", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "pipe" / "model_index.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected", "label"),
    [
        *((name, MethodName(name), name) for name in NORMALS_METHODS),
        ("onnx:a.onnx", MethodName("onnx", "a.onnx"), "onnx-a"),
        ("onnx:a.onnx@opencv", MethodName("onnx", "a.onnx", "opencv"), "onnx-a"),
        ("onnx:at@opengl", MethodName("onnx", "at@opengl"), "onnx-at@opengl"),
        ("onnx:at@opengl@dsine", MethodName("onnx", "at@opengl", "dsine"), "onnx-at@opengl"),
        ("hf:pipe/", MethodName("hf", "pipe/"), "hf-pipe"),
        ("hf:pipe/../pipe", MethodName("hf", "pipe/../pipe"), "hf-pipe"),
        ("mine.py:predict", MethodName("python", "mine.py", "predict"), "mine.predict"),
        ("package.module:Model.run", MethodName("python", "package.module", "Model.run"), "package.Model.run"),
    ],
)
def test_every_form(here, text, expected, label):
    assert read_method(text) == expected
    assert "/" not in expected.label
    assert read_method(text).label == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guess", "invalid choice: 'guess' (choose from nirne"),
        ("", "invalid choice: ''"),
        ("hf:", "invalid choice: 'hf:'"),
        (":f", "invalid choice: ':f'"),
        ("onnx:b.onnx", "b.onnx: no such file; give an ONNX model"),
        ("onnx:empty", "empty: no such file"),
        ("onnx:a.onnx@maya", "'maya' is no frame; give one of opengl"),
        ("hf:prs-eth/marigold-normals-v1-1", "no such folder; nothing is downloaded"),
        ("hf:empty", "holds no model_index.json"),
        ("theirs.py:f", "theirs.py: no such file"),
        ("mine.py:", "invalid choice: 'mine.py:'"),
        ("mine.py:two words", "'two words' is no function's name"),
        ("my-module:f", "'my-module' is no module's name"),
        ("onnx.checker:f()", "is no function's name"),
    ],
)
def test_every_mistake_is_one_line_before_anything_is_made(here, capfd, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_method(text)
    for verb in (["normals", "cup.png", "-o", "out"], ["bench", "normals", "--data", "."], ["relight", "cup.png"]):
        assert main([*verb, "--method", text]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert message in err
    assert not (here / "out").exists()


def test_a_wrong_method_is_told_without_torch(tmp_path):
    script = (
        "import sys\nfrom maquette.app.cli.main import main\n"
        "code = main(['normals', 'cup.png', '-o', 'out', '--method', 'onnx:none.onnx'])\n"
        "sys.exit(code != 2 or bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True).returncode == 0


def test_a_bench_refuses_two_methods_of_one_name(here, capfd):
    (here / "other").mkdir()
    (here / "other" / "a.onnx").touch()
    assert main(["bench", "normals", "--data", ".", "--method", "onnx:a.onnx", "onnx:other/a.onnx"]) == 2
    err = capfd.readouterr().err
    assert "both would be called onnx-a" in err
    assert len(err.splitlines()) == 1
