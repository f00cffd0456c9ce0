"""COCO files: results for evaluation, and a full data set for annotation tools and training."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import JsonListWriter, write_json_list
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, coco_result

NumberedRecords = Iterable[tuple[int | str, ImageRecord]]
"""Image ids with what was found in them."""


def write_result_entries(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write a COCO results list of entries that are complete already."""
    with _result_list(path) as results:
        for entry in entries:
            results.append(entry)


def write_results_and_dataset(
    results_path: Path,
    dataset_path: Path,
    records: NumberedRecords,
    categories: Sequence[Category],
    min_scores: MinScores,
) -> RunSummary:
    """Write both COCO files in one pass over the records, and count what is in them.

    Args:
        results_path: of a COCO results list of every detection kept.
        dataset_path: of a COCO data set of the detections that score enough.
        records: the images with their ids.
        categories: what the category ids mean.
        min_scores: what is enough.
    """
    found: list[ImageSummary] = []

    with _result_list(results_path) as results:

        def counted() -> Iterator[tuple[int | str, ImageRecord]]:
            for image_id, record in records:
                for entry in record.entries:
                    results.append(coco_result(entry, image_id))
                found.append(ImageSummary.of(record))
                yield image_id, record

        write_dataset(dataset_path, counted(), categories, min_scores)
    return RunSummary(tuple(found), tuple(categories), min_scores)


@contextmanager
def _result_list(path: Path) -> Iterator[JsonListWriter]:
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        results = JsonListWriter(file)
        yield results
        results.end()
        file.write("\n")


def write_dataset(path: Path, records: NumberedRecords, categories: Sequence[Category], min_scores: MinScores) -> None:
    """Write ``annotations.json``, a COCO data set of the confident detections.

    These score at least what ``min_scores`` says of their category.

    Annotation ids count from 1, ``iscrowd`` is 0, ``area`` is the mask's, ``score`` is kept.
    """
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        description = f"labeled by No Time To Train, score at least {min_scores.describe(categories)}"
        file.write(f'{{"info": {json.dumps({"description": description})},\n"categories": ')
        write_json_list(file, [{"id": category.id, "name": category.name} for category in categories])
        images = io.StringIO()  # they come after the annotations: as text, a quarter of what they take as dictionaries
        entries = JsonListWriter(images)
        file.write(',\n"annotations": ')
        write_json_list(file, _annotations(records, min_scores, entries))
        entries.end()
        file.write(',\n"images": ' + images.getvalue() + "}\n")


def _annotations(records: NumberedRecords, min_scores: MinScores, images: JsonListWriter) -> Iterator[dict[str, Any]]:
    """Yield the annotations of all images, and append the images to ``images``."""
    number = 0
    for image_id, record in records:
        height, width = record.image_size_hw
        images.append({"id": image_id, "file_name": record.file_name, "height": height, "width": width})
        for entry in record.entries:
            if entry["score"] >= min_scores.of(entry["category_id"]):
                number += 1
                yield {
                    "id": number,
                    "image_id": image_id,
                    "category_id": entry["category_id"],
                    "bbox": entry["bbox"],
                    "area": rle_area(entry["segmentation"]),
                    "iscrowd": 0,
                    "score": entry["score"],
                    "segmentation": entry["segmentation"],
                }
