"""The images of a run, for the verbs that go through a folder or a list of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.data.image_selection import ImageNames, ImageSelection
from no_time_to_train.files.arguments import as_count, as_path
from no_time_to_train.outputs.result_folder import recorded_names
from no_time_to_train.runs.run_state import read_run
from no_time_to_train.structures import TargetImage


@dataclass(frozen=True)
class FolderImages:
    """The images that are to be gone through.

    Attributes:
        root: the folder that their names are relative to.
        out: the results folder.
        targets: numbered from 1 by name.
        left_out: (name, why) of what looks like images but is not read.
    """

    root: Path
    out: Path
    targets: Sequence[TargetImage]
    left_out: tuple[tuple[str, str], ...]


def find_targets(
    images: ImageNames,
    out: str | Path | None,
    suffix: str,
    *,
    limit: int | None = None,
    upright: bool = True,
    overwrite: bool = False,
) -> FolderImages:
    """Find the images, numbered from 1 by name.

    What lies in the results folder is left out. What is not read is counted in a warning.

    Where not a whole folder is meant, the images that the results folder holds already stay part of it: naming further
    ones adds to it, and a limit takes none away.

    Args:
        images: a folder, or files, folders and patterns.
        out: results folder; None: see :func:`default_out`.
        suffix: of the results folder's name.
        limit: only the first ones, and those that have a result.
        upright: whether they are turned as their EXIF orientation says.
        overwrite: whether earlier results do not count.

    Raises:
        InputError, InputFileNotFoundError: see ``ImageSelection``.
    """
    selection = ImageSelection.of(images)
    folder = default_out(selection, suffix) if out is None else as_path(out, "out")
    found = selection.find(own=folder)
    root = selection.root
    names = {path.relative_to(root).as_posix() for path in found.paths[: as_count(limit, "limit")]}
    is_part = limit is not None or not selection.is_folder
    if is_part and not overwrite:
        names |= set(_earlier_names(root, folder))
    targets = [
        TargetImage(path, path.relative_to(root).as_posix(), number, upright=upright)
        for number, path in enumerate(sorted(root / name for name in names), start=1)
    ]
    return FolderImages(root, folder, targets, found.left_out)


def default_out(selection: ImageSelection, suffix: str) -> Path:
    """Return the results folder: the name of the images' folder with ``_suffix``.

    It lies beside that folder, or in the current one where single files or patterns are named.
    """
    root = selection.root
    if not selection.is_folder:
        return Path(f"{root.name or 'images'}_{suffix}")
    named = root if root.name not in ("", "..") else root.resolve()
    return named.with_name(f"{named.name}_{suffix}")


def _earlier_names(root: Path, out: Path) -> Iterator[str]:
    """Yield names of the images that a results folder holds, as far as they lie in ``root`` still."""
    run = read_run(out) if (out / "run.json").is_file() else None
    if run is not None and run["settings"]["images"] == root.resolve().as_posix():
        yield from (name for name in recorded_names(out) if (root / name).is_file())
