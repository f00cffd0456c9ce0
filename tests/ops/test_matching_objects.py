from __future__ import annotations

import numpy as np

from no_time_to_train.ops.matching_objects import match_one_to_one


def test_the_best_detection_chooses_first() -> None:
    # The second fits object 1 better, which is taken; the third fits nothing well enough.
    ious = np.array([[0.6, 0.9], [0.7, 0.8], [0.4, 0.0], [0.9, 0.9]])
    assert match_one_to_one(ious).tolist() == [1, 0, -1, -1]
    assert match_one_to_one(ious[:1]).tolist() == [1]


def test_exactly_the_lowest_iou_is_enough() -> None:
    assert match_one_to_one(np.array([[0.5]])).tolist() == [0]
    assert match_one_to_one(np.array([[0.5]]), min_iou=0.51).tolist() == [-1]


def test_nothing_on_either_side() -> None:
    assert match_one_to_one(np.zeros((0, 3))).tolist() == []
    assert match_one_to_one(np.zeros((2, 0))).tolist() == [-1, -1]
