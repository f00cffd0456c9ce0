from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.evaluation.detection_errors import (
    ScoreCurve,
    confusion_matrix,
    curves_by_category,
    judge_images,
)
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.structures import Category

BOAT, BIRD = 9, 16


def mask(left: int, right: int) -> dict:
    """Columns of a 4 x 20 image."""
    pixels = np.zeros((4, 20), bool)
    pixels[:, left:right] = True
    rle = encode_mask(pixels)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def annotation(number: int, category_id: int, left: int, right: int, is_crowd: bool = False) -> CocoAnnotation:
    box = (left, 0, right, 4)
    return CocoAnnotation(number, number, number, 1, category_id, box, box, mask(left, right), 1, is_crowd)


def found(category_id: int, score: float, left: int, right: int) -> dict:
    return {"image_id": 1, "category_id": category_id, "score": score, "segmentation": mask(left, right)}


TRUTH = CocoDataset(
    "gt.json",
    (CocoImage(1, "a.png", (4, 20)), CocoImage(2, "b.png", (4, 20))),
    (annotation(1, BOAT, 0, 6), annotation(2, BIRD, 8, 12), annotation(3, BOAT, 14, 18)),
    (Category(BOAT, "boat"), Category(BIRD, "bird")),
)
RESULTS = [found(BOAT, 0.4, 14, 18), found(BOAT, 0.9, 0, 6), found(BOAT, 0.7, 8, 12), found(BIRD, 0.2, 12, 14)]


def test_curves_and_the_best_threshold() -> None:
    curves = curves_by_category(judge_images(TRUTH, RESULTS), [BOAT, BIRD])
    boat = curves[BOAT]  # 0.9 right, 0.7 wrong (it is the bird), 0.4 right
    assert boat.is_right.tolist() == [True, False, True] and boat.num_objects == 2
    assert boat.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3]) and boat.recall.tolist() == [0.5, 0.5, 1]
    assert boat.best() == (0.4, pytest.approx(0.8))  # 2 * 2 / (3 + 2), against 2 * 1 / (1 + 2)
    assert curves[BIRD].best() is None and curves[BIRD].num_objects == 1


def test_equal_scores_count_together() -> None:
    assert ScoreCurve(np.array([0.5, 0.5]), np.array([True, False]), 1).best() == (0.5, pytest.approx(2 / 3))


def test_the_matrix_says_what_objects_were_found_as() -> None:
    images = judge_images(TRUTH, RESULTS)
    assert confusion_matrix(images, [BOAT, BIRD], {BOAT: 0.4, BIRD: 0.1}).tolist() == [[2, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert confusion_matrix(images, [BOAT, BIRD], {BOAT: 0.8}).tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_misses_and_crowds() -> None:
    [first, second] = judge_images(TRUTH, RESULTS)
    assert first.missed({BOAT: 0.8}).tolist() == [False, True, True]
    assert len(second.scores) == len(second.missed({BOAT: 0.8})) == 0
    crowd = CocoDataset("gt.json", TRUTH.images, (annotation(1, BOAT, 0, 6, is_crowd=True),), TRUTH.categories)
    assert judge_images(crowd, [])[0].object_rles == ()
