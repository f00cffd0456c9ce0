"""Pictures of the references: what the run was told each category looks like."""

from __future__ import annotations

import re
from pathlib import Path

from no_time_to_train.data.images import read_image
from no_time_to_train.drawing import draw_reference, picture_sheet
from no_time_to_train.outputs.atomic_files import write_jpeg
from no_time_to_train.structures import Category, ReferenceSet

_MAX_PER_CATEGORY = 24
_COLUMNS = 4


def write_reference_pictures(references: ReferenceSet, folder: Path) -> None:
    """One sheet per category with its first references, each cut out with its mask (or box) drawn."""
    for category in references.categories:
        chosen = [i for i in references.instances if i.category == category][:_MAX_PER_CATEGORY]
        if not chosen:
            continue
        pictures = [
            draw_reference(
                read_image(instance.image_path), instance.box_xyxy, category.name, category.id, instance.mask
            )
            for instance in chosen
        ]
        write_jpeg(folder / _file_name(category), picture_sheet(pictures, _COLUMNS))


def _file_name(category: Category) -> str:
    """The id keeps names apart that differ only in characters a file system may not take."""
    return f"{category.id}_{re.sub(r'[^0-9A-Za-z_-]+', '_', category.name)[:60]}.jpg"
