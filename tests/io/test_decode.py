"""Bad files: every one is an InputError of one line, and none is half an image."""

import io
import os
import zlib

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from maquette.errors import InputError
from maquette.io.decode import read_pixels

KINDS = ["png", "jpeg", "progressive", "webp", "tiff", "png16", "tiff16", "exr"]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def encoded(kind: str, folder) -> bytes:
    """A whole file of noise, which no coder makes small."""
    buffer = io.BytesIO()
    if kind == "png16":
        return cv2.imencode(".png", NOISE.astype(np.uint16) * 257)[1].tobytes()
    if kind == "tiff16":
        return cv2.imencode(".tiff", NOISE.astype(np.uint16) * 257)[1].tobytes()
    if kind == "exr":
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": NOISE.astype(np.float32) / 255}).write(str(folder / "whole.exr"))
        return (folder / "whole.exr").read_bytes()
    if kind == "progressive":
        Image.fromarray(NOISE).save(buffer, "JPEG", progressive=True)
    else:
        Image.fromarray(NOISE).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off_is_never_half_an_image(tmp_path, kind, share, capfd):
    content = encoded(kind, tmp_path)
    path = tmp_path / "cut"
    path.write_bytes(content)
    assert read_pixels(path).shape == NOISE.shape
    path.write_bytes(content[: max(1, int(len(content) * share))])
    with pytest.raises(InputError) as caught:
        read_pixels(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the decoders' own complaints stay inside


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_wrong_bytes_is_read_or_refused_in_silence(tmp_path, kind, capfd):
    content = encoded(kind, tmp_path)
    generator = np.random.default_rng(1)
    path = tmp_path / "damaged"
    refusals = []
    for start in (0, 0, 0, len(content) // 4) * 6:
        damaged = bytearray(content)
        for position in start + generator.integers(0, min(400, len(content) - start), 4):
            damaged[position] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read_pixels(path)
        except InputError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)
    assert capfd.readouterr() == ("", "")


def bomb_png(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("side", [10_001, 12_000, 30_000])
def test_size_is_refused_from_the_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb_png(side))
    with pytest.raises(InputError, match="100 megapixels"):
        read_pixels(path)


def test_size_of_exr_is_refused_from_the_header(tmp_path):
    content = bytearray(encoded("exr", tmp_path))
    window = content.find(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    content[window + 8 : window + 16] = np.array([29_999, 29_999], np.int32).tobytes()
    (tmp_path / "bomb.exr").write_bytes(content)
    with pytest.raises(InputError, match="30000x30000; at most 100 megapixels"):
        read_pixels(tmp_path / "bomb.exr")


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
def test_too_small(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="at least 16x16"):
        read_pixels(tmp_path / "a.png")


def test_what_is_no_file(tmp_path):
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in [
        ("", "is a folder"),
        ("missing.png", "no such file"),
        ("empty.png", "is empty"),
        ("pipe", "not a regular file"),
    ]:
        with pytest.raises(InputError, match=message):
            read_pixels(tmp_path / name)


@pytest.mark.parametrize("content", [b"hello, I am a text", b"\x89PNG\r\n\x1a\n", bytes(64)])
def test_what_is_no_photo(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match="not a whole image of a kind maquette reads"):
        read_pixels(tmp_path / "a.jpg")


def test_float_tiff_and_odd_exr_channels_are_refused(tmp_path):
    Image.fromarray(np.ones((24, 40), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(InputError, match="32 bits a channel"):
        read_pixels(tmp_path / "float.tiff")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Z": np.ones((24, 40), np.float32)}).write(str(tmp_path / "depth.exr"))
    with pytest.raises(InputError, match="has the EXR channels Z"):
        read_pixels(tmp_path / "depth.exr")
