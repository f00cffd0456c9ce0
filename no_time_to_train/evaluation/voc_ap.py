"""Average precision of boxes as PASCAL VOC defines it.

In 2007 it is over 11 recall points (Everingham et al., IJCV 2010, 4.2), from 2010 on the area under the curve
(Everingham et al., IJCV 2015, 4.1).

The details are those of the few-shot detection line of work (TFA, arXiv 2003.06957): inclusive boxes counted from 1 and
rounded to 0.1 pixel, scores rounded to 3 decimals, IoU above (not at) the threshold, AP also over .50:.05:.95.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset
from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.averages import mean_of_existing

IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

# Not written as 0.0, 0.1 .. 1.0: VOC's code counts up in floats, and a recall of 0.3 is below its 0.30000000000000004.
_RECALL_POINTS = np.arange(0.0, 1.1, 0.1)
_SCORE_DECIMALS = 3
_BOX_DECIMALS = 1


@dataclass(frozen=True, eq=False)
class RankedDetections:
    """The detections of one category over all images, best score first.

    Beside each stands what it lies on.

    Attributes:
        best_ious: (D,) IoU with the object of its image that it overlaps most; 0 where there is none.
        best_objects: (D,) int index of that object; any where there is none.
        is_difficult: (M,) bool, the objects of the category that neither count nor make a detection wrong.
    """

    best_ious: np.ndarray
    best_objects: np.ndarray
    is_difficult: np.ndarray


def evaluate_voc(ground_truth: CocoDataset, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compute the VOC AP of COCO results, in per cent.

    Args:
        ground_truth: boxes are the whole ones, in half-open pixels, not clipped; crowds are VOC's difficult objects.
        results: COCO results with ``bbox``, of categories and images that the ground truth has.

    Returns:
        ``voc_ap50_11pt`` and ``voc_ap_11pt`` (mean over the IoU thresholds .50:.05:.95), ``voc_ap50_area`` and
        ``voc_ap_area`` (the definition of 2010 and later), each a mean over categories, and the same by category name
        in ``per_category``; None where a category has no object that counts.

    Raises:
        InputError: a prediction has no box.
    """
    objects, detections = defaultdict(list), defaultdict(list)
    for annotation in ground_truth.annotations:
        objects[annotation.category_id].append(annotation)
    for result in results:
        if not result.get("bbox"):
            raise InputError("evaluator voc scores boxes, but some predictions have no bbox.")
        detections[result["category_id"]].append(result)
    per_category: dict[str, dict[str, float | None]] = {}
    for category in ground_truth.categories:
        ranked = rank_detections(objects[category.id], detections[category.id])
        per_category[category.name] = {}
        for suffix, average in AVERAGES.items():
            values = [average_precision(ranked, threshold, average) for threshold in IOU_THRESHOLDS]
            per_category[category.name] |= {
                f"voc_ap50_{suffix}": values[0],
                f"voc_ap_{suffix}": mean_of_existing(values),
            }
    means = {
        key: mean_of_existing([values[key] for values in per_category.values()])
        for suffix in AVERAGES
        for key in (f"voc_ap50_{suffix}", f"voc_ap_{suffix}")
    }
    return {**means, "per_category": per_category}


def rank_detections(objects: Sequence[CocoAnnotation], detections: Sequence[Mapping[str, Any]]) -> RankedDetections:
    """Sort the detections of one category and find what each lies on.

    They are sorted by rounded score; equal ones stay in order.
    """
    scores = np.array([round(detection["score"], _SCORE_DECIMALS) for detection in detections])
    order = np.argsort(-scores, kind="stable")
    truth_boxes = _to_voc_boxes([annotation.voc_ap_box_xywh for annotation in objects])
    boxes = _to_voc_boxes([detection["bbox"] for detection in detections]).round(_BOX_DECIMALS)
    by_image: dict[int | str, list[int]] = defaultdict(list)
    for index, annotation in enumerate(objects):
        by_image[annotation.image_id].append(index)
    best_ious, best_objects = np.zeros(len(detections)), np.zeros(len(detections), int)
    for rank, position in enumerate(order):
        candidates = by_image.get(detections[position]["image_id"])
        if candidates:
            ious = iou_with_inclusive_boxes(boxes[position], truth_boxes[candidates])
            best_ious[rank], best_objects[rank] = ious.max(), candidates[ious.argmax()]
    return RankedDetections(best_ious, best_objects, np.array([annotation.is_crowd for annotation in objects], bool))


def eleven_point_average(recalls: np.ndarray, precisions: np.ndarray) -> float:
    """Average the best precision over the recalls 0, 0.1 .. 1.

    It is the best reached at that recall or above it (0 where none is).

    Args:
        recalls: (D,) ascending, after each detection.
        precisions: (D,).
    """
    best = [precisions[recalls >= point].max(initial=0.0) for point in _RECALL_POINTS]
    return float(np.mean(best))


def area_under_curve(recalls: np.ndarray, precisions: np.ndarray) -> float:
    """Compute the area under the precision curve.

    The curve is the best precision reached at each recall or above it.

    Args:
        recalls: (D,) ascending, after each detection.
        precisions: (D,).
    """
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    return float((np.diff(recalls, prepend=0.0) * best).sum())


AVERAGES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "11pt": eleven_point_average,
    "area": area_under_curve,
}
"""What makes one number of recalls and precisions, by the end of the metric's name."""


def average_precision(
    ranked: RankedDetections,
    iou_threshold: float,
    average: Callable[[np.ndarray, np.ndarray], float] = eleven_point_average,
) -> float | None:
    """Compute AP in per cent by one of ``AVERAGES``.

    None where no object counts.

    Of several detections on one object the best scored is right and the others are wrong; those on a difficult object
    are neither.
    """
    num_objects = int((~ranked.is_difficult).sum())
    if not num_objects:
        return None
    claims = np.flatnonzero(ranked.best_ious > iou_threshold)
    on_difficult = ranked.is_difficult[ranked.best_objects[claims]]
    candidates = claims[~on_difficult]
    first_claims = np.unique(ranked.best_objects[candidates], return_index=True)[1]
    is_right = np.zeros(len(ranked.best_ious), bool)
    is_right[candidates[first_claims]] = True
    is_wrong = ~is_right
    is_wrong[claims[on_difficult]] = False
    right, wrong = is_right.cumsum(), is_wrong.cumsum()
    precisions = right / np.maximum(right + wrong, 1)
    return 100 * average(right / num_objects, precisions)


def iou_with_inclusive_boxes(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the (M,) IoU of a box (4,) with boxes (M, 4).

    All are xyxy that include their last pixel: a side is last - first + 1.
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    intersections = sides.clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2] + 1).prod(axis=1)
    return intersections / ((box[2:] - box[:2] + 1).prod() + areas - intersections)


def _to_voc_boxes(boxes_xywh: Sequence[Sequence[float]]) -> np.ndarray:
    """Half-open xywh counted from 0 -> (N, 4) xyxy counted from 1 that include their last pixel."""
    boxes = np.asarray(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2] + 1, boxes[:, :2] + boxes[:, 2:]], axis=1)
