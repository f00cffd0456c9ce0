"""Tell which detections are right: curves over the score, best thresholds, and what is mixed up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset
from no_time_to_train.ops.matching_objects import match_one_to_one
from no_time_to_train.ops.rle import Rle, segmentation_to_rle

MIN_IOU = 0.5
"""From which on a detection is an object."""


@dataclass(frozen=True, eq=False)
class JudgedImage:
    """The detections of one image and its annotated objects.

    Attributes:
        image_id: of the ground truth.
        scores: (N,) of the detections, best first.
        category_ids: (N,) theirs.
        rles: N masks.
        object_category_ids: (G,) of the annotated objects.
        object_rles: G masks.
        ious: (N, G) of the masks, whatever the categories.
        matches: (N,) position of the object that a detection is, of the same category; -1: none.
    """

    image_id: int | str
    scores: np.ndarray
    category_ids: np.ndarray
    rles: tuple[Rle, ...]
    object_category_ids: np.ndarray
    object_rles: tuple[Rle, ...]
    ious: np.ndarray
    matches: np.ndarray

    def counted(self, min_scores: Mapping[int, float]) -> np.ndarray:
        """Return (N,) bool, which detections score enough; a category without a number has none."""
        lowest = [min_scores.get(int(category_id), np.inf) for category_id in self.category_ids]
        return self.scores >= np.array(lowest, float)

    def missed(self, min_scores: Mapping[int, float]) -> np.ndarray:
        """Return (G,) bool, which objects no counted detection is."""
        is_missed = np.ones(len(self.object_rles), bool)
        found = self.matches[self.counted(min_scores)]
        is_missed[found[found >= 0]] = False
        return is_missed


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """Precision and recall of one category at every score.

    Attributes:
        scores: (N,) of its detections, best first.
        is_right: (N,) bool, whether each is an object.
        num_objects: annotated ones.
    """

    scores: np.ndarray
    is_right: np.ndarray
    num_objects: int

    @property
    def precision(self) -> np.ndarray:
        """Return (N,) the share of right ones among the first."""
        return self.is_right.cumsum() / np.arange(1, len(self.scores) + 1)

    @property
    def recall(self) -> np.ndarray:
        """Return (N,) the share of objects found among the first."""
        return self.is_right.cumsum() / max(self.num_objects, 1)

    def best(self) -> tuple[float, float] | None:
        """Return the lowest score with the best F1, and this F1; None: nothing is right.

        Example:
            >>> curve = ScoreCurve(np.array([0.9, 0.8, 0.3]), np.array([True, True, False]), num_objects=2)
            >>> curve.best()
            (0.8, 1.0)
        """
        if not self.is_right.any():
            return None
        f1 = 2 * self.is_right.cumsum() / (np.arange(1, len(self.scores) + 1) + self.num_objects)
        f1[:-1][self.scores[:-1] == self.scores[1:]] = 0  # equal scores count together
        best = int(f1.argmax())
        return float(self.scores[best]), float(f1[best])


def judge_images(truth: CocoDataset, results: Sequence[Mapping[str, Any]]) -> list[JudgedImage]:
    """Match the detections of every image to its objects, by mask.

    Crowds are no objects. Objects and detections without a mask are left out.
    """
    grouped: dict[int | str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in results:
        if entry.get("segmentation"):
            grouped[entry["image_id"]].append(entry)
    return [
        _judge(image.id, image.size_hw, truth.annotations_by_image[image.id], grouped[image.id])
        for image in truth.images
    ]


def curves_by_category(images: Sequence[JudgedImage], category_ids: Sequence[int]) -> dict[int, ScoreCurve]:
    """Return the curve of every category."""
    return {category_id: _curve(images, category_id) for category_id in category_ids}


def confusion_matrix(
    images: Sequence[JudgedImage], category_ids: Sequence[int], min_scores: Mapping[int, float]
) -> np.ndarray:
    """Count what objects were found as.

    Args:
        images: judged.
        category_ids: C of them.
        min_scores: which detections count, by category id.

    Returns:
        (C + 1, C + 1) int64: rows are the annotated categories, the last one "nothing there"; columns are the detected
        ones, the last one "missed".
    """
    positions = {category_id: position for position, category_id in enumerate(category_ids)}
    none = len(category_ids)
    counts = np.zeros((none + 1, none + 1), np.int64)
    for image in images:
        rows = np.flatnonzero(image.counted(min_scores))
        matches = match_one_to_one(image.ious[rows], MIN_IOU)
        for row, match in zip(rows, matches, strict=True):
            truth = positions.get(int(image.object_category_ids[match]), none) if match >= 0 else none
            counts[truth, positions.get(int(image.category_ids[row]), none)] += 1
        for missed in set(range(len(image.object_rles))) - set(matches.tolist()):
            counts[positions.get(int(image.object_category_ids[missed]), none), none] += 1
    counts[none, none] = 0
    return counts


def _judge(
    image_id: int | str,
    size_hw: tuple[int, int],
    annotations: Sequence[CocoAnnotation],
    results: Sequence[Mapping[str, Any]],
) -> JudgedImage:
    objects = [a for a in annotations if a.segmentation is not None and not a.is_crowd]
    ordered = sorted(results, key=lambda entry: -entry["score"])
    rles = [segmentation_to_rle(entry["segmentation"], size_hw) for entry in ordered]
    object_rles = [segmentation_to_rle(a.segmentation, size_hw) for a in objects]
    ious = np.zeros((len(rles), len(object_rles)))
    if ious.size:
        ious = np.asarray(coco_mask.iou(rles, object_rles, [0] * len(object_rles)))
    category_ids = np.array([entry["category_id"] for entry in ordered], np.int64)
    object_ids = np.array([a.category_id for a in objects], np.int64)
    same = category_ids[:, None] == object_ids
    return JudgedImage(
        image_id=image_id,
        scores=np.array([entry["score"] for entry in ordered], float),
        category_ids=category_ids,
        rles=tuple(rles),
        object_category_ids=object_ids,
        object_rles=tuple(object_rles),
        ious=ious,
        matches=match_one_to_one(np.where(same, ious, 0), MIN_IOU),
    )


def _curve(images: Sequence[JudgedImage], category_id: int) -> ScoreCurve:
    own = [image.category_ids == category_id for image in images]
    nothing = np.zeros(0)
    scores = np.concatenate([nothing, *(i.scores[rows] for i, rows in zip(images, own, strict=True))])
    is_right = np.concatenate([nothing, *(i.matches[rows] >= 0 for i, rows in zip(images, own, strict=True))])
    order = np.argsort(-scores, kind="stable")
    num_objects = sum(int((image.object_category_ids == category_id).sum()) for image in images)
    return ScoreCurve(scores[order], is_right[order].astype(bool), num_objects)
