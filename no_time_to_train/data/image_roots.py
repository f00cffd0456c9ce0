"""Find the images of an annotation file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter
from no_time_to_train.files.json_files import is_text


def normalize_file_name(file_name: str) -> str:
    """Turn an annotation file's ``file_name`` into a path below the images.

    It has forward slashes.

    An absolute path (some tools write the annotator's own) is reduced to its last part.

    Raises:
        InputError: the name leads out of the images folder, is empty, or cannot be a file's.
    """
    name = file_name.replace("\\", "/")
    if _is_absolute(name):
        name = name.rsplit("/", 1)[-1]
    name = posixpath.normpath(name) if name else "."
    if name.split("/")[0] in (".", "..") or "\0" in name or not is_text(name):
        raise InputError(f"file_name {ascii(file_name)} must name a file below the images folder.")
    return name


def file_name_below(file_name: str) -> str:
    r"""Normalize a name; cut one that leads out of the folder.

    Such a name is reduced to its last part.

    Label Studio writes ``..\..\label-studio\data\media\upload\1\a.jpg`` beside a folder that holds ``a.jpg``.

    Raises:
        InputError: the name is empty, or cannot be a file's.
    """
    name = file_name.replace("\\", "/")
    return normalize_file_name(name.rsplit("/", 1)[-1] if is_shortened(name) else name)


def is_shortened(file_name: str) -> bool:
    """Return whether only the last part of a ``file_name`` is used.

    Other images may have that part too.
    """
    name = file_name.replace("\\", "/")
    return _is_absolute(name) or posixpath.normpath(name).startswith("../")


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or bool(re.match(r"[A-Za-z]:/", name))


def locate_images(
    file_names: Sequence[str],
    annotations: Path,
    images: Path | None = None,
    *,
    what: str = "images",
    parameter: str = "images",
) -> Path:
    """Locate the folder below which all these images are.

    Args:
        file_names: normalized names, at least one.
        annotations: the annotation file that names them.
        images: the folder to use; None: the annotation file's own folder, its parent, or an ``images`` folder in one
            of the two, whichever holds them all.
        what: they are, for messages.
        parameter: name of the parameter or setting that gives the folder, for messages.

    Raises:
        InputFileNotFoundError: some are in none of these; the message says where a file of that name is.
    """
    root, missing = locate_most_images(file_names, annotations, images)
    if not missing:
        return root
    likely = _folder_with(missing[0], annotations, images)
    if likely is None:
        advised = Parameter(parameter, "FOLDER")
        advice = f"Give the folder that holds them: {advised}."
    else:
        advised = Parameter(parameter, likely)
        advice = f"Found a file of that name in {likely}. Did you mean {advised}?"
    raise InputFileNotFoundError(
        f"{len(missing)} of {len(file_names)} {what} not found under {root} (first: {missing[0]}). {advice}",
        parameters=[advised],
    )


def locate_most_images(
    file_names: Sequence[str], annotations: Path, images: Path | None = None, *, first: Path | None = None
) -> tuple[Path, list[str]]:
    """Locate the folder that holds the most of these images.

    Args:
        file_names: normalized names.
        annotations: the annotation file that names them.
        images: the only folder to look into; None: the usual ones beside the annotation file.
        first: a folder to look into before the usual ones.

    Returns:
        The folder, and the names of the images that are not in it.
    """
    usual = _usual_roots(annotations) if first is None else [first, *_usual_roots(annotations)]
    missing_by_root: dict[Path, list[str]] = {}
    for root in usual if images is None else [Path(images)]:
        missing_by_root[root] = [name for name in file_names if not (root / name).is_file()]
        if not missing_by_root[root]:
            break
    return min(missing_by_root.items(), key=lambda item: len(item[1]))


def _usual_roots(annotations: Path) -> list[Path]:
    """Return the folders beside the file; for ``annotations/instances_val2017.json`` also those of that name."""
    folder = annotations.parent
    parent = folder / ".." if folder == Path(".") else folder.parent
    roots = [folder, folder / "images", parent / "images", parent]
    _, separator, subset = annotations.stem.partition("_")
    if separator and subset and not subset.startswith("."):
        roots += [parent / "images" / subset, parent / subset]
    return roots


def _folder_with(file_name: str, annotations: Path, images: Path | None) -> Path | None:
    """Return a folder near by that has a file of this name."""
    for folder in _likely_folders(annotations, images):
        for name in (file_name, posixpath.basename(file_name)):
            if (folder / name).is_file():
                return folder
    return None


def _likely_folders(annotations: Path, images: Path | None) -> Iterator[Path]:
    """Return a few folders near by and their direct sub-folders.

    Nothing deeper, so that it stays quick on a large disk.
    """
    roots = [*_usual_roots(annotations), Path()] + ([] if images is None else [Path(images), Path(images).parent])
    for root in roots:
        if root.is_dir():
            yield root
            yield from sorted(path for path in root.iterdir() if path.is_dir())
