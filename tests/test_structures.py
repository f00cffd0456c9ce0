from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.outputs.drawing import draw_detections
from no_time_to_train.proposals.interfaces import MaskProposals
from no_time_to_train.structures import (
    Category,
    Detections,
    ReferenceInstance,
    ReferenceSet,
)

CATEGORIES = (Category(7, "boat"), Category(3, "bird"))


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[top:bottom, left:right] = True
    return mask


MASKS = [rectangle(0, 0, 5, 10), rectangle(4, 4, 8, 9), rectangle(10, 20, 20, 30)]


@pytest.fixture
def detections() -> Detections:
    return Detections(
        rles=tuple(encode_mask(mask) for mask in MASKS),
        boxes_xyxy=np.array([[0, 0, 10, 5], [4, 4, 9, 8], [20, 10, 30, 20]], np.float32),
        scores=np.array([0.9, 0.6, 0.3], np.float32),
        category_ids=np.array([7, 3, 7]),
        predicted_ious=np.array([0.8, 0.7, 0.9], np.float32),
        image_size_hw=(20, 30),
        categories=CATEGORIES,
    )


def test_masks_and_names(detections: Detections) -> None:
    np.testing.assert_array_equal(detections.masks, MASKS)
    assert detections.category_names == ["boat", "bird", "boat"]


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (slice(0, 2), [0, 1]),
        (np.array([True, False, True]), [0, 2]),
        ([2, 0], [2, 0]),
        (1, [1]),
        (-1, [2]),
        (np.zeros(3, bool), []),
    ],
)
def test_slicing_keeps_everything_together(detections: Detections, index: object, kept: list[int]) -> None:
    part = detections[index]  # type: ignore[index]
    assert len(part) == len(kept)
    assert part.scores.tolist() == detections.scores[kept].tolist()
    assert part.category_ids.tolist() == detections.category_ids[kept].tolist()
    np.testing.assert_array_equal(part.boxes_xyxy, detections.boxes_xyxy[kept])
    np.testing.assert_array_equal(part.masks, np.array([MASKS[i] for i in kept], bool).reshape(-1, 20, 30))


def test_filter_by_score_as_in_the_readme(detections: Detections) -> None:
    assert len(detections[detections.scores >= 0.5]) == 2


def test_iterating_gives_single_detections(detections: Detections) -> None:
    assert [len(one) for one in detections] == [1, 1, 1]
    assert [one.scores[0] for one in detections] == detections.scores.tolist()


def test_coco_results(detections: Detections) -> None:
    entry = detections.to_coco_results("image-5")[1]
    assert entry["image_id"] == "image-5" and entry["category_id"] == 3
    assert entry["bbox"] == [4, 4, 5, 4]
    assert entry["score"] == pytest.approx(0.6)
    np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]).astype(bool), MASKS[1])
    assert isinstance(entry["segmentation"]["counts"], str)


@pytest.mark.parametrize(("convention", "second"), [("half_open", [4, 4, 9, 8]), ("inclusive", [4, 4, 8, 7])])
def test_boxes_of_rles(detections: Detections, convention: str, second: list[int]) -> None:
    columns = (detections.scores, detections.category_ids, detections.predicted_ious)
    made = Detections.from_rles(detections.rles, *columns, (20, 30), CATEGORIES, box_convention=convention)
    assert made.boxes_xyxy[1].tolist() == second and made.boxes_xyxy.dtype == np.float32
    assert made.rles == detections.rles and made.category_names == detections.category_names


def test_json_gives_back_the_detections(detections: Detections) -> None:
    entries = json.loads(json.dumps(detections.to_json()))
    restored = Detections.from_json(entries, detections.image_size_hw, CATEGORIES)
    assert restored.rles == detections.rles and restored.categories == detections.categories
    for name in ("boxes_xyxy", "scores", "category_ids", "predicted_ious"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(detections, name))
    assert len(Detections.from_json([], (20, 30))) == 0


def test_selection_by_score_is_that_of_the_files() -> None:
    """0.7 as a float32 is a little less than 0.7: in a file it stands below the threshold."""
    single = Detections.from_rles([encode_mask(MASKS[0])], [0.7], [7], [0.5], (20, 30))
    assert len(single.scoring_at_least(0.7)) == 0 == sum(entry["score"] >= 0.7 for entry in single.to_json())
    assert len(single.scoring_at_least(0.69)) == 1


def test_supervision(detections: Detections) -> None:
    pytest.importorskip("supervision")
    converted = detections.to_supervision()
    np.testing.assert_array_equal(converted.xyxy, detections.boxes_xyxy)
    np.testing.assert_array_equal(converted.mask, MASKS)
    assert converted.class_id.tolist() == [7, 3, 7]
    assert converted.data["class_name"].tolist() == ["boat", "bird", "boat"]
    assert len(Detections.empty((20, 30)).to_supervision()) == 0


def test_drawing_changes_the_copy_and_not_the_image(detections: Detections) -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    drawn = draw_detections(image, detections)
    assert drawn.dtype == np.uint8 and (drawn != 100).any()
    assert (image == 100).all()


def test_empty() -> None:
    empty = Detections.empty((20, 30), CATEGORIES)
    assert len(empty) == 0 and empty.masks.shape == (0, 20, 30)
    assert empty.to_coco_results(1) == [] and len(empty[empty.scores > 0.5]) == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"scores must have shape \(0,\), got \(1,\)"):
        Detections((), np.zeros((0, 4)), np.zeros(1), np.zeros(0), np.zeros(0), (2, 2))
    with pytest.raises(ValueError, match=r"got \(2, 4\) and \(2,\)"):
        MaskProposals(torch.zeros(2, 4), torch.zeros(2))


def test_category_names_and_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="category ids must be unique, repeated: 1"):
        ReferenceSet((Category(1, "a"), Category(1, "b")), ())
    with pytest.raises(ValueError, match="category names must be unique, repeated: a"):
        ReferenceSet((Category(1, "a"), Category(2, "a")), ())


def test_reference_counts_include_categories_without_any() -> None:
    boat = ReferenceInstance(Path("a.jpg"), 1, 1, CATEGORIES[0], (0, 0, 1, 1))
    assert ReferenceSet(CATEGORIES, (boat, boat)).counts() == {"boat": 2, "bird": 0}
    assert repr(ReferenceSet(CATEGORIES, (boat, boat))) == "ReferenceSet(2 references of 2 categories: boat 2, bird 0)"
    assert repr(ReferenceSet((), ())) == "ReferenceSet(0 references of 0 categories)"


def test_detections_are_shown_in_one_line() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    categories = [Category(1, "boat"), Category(2, "bird")]
    found = Detections.from_rles([encode_mask(mask)] * 3, [0.9, 0.5, 0.25], [1, 1, 2], [1, 1, 1], (4, 6), categories)
    assert repr(found) == "Detections(3 objects in an image of 6x4: boat 2, bird 1, scores 0.25 to 0.90)"
    assert repr(found[:0]) == "Detections(0 objects in an image of 6x4)"
