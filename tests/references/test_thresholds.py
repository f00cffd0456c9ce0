from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.thresholds import MIN_FOUND, ImageEvidence, choose_thresholds, judge_detections
from no_time_to_train.structures import Category, Detections, ReferenceInstance

BOAT, BIRD, SEA = Category(9, "boat"), Category(16, "bird"), Category(20, "_background")


def mask(left: int, right: int):
    """Columns of a 4 x 20 image."""
    pixels = np.zeros((4, 20), bool)
    pixels[:, left:right] = True
    return encode_mask(pixels)


def reference(category: Category, left: int, right: int) -> ReferenceInstance:
    return ReferenceInstance(Path("r.png"), 1, left, category, (left, 0, right, 4), mask(left, right))


def detections(*found: tuple[Category, float, int, int]) -> Detections:
    return Detections.from_rles(
        [mask(left, right) for _, _, left, right in found],
        scores=[score for _, score, _, _ in found],
        category_ids=[category.id for category, _, _, _ in found],
        predicted_ious=[1.0] * len(found),
        image_size_hw=(4, 20),
        categories=[BOAT, BIRD],
    )


def rounded(pairs):
    return [(category_id, round(score, 2)) for category_id, score in pairs]


def test_only_what_lies_on_annotated_objects_counts() -> None:
    found = detections(
        (BOAT, 0.9, 0, 8),  # the boat
        (BOAT, 0.8, 12, 20),  # another boat, which nobody has annotated: says nothing
        (BOAT, 0.7, 0, 2),  # a part of the boat
        (BIRD, 0.6, 0, 8),  # the boat under another name
        (BIRD, 0.5, 0, 20),  # more outside of the boat than on it: says nothing
    )
    evidence = judge_detections(found, [reference(BOAT, 0, 8)], {9, 16})
    assert evidence.objects == (9,) and rounded(evidence.found) == [(9, 0.9)]
    assert rounded(evidence.false_alarms) == [(9, 0.7), (16, 0.6)]


def test_objects_whose_category_has_no_other_reference_say_nothing() -> None:
    found = detections((BIRD, 0.6, 0, 8), (BIRD, 0.5, 12, 20))
    references = [reference(BOAT, 0, 8), reference(BIRD, 12, 20)]
    evidence = judge_detections(found, references, {16})
    assert (evidence.objects, rounded(evidence.found), evidence.false_alarms) == ((16,), [(16, 0.5)], ())


def test_the_background_is_not_to_be_found_but_what_is_found_on_it_is_wrong() -> None:
    evidence = judge_detections(detections((BOAT, 0.6, 0, 8)), [reference(SEA, 0, 8)], {9, 20})
    assert (evidence.objects, evidence.found, rounded(evidence.false_alarms)) == ((), (), [(9, 0.6)])


def test_nothing_found_at_all() -> None:
    nothing = Detections.empty((4, 20), [BOAT])
    assert judge_detections(nothing, [reference(BOAT, 0, 8)], {9}) == ImageEvidence((9,), (), ())


def image(category_id: int, found: float, *false_alarms: float) -> ImageEvidence:
    return ImageEvidence((category_id,), ((category_id, found),), tuple((category_id, s) for s in false_alarms))


def test_the_middle_between_right_and_wrong() -> None:
    chosen = choose_thresholds([image(1, 0.8, 0.2)] * 4)
    assert chosen is not None and chosen.default == pytest.approx(0.5) == chosen.of(1) == chosen.of(2)


def test_a_category_with_many_references_gets_its_own_and_one_with_a_single_one_nearly_all_of_them() -> None:
    many = [image(1, 0.8, 0.6)] * 60
    chosen = choose_thresholds([*many, *[image(2, 0.5, 0.3)] * 60, image(3, 0.8, 0.6)])
    assert chosen is not None
    assert 0.6 < chosen.of(1) < 0.8 and 0.3 < chosen.of(2) < 0.5
    assert abs(chosen.of(3) - chosen.default) < 0.05


def test_too_little_found_says_nothing() -> None:
    few = [image(1, 0.8)] * (MIN_FOUND - 1)
    assert choose_thresholds([]) is None
    assert choose_thresholds([*few, ImageEvidence((1,) * 50, (), ())]) is None
    assert choose_thresholds([*few, image(1, 0.8)]) is not None


def test_a_threshold_may_go_below_the_lowest_false_alarm_where_much_would_be_missed() -> None:
    # Ten objects at 0.3 are worth two false alarms at 0.4.
    images = [image(1, 0.3)] * 10 + [ImageEvidence((), (), ((1, 0.4),))] * 2
    chosen = choose_thresholds(images)
    assert chosen is not None and chosen.default < 0.3
