import math

import cv2
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image, ImageOps

from maquette.errors import InputError
from maquette.io.images import (
    linear_to_srgb,
    read_mask,
    read_photo,
    srgb_to_linear,
    write_exr,
    write_npy,
    write_png8,
    write_png16,
    write_srgb,
)


def random_codes(dtype: type, channels: int = 3, seed: int = 0) -> np.ndarray:
    codes = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (24, 40, channels), dtype=dtype)
    return codes


def test_srgb_has_the_values_of_the_standard_and_inverts():
    # 0.5 encoded is 0.21404 linear; both branches meet at 0.04045.
    assert srgb_to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404114, abs=1e-7)
    assert srgb_to_linear(torch.tensor(0.02)).item() == pytest.approx(0.02 / 12.92, rel=1e-6)
    codes = torch.arange(65536, dtype=torch.float64) / 65535
    assert torch.allclose(linear_to_srgb(srgb_to_linear(codes)), codes, atol=1e-7)


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_8_bit_files_are_read_to_the_code(tmp_path, suffix):
    codes = random_codes(np.uint8)
    Image.fromarray(codes).save(tmp_path / f"a.{suffix}", lossless=True)  # a word that only WebP heeds
    photo = read_photo(tmp_path / f"a.{suffix}")
    assert np.array_equal((linear_to_srgb(photo.rgb) * 255).round().numpy(), codes)
    assert photo.mask is None
    assert photo.name == f"a.{suffix}"


def test_jpeg_is_read_close_to_the_code(tmp_path):
    ramp = np.tile(np.arange(0, 240, 5, dtype=np.uint8)[:, None, None], (1, 48, 3))
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    photo = read_photo(tmp_path / "a.jpg")
    assert np.abs((linear_to_srgb(photo.rgb) * 255).numpy() - ramp).max() < 4


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_files_keep_all_their_bits(tmp_path, suffix, channels):
    codes = random_codes(np.uint16, channels)
    path = tmp_path / f"a.{suffix}"
    shuffle = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    path.write_bytes(cv2.imencode(f".{suffix}", codes[..., shuffle])[1].tobytes())
    photo = read_photo(path)
    expected = codes[..., :3] if channels > 1 else np.repeat(codes, 3, axis=-1)
    found = (linear_to_srgb(photo.rgb.double()) * 65535).round().numpy()
    assert np.abs(found - expected).max() <= 1  # float32 light has 24 bits, the curve takes some of them
    if channels == 4:
        assert photo.mask is not None
        assert np.array_equal(photo.mask.numpy(), codes[..., 3] > 32767)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "PA", "YCbCr"])
def test_every_pillow_mode_is_rgb_in_memory(tmp_path, mode):
    colour = Image.new("RGB", (40, 24), (204, 204, 204))
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "PA": "tiff"}.get(mode, "png")
    converted = colour.convert("P").convert("PA") if mode == "PA" else colour.convert(mode)
    if mode == "1":
        converted = Image.new("1", (40, 24), 1)
    converted.save(tmp_path / f"a.{suffix}")
    photo = read_photo(tmp_path / f"a.{suffix}")
    expected = 1.0 if mode == "1" else srgb_to_linear(torch.tensor(204 / 255)).item()
    assert photo.rgb.shape == (24, 40, 3)
    assert torch.allclose(photo.rgb, torch.tensor(expected), atol=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_exif_orientation_is_undone(tmp_path, suffix, orientation):
    quadrants = np.zeros((32, 48, 3), np.uint8)
    quadrants[:16, :24] = (255, 0, 0)
    quadrants[:16, 24:] = (0, 255, 0)
    quadrants[16:, :24] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(quadrants).save(path, exif=exif)
    stored = Image.fromarray(quadrants)
    stored.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(stored))
    photo = read_photo(path)
    assert photo.rgb.shape == upright.shape
    corners = [(4, 4), (4, -5), (-5, 4), (-5, -5)]
    for y, x in corners:
        assert np.abs(photo.rgb[y, x].numpy() - upright[y, x] / 255).max() < 0.1


def test_orientation_of_16_bit_tiff_is_undone_once(tmp_path):
    codes = random_codes(np.uint16)
    path = tmp_path / "a.tiff"
    path.write_bytes(cv2.imencode(".tiff", codes)[1].tobytes())
    content = bytearray(path.read_bytes())
    plain = read_photo(path).rgb
    # OpenCV wrote tag 274 (a SHORT, one value) as 1; 3 is half a turn.
    entry = content.find((274).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    if entry < 0:
        entry = content.find((284).to_bytes(2, "little") + (3).to_bytes(2, "little"))
        content[entry : entry + 2] = (274).to_bytes(2, "little")
    content[entry + 8] = 3
    path.write_bytes(content)
    assert torch.equal(read_photo(path).rgb, plain.flip(0, 1))


def test_alpha_is_the_mask_unless_all_of_it_is_opaque(tmp_path):
    codes = random_codes(np.uint8, 4)
    codes[..., 3] = 255
    Image.fromarray(codes).save(tmp_path / "opaque.png")
    assert read_photo(tmp_path / "opaque.png").mask is None
    codes[:5, :, 3] = 127
    codes[5:9, :, 3] = 128
    Image.fromarray(codes).save(tmp_path / "cut.png")
    mask = read_photo(tmp_path / "cut.png").mask
    assert mask is not None
    assert not mask[:5].any()
    assert mask[5:].all()


@pytest.mark.parametrize("compression", ["ZIP_COMPRESSION", "DWAB_COMPRESSION", "PIZ_COMPRESSION"])
def test_exr_is_linear_and_half_floats_work(tmp_path, compression):
    values = np.full((24, 40, 3), 2.5, np.float16)
    header = {"compression": getattr(OpenEXR, compression), "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": values}).write(str(tmp_path / "a.exr"))
    assert torch.allclose(read_photo(tmp_path / "a.exr").rgb, torch.tensor(2.5), rtol=2e-3)


