"""The contact sheet: its layout, its repeatability, its verb."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch

from maquette.app.cli.main import main
from maquette.errors import InputError
from maquette.synth.datasets import preview
from maquette.synth.datasets.preview import contact_sheet


def test_a_sheet_from_the_verb_is_that_of_the_function(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preview, "COLUMNS", 2)
    monkeypatch.setattr(preview, "sample_solid", partial(preview.sample_solid, side=32))
    path = tmp_path / "sheet.png"
    assert main(["dataset", "preview", "-o", str(path), "--count", "3", "--seed", "9", "--size-px", "24"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    sheet = contact_sheet(3, seed=9, size_px=24)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], sheet.numpy())
    assert sheet.shape == (2 * 48 + 2, 2 * 24 + 2, 3)  # two rows of two, a gap between
    assert bool((sheet[50:, 26:] == 255).all())  # the place of the fourth stays white
    normals = sheet[24:48, :24].float() / 255 * 2 - 1
    inside = (sheet[24:48, :24] < 255).any(-1)
    assert float(inside.float().mean()) > 0.1
    assert torch.allclose(normals[inside].norm(dim=-1), torch.ones(1), atol=0.02)


@pytest.mark.parametrize(("count", "size_px"), [(0, 64), (4, 8)])
def test_a_sheet_of_nothing_is_one_line(count, size_px):
    with pytest.raises(InputError, match="must lie in"):
        contact_sheet(count, size_px=size_px)


def test_only_png(tmp_path, capsys):
    assert main(["dataset", "preview", "-o", str(tmp_path / "a.jpg"), "--count", "1"]) == 2
    assert ".png" in capsys.readouterr().err
