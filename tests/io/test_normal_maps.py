import itertools

import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from PIL import Image

from maquette.catalogue import FORMAT_SUFFIXES
from maquette.errors import InputError
from maquette.geometry.frames import CAMERA_FRAMES
from maquette.io.normal_maps import (
    read_normal_map,
    write_confidence,
    write_normal_map,
)
from maquette.types import NormalMap

EVERY = list(itertools.product(CAMERA_FRAMES, FORMAT_SUFFIXES))


def random_map(full: bool, seed: int = 0) -> NormalMap:
    generator = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(64, 48, 3, generator=generator), dim=-1)
    mask = torch.ones(64, 48, dtype=torch.bool)
    if not full:
        mask = torch.rand(64, 48, generator=generator) > 0.3
    return NormalMap(torch.where(mask[..., None], normals, 0.0), mask)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(("convention", "format"), EVERY)
def test_round_trip(tmp_path, convention, format, full):
    path = tmp_path / f"a{FORMAT_SUFFIXES[format]}"
    before = random_map(full)
    write_normal_map(path, before, convention, format)
    after = read_normal_map(path, convention)
    assert torch.equal(after.mask, before.mask)
    error = (after.normals - before.normals).abs().max().item()
    if format in ("exr", "npy"):
        assert error == 0
    elif format == "png16":
        assert error <= 0.5 * (2 / 65535) + 1e-7  # half a quantum; the rest is float32
    else:
        # Half a quantum is up to sqrt(3) / 255 of vector, some of which normalising takes away again.
        assert (after.normals - before.normals).norm(dim=-1).max() <= 3**0.5 / 255
    assert torch.allclose(after.normals.norm(dim=-1)[after.mask], torch.tensor(1.0), atol=3e-5)


@pytest.mark.parametrize("format", ["png8", "png16"])
def test_a_soft_rim_leaves_the_normals_and_the_mask_as_they_were(tmp_path, format):
    """Alpha from the photo; who reads the map finds the mask and the normals of the map with a hard rim."""
    before = random_map(full=False)
    alpha = torch.rand(64, 48, generator=torch.Generator().manual_seed(1))
    hard, soft = tmp_path / "hard.png", tmp_path / "soft.png"
    write_normal_map(hard, before, "directx", format)
    write_normal_map(soft, before, "directx", format, alpha)
    first, second = read_normal_map(hard, "directx"), read_normal_map(soft, "directx")
    assert torch.equal(first.mask, second.mask)
    assert torch.equal(first.normals, second.normals)
    codes = cv2.imread(str(soft), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    largest = np.iinfo(codes.dtype).max
    agree = before.mask.numpy() == (alpha > 0.5).numpy()
    assert np.abs(codes[..., 3] / largest - alpha.numpy())[agree].max() <= 0.51 / largest
    rim = ~before.mask.numpy() & (codes[..., 3] > 0)
    stored = codes[rim][:, 2::-1] / largest * 2 - 1
    assert np.abs(np.linalg.norm(stored, axis=-1) - 1).max() < 0.02  # normals too, those of their neighbours


def test_without_a_rim_alpha_is_the_mask(tmp_path):
    before = random_map(full=False)
    write_normal_map(tmp_path / "a.png", before)
    codes = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    assert np.array_equal(codes[..., 3], before.mask.numpy() * np.uint16(65535))
    full = random_map(full=True)
    write_normal_map(tmp_path / "b.png", full, alpha=torch.full((64, 48), 0.7))
    assert np.asarray(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)).shape == (64, 48, 3)


@pytest.mark.parametrize(("convention", "format"), EVERY)
def test_writing_what_was_read_changes_nothing(tmp_path, convention, format):
    first, second = (tmp_path / f"{name}{FORMAT_SUFFIXES[format]}" for name in "ab")
    write_normal_map(first, random_map(full=False), convention, format)
    write_normal_map(second, read_normal_map(first, convention), convention, format)
    if format == "exr":
        stored = [OpenEXR.File(str(path)).channels()["RGB"].pixels for path in (first, second)]
        assert np.array_equal(*stored)
    elif format == "png8":
        # Normalising may move a code by one at most.
        stored = [np.asarray(Image.open(path)).astype(int) for path in (first, second)]
        assert np.abs(stored[0] - stored[1]).max() <= 1
    else:
        assert first.read_bytes() == second.read_bytes()


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: sum(c * c for c in v) > 0.01))
def test_codes_are_half_plus_half_n(tmp_path_factory, vector):
    normal = torch.nn.functional.normalize(torch.tensor(vector), dim=-1)
    path = tmp_path_factory.mktemp("codes") / "a.png"
    mask = torch.ones(16, 16, dtype=torch.bool)
    write_normal_map(path, NormalMap(normal.expand(16, 16, 3), mask), "directx", "png16")
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    x, y, z = normal.double().tolist()
    expected = [(c * 0.5 + 0.5) * 65535 for c in (x, -y, z)]
    assert codes[0, 0, ::-1].astype(float).tolist() == pytest.approx(expected, abs=0.5)


