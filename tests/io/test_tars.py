"""Tars of data: the standard library reads them, the same files are the same bytes, and damage is told."""

import io
import tarfile

import pytest

from maquette.errors import InputError
from maquette.io.tars import list_tar, pack_tar

FILES = [("a.photo.png", b"x" * 700), ("a.json", b""), ("b.photo.png", b"y" * 512), ("b.json", b"{}")]


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "some.tar"
    path.write_bytes(pack_tar(FILES))
    return path


def test_members_are_where_the_list_says(tar):
    content = tar.read_bytes()
    assert [(m.name, content[m.start : m.start + m.size]) for m in list_tar(tar)] == FILES


def test_it_is_a_plain_tar_that_says_nothing_of_who_made_it_and_when(tar):
    with tarfile.open(tar) as opened:
        members = opened.getmembers()
        assert [(m.name, opened.extractfile(m).read()) for m in members] == FILES
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isfile()) for m in members} == {
        (0, 0, 0, "", "", 0o644, True)
    }
    assert pack_tar(FILES) == tar.read_bytes()


def test_an_empty_one_is_whole(tmp_path):
    path = tmp_path / "empty.tar"
    path.write_bytes(pack_tar([]))
    assert list_tar(path) == []


@pytest.mark.parametrize("length", [0, 100, 512, 1000, 3000, -1024, -1])
def test_one_that_is_cut_off_is_told(tar, length):
    tar.write_bytes(tar.read_bytes()[:length])
    with pytest.raises(InputError, match=r"some\.tar: damaged"):
        list_tar(tar)


def test_one_with_something_behind_it_is_told(tar):
    tar.write_bytes(tar.read_bytes() + b"0")
    with pytest.raises(InputError, match="damaged"):
        list_tar(tar)


def test_a_header_that_was_touched_is_told(tar):
    content = bytearray(tar.read_bytes())
    content[3] ^= 1
    tar.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        list_tar(tar)


def test_what_is_no_tar_is_told(tmp_path):
    path = tmp_path / "junk.tar"
    path.write_bytes(b"junk" * 4000)
    with pytest.raises(InputError, match="no tar header at byte 0"):
        list_tar(path)
    with pytest.raises(InputError, match="cannot be read"):
        list_tar(tmp_path / "missing.tar")


def test_a_tar_of_links_is_told(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as opened:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "b"
        opened.addfile(link)
    path = tmp_path / "links.tar"
    path.write_bytes(out.getvalue())
    with pytest.raises(InputError, match="plain file"):
        list_tar(path)
