from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2.utils import amg

from no_time_to_train.proposals.crop_layers import Crop, crop_points_xy, image_crops, is_cut_off


@pytest.mark.parametrize("size_hw", [(288, 352), (1000, 1500), (37, 91), (64, 64)])
@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("overlap_ratio", [512 / 1500, 0.0, 0.8])
def test_crops_are_sams(size_hw: tuple[int, int], num_layers: int, overlap_ratio: float) -> None:
    boxes, layers = amg.generate_crop_boxes(size_hw, num_layers, overlap_ratio)
    whole_pixels = [(layer, tuple(box)) for box, layer in zip(boxes, layers, strict=True) if box[0] < box[2]]
    crops = image_crops(size_hw, num_layers, overlap_ratio)
    assert [(crop.layer, crop.box_xyxy) for crop in crops] == whole_pixels


def test_known_crops() -> None:
    crops = image_crops((60, 100), 1, 0.25)  # overlap 15 pixels
    assert [crop.box_xyxy for crop in crops] == [
        (0, 0, 100, 60),
        (0, 0, 58, 38),
        (0, 23, 58, 60),
        (43, 0, 100, 38),
        (43, 23, 100, 60),
    ]
    assert crops[2].size_hw == (37, 58)


def test_crops_of_a_tiny_image_are_never_empty() -> None:
    crops = image_crops((3, 5), 2, 0.0)
    assert all(min(crop.size_hw) > 0 for crop in crops)
    covered = np.zeros((3, 5), int)
    for crop in crops[5:]:
        crop.cut(covered)[:] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("points_per_side", [1, 5, 32])
def test_points_are_sams(points_per_side: int) -> None:
    expected = torch.as_tensor(amg.build_point_grid(points_per_side) * [300, 200], dtype=torch.float32)
    assert torch.equal(crop_points_xy((200, 300), points_per_side), expected)


def test_x_varies_fastest() -> None:
    assert crop_points_xy((4, 8), 2).tolist() == [[2, 1], [6, 1], [2, 3], [6, 3]]


def test_masks_at_inner_edges_of_a_crop_are_cut_off() -> None:
    crop = Crop(1, (0, 100, 200, 300))  # its left edge is the image's
    boxes = np.array([[0, 150, 50, 180], [50, 110, 90, 180], [50, 121, 180, 180], [50, 150, 180, 279]], np.float32)
    assert is_cut_off(boxes, crop, (400, 400)).tolist() == [False, True, False, False]
    assert is_cut_off(boxes + (0, 0, 0, 3), crop, (400, 400)).tolist() == [False, True, False, True]
    assert is_cut_off(boxes[:0], crop, (400, 400)).shape == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_cut_off_masks_are_sams(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for crop in image_crops((200, 260), 1, 0.3):
        left, top, right, bottom = crop.box_xyxy
        corners = np.sort(generator.integers(0, (right - left, bottom - top), (200, 2, 2)), axis=1)
        inclusive = corners.reshape(-1, 4).astype(np.float32)
        expected = amg.is_box_near_crop_edge(torch.from_numpy(inclusive), list(crop.box_xyxy), [0, 0, 260, 200])
        half_open = inclusive + np.array([left, top, left + 1, top + 1], np.float32)
        assert np.array_equal(is_cut_off(half_open, crop, (200, 260)), expected.numpy())
