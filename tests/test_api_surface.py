"""What `import maquette` offers: these names with these signatures, their examples, the README's lines, docs/api.md."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import maquette
from maquette.errors import InputError

ROOT = Path(__file__).parents[1]
# A name that is taken away or called otherwise breaks the programs of others: change this list knowingly.
SURFACE = (Path(__file__).parent / "api_surface.txt").read_text().splitlines()


def run(*arguments: str) -> str:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_the_page_of_the_interface_is_what_the_command_prints_and_has_the_surfaces_signatures():
    page = run("-m", "maquette.app.api_page")
    assert (ROOT / "docs" / "api.md").read_text() == page
    blocks = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    joined = [re.sub(r",? ?\)", ")", re.sub(r"\(\s+", "(", re.sub(r"\s*\n\s*", " ", block))) for block in blocks]
    expected = [re.sub(r",? ?\)", ")", line) for line in SURFACE]
    assert sorted(joined) == sorted(expected)


def test_importing_it_brings_no_torch_and_the_module_runs():
    print(run("-c", "import maquette, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"))
    assert run("-m", "maquette", "--version") == f"maquette {maquette.__version__}\n"
    assert set(maquette.__all__) == set(dir(maquette))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = maquette.nothing  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", ["as_photo", "load", "normals", "object_mask", "relief", "relight"])
def test_the_examples_in_the_docstrings_are_true(name):
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(maquette, name), name, globs={})
    assert len(test.examples) >= 2
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_readmes_lines_make_a_map_and_a_mesh(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    disc = np.hypot(*np.mgrid[-24:24, -24:24]) < 20
    codes = torch.from_numpy(np.uint8(180 * disc)[..., None].repeat(4, -1))
    from maquette.io.images import write_png8

    write_png8(tmp_path / "cup.png", codes)
    (tmp_path / "cup.png").rename(tmp_path / "cup.jpg")  # files are read by what they hold
    monkeypatch.chdir(tmp_path)
    assert [len(block.strip().splitlines()) for block in blocks[:2]] == [4, 2]
    exec("\n".join(blocks[:2]), {})
    again = maquette.read_normal_map("cup.normals.png")
    assert bool((again.mask.numpy() == disc).all())
    extent = maquette.read_mesh("cup.stl").vertices.amax(0) - maquette.read_mesh("cup.stl").vertices.amin(0)
    assert float(extent[:2].max()) == pytest.approx(80.0, abs=0.01)


def test_pixels_are_codes_or_light_by_their_type():
    codes = np.array([[[0, 128, 255]]], np.uint8)
    photo = maquette.as_photo(codes)
    assert photo.rgb[0, 0].tolist() == pytest.approx([0.0, 0.2158605, 1.0], abs=1e-6)
    assert torch.equal(maquette.as_photo(photo.rgb).rgb, photo.rgb)
    assert torch.equal(maquette.as_photo(codes.astype(np.uint16) * 257).rgb, photo.rgb)
    assert maquette.as_photo(codes[..., 0]).rgb.shape == (1, 1, 3)
    clear = maquette.as_photo(np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8))
    assert clear.mask is not None
    assert clear.mask.tolist() == [[True, False]]
    assert maquette.as_photo(photo) is photo


@pytest.mark.parametrize(
    ("pixels", "complaint"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"of shape \(4, 4, 2\); it must be"),
        (np.zeros((0, 4, 3), np.uint8), r"of shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int64), "of torch.int64; give uint8 or uint16 codes"),
        (np.full((4, 4, 3), -0.1), "below zero"),
        (np.full((4, 4, 3), np.nan), "not finite"),
    ],
)
def test_pixels_that_are_none_are_refused(pixels, complaint):
    with pytest.raises(InputError, match=complaint):
        maquette.as_photo(pixels)
