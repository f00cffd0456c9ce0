"""A table of the objects, one line each."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.files.formats import write_csv
from no_time_to_train.outputs.exports.dataset import ExportDataset
from no_time_to_train.outputs.exports.options import ExportOptions

_HEADER = ("image", "width", "height", "object", "category", "score", "x1", "y1", "x2", "y2", "area_px")


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``objects.csv``; boxes are half open, and no image files are needed."""
    rows: list[tuple[object, ...]] = []
    for image in dataset.images:
        height, width = image.size_hw
        for number, item in enumerate(image.objects, start=1):
            score = "" if item.score is None else f"{item.score:.4f}"
            box = (f"{value:g}" for value in item.box_xyxy)
            rows.append((image.file_name, width, height, number, item.category.name, score, *box, item.area))
    write_csv(folder / "objects.csv", _HEADER, rows)
