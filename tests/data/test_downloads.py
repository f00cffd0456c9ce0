from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from no_time_to_train.data.downloads import Download, fetch, file_fault, unpack
from no_time_to_train.errors import EnvironmentProblemError, InputError
from tests.data.file_server import FileServer, serving, write_archive

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def download(server) -> Download:
    return Download((f"{server.url}/data.zip",), num_bytes=len(CONTENT), sha256=SHA256)


def test_download(server, download, tmp_path) -> None:
    progress: list[tuple[int, int | None]] = []
    path = fetch(download, tmp_path / "new" / download.file_name, lambda *values: progress.append(values))
    assert path.name == "data.zip" and path.read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert server.ranges == [None] and list(path.parent.iterdir()) == [path]
    fetch(download, path)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_download_is_continued(server, download, tmp_path, knows_ranges: bool) -> None:
    server.knows_ranges, server.breaks_after = knows_ranges, 5000
    path = tmp_path / "data.zip"
    with pytest.raises(EnvironmentProblemError, match=r"5,000 bytes are kept.*broke after 5,000 of 10,240"):
        fetch(download, path)
    assert not path.exists()
    server.breaks_after = None
    assert fetch(download, path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=5000-"]


def test_a_finished_part_is_not_fetched_again(server, tmp_path) -> None:
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    of_unknown_size = Download((f"{server.url}/data.zip",), sha256=SHA256)
    assert fetch(of_unknown_size, tmp_path / "data.zip").read_bytes() == CONTENT


def test_other_addresses_are_tried(server, tmp_path) -> None:
    download = Download((f"{server.url}/missing", f"{server.url}/mirror"))
    assert fetch(download, tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(
        EnvironmentProblemError, match="nothing was downloaded.*missing: Not Found.*By hand: save the file as"
    ):
        fetch(Download((f"{server.url}/missing",)), tmp_path / "b")


def test_what_is_not_the_file_is_removed(server, tmp_path) -> None:
    download = Download((f"{server.url}/a",), sha256="0" * 64)
    with pytest.raises(InputError, match=f"arrived damaged .sha256 {SHA256} instead of 0000"):
        fetch(download, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_anew(download, tmp_path) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(CONTENT[:-1])
    assert file_fault(path, download) == "10,239 bytes instead of 10,240"
    assert fetch(download, path).read_bytes() == CONTENT


def test_md5(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_fault(tmp_path / "a", Download(("a",), md5="900150983cd24fb0d6963f7d28e17f72")) is None
    assert file_fault(tmp_path / "a", Download(("a",), md5="0" * 32)).startswith("md5 900150983cd24fb0d6963f7d28e17f72")


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_unpacking_goes_on_where_it_stopped(tmp_path, suffix: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", {"x/a.jpg": b"whole", "x/y/b.jpg": b"also whole"})
    target = tmp_path / "out"
    (target / "x").mkdir(parents=True)
    (target / "x/a.jpg").write_bytes(b"who")
    unpack(archive, target)
    assert (target / "x/a.jpg").read_bytes() == b"whole"
    (target / "x/y/b.jpg").write_bytes(b"ALSO WHOLE")
    unpack(archive, target)
    assert (target / "x/y/b.jpg").read_bytes() == b"ALSO WHOLE"


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "a\\..\\..\\evil"])
def test_members_outside_the_folder_are_refused_before_anything_is_written(tmp_path, suffix: str, name: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", {"good": b"1", name: b"2"})
    with pytest.raises(InputError, match="would lie outside the folder; nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(link)
    linked = zipfile.ZipInfo("link")
    linked.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(linked, "/etc/passwd")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(InputError, match="link is a link"):
            unpack(tmp_path / name, tmp_path / "out")


def test_what_is_no_archive(tmp_path) -> None:
    (tmp_path / "a.zip").write_bytes(b"<html>")
    with pytest.raises(InputError, match="neither a zip nor a tar archive"):
        unpack(tmp_path / "a.zip", tmp_path)
    archive = write_archive(tmp_path / "b.zip", {"a": b"x" * 1000})
    damaged = archive.read_bytes().replace(b"xxx", b"xyx", 1)
    archive.write_bytes(damaged)
    with pytest.raises(InputError, match=r"b.zip is damaged .*Bad CRC"):
        unpack(archive, tmp_path)


FILES = {"x/a.jpg": bytes(range(256)) * 40, "x/b.jpg": b"b" * 5000, "c.jpg": b"c"}


def write_tar(path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_damaged_tar_files_are_refused(tmp_path, kind: str) -> None:
    """Wherever a byte is wrong or missing: Python's own reader takes some damage for the end of the archive."""
    path = write_tar(tmp_path / f"a.tar.{kind}", f"w:{kind}")
    unpack(path, tmp_path / "whole")
    assert (tmp_path / "whole/x/a.jpg").read_bytes() == FILES["x/a.jpg"]
    whole = path.read_bytes()
    content_end = len(whole) if kind else sum(512 + -(-len(c) // 512) * 512 for c in FILES.values())
    for share in (0.3, 0.5, 0.8, 0.99):
        path.write_bytes(whole[: int(content_end * share)])
        with pytest.raises(InputError, match="is damaged|neither a zip nor a tar"):
            unpack(path, tmp_path / "cut")
    if kind:
        for position in range(len(whole) // 2, len(whole), 7):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
            with contextlib.suppress(InputError):
                unpack(path, tmp_path / f"{position}")
                assert (tmp_path / f"{position}/c.jpg").read_bytes() == b"c"  # the byte was of no importance
    else:
        second_header = 512 + 512 * 20
        path.write_bytes(whole[:second_header] + b"?" * 512 + whole[second_header + 512 :])
        with pytest.raises(InputError, match="no end mark after"):
            unpack(path, tmp_path / "header")


def test_odd_zip_members(tmp_path) -> None:
    archive = write_archive(tmp_path / "a.zip", {".": b"1"})
    with pytest.raises(InputError, match="outside the folder"):
        unpack(archive, tmp_path / "out")
    archive = write_archive(tmp_path / "e.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1  # "encrypted"
    archive.write_bytes(bytes(content))
    with pytest.raises(InputError, match="encrypted"):
        unpack(archive, tmp_path / "out")


def test_a_member_that_breaks_off_is_not_taken_for_a_whole_one(tmp_path) -> None:
    archive = write_archive(tmp_path / "b.zip", {"a": b"x" * 1000})
    archive.write_bytes(archive.read_bytes().replace(b"xxx", b"xyx", 1))
    for _ in range(2):
        with pytest.raises(InputError, match="Bad CRC"):
            unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out/a").exists()


def test_an_archive_that_holds_nothing_is_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    with pytest.raises(InputError, match=r"a.tar holds nothing. Remove it"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
