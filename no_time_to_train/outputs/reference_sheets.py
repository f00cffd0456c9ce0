"""Sheets of the references: each category as the run was shown it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.data.images import read_image
from no_time_to_train.files.formats import write_jpeg
from no_time_to_train.outputs.drawing import draw_reference, image_sheet
from no_time_to_train.structures import Category, ReferenceSet

_MAX_PER_CATEGORY = 24
_COLUMNS = 4


def write_reference_sheets(
    references: ReferenceSet, folder: Path, captions: Sequence[str] | None = None, *, keep: bool = False
) -> None:
    """Write one sheet per category with its first references.

    Each is cut out, with its mask (or box) drawn.

    Args:
        references: to draw, in their order.
        folder: where the sheets go.
        captions: what to write on each reference; None: the name of its category.
        keep: leave the sheets as they are that are there already.
    """
    if captions is None:
        captions = [instance.category.name for instance in references.instances]
    captioned = list(zip(references.instances, captions, strict=True))
    for category in references.categories:
        chosen = [(i, caption) for i, caption in captioned if i.category == category][:_MAX_PER_CATEGORY]
        path = folder / _file_name(category)
        if not chosen or (keep and path.is_file()):
            continue
        images = [
            draw_reference(
                read_image(instance.image_path, upright=instance.upright),
                instance.box_xyxy,
                caption,
                category.id,
                instance.mask,
            )
            for instance, caption in chosen
        ]
        write_jpeg(path, image_sheet(images, _COLUMNS))


def _file_name(category: Category) -> str:
    """Name a file; the id tells apart names that lose characters."""
    return f"{category.id}_{re.sub(r'[^0-9A-Za-z_-]+', '_', category.name)[:60]}.jpg"
