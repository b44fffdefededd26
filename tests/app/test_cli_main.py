import resource
import subprocess
import sys

import pytest
from PIL import Image

from maquette import __version__
from maquette.app.cli.main import VERBS, main


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_names_every_verb(capsys, argument):
    assert main([argument]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


def test_no_argument_is_help_and_version_is_the_packages(capsys):
    assert main([]) == 0
    assert "usage" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"maquette {__version__}\n"


@pytest.mark.parametrize("argument", ["normal", "--halp"])
def test_what_is_unknown_is_one_line(capsys, argument):
    assert main([argument]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [err.strip()]
    assert argument in err
    assert "normals" in err


def test_interrupted_before_the_work(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("maquette.app.cli.main._dispatch", interrupted)
    assert main(["normals"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("normals photos -o out --method flat --mask none --json", 1),
        ("normals --help", 1),
        ("--help", 0),
        ("--version", 0),
    ],
)
def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path, arguments, lines):
    """`| head`, of as many lines as it waits for; what is printed later meets a closed pipe."""
    (tmp_path / "photos").mkdir()
    for index in range(20):
        Image.new("RGB", (32, 32), (90, 120, 200)).save(tmp_path / "photos" / f"{index:02}.png")
    command = f"set -o pipefail; {sys.executable} -m maquette.app.cli.main {arguments} | head -n {lines}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == lines
    assert done.returncode in (0, 2)  # 0 where all was written before the reader left


def test_help_is_quick_because_it_imports_nothing_heavy():
    script = (
        "import sys; from maquette.app.cli.main import main; main(['--help']);"
        " heavy = {'torch', 'numpy', 'cv2', 'PIL', 'rich', 'tyro'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Seconds of processor, not of the clock, since other work may share the machine.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.5


@pytest.mark.parametrize("verb", ["normals", "relight"])
def test_help_of_a_verb_imports_no_torch(verb):
    script = (
        "import sys\nfrom maquette.app.cli.main import main\n"
        f"try:\n    main(['{verb}', '--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert f"usage: maquette {verb}" in done.stdout
