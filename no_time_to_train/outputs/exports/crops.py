"""One image per object, cut out along its box."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.data.images import UnreadableImageError, read_image
from no_time_to_train.files.atomic import replacing
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportObject, distinct, stems
from no_time_to_train.outputs.exports.options import ExportOptions


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> Counter[str]:
    """Write ``boat/harbor_001.png``: a folder per category, transparent around the mask.

    Returns:
        What was left out, counted by reason.
    """
    names = stems([image.file_name for image in dataset.images], flat=True)
    folders = distinct([_folder_name(category.name) for category in dataset.categories])
    folder_of = dict(zip((category.id for category in dataset.categories), folders, strict=True))
    left_out: Counter[str] = Counter()
    for image in dataset.images:
        if not image.objects:
            continue
        try:
            pixels = read_image(image.path)
        except UnreadableImageError:
            left_out["objects in images that cannot be read"] += len(image.objects)
            continue
        for number, item in enumerate(image.objects, start=1):
            path = folder / folder_of[item.category.id] / f"{names[image.file_name]}_{number:03d}.png"
            with replacing(path) as unfinished:
                Image.fromarray(cut_out(pixels, item)).save(unfinished, format="PNG")
    return left_out


def cut_out(image: np.ndarray, item: ExportObject) -> np.ndarray:
    """Return the box of an object as (h, w, 4) uint8 RGBA, opaque on the mask.

    Args:
        image: (H, W, 3) uint8 RGB.
        item: an object of it.
    """
    x1, y1, x2, y2 = (int(value) for value in item.box_xyxy)
    alpha = item.mask[y1:y2, x1:x2].astype(np.uint8) * 255
    return np.dstack([image[y1:y2, x1:x2], alpha])


def _folder_name(category: str) -> str:
    """Return the name without what file systems do not take."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", category).strip(" .") or "_"
