"""LabelMe: a JSON file beside each image, with polygons."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from no_time_to_train.files.formats import write_json
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, stems
from no_time_to_train.outputs.exports.options import ExportOptions

_VERSION = "5.5.0"


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write each image and its JSON file into the same folder."""
    names = stems([image.file_name for image in dataset.images])
    for image in dataset.images:
        stem = names[image.file_name]
        image_name = stem + image.path.suffix
        write_json(folder / f"{stem}.json", labelme_dict(image, posixpath.basename(image_name)), indent=None)
        options.place(image.path, folder / image_name)


def labelme_dict(image: ExportImage, image_name: str) -> dict[str, Any]:
    """Return the content of LabelMe's file. The polygons of one object share a ``group_id``."""
    shapes = []
    for number, item in enumerate(image.objects, start=1):
        polygons = item.polygons
        for polygon in polygons:
            shape = {
                "label": item.category.name,
                "points": polygon.tolist(),
                "group_id": number if len(polygons) > 1 else None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            shapes.append(shape if item.score is None else shape | {"score": item.score})
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": image.size_hw[0],
        "imageWidth": image.size_hw[1],
    }
