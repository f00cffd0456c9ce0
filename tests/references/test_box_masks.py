import logging

import numpy as np
import pytest
import torch

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction
from no_time_to_train.references.box_masks import masks_from_boxes


class RedMaskModel:
    """Its mask of any prompt is where the picture is red, on a grid of 16 x 16."""

    model_id = "red"
    image_size = 64
    mask_size = 16
    device = torch.device("cpu")

    def __init__(self):
        self.num_encoded = 0
        self.prompts = []

    def encode_images(self, images):
        self.num_encoded += len(images)
        assert images.shape[1:] == (3, 64, 64)
        small = torch.nn.functional.avg_pool2d(images[:, :1], 4)
        return [ImageEmbedding(red[None], (red, red)) for red in small]

    def predict(self, embedding, prompts, *, multimask):
        assert not multimask and prompts.points_xy is None
        self.prompts.append(prompts.boxes_xyxy)
        logits = (embedding.embedding - 0.5).expand(len(prompts), 1, 16, 16)
        return MaskPrediction(logits, torch.ones(len(prompts), 1))


def picture(red_rows, red_columns, height=32, width=128):
    image = np.zeros((height, width, 3), np.uint8)
    image[red_rows, red_columns, 0] = 255
    return image


def test_boxes_are_scaled_to_the_model_and_the_image_encoded_once():
    model = RedMaskModel()
    image = picture(slice(8, 24), slice(32, 96))
    masks = masks_from_boxes(model, image, [(30, 6, 98, 26), (32, 8, 96, 24)], min_box_coverage=0.05)
    assert model.num_encoded == 1
    [boxes] = model.prompts
    torch.testing.assert_close(boxes, torch.tensor([[15.0, 12, 49, 52], [16, 16, 48, 48]]))
    for mask in masks:
        assert mask.shape == (32, 128) and mask.dtype == bool
        # Red begins half-way between two samples of the grid; upsampling only rounds the corners, by 2 pixels each.
        assert not mask[image[..., 0] == 0].any()
        assert mask.sum() == 16 * 64 - 8


@pytest.mark.parametrize(("min_coverage", "falls_back"), [(0.05, False), (0.5, True)])
def test_a_mask_that_misses_the_box_is_replaced_by_it(caplog, min_coverage, falls_back):
    image = picture(slice(8, 24), slice(32, 48))  # a quarter of the box
    with caplog.at_level(logging.WARNING):
        [mask] = masks_from_boxes(RedMaskModel(), image, [(32, 8, 95.5, 23.5)], min_box_coverage=min_coverage)
    assert ("The box itself is used as mask" in caplog.text) == falls_back
    assert mask.sum() == (64 * 16 if falls_back else 16 * 16 - 8)


def test_an_empty_mask_is_replaced_even_without_a_threshold(caplog):
    [mask] = masks_from_boxes(RedMaskModel(), picture(0, 0), [(100, 20, 110, 30)], min_box_coverage=0.0)
    assert mask.sum() == 100 and mask[20:30, 100:110].all()
    assert "covers 0.0% of the box" in caplog.text


def test_boxes_are_cut_to_the_image():
    model = RedMaskModel()
    masks_from_boxes(model, picture(slice(None), slice(None)), [(-10, -10, 500, 16)], min_box_coverage=0.05)
    torch.testing.assert_close(model.prompts[0], torch.tensor([[0.0, 0, 64, 32]]))
    with pytest.raises(InputError, match="no area inside its 128x32 image"):
        masks_from_boxes(model, picture(0, 0), [(130, 0, 140, 10)], min_box_coverage=0.05)


def test_no_box_costs_nothing():
    model = RedMaskModel()
    assert masks_from_boxes(model, picture(0, 0), [], min_box_coverage=0.05) == []
    assert model.num_encoded == 0
