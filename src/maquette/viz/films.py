"""Frames to a film: MP4 through OpenCV, GIF through Pillow; whole or absent."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import cv2
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from maquette.catalogue import FILM_SUFFIXES
from maquette.errors import InputError
from maquette.io.files import atomic_path


def write_film(
    path: Path, frames: Iterable[UInt8[Tensor, "height width 3"]], frames_per_second: int | float = 24
) -> None:
    """Write frames as `.mp4` (MPEG-4) or as a `.gif` that repeats.

    An odd row or column at the end is cut off for MP4, whose colour is stored for pairs of pixels.

    Args:
        path: its suffix decides the format.
        frames: sRGB, all of one size, at least one.
        frames_per_second: GIF rounds it to hundredths of a second a frame.

    Raises:
        InputError: another suffix, or the file can't be written.
    """
    require_film_suffix(path)
    with atomic_path(path) as partial:
        partial.touch()
        if path.suffix.lower() == ".gif":
            pictures = [Image.fromarray(frame.numpy()) for frame in frames]
            duration_ms = round(100 / frames_per_second) * 10
            pictures[0].save(
                partial, format="GIF", save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0
            )
        else:
            _write_mp4(path, partial, frames, frames_per_second)


def require_film_suffix(path: Path) -> None:
    """Raise an InputError unless the suffix is one of a film."""
    if path.suffix.lower() not in FILM_SUFFIXES:
        raise InputError(f"{path}: a film must end in {' or '.join(FILM_SUFFIXES)}")


def _write_mp4(
    path: Path, partial: Path, frames: Iterable[UInt8[Tensor, "height width 3"]], frames_per_second: int | float
) -> None:
    remaining = iter(frames)
    first = next(remaining)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(partial), code, float(frames_per_second), (width, height))
    try:
        if not writer.isOpened():
            raise InputError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder; give a .gif")
        for frame in chain([first], remaining):
            writer.write(cv2.cvtColor(frame[:height, :width].contiguous().numpy(), cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