def test_alpha_is_kept_as_soft_as_it_is(tmp_path):
    codes = np.full((16, 16, 4), 255, np.uint8)
    codes[3, :, 3] = np.arange(16) * 17
    Image.fromarray(codes).save(tmp_path / "soft.png")
    photo = read_photo(tmp_path / "soft.png")
    assert photo.mask is not None
    assert photo.alpha is not None
    assert torch.allclose(photo.alpha[3], torch.arange(16) * 17 / 255)
    assert torch.equal(photo.mask, photo.alpha > 0.5)
    Image.fromarray(codes[..., :3]).save(tmp_path / "opaque.png")
    assert read_photo(tmp_path / "opaque.png").alpha is None


def test_exr_alpha_is_premultiplied_and_negatives_become_zero(tmp_path):
    values = np.full((24, 40, 4), 0.4, np.float32)
    values[..., 3] = 0.8
    values[0, 0, 0] = -1e-3
    values[1, 1] = 0
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGBA": values}).write(str(tmp_path / "a.exr"))
    photo = read_photo(tmp_path / "a.exr")
    assert photo.rgb[5, 5].tolist() == pytest.approx([0.5] * 3)
    assert photo.rgb[0, 0, 0] == 0
    assert photo.mask is not None
    assert not photo.mask[1, 1]
    assert photo.mask[5, 5]


def test_a_picture_with_a_soft_rim(tmp_path):
    """Where the object covers less than half, the nearest colour of it; alpha as it was."""
    linear = torch.zeros(16, 16, 3)
    linear[:, :8, 0] = 1.0
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:, :8] = True
    alpha = mask.float()
    alpha[:, 8] = 0.4
    write_srgb(tmp_path / "a.png", linear, mask, alpha)
    row = np.asarray(Image.open(tmp_path / "a.png"))[0]
    assert row[7].tolist() == [255, 0, 0, 255]
    assert row[8].tolist() == [255, 0, 0, 102]
    assert row[9].tolist() == [0, 0, 0, 0]


def test_mask_files_of_black_and_white_and_of_alpha(tmp_path):
    shape = np.zeros((24, 40), bool)
    shape[4:20, 10:30] = True
    Image.fromarray(shape.astype(np.uint8) * 255).save(tmp_path / "grey.png")
    rgba = np.dstack([np.full((24, 40, 3), 7, np.uint8), shape.astype(np.uint8) * 255])
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    assert np.array_equal(read_mask(tmp_path / "grey.png").numpy(), shape)
    assert np.array_equal(read_mask(tmp_path / "alpha.png").numpy(), shape)


def test_writers_store_exactly_what_they_are_given(tmp_path):
    codes8, codes16 = random_codes(np.uint8, 4), random_codes(np.uint16, 4)
    write_png8(tmp_path / "a.png", torch.from_numpy(codes8))
    write_png16(tmp_path / "b.png", torch.from_numpy(codes16))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), codes8)
    stored = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert np.array_equal(stored[..., [2, 1, 0, 3]], codes16)
    values = torch.randn(24, 40, 3)
    write_exr(tmp_path / "c.exr", values)
    write_npy(tmp_path / "d.npy", values)
    assert np.array_equal(OpenEXR.File(str(tmp_path / "c.exr")).channels()["RGB"].pixels, values.numpy())
    assert np.array_equal(np.load(tmp_path / "d.npy"), values.numpy())


def test_write_srgb_round_trips_through_read_photo(tmp_path):
    linear = srgb_to_linear(torch.from_numpy(random_codes(np.uint8)) / 255)
    mask = torch.zeros(24, 40, dtype=torch.bool)
    mask[3:9] = True
    write_srgb(tmp_path / "a.png", linear, mask)
    photo = read_photo(tmp_path / "a.png")
    assert torch.allclose(photo.rgb, linear, atol=1e-6)
    assert photo.mask is not None
    assert torch.equal(photo.mask, mask)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_single_bad_float_is_found_and_placed(tmp_path, bad):
    values = torch.rand(24, 40, 3)
    values[7, 11, 1] = bad
    write_exr(tmp_path / "a.exr", values)
    with pytest.raises(InputError, match="1 pixels are NaN or infinite, the first at x=11, y=7"):
        read_photo(tmp_path / "a.exr")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_npy(path, torch.zeros(2, 2))
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_npy(path, torch.ones(2, 2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["png", "exr", "npy"])
def test_a_folder_that_cannot_be_is_an_input_error(tmp_path, suffix):
    (tmp_path / "file").write_text("in the way")
    write = {"png": write_srgb, "exr": write_exr, "npy": write_npy}[suffix]
    with pytest.raises(InputError, match="cannot write"):
        write(tmp_path / "file" / f"a.{suffix}", torch.zeros(2, 2, 3))
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path / f"folder.{suffix}", torch.zeros(2, 2, 3))
