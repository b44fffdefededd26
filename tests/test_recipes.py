"""The recipes of docs/architecture.md, each followed with a toy: one entry in one file, the rest is new."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from maquette.io.normal_maps import read_normal_map

ROOT = Path(__file__).parents[1]
TOY = '''
import torch
from maquette.bench.normals.datasets import Sample
from maquette.types import NormalMap, Photo

def left(photo):
    """A wall that faces left."""
    size = photo.rgb.shape[:2]
    return NormalMap(torch.tensor([-1.0, 0, 0]).expand(*size, 3), torch.ones(size, dtype=torch.bool))

def samples(data, cache):
    photo = Photo(torch.ones(16, 16, 3), torch.ones(16, 16, dtype=torch.bool))
    yield Sample("toy", "one", photo, left(photo))

def main(argv):
    print("hello", *argv)
    return 0
'''


def run(folder: Path, entry: str, *arguments: str) -> str:
    """A command line in a process where the entry stands in its table from the beginning."""
    (folder / "toy.py").write_text(TOY)
    script = f"{entry}\nfrom maquette.app.cli.main import main\nraise SystemExit(main({list(arguments)!r}))"
    paths = os.pathsep.join([str(ROOT / "src"), str(folder)])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_method_is_an_entry_in_the_catalogue(tmp_path):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "cup.png")
    entry = (
        "import maquette.catalogue as c\n"
        "c.METHODS['left'] = c.Method('left', 'toy:left', 'a wall that faces left')\n"
        "c.NORMALS_METHODS += ('left',)"
    )
    run(tmp_path, entry, "normals", "cup.png", "-o", "out", "--mask", "none", "--method", "left")
    normals = read_normal_map(tmp_path / "out" / "cup.normals.png").normals
    assert normals.shape == (16, 16, 3)
    assert float(normals[..., 0].max()) < -0.999


def test_a_bench_set_is_an_entry_in_the_catalogue(tmp_path):
    entry = "import maquette.catalogue as c\nc.BENCH_SETS['toys'] = c.BenchSet('toys', 'toy:samples', 'a wall')"
    printed = run(tmp_path, entry, "bench", "normals", "--data", ".", "--sets", "toys", "--method", "flat", "--json")
    assert abs(json.loads(printed)["sets"]["toys"]["mean"]["flat"]["mean"] - 90) < 1e-3


def test_a_verb_is_a_line_in_the_table_of_verbs(tmp_path):
    entry = "import maquette.app.cli.main as m\nm.VERBS['greet'] = ('toy', 'say hello')"
    assert run(tmp_path, entry, "greet", "you") == "hello you\n"
    assert "greet" in run(tmp_path, entry, "--help")
