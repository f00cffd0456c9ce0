"""The images of a folder, for the verbs that go through one."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.data.image_search import find_images
from no_time_to_train.structures import TargetImage


def default_out(images: Path, suffix: str) -> Path:
    """Return the results folder beside the images' one: its name with ``_suffix``."""
    named = images if images.name not in ("", "..") else images.resolve()
    return named.with_name(f"{named.name}_{suffix}")


def find_targets(folder: Path, out: Path, limit: int | None) -> list[TargetImage]:
    """Return the images of the folder, numbered from 1 by name; what lies in the results folder ``out`` is left out.

    Raises:
        InputError, InputFileNotFoundError: see ``find_images``.
    """
    own = out.resolve()
    paths = [path for path in find_images(folder) if not path.resolve().is_relative_to(own)][:limit]
    return [
        TargetImage(path, path.relative_to(folder).as_posix(), number) for number, path in enumerate(paths, start=1)
    ]
