"""`maquette doctor` here, and on parts that are missing, wrong, crash or hang."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from maquette.app import doctor, doctor_checks
from maquette.app.cli.main import main
from maquette.app.doctor import Check, Finding, examine, list_checks, try_out
from maquette.render.splat import gsplat_cuda, triton_cuda


def check(work, **changes) -> Check:
    return replace(Check("part", "a purpose", work, fix="pip install part"), **changes)


def test_the_whole_verb():
    """As a person runs it; a process of its own, since Numba compiles nothing that the types' checks have wrapped."""
    done = subprocess.run([sys.executable, "-m", "maquette.app.cli.main", "doctor", "--json"], capture_output=True)
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), report
    found = {one["name"]: one for one in report["checks"]}
    assert list(found) == [one.name for one in list_checks()]
    assert "weights nirne-small" in found
    assert found["weights u2netp"]["works"]
    for name in ("mitsuba", "transformers", "onnx", "diffusers", "viser", "ray", "webdataset"):
        installed = find_spec(name) is not None
        assert found[name]["works"] == installed, found[name]
        assert ("maquette[" in found[name]["fix"]) != installed
    for name, backend in (("triton", triton_cuda), ("gsplat", gsplat_cuda)):
        assert found[name]["works"] == backend.available(), found[name]
        assert found[name]["works"] or found[name]["detail"] == backend.why_not()


@pytest.mark.parametrize(("required", "code"), [(True, 1), (False, 0)])
def test_the_exit_code_and_the_table(capsys, monkeypatch, required, code):
    broken = Finding("part", "films", required, False, "its encoder is missing", "pip install part")
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("torch", "all", True, True, "2.13"), broken])
    assert main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if "its encoder is missing" in line)
    assert lines[at].split()[0] == ("FAIL" if required else "no")
    assert "for films; to fix it: pip install part" in lines[at + 1]
    assert lines[-1] == ("broken: part" if required else "everything that is required works")
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is not required


def test_whatever_a_part_throws_is_a_finding():
    def missing():
        import no_such_library_anywhere  # noqa: F401  # pyright: ignore[reportMissingImports]

    def wrong():
        raise RuntimeError("two\nlines")

    def knowing():
        raise doctor_checks.Broken("no driver", "nvidia-smi")

    assert try_out(check(lambda: "1.0")) == Finding("part", "a purpose", True, True, "1.0")
    found = try_out(check(missing))
    assert not found.works
    assert "can't be imported (No module named 'no_such_library_anywhere')" in found.detail
    assert found.fix == "pip install part"
    assert try_out(check(wrong)).detail == "RuntimeError: two lines"
    assert (try_out(check(knowing)).detail, try_out(check(knowing)).fix) == ("no driver", "nvidia-smi")


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("import os; os.abort()", "its process ended with code -6"),
        ("raise SystemExit('no LLVM here')", "its process ended with code 1: no LLVM here"),
        ("import time; time.sleep(60)", "didn't answer within 2 s"),
    ],
)
def test_a_part_that_crashes_or_hangs_takes_nothing_with_it(tmp_path, monkeypatch, script, detail):
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{script}"\n')
    os.chmod(interpreter, 0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setattr(doctor, "_TIME_LIMIT_S", 2 if "sleep" in script else 60)
    good, bad = check(lambda: "fine", name="good"), check(lambda: "unreached", name="bad", apart=True, required=False)
    first, second = examine([bad, good])
    assert (first.name, first.works, first.fix) == ("bad", False, "pip install part")
    assert detail in first.detail
    assert (second.name, second.works) == ("good", True)


def test_broken_weights_are_told(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    monkeypatch.setattr(doctor_checks.resources, "files", lambda _: tmp_path)
    assert doctor_checks.shipped_weights() == ["mine"]
    found = try_out(check(doctor_checks.weights("mine")))
    assert not found.works
    assert "model.safetensors" in found.detail


def test_a_wrong_option_is_one_line(capfd):
    assert main(["doctor", "--fast"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_browser_on_the_path_is_asked_for_its_version(tmp_path, monkeypatch):
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho Chromium 1.2 $1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert doctor_checks.chromium().strip() == "Chromium 1.2 --version"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(doctor_checks.Broken, match="no Chromium"):
        doctor_checks.chromium()
