"""What works here: every part that maquette leans on, tried out, not just looked up.

A check is a function that does a little real work and returns a line about it, or raises `Broken` with the reason
and with what one would type. Libraries of which some builds crash a process, or that are slow to import, are
tried in a process of their own, all at the same time: `python -m maquette.app.doctor NAME`.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from maquette.app import doctor_checks as do
from maquette.app.doctor_checks import Broken

_TIME_LIMIT_S = 120
_REINSTALL = "pip install --force-reinstall maquette"
_SPLATS_ON_CUDA = {
    "triton": "see cuda: its torch brings triton",
    "gsplat": "see cuda; then pip install gsplat, which compiles itself with nvcc",
}


@dataclass(frozen=True)
class Check:
    """A part, and how to try it.

    Attributes:
        name: what it is called.
        purpose: what doesn't work without it.
        work: tries it.
        required: whether maquette's main job needs it.
        apart: whether it is tried in a process of its own.
        fix: what one would type if it fails in a way that it doesn't know itself.
    """

    name: str
    purpose: str
    work: Callable[[], str]
    required: bool = True
    apart: bool = False
    fix: str = _REINSTALL


@dataclass(frozen=True)
class Finding:
    """What a check found: `detail` says what works, or why it doesn't; `fix` is empty if it works."""

    name: str
    purpose: str
    required: bool
    works: bool
    detail: str
    fix: str = ""


def examine(checks: list[Check] | None = None) -> list[Finding]:
    """Try every part.

    Returns:
        One finding a check, in their order. Nothing raises: a part that does is broken.
    """
    checks = list_checks() if checks is None else checks
    apart = {check.name: _start(check) for check in checks if check.apart}
    here = {check.name: try_out(check) for check in checks if not check.apart}
    return [here[check.name] if check.name in here else _collect(check, apart[check.name]) for check in checks]


def try_out(check: Check) -> Finding:
    """Try one part, in this process."""
    try:
        return _finding(check, check.work())
    except Broken as broken:
        detail, fix = str(broken), broken.fix
    except ImportError as error:
        detail, fix = f"can't be imported ({error})", check.fix
    except Exception as error:  # whatever a broken library throws
        detail, fix = f"{type(error).__name__}: {error}", check.fix
    return _finding(check, detail, fix)


def list_checks() -> list[Check]:
    """Everything that is tried, what is required first."""
    render, onnx, scale = (f"pip install 'maquette[{extra}]'" for extra in ("render", "onnx", "scale"))
    return [
        Check("python", "everything", do.python),
        Check("torch", "every network", do.torch_on_the_cpu),
        Check("numba", "the data engine, splats on the CPU", do.numba_compiles),
        Check("scipy", "solvers", do.scipy_solves),
        Check("images", "PNG, JPEG, WebP, TIFF", do.images),
        Check("exr", "EXR files", do.exr),
        Check("gif", "films as GIF", do.film_gif),
        Check("meshes", "meshes, isosurfaces", do.meshes),
        Check("diffusers", "--method rose", do.diffusers, apart=True),
        Check("transformers", "splat, --method hf:FOLDER, train rose --preset svd", do.transformers, apart=True),
        *(Check(f"weights {name}", f"--weights {name}", do.weights(name)) for name in do.shipped_weights()),
        Check("onnxruntime", "--mask auto, --method onnx:FILE", do.onnxruntime, apart=True),
        Check("weights u2netp", "--mask auto", do.mask_weights, apart=True),
        Check(
            "mp4",
            "films as MP4",
            do.film_mp4,
            required=False,
            fix="pip install --force-reinstall opencv-python-headless",
        ),
        Check("cuda", "a GPU for networks", do.cuda, required=False),
        *(
            Check(name, f"splats on a GPU, backend {name}", do.splat_backend(name, fix), required=False)
            for name, fix in _SPLATS_ON_CUDA.items()
        ),
        Check("mitsuba", "path-traced photos of the bench", do.mitsuba, required=False, apart=True, fix=render),
        Check("onnx", "maquette export", do.onnx, required=False, apart=True, fix=onnx),
        Check("viser", "maquette view", do.viser, required=False, apart=True, fix="pip install 'maquette[view]'"),
        Check("ray", "dataset multishade --ray", do.ray, required=False, apart=True, fix=scale),
        Check("webdataset", "the tests of MultiShade's tars", do.webdataset, required=False, apart=True, fix=scale),
        Check(
            "chromium", "the tests of pages", do.chromium, required=False, apart=True, fix="apt-get install chromium"
        ),
    ]


def _start(check: Check) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "maquette.app.doctor", check.name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _collect(check: Check, process: subprocess.Popen[str]) -> Finding:
    """What a check in a process of its own found; that it crashed or hung is a finding too."""
    try:
        out, err = process.communicate(timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return _finding(check, f"didn't answer within {_TIME_LIMIT_S} s", check.fix)
    try:
        return Finding(**json.loads(out.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        said = err.strip().splitlines()[-1:] or ["it said nothing"]
        return _finding(check, f"its process ended with code {process.returncode}: {said[0]}", check.fix)


def _finding(check: Check, detail: str, fix: str = "") -> Finding:
    """A finding; it works if there is nothing to fix."""
    return Finding(check.name, check.purpose, check.required, not fix, " ".join(detail.split())[:300], fix)


def _main(name: str) -> None:
    """Try the part of that name, and print what was found as JSON."""
    (check,) = [check for check in list_checks() if check.name == name]
    print(json.dumps(asdict(try_out(check))))


if __name__ == "__main__":
    _main(sys.argv[1])
