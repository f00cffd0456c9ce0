import numpy as np
import pytest

from no_time_to_train.evaluation.iou_counts import IouCounts


def test_counts_add_up_over_images() -> None:
    counts = IouCounts(3)
    counts.add(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]))
    assert counts.ious() == [50, pytest.approx(200 / 3), None]
    # The second image alone has IoU 0 for label 1; over both images it is 2 of 5 pixels.
    counts.add(np.array([[1, 0, 0, 0]]), np.array([[0, 1, 0, 0]]))
    assert counts.ious() == [pytest.approx(300 / 6), 40, None]


def test_masks_are_two_labels() -> None:
    counts = IouCounts(2)
    counts.add(np.array([True, True, False, False]), np.array([True, False, False, False]))
    assert counts.ious() == [pytest.approx(200 / 3), 50]
