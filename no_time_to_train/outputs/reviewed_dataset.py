"""Reviewed images as a COCO data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import write_json_list
from no_time_to_train.outputs.review_record import ReviewObject, coco_annotation
from no_time_to_train.structures import Category


@dataclass(frozen=True)
class ReviewedImage:
    """One image with the objects that go out.

    Attributes:
        id: in the COCO file.
        file_name: relative to the images folder.
        size_hw: (height, width).
        objects: of the image.
    """

    id: int
    file_name: str
    size_hw: tuple[int, int]
    objects: tuple[ReviewObject, ...]


def write_reviewed(path: Path, images: Iterable[ReviewedImage], categories: Iterable[Category]) -> int:
    """Write a COCO file as a whole or not at all; returns the number of annotations."""
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in images:
        height, width = image.size_hw
        entries.append({"id": image.id, "file_name": image.file_name, "height": height, "width": width})
        annotations += [
            coco_annotation(item, number, image.id) for number, item in enumerate(image.objects, len(annotations) + 1)
        ]
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "reviewed with No Time To Train"},\n"categories": ')
        write_json_list(file, [{"id": category.id, "name": category.name} for category in categories])
        file.write(',\n"images": ')
        write_json_list(file, entries)
        file.write(',\n"annotations": ')
        write_json_list(file, annotations)
        file.write("}\n")
    return len(annotations)
