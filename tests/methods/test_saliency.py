"""U^2-Net-p as it was trained: what goes in by hand, what comes out on photos whose object is known."""

import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mask_photos import disc_photo

from maquette.io.images import read_photo
from maquette.methods import saliency as module
from maquette.methods.framing import display
from maquette.methods.saliency import SIDE_PX, prepared, saliency

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def seen(name: str) -> np.ndarray:
    return display(read_photo(PHOTOS / name)).numpy()


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    small = cv2.resize(truth.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) > 0.5
    return float(((found > 0.5) & small).sum() / ((found > 0.5) | small).sum())


def test_what_goes_in_by_hand():
    """A picture of one colour: over its brightest value, less ImageNet's mean, over its deviation; red is first."""
    colour = np.array([0.2, 0.5, 0.4], np.float32)
    given = prepared(np.broadcast_to(colour, (480, 640, 3)))
    assert given.shape == (1, 3, SIDE_PX, SIDE_PX)
    assert given.dtype == np.float32
    expected = [(0.4 - 0.485) / 0.229, (1.0 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]
    assert np.abs(given - np.array(expected).reshape(1, 3, 1, 1)).max() < 1e-5


def test_rows_are_rows():
    picture = np.zeros((40, 80, 3), np.float32)
    picture[:20, :, 0] = 1  # the upper half is red
    given = prepared(picture)[0, 0]
    assert given[10, 300] > given[300, 10]


def test_a_black_picture_goes_in_finite():
    assert np.isfinite(prepared(np.zeros((64, 64, 3), np.float32))).all()


def test_the_object_of_a_photo_is_found_and_only_with_red_first():
    """The saucer is an ellipse, drawn by hand; with the channels turned the network sees the table instead."""
    picture = seen("coffee.png")
    saucer = cv2.ellipse(np.zeros((400, 600), np.uint8), ((278, 210), (366, 396), 92.5), 1, -1) > 0
    assert overlap(saliency(picture), saucer) > 0.92
    assert overlap(saliency(np.ascontiguousarray(picture[..., ::-1])), saucer) < 0.6


def test_a_teapot_with_the_hole_of_its_handle():
    """The truth is what isn't the grey of the studio."""
    picture = seen("teapot.png")
    truth = np.abs(picture - picture[3, 3]).max(-1) > 0.05
    found = saliency(picture)
    assert overlap(found, truth) > 0.96
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~truth).astype(np.uint8))
    handle = labels == 2 + int(stats[2:, cv2.CC_STAT_AREA].argmax())  # 0 is the teapot, 1 the studio
    assert count > 2
    assert 2000 < handle.sum() < 20000
    assert cv2.resize(found, (874, 874))[cv2.erode(handle.astype(np.uint8), np.ones((25, 25))) > 0].max() < 0.1


def test_a_dark_photo_is_the_same_photo():
    """Its brightest value goes in as 1, whatever it was."""
    picture = seen("teapot.png")
    assert np.array_equal(saliency(picture / 4), saliency(picture))


def test_a_plain_wall_stays_near_zero():
    """Stretched to 0..1, as is common, it would have an object."""
    wall = 0.4 + 0.05 * np.random.default_rng(0).standard_normal((300, 300, 3), np.float32)
    assert saliency(wall.clip(0, 1)).max() < 0.5


def test_the_same_bits_each_time_and_with_one_thread(monkeypatch):
    picture = display(disc_photo()[0]).numpy()
    first = saliency(picture)
    assert np.array_equal(saliency(picture), first)
    monkeypatch.setattr(module, "THREADS", 1)
    module._session.cache_clear()
    assert np.array_equal(saliency(picture), first)
    module._session.cache_clear()


def test_onnxruntime_waits_until_it_is_needed():
    code = "import sys, maquette.methods.saliency; print('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_file_is_the_one_of_the_card():
    folder = resources.files("maquette.weights") / "u2netp"
    card = json.loads((folder / "card.json").read_text())
    assert hashlib.sha256((folder / "u2netp.onnx").read_bytes()).hexdigest() == card["sha256"]
    for notice in (folder / "NOTICE", Path(__file__).parents[2] / "NOTICE"):
        assert "U^2-Net" in notice.read_text()
        assert "Apache License, Version 2.0" in notice.read_text()


@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (2000, 30)])
def test_any_proportions(shape):
    found = saliency(torch.rand(*shape, 3, generator=torch.Generator().manual_seed(0)).numpy())
    assert found.shape == (SIDE_PX, SIDE_PX)
    assert found.min() >= 0
    assert found.max() <= 1
