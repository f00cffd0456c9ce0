from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.ops.boxes import boxes_from_masks, clip_boxes, scale_boxes, xywh_to_xyxy, xyxy_to_xywh


def test_boxes_of_hand_made_masks() -> None:
    masks = torch.zeros(4, 5, 7, dtype=torch.bool)
    masks[0, 0, 0] = True  # one pixel
    masks[1, 1:4, 2:6] = True
    masks[2] = True
    assert boxes_from_masks(masks).tolist() == [[0, 0, 1, 1], [2, 1, 6, 4], [0, 0, 7, 5], [0, 0, 0, 0]]
    assert boxes_from_masks(masks, half_open=False).tolist() == [[0, 0, 0, 0], [2, 1, 5, 3], [0, 0, 6, 4], [0, 0, 0, 0]]


def test_no_mask_gives_no_box() -> None:
    boxes = boxes_from_masks(torch.zeros(0, 4, 4, dtype=torch.bool))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == torch.float32


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_boxes_are_the_extreme_pixels(seed: int) -> None:
    mask = np.random.default_rng(seed).random((6, 9)) < 0.1
    y, x = np.nonzero(mask)
    expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
    assert boxes_from_masks(torch.from_numpy(mask)[None])[0].tolist() == expected


@pytest.mark.parametrize("as_boxes", [np.array, torch.tensor])
def test_conversions_leave_their_input_alone(as_boxes) -> None:
    xyxy = as_boxes([[1.0, 2.0, 4.0, 8.0], [-1.0, -2.0, 90.0, 3.0]])
    xywh = xyxy_to_xywh(xyxy)
    assert xywh.tolist() == [[1, 2, 3, 6], [-1, -2, 91, 5]]
    assert xywh_to_xyxy(xywh).tolist() == xyxy.tolist()
    assert clip_boxes(xyxy, (5, 10)).tolist() == [[1, 2, 4, 5], [0, 0, 10, 3]]
    assert scale_boxes(xyxy, (10, 10), (20, 5)).tolist() == [[0.5, 4, 2, 16], [-0.5, -4, 45, 6]]
    assert xyxy.tolist() == [[1, 2, 4, 8], [-1, -2, 90, 3]]
