"""Mean IoU of semantic maps that are painted from instance predictions.

The paper's semantic numbers (arXiv 2507.02798, COCO-20i) come from a script that scores 5 of 20 categories;
:func:`evaluate_published_semantic` does as it does, for comparison only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.averages import mean_of_existing
from no_time_to_train.evaluation.iou_counts import IouCounts
from no_time_to_train.ops.rle import Rle, decode_rle, segmentation_to_rle

_IGNORED = -1
"""The label of crowds, which data sets write as 255; no number of categories reaches this one."""
_UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_LAST_COCO_ID = 90
_NUM_PUBLISHED_LABELS = 20


def evaluate_semantic(
    ground_truth: CocoDataset, results: Sequence[Mapping[str, Any]], *, min_score: float
) -> dict[str, Any]:
    """Compute the semantic IoU of COCO results, in per cent.

    Intersections and unions are summed over all images.

    The maps hold a category's index + 1, and 0 for background. Predictions of at least ``min_score`` are painted in
    ascending order of score, so that the best one is seen where several overlap; objects of the ground truth in the
    order of the file. Pixels of crowds that lie on no object are ignored.

    Returns:
        ``miou`` (mean over the categories that either side has), ``miou_with_background`` (background as one more),
        ``fb_iou`` (mean of foreground and background, categories as one), and every category's own ``miou`` in
        ``per_category``; None where there is nothing to measure.

    Raises:
        InputError: a prediction or an object of the ground truth has no mask.
    """
    labels = {category.id: index for index, category in enumerate(ground_truth.categories, start=1)}
    by_label, by_side = IouCounts(len(labels) + 1), IouCounts(2)
    for image, objects, found in _images(ground_truth, results):
        crowds = ((_IGNORED, _rle(annotation, image)) for annotation in objects if annotation.is_crowd)
        truth = paint(image.size_hw, chain(crowds, _objects(objects, image, labels)))
        best_last = sorted(reversed(found), key=_score)  # of equal scores, the first one is painted last
        predicted = paint(image.size_hw, _detections(best_last, labels, min_score))
        counted = truth != _IGNORED
        predicted, truth = predicted[counted], truth[counted]
        by_label.add(predicted, truth)
        by_side.add(predicted > 0, truth > 0)
    background, *by_category = by_label.ious()
    return {
        "miou": mean_of_existing(by_category),
        "miou_with_background": mean_of_existing([background, *by_category]),
        "fb_iou": mean_of_existing(by_side.ious()),
        "per_category": {c.name: {"miou": iou} for c, iou in zip(ground_truth.categories, by_category, strict=True)},
    }


def evaluate_published_semantic(
    ground_truth: CocoDataset, results: Sequence[Mapping[str, Any]], *, min_score: float
) -> dict[str, Any]:
    """Compute ``miou_as_published``, in per cent.

    It is the number of the paper's script, its faults included.

    Predictions are painted in descending order of score (the worst one is seen where several overlap); a label is the
    category's position among COCO's 80, of which the first is also the background's; only the labels 0..19 are scored,
    whichever categories were asked for; crowds are background.

    Raises:
        InputError: as for :func:`evaluate_semantic`, or the categories are not COCO's.
    """
    labels = {category.id: _coco_position(category.id) for category in ground_truth.categories}
    counts = IouCounts(_LAST_COCO_ID - len(_UNUSED_COCO_IDS))
    for image, objects, found in _images(ground_truth, results):
        truth = paint(image.size_hw, _objects(objects, image, labels))
        worst_last = sorted(found, key=_score, reverse=True)
        counts.add(paint(image.size_hw, _detections(worst_last, labels, min_score)), truth)
    return {"miou_as_published": mean_of_existing(counts.ious()[:_NUM_PUBLISHED_LABELS])}


def paint(size_hw: tuple[int, int], labeled_rles: Iterable[tuple[int, Rle]]) -> np.ndarray:
    """Paint masks into an (H, W) int32 map of labels.

    It is 0 where no mask is. Later masks cover earlier ones and are decoded one at a time.
    """
    labels = np.zeros(size_hw, np.int32)
    for label, rle in labeled_rles:
        labels[decode_rle(rle)] = label
    return labels


def _images(
    ground_truth: CocoDataset, results: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[CocoImage, list[CocoAnnotation], list[Mapping[str, Any]]]]:
    """Return every image with its objects and its predictions."""
    if not all(annotation.segmentation for annotation in ground_truth.annotations):
        raise InputError(f"evaluator semantic needs masks, but objects of {ground_truth.name} have only a box.")
    if not all(result.get("segmentation") for result in results):
        raise InputError("evaluator semantic needs masks, but some predictions have no segmentation.")
    by_image: dict[int | str, list[Mapping[str, Any]]] = {image.id: [] for image in ground_truth.images}
    for result in results:
        by_image[result["image_id"]].append(result)
    for image in ground_truth.images:
        yield image, ground_truth.annotations_by_image[image.id], by_image[image.id]


def _objects(
    annotations: Iterable[CocoAnnotation], image: CocoImage, labels: Mapping[int, int]
) -> Iterator[tuple[int, Rle]]:
    return ((labels[a.category_id], _rle(a, image)) for a in annotations if not a.is_crowd)


def _detections(
    results: Iterable[Mapping[str, Any]], labels: Mapping[int, int], min_score: float
) -> Iterator[tuple[int, Rle]]:
    return ((labels[r["category_id"]], r["segmentation"]) for r in results if r["score"] >= min_score)


def _rle(annotation: CocoAnnotation, image: CocoImage) -> Rle:
    return segmentation_to_rle(annotation.segmentation, image.size_hw)


def _score(result: Mapping[str, Any]) -> float:
    return result["score"]


def _coco_position(category_id: int) -> int:
    """Position of a category of COCO among the 80, whose ids have gaps."""
    if not 1 <= category_id <= _LAST_COCO_ID or category_id in _UNUSED_COCO_IDS:
        raise InputError(
            f"evaluator.as_published=true scores COCO's 80 categories as the published script does; category id "
            f"{category_id} is none of theirs."
        )
    return category_id - 1 - sum(unused < category_id for unused in _UNUSED_COCO_IDS)
