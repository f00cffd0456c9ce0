"""Reviewed images as a COCO data set."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import JsonListWriter, write_json_list
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
    entries, annotations = io.StringIO(), io.StringIO()  # as text, a quarter of what they take as dictionaries
    image_list, annotation_list = JsonListWriter(entries), JsonListWriter(annotations)
    number = 0
    for image in images:
        height, width = image.size_hw
        image_list.append({"id": image.id, "file_name": image.file_name, "height": height, "width": width})
        for item in image.objects:
            number += 1
            annotation_list.append(coco_annotation(item, number, image.id))
    image_list.end()
    annotation_list.end()
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "reviewed with No Time To Train"},\n"categories": ')
        write_json_list(file, [{"id": category.id, "name": category.name} for category in categories])
        file.write(',\n"images": ' + entries.getvalue())
        file.write(',\n"annotations": ' + annotations.getvalue() + "}\n")
    return number