def test_outside_the_mask_png_is_neutral_and_transparent_floats_are_zero(tmp_path):
    one = NormalMap(torch.zeros(16, 16, 3), torch.zeros(16, 16, dtype=torch.bool))
    one.mask[3, 4] = True
    one.normals[3, 4] = torch.tensor([0.6, 0.0, 0.8])
    for convention in CAMERA_FRAMES:
        neutral = 0 if convention == "opencv" else 255
        write_normal_map(tmp_path / "a.png", one, convention, "png8")
        assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0].tolist() == [128, 128, neutral, 0]
    write_normal_map(tmp_path / "a.npy", one, "opengl", "npy")
    assert np.load(tmp_path / "a.npy")[0, 0].tolist() == [0, 0, 0]


def test_a_full_mask_writes_no_alpha(tmp_path):
    write_normal_map(tmp_path / "a.png", random_map(full=True), "opengl", "png8")
    assert Image.open(tmp_path / "a.png").mode == "RGB"


def test_black_and_white_pixels_of_foreign_maps_are_no_normals(tmp_path):
    codes = np.full((16, 16, 3), (128, 128, 255), np.uint8)
    codes[0], codes[1] = 0, 255
    Image.fromarray(codes).save(tmp_path / "a.png")
    normal_map = read_normal_map(tmp_path / "a.png")
    assert not normal_map.mask[:2].any()
    assert normal_map.mask[2:].all()
    assert normal_map.normals[0].abs().max() == 0


def test_foreign_maps_that_are_not_unit_are_normalised(tmp_path):
    np.save(tmp_path / "a.npy", np.full((16, 16, 3), (0.0, 0.0, 1.2)))
    assert read_normal_map(tmp_path / "a.npy").normals[5, 5].tolist() == [0, 0, 1]


def test_what_is_no_normal_map(tmp_path):
    np.save(tmp_path / "grey.npy", np.ones((16, 16)))
    np.save(tmp_path / "whole.npy", np.ones((16, 16, 3), int))
    np.save(tmp_path / "nan.npy", np.full((16, 16, 3), np.nan))
    np.save(tmp_path / "far.npy", np.full((16, 16, 3), 9.0))
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:-8])
    (tmp_path / "text.npy").write_text("normal")
    for name, message in [
        ("grey", r"\(height, width, 3\)"),
        ("whole", "floating-point"),
        ("nan", "NaN"),
        ("far", "no normals"),
        ("objects", "plain numbers"),
        ("cut", "not a whole NPY"),
        ("text", "not a whole NPY"),
        ("missing", "no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            read_normal_map(tmp_path / f"{name}.npy")
    np.save(tmp_path / "ok.npy", np.full((16, 16, 3), (0.0, 0.0, 1.0)))
    # Where annotations are checked, as in a test run with jaxtyping's hook, they speak first.
    with pytest.raises((InputError, TypeCheckError), match=r"opengl.*directx.*opencv"):
        read_normal_map(tmp_path / "ok.npy", "maya")  # pyright: ignore[reportArgumentType]


def test_confidence_is_exact_in_floats_and_within_half_a_quantum_in_png(tmp_path):
    confidence = torch.rand(20, 30)
    for format, suffix in FORMAT_SUFFIXES.items():
        write_confidence(tmp_path / f"{format}{suffix}", confidence, format)
    assert np.array_equal(np.load(tmp_path / "npy.npy"), confidence.numpy())
    assert np.array_equal(OpenEXR.File(str(tmp_path / "exr.exr")).channels()["Y"].pixels, confidence.numpy())
    for name in ("png16.png", "png8.png"):  # a confidence of 8 bits would be worth little
        codes = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
        assert codes is not None
        assert codes.dtype == np.uint16
        assert np.abs(codes / 65535 - confidence.double().numpy()).max() <= 0.5 / 65535 + 1e-9
