"""YOLO segmentation: a text file per image with one normalized polygon per object, and ``data.yaml``."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.files.formats import write_text, write_yaml
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, split, stems
from no_time_to_train.outputs.exports.options import ExportOptions


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``data.yaml``, ``images/{train,val}`` and ``labels/{train,val}``.

    The format has one polygon per object: several parts are tied by lines. Without validation images, the training
    ones stand in for them: trainers refuse an empty list.
    """
    names = stems([image.file_name for image in dataset.images])
    index_of = {category.id: index for index, category in enumerate(dataset.categories)}
    parts = split(dataset.images, options.val_share)
    for part, images in zip(("train", "val"), parts, strict=True):
        for image in images:
            stem = f"{part}/{names[image.file_name]}"
            write_text(folder / "labels" / f"{stem}.txt", label_text(image, index_of))
            options.place(image.path, folder / "images" / f"{stem}{image.path.suffix}")
    content = {
        "train": "images/train",
        "val": "images/val" if parts[1] else "images/train",
        "names": {index_of[category.id]: category.name for category in dataset.categories},
    }
    write_yaml(folder / "data.yaml", content)


def label_text(image: ExportImage, index_of: dict[int, int]) -> str:
    """Return a line per object: the index of its category, then x y x y ... as shares of the image's sides."""
    height, width = image.size_hw
    lines = []
    for item in image.objects:
        points = item.polygon / (width, height)
        numbers = " ".join(f"{value:.7g}" for value in points.ravel())
        lines.append(f"{index_of[item.category.id]} {numbers}\n")
    return "".join(lines)
