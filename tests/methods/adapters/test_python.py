"""A person's own function as a method, and the page that explains it."""

import re
import textwrap
from pathlib import Path

import pytest
import torch

from maquette.errors import InputError
from maquette.methods.adapters.python import checked, load_function
from maquette.types import NormalMap, Photo


def photo() -> Photo:
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[4:16, 5:25] = True
    return Photo(torch.rand(20, 30, 3, generator=torch.Generator().manual_seed(0)), mask, "cup.png")


def wall(given: Photo) -> NormalMap:
    normals = torch.zeros_like(given.rgb)
    normals[..., 2] = 1
    return NormalMap(normals, torch.ones(given.rgb.shape[:2], dtype=torch.bool), torch.ones(given.rgb.shape[:2]))


def test_a_module_and_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(Path(__file__).read_text())
    for module in ("maquette.methods.baselines", str(file)):
        function = "flat" if module.startswith("maquette") else "wall"
        assert torch.allclose(load_function(module, function)(photo()).normals.norm(dim=-1).max(), torch.tensor(1.0))
    assert load_function(str(file), "NormalMap.__eq__") is not None  # dots reach into objects


def test_what_a_function_returns_becomes_exact():
    def nearly(given):
        found = wall(given)
        return NormalMap(found.normals * 1.005, photo().mask, found.concentration)

    got = checked(nearly, "mine:nearly")(photo())
    assert torch.allclose(got.normals.norm(dim=-1), photo().mask.float(), atol=1e-6)
    assert got.concentration is not None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found.normals, "returned a Tensor; a maquette.types.NormalMap"),
        (
            lambda found: NormalMap(found.normals[1:], found.mask[1:]),
            r"normals are \(19, 30, 3\), cup.png needs \(20, 30, 3\)",
        ),
        (lambda found: NormalMap(found.normals * torch.nan, found.mask), "NaN or infinity"),
        (lambda found: NormalMap(found.normals * 0.5 + 0.5, found.mask), "1.22 to 1.22 long; unit length"),
        (lambda found: NormalMap(found.normals * 0, found.mask), "0 to 0 long"),
    ],
)
def test_what_is_no_normal_map_is_one_line(spoil, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(lambda given: spoil(wall(given)), "mine:wrong")(photo())
    assert str(caught.value).startswith("mine:wrong: ")
    assert "\n" not in str(caught.value)


def test_a_fault_of_the_function_is_not_hidden():
    def faulty(given):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        checked(faulty, "mine:faulty")(photo())


@pytest.mark.parametrize(
    ("module", "function", "message"),
    [
        ("no_such_module_anywhere", "f", "can't be imported"),
        ("maquette.methods.baselines", "nothing", "has no 'nothing'"),
        ("maquette.methods.baselines", "_STEPS", "is a tuple; a callable"),
        ("broken.py", "f", "can't be imported"),
        ("needs.py", "f", "No module named 'no_such_library'"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(tmp_path, monkeypatch, module, function, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "needs.py").write_text("import no_such_library\n")
    with pytest.raises(InputError, match=message) as caught:
        load_function(module, function)
    assert "\n" not in str(caught.value)


def test_the_pages_example_is_whole(tmp_path, capfd):
    """What stands in docs/adapters.md is run as a person would, through both verbs' entry."""
    from PIL import Image

    from maquette.app.cli.main import main

    page = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text()
    found = re.search(r"```python\n# bowl\.py\n(.*?)```", page, re.DOTALL)
    assert found is not None
    (tmp_path / "bowl.py").write_text(textwrap.dedent(found[1]))
    assert len(found[1].splitlines()) <= 20
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "cup.png")
    method = f"{tmp_path / 'bowl.py'}:bowl"
    arguments = [str(tmp_path / "cup.png"), "-o", str(tmp_path / "out"), "--mask", "none", "--method", method]
    assert main(["normals", *arguments, "--confidence", "--format", "npy"]) == 0
    from maquette.io.normal_maps import read_normal_map

    got = read_normal_map(tmp_path / "out" / "cup.normals.npy")
    assert got.normals[16, 2, 0] > 0.5  # the left wall of a bowl looks right
    assert got.normals[29, 16, 1] > 0.5  # the lower one up
    assert (tmp_path / "out" / "cup.confidence.npy").exists()
    capfd.readouterr()
