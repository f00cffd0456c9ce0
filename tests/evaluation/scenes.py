"""Small data sets and predictions of rectangles, whose masks fill their boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.structures import Category

Box = tuple[float, float, float, float]


def rectangle_rle(box_xywh: Box, size_hw: tuple[int, int]) -> dict[str, Any]:
    x, y, width, height = (round(value) for value in box_xywh)
    mask = np.zeros(size_hw, np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = coco_mask.encode(mask)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


class Scene:
    """Objects of a data set, added one by one.

    Args:
        categories: names by id.
        num_images: ids 1, 2 ...
        size_hw: of every image.
    """

    def __init__(self, categories: dict[int, str], num_images: int, size_hw: tuple[int, int]) -> None:
        self.size_hw = size_hw
        self._images = tuple(CocoImage(i, f"{i}.jpg", size_hw) for i in range(1, num_images + 1))
        self._categories = tuple(Category(key, name) for key, name in sorted(categories.items()))
        self._annotations: list[CocoAnnotation] = []

    def add(self, image_id: int, category_id: int, box_xywh: Box, *, is_crowd: bool = False, mask: bool = True) -> None:
        x, y, width, height = box_xywh
        number = len(self._annotations) + 1
        self._annotations.append(
            CocoAnnotation(
                id=number,
                source_id=number,
                position=number - 1,
                image_id=image_id,
                category_id=category_id,
                box_xyxy=(x, y, x + width, y + height),
                source_box_xywh=box_xywh,
                segmentation=rectangle_rle(box_xywh, self.size_hw) if mask else None,
                area=width * height,
                is_crowd=is_crowd,
            )
        )

    @property
    def dataset(self) -> CocoDataset:
        return CocoDataset("scene", self._images, tuple(self._annotations), self._categories)

    def prediction(self, image_id: int, category_id: int, box_xywh: Box, score: float) -> dict[str, Any]:
        return {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": list(box_xywh),
            "score": score,
            "segmentation": rectangle_rle(box_xywh, self.size_hw),
        }
