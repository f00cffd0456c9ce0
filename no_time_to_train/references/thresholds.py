"""Choose the lowest scores that count, by what is found on the reference images.

Each reference image is labeled by prototypes that its own references are no part of, and what is found is compared with
its annotations. References are sparsely annotated: most objects of an image have no annotation. So a detection that
matches nothing is a false alarm only where it lies on an annotated object (a part of it, a repetition, or under
another category), and nothing else in the image counts for or against a score.

A few objects give a ragged curve of F1 with a maximum by chance. It is smoothed, and the curve of a category is mixed
with the one of all categories: with few references a category gets nearly the threshold that all of them get.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.ops.matching_objects import match_one_to_one
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Detections, ReferenceInstance

MIN_FOUND = 3
"""Found objects below which nothing can be said."""

_MIN_IOU = 0.5
_MIN_SHARE_ON_OBJECT = 0.5
"""Of a detection's own area, for it to be about an annotated object."""
_SMOOTHING = 0.7
"""Standard deviation of the smoothing, in standard deviations of the scores of what was found."""
_MIN_SMOOTHING = 0.02
_PRIOR_OBJECTS = 10.0
"""Objects of all categories that are mixed into every category's own."""
_LEVELS = np.arange(0.05, 0.951, 0.005)
"""Thresholds that are tried."""

_normal_cdf = np.vectorize(lambda x: 0.5 * (1 + erf(x / sqrt(2))), otypes=[float])


@dataclass(frozen=True)
class ImageEvidence:
    """What one reference image says about scores.

    Attributes:
        objects: category ids of its annotated objects that could be found.
        found: (category id, score) of the detections that are such objects.
        false_alarms: (category id, score) of other detections on annotated objects.
    """

    objects: tuple[int, ...]
    found: tuple[tuple[int, float], ...]
    false_alarms: tuple[tuple[int, float], ...]


def judge_detections(
    detections: Detections, references: Sequence[ReferenceInstance], known_category_ids: Collection[int]
) -> ImageEvidence:
    """Compare what was found on a reference image with its annotations.

    Detections on an object of an unknown category are left out: with all references, it would have got its own label.

    Args:
        detections: of the image, best first.
        references: its annotated objects, all with masks.
        known_category_ids: of the prototypes that the image was labeled by.

    Returns:
        See :class:`ImageEvidence`. Background objects are none to be found, but what is found on them is wrong.
    """
    is_known = np.array([r.category.id in known_category_ids for r in references], bool)
    objects = tuple(r.category.id for r, known in zip(references, is_known, strict=True) if _can_be_found(r, known))
    if not len(detections) or not references:
        return ImageEvidence(objects, (), ())
    masks = [reference.mask for reference in references]
    ious = coco_mask.iou(list(detections.rles), masks, [0] * len(masks))
    shares = coco_mask.iou(list(detections.rles), masks, [1] * len(masks))  # of the detection's own area
    same = detections.category_ids[:, None] == np.array([reference.category.id for reference in references])
    matches = match_one_to_one(np.where(same, ious, 0), _MIN_IOU)
    labeled = list(zip(detections.category_ids.tolist(), detections.scores.tolist(), strict=True))
    is_false = (matches < 0) & (shares.max(axis=1) >= _MIN_SHARE_ON_OBJECT) & is_known[shares.argmax(axis=1)]
    return ImageEvidence(
        objects,
        tuple(labeled[i] for i in np.flatnonzero(matches >= 0)),
        tuple(labeled[i] for i in np.flatnonzero(is_false)),
    )


def choose_thresholds(images: Sequence[ImageEvidence]) -> MinScores | None:
    """Choose the scores with the best F1, smoothed, for all categories and for each.

    Args:
        images: what each reference image says.

    Returns:
        The scores; None where fewer than ``MIN_FOUND`` objects were found.

    Example:
        >>> image = ImageEvidence(objects=(1,), found=((1, 0.8),), false_alarms=((1, 0.2),))
        >>> choose_thresholds([image] * 3).default
        0.5
    """
    found = [pair for image in images for pair in image.found]
    if len(found) < MIN_FOUND:
        return None
    false_alarms = [pair for image in images for pair in image.false_alarms]
    objects = [category_id for image in images for category_id in image.objects]
    width = max(_SMOOTHING * float(np.std([score for _, score in found])), _MIN_SMOOTHING)
    pooled = _Counts.of(found, false_alarms, len(objects), width)
    prior = pooled.scaled(_PRIOR_OBJECTS / len(objects))
    by_category = {}
    for category_id in sorted(set(objects)):
        own = _Counts.of(
            [pair for pair in found if pair[0] == category_id],
            [pair for pair in false_alarms if pair[0] == category_id],
            objects.count(category_id),
            width,
        )
        by_category[category_id] = own.plus(prior).best_level()
    return MinScores(pooled.best_level(), by_category)


def _can_be_found(reference: ReferenceInstance, is_known: bool) -> bool:
    return bool(is_known) and not reference.category.is_background


@dataclass(frozen=True, eq=False)
class _Counts:
    """Smoothed numbers (L,) of what scores at least each level."""

    found: np.ndarray
    false_alarms: np.ndarray
    num_objects: float

    @classmethod
    def of(
        cls,
        found: Sequence[tuple[int, float]],
        false_alarms: Sequence[tuple[int, float]],
        num_objects: int,
        width: float,
    ) -> _Counts:
        return cls(_count_above(found, width), _count_above(false_alarms, width), num_objects)

    def scaled(self, factor: float) -> _Counts:
        return _Counts(self.found * factor, self.false_alarms * factor, self.num_objects * factor)

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(
            self.found + other.found, self.false_alarms + other.false_alarms, self.num_objects + other.num_objects
        )

    def best_level(self) -> float:
        f1 = 2 * self.found / (self.found + self.false_alarms + self.num_objects)
        is_best = f1 >= f1.max() - 1e-9
        return round(float(np.median(_LEVELS[is_best])), 3)


def _count_above(pairs: Sequence[tuple[int, float]], width: float) -> np.ndarray:
    scores = np.array([score for _, score in pairs], float)
    return _normal_cdf((scores - _LEVELS[:, None]) / width).sum(axis=1) if len(scores) else np.zeros(len(_LEVELS))
