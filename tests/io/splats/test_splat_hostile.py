"""Damaged, lying and hostile splat files: one line, soon, without the memory that they ask for."""

import gzip
import io
import json
import re
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zstandard
from known_splats import known
from PIL import Image

from maquette.catalogue import SPLAT_SUFFIXES
from maquette.errors import InputError
from maquette.io.splats.files import read_splat, write_splat

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ["minimal.splat", "minimal.ksplat", "known.level1.ksplat", "known.level2.ksplat", "minimal-raw.spz",
         "minimal-v2.spz", "minimal-v3.spz", "minimal-v4.spz", "known.sog", "known.compressed.ply",
         "known.ply"]  # fmt: skip
A_BILLION = 10**9


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> dict[str, bytes]:
    plain = write_splat(tmp_path_factory.mktemp("plain") / "known.ply", known())
    return {name: (plain if name == "known.ply" else FIXTURES / name).read_bytes() for name in NAMES}


def refused(path: Path) -> str:
    """The message; refusing must take little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_splat(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert peak < 50e6
    return message


def refused_bytes(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return refused(path)


@pytest.mark.parametrize("suffix", SPLAT_SUFFIXES)
def test_files_that_are_none(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert "no such file" in refused(path)
    assert "empty" in refused_bytes(path, b"")
    refused_bytes(path, b"not a splat file, nor of a size that one could have")
    path.unlink()
    path.mkdir()
    assert "folder" in refused(path)


def test_an_unknown_suffix(tmp_path):
    assert ".ply, .splat, .ksplat, .spz" in refused_bytes(tmp_path / "a.xyz", b"1 2 3")


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_cut_off(tmp_path, contents, name):
    content, path = contents[name], tmp_path / name
    for share in (0.02, 0.3, 0.7, 0.99):
        at = int(share * len(content))
        refused_bytes(path, content[: at - (at % 32 == 0)])


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bytes_never_raise_anything_else(tmp_path, contents, name):
    random, path = np.random.default_rng(0), tmp_path / name
    for _ in range(60):
        content = bytearray(contents[name])
        head = random.random() < 0.5
        for _ in range(random.integers(1, 4)):
            content[random.integers(0, min(len(content), 128 if head else len(content)))] = random.integers(0, 256)
        path.write_bytes(bytes(content))
        with suppress(InputError):
            found = read_splat(path)
            assert found.mean.isfinite().all() and found.scale.isfinite().all() and found.sh.isfinite().all()


def spz_head(count: int, version: int = 3, degree: int = 0, bits: int = 12) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, 0, 0)


@pytest.mark.parametrize("count", [0, A_BILLION, 2**32 - 1])
def test_spz_with_an_absurd_count(tmp_path, count):
    for version in (2, 3):
        assert f"{count} splats" in refused_bytes(tmp_path / "a.spz", gzip.compress(spz_head(count, version)))
    head = spz_head(count, 4) + struct.pack("<I12x", 32)
    assert f"{count} splats" in refused_bytes(tmp_path / "a.spz", head)


def test_spz_with_more_than_its_bytes_can_hold(tmp_path):
    assert "cut off" in refused_bytes(tmp_path / "a.spz", gzip.compress(spz_head(10**7) + bytes(10**5)))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (spz_head(4, version=1), "version 1"),
        (spz_head(4, version=9), "version 9"),
        (spz_head(4, degree=5), "degree 5"),
        (spz_head(4, bits=60), "60 fractional bits"),
        (b"NGSQ" + bytes(12), "NGSP"),
        (spz_head(4, version=4), "inside gzip"),
    ],
)
def test_spz_heads_that_lie(tmp_path, head, message):
    assert message in refused_bytes(tmp_path / "a.spz", gzip.compress(head + bytes(500)))


def test_a_small_gzip_that_unpacks_to_a_lot(tmp_path):
    bomb = gzip.compress(spz_head(4) + bytes(80_000_000), compresslevel=1)
    assert "more than the 4 splats" in refused_bytes(tmp_path / "a.spz", bomb)


def test_a_zstandard_stream_that_unpacks_to_more_than_it_should(tmp_path):
    sizes = [36, 4, 12, 12, 16]
    packed = [zstandard.compress(bytes(50_000_000 if size == 36 else size)) for size in sizes]
    toc = b"".join(struct.pack("<QQ", len(small), size) for small, size in zip(packed, sizes, strict=True))
    head = spz_head(4, 4)[:-1] + b"\5" + struct.pack("<I12x", 32)
    assert "not as long" in refused_bytes(tmp_path / "a.spz", head + toc + b"".join(packed))


def test_spz_with_swapped_axes(tmp_path):
    head = struct.pack("<4sIIBBBB", b"NGSP", 3, 4, 0, 12, 2, 0)
    record = struct.pack("<III", 0xADBE0003, 4, 12)
    assert "y and z axes swapped" in refused_bytes(tmp_path / "a.spz", gzip.compress(head + bytes(80) + record))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"vertex 260", b"vertex 1000000000", "1000000000 splats"),
        (b"vertex 260", b"vertex 20000000", "but ends after 260"),
        (b"vertex 260", b"vertex -5", "a line that no PLY has"),
        (b"vertex 260", b"vertex 0", "0 splats"),
        (b"binary_little_endian", b"ascii", "binary ones are read"),
        (b"property float scale_1\n", b"", "no property scale_1"),
        (b"property float x\n", b"property list uchar float x\n", "lists"),
        (b"property float y\n", b"property float x\n", "twice"),
        (b"property float f_rest_8\n", b"", "8 properties f_rest"),
        (b"property float rot_3\n", b"property quark rot_3\n", "a line that no PLY has"),
        (b"end_header", b"end_of_it", "no end_header"),
        (b"axes rdf", b"axes xyz", "axes 'xyz'"),
    ],
)
def test_ply_headers_that_lie(tmp_path, contents, old, new, message):
    assert old in contents["known.ply"]
    said = tmp_path / "a.ply"
    said.write_bytes(contents["known.ply"].replace(old, new, 1))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_splat(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x", np.nan, "splat 7 has a value in mean that is not finite"),
        ("scale_1", np.nan, "splat 7 has a value in scale that is not"),
        ("scale_1", 200, "splat 7 has a value in scale that is not"),
        ("opacity", np.nan, "splat 7 has a value in opacity that is not"),
        ("f_rest_3", np.inf, "splat 7 has a value in sh that is not"),
        ("rot", 0, "splat 7 has a zero quaternion"),
    ],
)
def test_ply_values_that_no_gaussian_has(tmp_path, contents, column, value, message):
    head, body = contents["known.ply"].split(b"end_header\n")
    names = re.findall(r"property float (\S+)", head.decode())
    table = np.frombuffer(body, "<f4").reshape(260, -1).copy()
    table[7, [k for k, name in enumerate(names) if name.startswith(column)]] = value
    assert message in refused_bytes(tmp_path / "a.ply", head + b"end_header\n" + table.tobytes())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element vertex 260", b"element vertex 1000000000", "1000000000 splats"),
        (b"element chunk 2", b"element chunk 1000000000", "1000000000 chunks"),
        (b"element sh 260", b"element sh 1000000000", "1000000000 rows of sh"),
        (b"property uint packed_scale\n", b"", "no property packed_scale"),
        (b"property uchar f_rest_8\n", b"", "8 properties of sh"),
        (b"max_scale_x\n", b"max_scale_q\n", "no property max_scale_x"),
    ],
)
def test_compressed_ply_headers_that_lie(tmp_path, contents, old, new, message):
    assert old in contents["known.compressed.ply"]
    assert message in refused_bytes(tmp_path / "a.ply", contents["known.compressed.ply"].replace(old, new, 1))


@pytest.mark.parametrize(("bound", "what"), [("min_x", "mean"), ("max_scale_y", "scale")])
def test_a_compressed_ply_with_bounds_that_are_not_finite(tmp_path, contents, bound, what):
    head, body = contents["known.compressed.ply"].split(b"end_header\n", 1)
    at = 4 * re.findall(r"property float (\S+)", head.decode()).index(bound)
    hostile = body[:at] + struct.pack("<f", np.nan) + body[at + 4 :]
    message = refused_bytes(tmp_path / "a.ply", head + b"end_header\n" + hostile)
    assert f"splat 0 has a value in {what} that is not finite" in message


def test_splat_values_that_no_gaussian_has(tmp_path):
    row = struct.pack("<6f", 0, 0, 0, 1, 1, 1) + bytes([9, 9, 9, 255, 255, 128, 128, 128])
    bad = struct.pack("<6f", 0, 0, 0, 1, -1, 1) + row[24:]
    assert "splat 1 has a negative scale" in refused_bytes(tmp_path / "a.splat", row + bad)
    unknown = struct.pack("<6f", 0, 0, 0, 1, np.nan, 1) + row[24:]
    assert "splat 1 has a value in scale that is not" in refused_bytes(tmp_path / "a.splat", row + unknown)
    assert "zero quaternion" in refused_bytes(tmp_path / "a.splat", row[:28] + bytes([128] * 4))


KSPLAT_SECTION, KSPLAT_ROWS = 4096, 4096 + 1024 + 7 * 4 + 19 * 12  # of known.level1: where its splats begin


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\1", "version 1.1"),
        (1, b"\0", "version 0.0"),
        (20, struct.pack("<H", 3), "level 3"),
        (4, struct.pack("<I", 0), "0 sections"),
        (4, struct.pack("<I", 2**32 - 1), "4294967295 sections"),
        (16, struct.pack("<I", 0), "0 splats"),
        (16, struct.pack("<I", A_BILLION), "1000000000 splats"),
        (16, struct.pack("<I", 61), "says that it holds 61 splats, but its sections hold 60"),
        (KSPLAT_SECTION + 4, struct.pack("<I", A_BILLION), "section 0 holds 1000000000 splats, but is cut off"),
        (KSPLAT_SECTION, struct.pack("<I", A_BILLION), "contradict each other"),
        (KSPLAT_SECTION + 8, struct.pack("<I", 1), "buckets hold fewer splats"),
        (KSPLAT_SECTION + 12, struct.pack("<I", A_BILLION), "cut off"),
        (KSPLAT_SECTION + 16, struct.pack("<f", np.nan), "splat 0 has a value in mean that is not finite"),
        (KSPLAT_ROWS - 19 * 12, struct.pack("<f", np.inf), "splat 0 has a value in mean that is not finite"),
        (KSPLAT_SECTION + 20, struct.pack("<H", 0), "contradict each other"),
        (KSPLAT_SECTION + 32, struct.pack("<I", A_BILLION), "contradict each other"),
        (KSPLAT_SECTION + 36, struct.pack("<I", 2**32 - 1), "cut off"),
        (KSPLAT_SECTION + 40, struct.pack("<H", 3), "degree 3"),
        (KSPLAT_ROWS + 6, struct.pack("<e", np.nan), "splat 0 has a value in scale that is not finite"),
        (KSPLAT_ROWS + 8, struct.pack("<e", -1), "splat 0 has a negative scale"),
        (KSPLAT_ROWS + 12, bytes(8), "splat 0 has a zero quaternion"),
        (KSPLAT_ROWS + 24, struct.pack("<e", np.inf), "splat 0 has a value in sh that is not finite"),
    ],
)
def test_ksplat_heads_and_values_that_lie(tmp_path, contents, at, value, message):
    content = bytearray(contents["known.level1.ksplat"])
    content[at : at + len(value)] = value
    assert message in refused_bytes(tmp_path / "a.ksplat", bytes(content))


def rebuilt(**changes: bytes | None) -> bytes:
    """The SOG with some parts replaced, or left out."""
    made = io.BytesIO()
    with zipfile.ZipFile(FIXTURES / "known.sog") as bundle, zipfile.ZipFile(made, "w") as changed:
        for name in bundle.namelist():
            part = changes.get(name.split(".")[0], bundle.read(name))
            if part is not None:
                changed.writestr(name, part)
    return made.getvalue()


def meta(**changes) -> bytes:
    with zipfile.ZipFile(FIXTURES / "known.sog") as bundle:
        return json.dumps(json.loads(bundle.read("meta.json")) | changes).encode()


def picture(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGBA", (width, height)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meta": None}, "no part meta.json"),
        ({"meta": b"{"}, "meta.json is damaged"),
        ({"meta": b"[" * 100_000}, "meta.json is damaged"),
        ({"meta": b"[]"}, "not SOG version 2"),
        ({"meta": meta(version=1)}, "not SOG version 2"),
        ({"meta": meta(count=A_BILLION)}, "1000000000 splats"),
        ({"meta": meta(count=5000)}, "pixels for 5000 splats"),
        ({"meta": meta(count="many")}, "meta.json lacks something"),
        ({"meta": meta(scales={"files": ["scales.webp"], "codebook": [1, 2]})}, "256 numbers"),
        (
            {"meta": meta(scales={"files": ["scales.webp"], "codebook": [float("nan")] * 256})},
            "value in scale that is not",
        ),
        ({"meta": meta(quats={"files": ["../secret.webp"]})}, "plain file name"),
        ({"meta": meta(means={"files": []})}, "meta.json lacks something"),
        ({"quats": None}, "no part quats.webp"),
        ({"quats": b"RIFF"}, "no whole WebP"),
        ({"quats": picture(32, 32)}, "splat 0 has no quaternion"),
        ({"sh0": picture(7000, 7000)}, "too many pixels"),
        ({"shN_centroids": picture(64, 64)}, "palette"),
    ],
)
def test_sog_parts_that_lie(tmp_path, changes, message):
    path = tmp_path / "a.sog"
    path.write_bytes(rebuilt(**changes))
    assert message in refused(path)


def test_a_sog_folder_without_its_images(tmp_path):
    (tmp_path / "meta.json").write_bytes(meta())
    with pytest.raises(InputError, match=r"shN_\w+\.webp: no such file"):
        read_splat(tmp_path / "meta.json")
