from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.evaluation.proposal_recall import (
    RECALL_COUNTS,
    average_recalls,
    cover_objects,
    summarize_coverage,
)
from no_time_to_train.ops.rle import Rle, encode_mask, rle_area, rle_to_box_xyxy

HEIGHT, WIDTH = 40, 50


def rectangle(x1: int, y1: int, x2: int, y2: int) -> Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return encode_mask(mask)


def random_rectangles(generator: np.random.Generator, count: int) -> list[Rle]:
    corners = generator.integers(0, (30, 24), (count, 2))
    sides = generator.integers(3, 16, (count, 2))
    return [rectangle(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]


def test_known_masks() -> None:
    objects = [rectangle(0, 0, 10, 12), rectangle(20, 0, 30, 10)]
    proposals = [
        rectangle(0, 0, 10, 8),  # two thirds of the first object
        rectangle(0, 0, 10, 12),  # all of it
        rectangle(40, 30, 50, 40),  # nothing
        rectangle(5, 0, 35, 10),  # a third of its area in the second object
    ]
    coverage = cover_objects(proposals, np.array([0.9, 0.8, 0.7, 0.6]), objects)
    assert coverage.best_ious.tolist() == pytest.approx([1, 1 / 3])
    assert coverage.num_inside.tolist() == [2, 0]
    metrics = summarize_coverage([coverage])
    assert metrics.recall_50 == metrics.recall_75 == 50
    assert metrics.mean_best_iou == pytest.approx(100 * 2 / 3)
    assert metrics.masks_per_object == 1
    assert metrics.proposals_per_image == 4
    # The first proposal alone is good for the thresholds 0.50 to 0.65, four of ten, and for one object of two.
    assert average_recalls([coverage], [1, 2]) == pytest.approx([20, 50])
    assert metrics.average_recall[10] == pytest.approx(50)


def test_a_mask_is_matched_to_one_object_only() -> None:
    objects = [rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 9)]
    coverage = cover_objects([rectangle(0, 0, 10, 10)], np.ones(1), objects)
    assert average_recalls([coverage], [10]) == pytest.approx([50])
    assert summarize_coverage([coverage]).recall_75 == 100


def test_images_without_objects_or_proposals() -> None:
    empty = cover_objects([], np.zeros(0), [rectangle(0, 0, 5, 5)])
    no_object = cover_objects([rectangle(0, 0, 5, 5)] * 3, np.ones(3), [])
    metrics = summarize_coverage([empty, no_object])
    assert metrics.average_recall == {10: 0, 100: 0, 1000: 0}
    assert (metrics.recall_50, metrics.masks_per_object, metrics.proposals_per_image) == (0, 0, 1.5)
    metrics = summarize_coverage([no_object])
    assert (metrics.recall_75, metrics.mean_best_iou, metrics.masks_per_object) == (None, None, None)
    assert metrics.average_recall[100] is None


@pytest.mark.parametrize("seed", range(3))
def test_average_recall_is_cocos(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, found, images = [], [], []
    for image_id in range(1, 7):
        # The fourth image is empty, the fifth gets no proposals; predicted IoUs are repeated.
        objects = random_rectangles(generator, 0 if image_id == 4 else 12)
        proposals = random_rectangles(generator, 0 if image_id == 5 else 150)
        ious = generator.integers(0, 40, len(proposals)) / 40
        truth += [_entry(image_id, rle) for rle in objects]
        found += [{**_entry(image_id, rle), "score": iou} for rle, iou in zip(proposals, ious, strict=True)]
        images.append(cover_objects(proposals, ious, objects))
    crowd = {**_entry(1, rectangle(0, 0, 40, 30)), "iscrowd": 1}
    assert average_recalls(images, RECALL_COUNTS) == pytest.approx(_coco_average_recall([*truth, crowd], found))


def _entry(image_id: int, rle: Rle) -> dict:
    x1, y1, x2, y2 = rle_to_box_xyxy(rle).tolist()
    box = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image_id, "category_id": 1, "segmentation": rle, "area": rle_area(rle), "bbox": box}


def _coco_average_recall(truth: list[dict], found: list[dict]) -> list[float]:
    def data_set(entries: list[dict]) -> COCO:
        coco = COCO()
        numbered = [{"iscrowd": 0, **entry, "id": number} for number, entry in enumerate(entries, start=1)]
        images = [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, 7)]
        coco.dataset = {"images": images, "annotations": numbered, "categories": [{"id": 1, "name": "object"}]}
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(data_set(truth), data_set(found), "segm")
        evaluator.params.useCats = 0
        evaluator.params.maxDets = list(RECALL_COUNTS)
        evaluator.evaluate()
        evaluator.accumulate()
    recall = evaluator.eval["recall"]  # (thresholds, categories, areas, numbers of detections)
    return (100 * recall[:, 0, 0].mean(axis=0)).tolist()
