"""Download and unpack large files.

A download continues where an earlier attempt stopped, and is checked. Nothing is unpacked outside the folder.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any

from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.files.atomic import replacing

OnProgress = Callable[[int, int | None], None]
"""(bytes so far, bytes in all or None)."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_UNFINISHED_SUFFIX = ".part"


@dataclass(frozen=True)
class Download:
    """A file with public addresses.

    Attributes:
        urls: tried in this order.
        num_bytes, sha256, md5: what it must have; None: unknown.
    """

    urls: tuple[str, ...]
    num_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def file_name(self) -> str:
        """Return the name of the file on disk."""
        return self.urls[0].rsplit("/", 1)[-1]


def fetch(download: Download, path: Path, on_progress: OnProgress = lambda done, total: None) -> Path:
    """Download to ``path`` unless a faultless file is there.

    A stopped download goes on where it stopped.

    Raises:
        EnvironmentProblemError: no address could be reached, or the connection broke; the part stays for the next time.
        InputError: what came is not the file; it is removed.
    """
    if path.is_file() and file_fault(path, download) is None:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + _UNFINISHED_SUFFIX)
    _fetch_from_any(download, path, unfinished, on_progress)
    fault = file_fault(unfinished, download)
    if fault is not None:
        unfinished.unlink()
        raise InputError(f"{path.name} arrived damaged ({fault}) and was removed. Run the same command again.")
    os.replace(unfinished, path)
    return path


def file_fault(path: Path, download: Download) -> str | None:
    """Describe a downloaded file's wrong size or checksum.

    None where both agree or are unknown.
    """
    num_bytes = path.stat().st_size
    if download.num_bytes is not None and num_bytes != download.num_bytes:
        return f"{num_bytes:,} bytes instead of {download.num_bytes:,}"
    for algorithm, expected in (("sha256", download.sha256), ("md5", download.md5)):
        if expected is not None:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, algorithm).hexdigest()
            return None if actual == expected else f"{algorithm} {actual} instead of {expected}"
    return None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file into a folder.

    Members that are there with their full size are not written again.

    Raises:
        InputError: damaged, encrypted, of another kind, or a member is a link or would lie outside the folder; nothing
            is written in the latter case. A member that breaks off is not left behind.
    """
    try:
        with _open_archive(archive) as members:
            if not members:
                raise InputError(f"{archive} holds nothing. Remove it and run the same command again.")
            for member in members:
                _check(member, archive)
            for member in members:
                _write(member, folder / member.name)
    except InputError:
        raise
    except _DAMAGES as error:
        raise InputError(f"{archive} is damaged ({error}). Remove it and run the same command again.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise InputError(
            f"{archive} cannot be unpacked ({error}). Remove it and run the same command again."
        ) from error


_DAMAGES = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a method of compression that Python does not know
    RuntimeError,  # an encrypted member
    ValueError,
    OverflowError,
    IndexError,  # a member without a name
)


def _fetch_from_any(download: Download, path: Path, unfinished: Path, on_progress: OnProgress) -> None:
    problems = []
    for url in download.urls:
        try:
            return _fetch_rest(url, unfinished, download.num_bytes, on_progress)
        except (OSError, HTTPException) as error:  # urllib's URLError is an OSError
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            problems.append(f"{url}: {getattr(error, 'reason', None) or error}")
    done = unfinished.stat().st_size if unfinished.is_file() else 0
    state = f"{done:,} bytes are kept and the same command continues" if done else "nothing was downloaded"
    raise EnvironmentProblemError(
        f"Download failed; {state}. {'; '.join(problems)}. "
        f"By hand: save the file as {path} and run the same command again."
    )


def _fetch_rest(url: str, unfinished: Path, num_bytes: int | None, on_progress: OnProgress) -> None:
    """Append what is missing; a server that cannot continue sends everything again."""
    done = unfinished.stat().st_size if unfinished.is_file() else 0
    if num_bytes is not None and done >= num_bytes:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with _open(request) as response:
        if response is None:  # the server has no byte after these
            return
        continues = response.status == 206
        done = done if continues else 0
        length = response.headers.get("Content-Length")
        total = num_bytes if length is None else done + int(length)
        with unfinished.open("ab" if continues else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done:,} of {total:,} bytes")


@contextmanager
def _open(request: urllib.request.Request) -> Iterator[Any]:
    """Return the response, or None for "range not satisfiable"."""
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            yield response
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        yield None


@dataclass(frozen=True)
class _Member:
    """A file in an archive; ``is_file`` is False for links and devices."""

    name: str
    num_bytes: int
    is_file: bool
    open: Callable[[], IO[bytes] | None]


@contextmanager
def _open_archive(path: Path) -> Iterator[list[_Member]]:
    """Return everything in an archive but its folders."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            yield [
                _Member(i.filename, i.file_size, not stat.S_ISLNK(i.external_attr >> 16), partial(zipped.open, i))
                for i in zipped.infolist()
                if not i.is_dir()
            ]
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            _check_end(tar)
            yield [_Member(i.name, i.size, i.isfile(), partial(tar.extractfile, i)) for i in members if not i.isdir()]
    else:
        raise InputError(f"{path} is neither a zip nor a tar archive.")


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise where a tar file does not end as one does: Python takes a damaged header for the end.

    Reading to the last byte also compares a compressed file's checksum.
    """
    file = tar.fileobj
    assert file is not None  # it was opened from a path
    file.seek(tar.offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise tarfile.ReadError(f"it has no end mark after {tar.offset:,} bytes of content")
    while file.read(_CHUNK_BYTES):
        pass


def _check(member: _Member, archive: Path) -> None:
    if not member.is_file:
        raise InputError(f"{archive}: {member.name} is a link or device; nothing was unpacked.")
    path = PurePosixPath(member.name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in member.name:
        raise InputError(f"{archive}: {ascii(member.name)} would lie outside the folder; nothing was unpacked.")


def _write(member: _Member, path: Path) -> None:
    if path.is_file() and path.stat().st_size == member.num_bytes:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None  # only members that are no files give None
    with source, replacing(path) as unfinished, unfinished.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
