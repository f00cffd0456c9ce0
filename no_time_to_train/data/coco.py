"""COCO data sets in memory, and their clean form on disk.

Reading foreign files is ``coco_reader``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from no_time_to_train.files.atomic import replacing
from no_time_to_train.structures import Category

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons as flat x, y lists, or an RLE whose counts are a list (uncompressed) or text."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of a data set.

    ``file_name`` is relative to the images folder, with forward slashes.
    """

    id: int | str
    file_name: str
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One annotated object.

    Attributes:
        id: unique in the data set and never 0 (a COCO evaluator takes 0 for "unmatched").
        source_id: the id in the file (None where it had none), for messages and for the published sampler.
        position: index in the file's list of annotations.
        image_id, category_id: of the data set.
        box_xyxy: half-open box in pixels, clipped to the image.
        source_box_xywh: the box as published tools read it from the file, not clipped; what the sampler goes by.
        segmentation: polygons or RLE; None where only the box is known.
        area: square pixels, of the mask where there is one.
        is_crowd: marks a group; ignored in evaluation and never a reference.
        full_box_xywh: half-open box around all of its pixels, not clipped, where ``source_box_xywh`` is another one (a
            VOC file's, which published tools read one pixel short); None: it is the same.
        scored_box_xywh: what COCO AP compares predicted boxes with; None: ``full_box_xywh``.
    """

    id: int
    source_id: int | str | None
    position: int
    image_id: int | str
    category_id: int
    box_xyxy: tuple[float, float, float, float]
    source_box_xywh: tuple[float, float, float, float]
    segmentation: Segmentation | None
    area: float
    is_crowd: bool
    full_box_xywh: tuple[float, float, float, float] | None = None
    scored_box_xywh: tuple[float, float, float, float] | None = None

    @property
    def voc_ap_box_xywh(self) -> tuple[float, float, float, float]:
        """Return the half-open box for VOC AP.

        VOC AP always compares whole boxes.
        """
        return self.full_box_xywh or self.source_box_xywh

    @property
    def coco_ap_box_xywh(self) -> tuple[float, float, float, float]:
        """Return the box for COCO AP, ending where predicted boxes do."""
        return self.scored_box_xywh or self.voc_ap_box_xywh

    @property
    def has_area(self) -> bool:
        """Return whether the box has an area."""
        return self.box_xyxy[2] > self.box_xyxy[0] and self.box_xyxy[3] > self.box_xyxy[1]


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """A COCO data set.

    Attributes:
        name: where it came from, for messages.
        images: every image, also those without annotations (they count in evaluation), in file order.
        annotations: every object with a box of some area, in file order.
        categories: sorted by id, so that the position is the ``category_index``.
        dropped_annotations: objects whose box has no area. Nothing uses them but the published sampler, whose shuffle
            depends on them.
    """

    name: str
    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...]
    categories: tuple[Category, ...]
    dropped_annotations: tuple[CocoAnnotation, ...] = ()

    @cached_property
    def images_by_id(self) -> dict[int | str, CocoImage]:
        """Return the images by id."""
        return {image.id: image for image in self.images}

    @cached_property
    def categories_by_id(self) -> dict[int, Category]:
        """Return the categories by id."""
        return {category.id: category for category in self.categories}

    @cached_property
    def annotations_by_image(self) -> dict[int | str, list[CocoAnnotation]]:
        """Return the annotations of every image, by its id.

        The list is empty where there is none.
        """
        grouped: dict[int | str, list[CocoAnnotation]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            grouped[annotation.image_id].append(annotation)
        return grouped

    @property
    def has_masks(self) -> bool:
        """Return whether every annotation has a segmentation.

        Masks can be scored only then.
        """
        return bool(self.annotations) and all(annotation.segmentation for annotation in self.annotations)

    def subset(self, annotation_ids: Collection[int], categories: Sequence[Category]) -> CocoDataset:
        """Restrict the data set to some annotations, their images and categories."""
        wanted = frozenset(annotation_ids)
        annotations = tuple(annotation for annotation in self.annotations if annotation.id in wanted)
        image_ids = {annotation.image_id for annotation in annotations}
        images = tuple(image for image in self.images if image.id in image_ids)
        return CocoDataset(self.name, images, annotations, tuple(categories))

    def first_images(self, limit: int | None) -> CocoDataset:
        """Return the first ``limit`` images with their annotations; None: all."""
        images = self.images[:limit]
        kept_ids = {image.id for image in images}
        annotations = tuple(annotation for annotation in self.annotations if annotation.image_id in kept_ids)
        return CocoDataset(self.name, images, annotations, self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Return the COCO dictionary, complete and faultless.

        It has none of the faults that COCO evaluators stumble over.
        """
        return {
            "images": [
                {"id": image.id, "file_name": image.file_name, "height": image.size_hw[0], "width": image.size_hw[1]}
                for image in self.images
            ],
            "annotations": [_annotation_to_dict(annotation) for annotation in self.annotations],
            "categories": [{"id": category.id, "name": category.name} for category in self.categories],
        }


def _annotation_to_dict(annotation: CocoAnnotation) -> dict[str, Any]:
    x1, y1, x2, y2 = annotation.box_xyxy
    entry = {
        "id": annotation.id,
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": annotation.area,
        "iscrowd": int(annotation.is_crowd),
    }
    return entry if annotation.segmentation is None else entry | {"segmentation": annotation.segmentation}


def write_coco(dataset: CocoDataset, path: Path) -> None:
    """Write a data set as COCO JSON.

    Equal data give equal bytes.
    """
    with replacing(Path(path)) as unfinished:
        unfinished.write_text(json.dumps(dataset.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
