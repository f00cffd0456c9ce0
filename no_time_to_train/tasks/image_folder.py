"""The images of a folder, for the verbs that go through one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.data.image_search import search_images
from no_time_to_train.structures import TargetImage

logger = logging.getLogger(__name__)


def default_out(images: Path, suffix: str) -> Path:
    """Return the results folder beside the images' one: its name with ``_suffix``."""
    named = images if images.name not in ("", "..") else images.resolve()
    return named.with_name(f"{named.name}_{suffix}")


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder that are to be gone through.

    Attributes:
        targets: numbered from 1 by name.
        left_out: (name, why) of what looks like images but is not read.
    """

    targets: Sequence[TargetImage]
    left_out: tuple[tuple[str, str], ...]


def find_targets(folder: Path, out: Path, limit: int | None, *, upright: bool = True) -> FolderImages:
    """Find the images of the folder, numbered from 1 by name.

    What lies in the results folder ``out`` is left out.

    What is not read is counted in a warning.

    Raises:
        InputError, InputFileNotFoundError: see ``search_images``.
    """
    found = search_images(folder, own=out)
    remark = found.remark()
    if remark is not None:
        logger.warning("%s: %s", folder, remark)
    targets = [
        TargetImage(path, path.relative_to(folder).as_posix(), number, upright=upright)
        for number, path in enumerate(found.paths[:limit], start=1)
    ]
    return FolderImages(targets, found.left_out)
