import numpy as np
import pytest
import torch

from no_time_to_train.references.cropping import crop_corners_xyxy, crop_reference


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((40, 30, 60, 40), (38, 23, 62, 47)),  # side 20 * 1.2 = 24 around (50, 35)
        ((40.9, 30.9, 60.9, 40.9), (38, 23, 62, 47)),  # corners truncated first
        ((41, 30, 60, 40), (39, 23, 61, 46)),  # side 22.8 around (50.5, 35): 39.1, 61.9 and 23.6, 46.4 truncated
        ((0, 0, 20, 10), (0, 0, 22, 17)),  # clipped: not square
        ((90, 70, 100, 80), (89, 69, 100, 80)),
        ((7, 7, 7, 7), (7, 7, 8, 8)),  # no area: one pixel
        ((99.5, 79.5, 100, 80), (98, 78, 100, 80)),  # truncated to (99, 79, 100, 80), side 1.2: 98.9 and 100.1
    ],
)
def test_corners(box, expected):
    assert crop_corners_xyxy(box, (80, 100), context_ratio=0.2) == expected


def test_a_box_at_the_far_corner_keeps_a_pixel():
    assert crop_corners_xyxy((100, 80, 100, 80), (80, 100), 0.2) == (99, 79, 100, 80)


def test_crop_of_the_model_s_own_size_is_the_picture_itself():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), np.uint8)
    mask = rng.random((20, 30)) > 0.5
    crop, soft_mask = crop_reference(image, mask, (10, 5, 20, 15), context_ratio=0.0, image_size=10)
    torch.testing.assert_close(crop, torch.from_numpy(image[5:15, 10:20]).permute(2, 0, 1).float() / 255)
    assert torch.equal(soft_mask, torch.from_numpy(mask[5:15, 10:20]).float())


def test_mask_edges_are_soft_and_bicubic_overshoots():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    mask = np.zeros((8, 8), bool)
    mask[:, 4:] = True
    crop, soft_mask = crop_reference(image, mask, (0, 0, 8, 8), context_ratio=0.2, image_size=16)
    assert crop.shape == (3, 16, 16) and soft_mask.shape == (16, 16)
    # Twice the size, half-pixel centers: sample 7 lies a quarter pixel before the edge's middle.
    torch.testing.assert_close(soft_mask[0, 6:10], torch.tensor([0.0, 0.25, 0.75, 1.0]))
    assert crop.min() < 0 and crop.max() > 1


def test_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="image's size"):
        crop_reference(
            np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool), (0, 0, 2, 2), context_ratio=0, image_size=4
        )
