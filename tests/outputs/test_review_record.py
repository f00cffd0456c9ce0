from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import Rle, encode_mask
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.review_record import (
    ImageReview,
    ReviewObject,
    coco_annotation,
    objects_under_review,
    reviewed_objects,
)
from no_time_to_train.references.min_scores import MinScores


def square(left: int, side: int = 4) -> Rle:
    """A square at the top of a 10 x 20 image."""
    mask = np.zeros((10, 20), bool)
    mask[:side, left : left + side] = True
    return encode_mask(mask)


def record(*found: tuple[int, Rle, float]) -> ImageRecord:
    entries: list[dict[str, Any]] = []
    for category_id, mask, score in found:
        text = {"size": mask["size"], "counts": mask["counts"].decode()}
        entry = {"category_id": category_id, "bbox": [0, 0, 4, 4], "score": score, "segmentation": text}
        entries.append({**entry, "predicted_iou": 0.9})
    return ImageRecord("a.jpg", 1, (10, 20), tuple(entries))


def test_everything_is_undecided_at_first() -> None:
    found = record((1, square(0), 0.9), (2, square(8), 0.3))
    objects = objects_under_review(found, ImageReview("a.jpg"))
    assert [(item.category_id, item.status, item.score) for item in objects] == [
        (1, "undecided", 0.9),
        (2, "undecided", 0.3),
    ]
    assert len(reviewed_objects(found, ImageReview("a.jpg"), MinScores(0.5))) == 1
    assert reviewed_objects(found, ImageReview("a.jpg"), MinScores(0.95, {2: 0.3}))[0].category_id == 2


def test_a_decision_is_no_longer_open_and_a_dropped_object_goes_nowhere() -> None:
    found = record((1, square(0), 0.9), (2, square(8), 0.6))
    first, second = objects_under_review(found, ImageReview("a.jpg"))
    review = ImageReview("a.jpg").with_object(replace(first, status="dropped"))
    assert [item.status for item in objects_under_review(found, review)] == ["dropped", "undecided"]
    assert reviewed_objects(found, review, MinScores(0.5)) == [second]


@pytest.mark.parametrize(
    ("status", "category_id", "left", "is_hidden"),
    [
        ("kept", 1, 0, True),  # the same object, found again
        ("kept", 2, 0, True),  # the same object under another name
        ("kept", 1, 1, True),  # three of five columns: IoU 0.6
        ("kept", 1, 2, False),  # IoU 1/3
        ("dropped", 1, 1, True),
        ("dropped", 2, 1, False),  # what was dropped as 1 may well be a 2
    ],
)
def test_decisions_hold_when_images_are_labeled_again(
    status: str, category_id: int, left: int, is_hidden: bool
) -> None:
    decided = replace(ReviewObject.detected(1, square(0), 0.9), status=status)  # type: ignore[arg-type]
    again = record((category_id, square(left), 0.7))
    objects = objects_under_review(again, ImageReview("a.jpg", (decided,)))
    assert (len(objects) == 1) == is_hidden


def test_dropping_one_of_two_that_overlap_leaves_the_other() -> None:
    found = record((1, square(0), 0.9), (1, square(1), 0.7))
    right, wrong = objects_under_review(found, ImageReview("a.jpg"))
    for status, shown in (("dropped", 2), ("kept", 1)):
        review = ImageReview("a.jpg", (replace(wrong, status=status),))  # type: ignore[arg-type]
        assert len(objects_under_review(found, review)) == shown
    assert objects_under_review(found, ImageReview("a.jpg", (replace(wrong, status="dropped"),)))[1] == right


def test_undecided_detections_of_an_image_that_is_done_count_for_nothing() -> None:
    kept = ReviewObject.added(1, square(0))
    review = ImageReview("a.jpg", (kept,), is_done=True)
    assert reviewed_objects(record((2, square(8), 0.99)), review, MinScores(0.5)) == [kept]


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    mended = replace(ReviewObject.detected(1, square(0), 0.5), mask=square(1), original_mask=square(0), status="kept")
    review = ImageReview("ä.jpg", (mended, ReviewObject.added(2, square(8))), is_done=True)
    review.write(tmp_path / "deep" / "a.json")
    assert ImageReview.read(tmp_path / "deep" / "a.json") == review


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 9}', '{"format_version": 1, "objects": [3]}'])
def test_damaged_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        ImageReview.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    "change",
    [
        {"status": "x"},
        {"category_id": "1"},
        {"score": "high"},
        {"segmentation": {"size": [10, 20], "counts": "!!"}},
        {"segmentation": {"size": [10, 21], "counts": square(0)["counts"].decode()}},
        {"original_segmentation": {"size": [10, 20], "counts": "0"}},
    ],
)
def test_damaged_objects_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    item = ReviewObject.added(1, square(0))
    content = {"format_version": 1, "file_name": "a.png", "done": False, "objects": [item.to_json() | change]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json is a damaged review file"):
        ImageReview.read(tmp_path / "a.json")


def test_annotation_of_a_square() -> None:
    annotation = coco_annotation(ReviewObject.added(3, square(8)), 7, 2)
    assert annotation["bbox"] == [8, 0, 4, 4] and annotation["area"] == 16 and "score" not in annotation
    assert (annotation["id"], annotation["image_id"], annotation["category_id"]) == (7, 2, 3)
