from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.min_scores import MinScores, choose_min_scores, read_min_score
from no_time_to_train.structures import Category, Detections

BOAT, BIRD, SEA = Category(9, "boat"), Category(16, "bird"), Category(20, "_background")
CATEGORIES = (BOAT, BIRD, SEA)


def test_each_category_has_its_own() -> None:
    detections = Detections.from_rles(
        [encode_mask(np.ones((2, 2), bool))] * 3,
        scores=[0.55, 0.55, 0.4],
        category_ids=[9, 16, 16],
        predicted_ious=[1, 1, 1],
        image_size_hw=(2, 2),
        categories=[BOAT, BIRD],
    )
    assert MinScores(0.5, {9: 0.6}).passed(detections).category_ids.tolist() == [16]
    assert len(MinScores(0.4).passed(detections)) == 3 and len(MinScores(0.41).passed(detections)) == 2


def test_it_reads_back_what_it_writes_and_says_what_it_is() -> None:
    both = MinScores(0.5, {9: 0.6})
    assert MinScores.from_json(both.to_json()) == both
    assert both.by_name(CATEGORIES) == {"boat": 0.6, "bird": 0.5}
    assert both.describe(CATEGORIES) == "0.50 to 0.60, by category"
    assert MinScores(0.5).describe(CATEGORIES) == MinScores(0.5).describe([]) == "0.50"


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_score_is_from_0_to_1(value: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        MinScores(0.5, {9: value})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, None),
        ("auto", None),
        (0.5, 0.5),
        ("0.5", 0.5),
        ("boat=0.6, bird=0.5", {"boat": 0.6, "bird": 0.5}),
        ("a=b=0.6", {"a=b": 0.6}),
        ({"boat": 1}, {"boat": 1.0}),
    ],
)
def test_requests(request_: object, expected: object) -> None:
    assert read_min_score(request_) == expected


@pytest.mark.parametrize("request_", ["automatic", "1.5", -1, "boat=", "boat=0.6,bird", {"boat": "x"}, "nan", ""])
def test_requests_that_say_nothing(request_: object) -> None:
    with pytest.raises(InputError, match="give auto, a number from 0 to 1"):
        read_min_score(request_)


def test_requests_are_by_name() -> None:
    with pytest.raises(InputError, match="min_score must be a list of text"):
        read_min_score({3: 0.5})  # type: ignore[dict-item]


def test_what_is_asked_for_goes_before_what_was_measured_and_that_before_the_setting() -> None:
    measured = MinScores(0.3, {16: 0.2})
    assert choose_min_scores(None, CATEGORIES, measured=measured, otherwise=0.4) == measured
    assert choose_min_scores("auto", CATEGORIES, measured=None, otherwise=0.4) == MinScores(0.4)
    assert choose_min_scores(0.5, CATEGORIES, measured=measured, otherwise=0.4) == MinScores(0.5)
    one = choose_min_scores("boat=0.6", CATEGORIES, measured=measured, otherwise=0.4)
    assert one.by_name(CATEGORIES) == {"boat": 0.6, "bird": 0.2}
    with pytest.raises(InputError, match=r"'bout', which is no category here. Categories: boat, bird. Did you mean"):
        choose_min_scores("bout=0.6", CATEGORIES, measured=measured, otherwise=0.4)
    with pytest.raises(InputError, match="no category here"):
        choose_min_scores("_background=0.6", CATEGORIES, measured=None, otherwise=0.4)
