"""Which files of a folder are images, and what is left out of it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.data.images import IMAGE_SUFFIXES, missing_decoder
from no_time_to_train.errors import InputError, InputFileNotFoundError, counted

logger = logging.getLogger(__name__)

_NOT_READ = frozenset(
    {".svg", ".psd", ".jxl", ".jp2", ".ico", ".tga", ".exr", ".hdr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"}
    | {".mp4", ".mov", ".avi", ".mkv", ".webm"}
)
"""Suffixes of images and videos that nothing here reads as an image, to be counted and said."""


@dataclass(frozen=True)
class FoundImages:
    """What a folder holds.

    Attributes:
        paths: the images, sorted.
        left_out: (name in the folder, why) of what looks like images but is not read.
        result_folders: sub-folders that hold a run's results; nothing in them counts.
    """

    paths: tuple[Path, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    result_folders: tuple[str, ...] = ()

    def remark(self) -> str | None:
        """Return one line about what is left out, with counts; None where nothing is."""
        remarks = []
        if self.left_out:
            reasons = Counter(reason for _, reason in self.left_out)
            shown = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            remarks.append(f"{counted(len(self.left_out), 'file')} not read: {shown}")
        if self.result_folders:
            folders = counted(len(self.result_folders), "folder")
            remarks.append(f"{folders} with results of runs (run.json) left out: {', '.join(self.result_folders[:3])}")
        return ". ".join(remarks) + "." if remarks else None

    def say_what_is_left_out(self, root: Path) -> None:
        """Warn of it in one line; of nothing where nothing is."""
        remark = self.remark()
        if remark is not None:
            logger.warning("%s: %s", root, remark)


def search_images(folder: Path, own: Path | None = None) -> FoundImages:
    """Look for images under a folder and its sub-folders.

    Hidden files and folders do not count (macOS leaves ``._photo.jpg`` stubs that are no images), and neither do
    sub-folders with a ``run.json``: overlays of an earlier run are no images to label.

    Args:
        folder: to look into.
        own: a folder whose contents are left out without a word: the results of this run.

    Raises:
        InputFileNotFoundError: there is no such folder.
        InputError: the folder holds no image that can be read; the message counts what it holds instead.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputFileNotFoundError(f"{folder} is not a folder. Give the folder that holds the images.")
    found, files = look_through(folder, own)
    if not found.paths:
        remark = found.remark()
        raise InputError(
            f"{folder} has no readable images (looked for jpg png webp tif bmp gif heic avif; {describe_files(files)})."
            f"{'' if remark is None else f' {remark}'}"
        )
    return found


def look_through(folder: Path, own: Path | None = None) -> tuple[FoundImages, list[Path]]:
    """Return the images of a folder, which may be none, and all files; arguments as of :func:`search_images`."""
    result_folders: list[str] = []
    images, left_out, files = [], list[tuple[str, str]](), []

    def note(error: OSError) -> None:
        name = printable(os.path.relpath(error.filename, folder))
        left_out.append((name, f"in folders that cannot be opened ({error.strerror})"))

    for path in _walk(folder, own, result_folders, note):
        files.append(path)
        if not is_like_an_image(path):
            continue
        reason = reason_left_out(path, folder)
        if reason is None:
            images.append(path)
        else:
            left_out.append((printable(path.relative_to(folder).as_posix()), reason))
    return FoundImages(tuple(sorted(images)), tuple(sorted(left_out)), tuple(sorted(result_folders))), files


def is_like_an_image(path: Path) -> bool:
    """Return whether a file has the suffix of an image or a video, read here or not."""
    return path.suffix.lower() in IMAGE_SUFFIXES | _NOT_READ


def printable(name: str) -> str:
    r"""Return a file name that can be printed and written: bytes that are no UTF-8 stand as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(
    folder: Path, own: Path | None, result_folders: list[str], on_error: Callable[[OSError], None]
) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=on_error):
        inner = Path(parent)
        if own is not None and inner.resolve() == own.resolve():
            folders.clear()
            continue
        if inner != folder and "run.json" in names:
            result_folders.append(printable(inner.relative_to(folder).as_posix()))
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (inner / name for name in names if not name.startswith("."))
        yield from (path for path in shown if path.is_file() or path.is_symlink())


def reason_left_out(path: Path, folder: Path) -> str | None:
    """Return why a file that is like an image is not read; None where it is."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return "links to nothing"
    if not _is_utf8(str(path.relative_to(folder))):
        return "with a name that is not UTF-8 (rename them)"
    if suffix in _NOT_READ:
        return f"{suffix} (not a format that is read)"
    missing = missing_decoder(suffix)
    return None if missing is None else f"{suffix} ({missing})"


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe_files(files: Sequence[Path]) -> str:
    """Return the suffixes of files, counted."""
    if not files:
        return "it is empty"
    counts = Counter(path.suffix.lower() or "without suffix" for path in files)
    return "found " + ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
