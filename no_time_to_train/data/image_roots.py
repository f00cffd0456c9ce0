"""Where the images of an annotation file are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter


def normalize_file_name(file_name: str) -> str:
    """A ``file_name`` of an annotation file as a path below the images folder, with forward slashes.

    An absolute path (some tools write the annotator's own) is reduced to its last part.

    Raises:
        InputError: the name leads out of the images folder, or is empty.
    """
    name = file_name.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name):
        name = name.rsplit("/", 1)[-1]
    name = posixpath.normpath(name) if name else "."
    if name.split("/")[0] in (".", ".."):
        raise InputError(f"file_name {file_name!r} must name a file below the images folder.")
    return name


def locate_images(
    file_names: Sequence[str],
    annotations: Path,
    images: Path | None = None,
    *,
    what: str = "images",
    parameter: str = "images",
) -> Path:
    """The folder below which all these images are.

    Args:
        file_names: normalised names, at least one.
        annotations: the annotation file that names them.
        images: the folder to use; None: the annotation file's own folder, its parent, or an ``images`` folder in one
            of the two, whichever holds them all.
        what: they are, for messages.
        parameter: name of the parameter or setting that gives the folder, for messages.

    Raises:
        InputFileNotFoundError: some are in none of these; the message says where a file of that name is.
    """
    roots = _usual_roots(annotations) if images is None else [Path(images)]
    missing_by_root = {}
    for root in roots:
        missing_by_root[root] = [name for name in file_names if not (root / name).is_file()]
        if not missing_by_root[root]:
            return root
    root, missing = min(missing_by_root.items(), key=lambda item: len(item[1]))
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


def _usual_roots(annotations: Path) -> list[Path]:
    folder = annotations.parent
    parent = folder / ".." if folder == Path(".") else folder.parent
    return [folder, folder / "images", parent / "images", parent]


def _folder_with(file_name: str, annotations: Path, images: Path | None) -> Path | None:
    """Return a folder near by that has a file of this name."""
    for folder in _likely_folders(annotations, images):
        for name in (file_name, posixpath.basename(file_name)):
            if (folder / name).is_file():
                return folder
    return None


def _likely_folders(annotations: Path, images: Path | None) -> Iterator[Path]:
    """A few folders near by, and their direct sub-folders; nothing deeper, so that it stays quick on a large disk."""
    roots = [*_usual_roots(annotations), Path()] + ([] if images is None else [Path(images), Path(images).parent])
    for root in roots:
        if root.is_dir():
            yield root
            yield from sorted(path for path in root.iterdir() if path.is_dir())
