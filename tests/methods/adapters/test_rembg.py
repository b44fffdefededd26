"""A rembg made of a few lines in place of the user's own: what is asked of it, and that it is asked for no download."""

import os
import sys
import types

import numpy as np
import pytest
import torch

from maquette.errors import InputError
from maquette.methods import masks
from maquette.methods.adapters import rembg as adapter
from maquette.types import Photo

PHOTO = Photo(torch.rand(30, 40, 3, generator=torch.Generator().manual_seed(0)), name="cup")


@pytest.fixture
def rembg(monkeypatch, tmp_path):
    """A module `rembg` that finds the left half and remembers what it was told, and the file of one model."""
    module = types.ModuleType("rembg")
    module.told = []  # pyright: ignore[reportAttributeAccessIssue]

    def remove(codes, session, only_mask):
        module.told.append((codes.shape, codes.dtype, session, only_mask))
        found = np.zeros(codes.shape[:2], np.uint8)
        found[:, :20], found[:, 20] = 255, 64
        return found

    def new_session(name):
        module.told.append((name, os.environ.get("MODEL_CHECKSUM_DISABLED")))
        return f"session of {name}"

    module.remove, module.new_session = remove, new_session  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "rembg", module)
    monkeypatch.setattr(adapter, "find_spec", lambda name: types.SimpleNamespace(name=name))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.delenv("MODEL_CHECKSUM_DISABLED", raising=False)
    (tmp_path / "isnet.onnx").touch()
    adapter._session.cache_clear()
    return module


def test_its_mask_is_taken_and_its_file_is_trusted(rembg):
    photo = masks.cut_out(PHOTO, "rembg:isnet")
    assert photo.mask is not None and photo.alpha is not None
    assert photo.mask[:, :20].all() and not photo.mask[:, 20:].any()
    assert photo.alpha[0, 20] == pytest.approx(64 / 255)
    assert rembg.told == [("isnet", "1"), ((30, 40, 3), np.uint8, "session of isnet", True)]
    assert "MODEL_CHECKSUM_DISABLED" not in os.environ


def test_without_the_models_file_it_is_never_asked(rembg, tmp_path):
    with pytest.raises(InputError, match=f"no file {tmp_path}/u2net.onnx, and maquette downloads nothing"):
        masks.cut_out(PHOTO, "rembg:u2net")
    assert rembg.told == []


def test_the_folders_of_newer_ones_count_too(rembg, tmp_path, monkeypatch):
    monkeypatch.delenv("U2NET_HOME")
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))
    (tmp_path / "models" / "u2net").mkdir(parents=True)
    (tmp_path / "models" / "u2net" / "u2net.onnx").touch()
    assert masks.object_mask(PHOTO, "rembg:u2net").any()


def test_without_rembg_one_line_says_so(monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"rembg isn't installed; pip install 'rembg\[cpu\]', or use --mask auto$"):
        masks.cut_out(PHOTO, "rembg:isnet")


def test_what_it_throws_is_one_line(rembg, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("bad\nfile")

    monkeypatch.setattr(rembg, "remove", broken)
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "mine")
    with pytest.raises(InputError, match=r"^--mask rembg:isnet: rembg failed \(bad file\)$"):
        masks.cut_out(PHOTO, "rembg:isnet")
    assert os.environ["MODEL_CHECKSUM_DISABLED"] == "mine"


def test_an_answer_of_another_kind_is_refused(rembg, monkeypatch):
    monkeypatch.setattr(rembg, "remove", lambda codes, **_: np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(InputError, match="one mask of the photo is needed"):
        masks.cut_out(PHOTO, "rembg:isnet")
