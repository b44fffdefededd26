"""Frames of a video file as photos, through OpenCV."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

from maquette.catalogue import VIDEO_SUFFIXES
from maquette.errors import InputError
from maquette.io.decode import quiet
from maquette.io.images import srgb_to_linear
from maquette.types import Photo


def frame_rate(path: Path) -> float:
    """Frames per second that a video file states; 24 if it states none.

    Raises:
        InputError: as `read_frames`.
    """
    rate = _open(path).get(cv2.CAP_PROP_FPS)
    return rate if 1 <= rate <= 1000 else 24.0


def read_frames(path: Path) -> Iterator[Photo]:
    """A video file's frames in order, each named after the file and its number, from 0.

    Frames are 8 bits a channel and taken as sRGB; there is no alpha.

    Raises:
        InputError: the file is missing, no video, or has no frame.
    """
    capture = _open(path)
    table = srgb_to_linear(torch.arange(256, dtype=torch.float64) / 255).float()
    number = 0
    while True:
        found, bgr = capture.read()
        if not found:
            break
        rgb = torch.from_numpy(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        yield Photo(table[rgb.long()], name=f"{path.name} frame {number}")
        number += 1
    if number == 0:
        raise InputError(f"{path}: holds no frame that can be decoded; give a whole video file")


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise InputError(f"{path}: no such video file")
    with quiet():
        capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InputError(f"{path}: cut off, damaged or no video; give one of {', '.join(VIDEO_SUFFIXES)}")
    return capture
