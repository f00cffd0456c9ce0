"""COCO data sets: polygons or run lengths, in the usual folders or as Roboflow lays them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.files.formats import write_json
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, ExportObject, split, stems
from no_time_to_train.outputs.exports.options import ExportOptions
from no_time_to_train.structures import Category


def write_polygons(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``annotations/instances_default.json`` with polygons, and ``images/``."""
    _write(dataset, folder, options, polygons=True)


def write_rle(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``annotations/instances_default.json`` with compressed run lengths, and ``images/``."""
    _write(dataset, folder, options, polygons=False)


def write_roboflow(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``train/`` and ``valid/``, each with its images and ``_annotations.coco.json``.

    Roboflow's files begin with a category that stands for all others; trainers look for its supercategory.
    """
    names = stems([image.file_name for image in dataset.images], flat=True)
    ids = {category.id for category in dataset.categories}
    everything = {"id": max(ids) + 1 if 0 in ids else 0, "name": "objects", "supercategory": "none"}
    categories = [everything, *({**entry, "supercategory": "objects"} for entry in _categories(dataset.categories))]
    for part, images in zip(("train", "valid"), split(dataset.images, options.val_share), strict=True):
        if not images:
            continue
        file_names = {image.file_name: names[image.file_name] + image.path.suffix for image in images}
        content = coco_dict(images, categories, polygons=True, file_names=file_names)
        write_json(folder / part / "_annotations.coco.json", content, indent=None)
        for image in images:
            options.place(image.path, folder / part / file_names[image.file_name])


def coco_dict(
    images: Sequence[ExportImage],
    categories: list[dict[str, Any]],
    *,
    polygons: bool,
    file_names: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return a COCO data set.

    Args:
        images: with their objects.
        categories: entries as they are to stand in the file.
        polygons: write masks as polygons, else as run lengths.
        file_names: names to write instead of the images' own.
    """
    objects = [(image, item) for image in images for item in image.objects]
    return {
        "info": {"description": "labeled by No Time To Train"},
        "licenses": [],
        "categories": categories,
        "images": [
            {
                "id": image.id,
                "file_name": image.file_name if file_names is None else file_names[image.file_name],
                "height": image.size_hw[0],
                "width": image.size_hw[1],
            }
            for image in images
        ],
        "annotations": [
            _annotation(number, image, item, polygons=polygons) for number, (image, item) in enumerate(objects, 1)
        ],
    }


def _write(dataset: ExportDataset, folder: Path, options: ExportOptions, *, polygons: bool) -> None:
    content = coco_dict(dataset.images, _categories(dataset.categories), polygons=polygons)
    write_json(folder / "annotations" / "instances_default.json", content, indent=None)
    for image in dataset.images:
        options.place(image.path, folder / "images" / image.file_name)


def _categories(categories: Iterable[Category]) -> list[dict[str, Any]]:
    return [{"id": category.id, "name": category.name, "supercategory": ""} for category in categories]


def _annotation(number: int, image: ExportImage, item: ExportObject, *, polygons: bool) -> dict[str, Any]:
    if polygons:
        segmentation: Any = [polygon.ravel().tolist() for polygon in item.polygons]
    else:
        segmentation = {"size": list(item.rle["size"]), "counts": item.rle["counts"].decode("ascii")}
    entry = {
        "id": number,
        "image_id": image.id,
        "category_id": item.category.id,
        "bbox": list(item.box_xywh),
        "area": item.area,
        "iscrowd": 0,
        "segmentation": segmentation,
    }
    return entry if item.score is None else entry | {"score": item.score}
