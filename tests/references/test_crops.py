import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train.config import ReferencesConfig
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references import crops as reference_crops
from no_time_to_train.references.crops import stream_reference_crops
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet

BOAT = Category(1, "boat")


class WholeImageMaskModel:
    """Answers every box with the whole image."""

    model_id = "whole"
    image_size = 16
    mask_size = 4
    device = torch.device("cpu")

    def encode_images(self, images):
        return [ImageEmbedding(image[None], (image, image)) for image in images]

    def predict(self, embedding, prompts, *, multimask):
        return MaskPrediction(torch.ones(len(prompts), 1, 4, 4), torch.ones(len(prompts), 1))


def save_image(folder: Path, name: str) -> Path:
    Image.new("RGB", (20, 10), (255, 0, 0)).save(folder / name)
    return folder / name


def reference(path, number, with_mask=True, size_hw=(10, 20)):
    mask = np.zeros(size_hw, bool)
    mask[2:8, 4:10] = True
    return ReferenceInstance(path, 1, number, BOAT, (4, 2, 10, 8), encode_mask(mask) if with_mask else None)


def stream(references, mask_model=None):
    return list(stream_reference_crops(ReferenceSet((BOAT,), tuple(references)), 8, mask_model, ReferencesConfig()))


def test_every_image_is_read_once(tmp_path, monkeypatch):
    a, b = save_image(tmp_path, "a.png"), save_image(tmp_path, "b.png")
    read = []
    original = reference_crops.read_image
    monkeypatch.setattr(reference_crops, "read_image", lambda path, **how: read.append(path) or original(path, **how))
    crops = stream([reference(a, 1), reference(b, 2), reference(a, 3)])
    assert read == [a, b]
    assert [(crop.number, crop.reference.annotation_id) for crop in crops] == [(1, 1), (2, 3), (3, 2)]
    assert crops[0].image.shape == (3, 8, 8) and crops[0].mask.shape == (8, 8)


def test_boxes_get_masks_and_masks_stay(tmp_path):
    path = save_image(tmp_path, "a.png")
    references = [reference(path, 1, with_mask=False), reference(path, 2), reference(path, 3, with_mask=False)]
    made, given, made_too = stream(references, WholeImageMaskModel())
    assert made.mask.min() == made_too.mask.min() == 1
    assert given.mask.min() == 0


def test_boxes_need_a_mask_model(tmp_path):
    path = save_image(tmp_path, "a.png")
    with pytest.raises(
        InputError, match=r"1 references have a box but no mask \(first: annotation 2 \('boat', a\.png\)"
    ):
        stream([reference(path, 1), reference(path, 2, with_mask=False)])


def test_unreadable_images_are_skipped_and_counted(tmp_path, caplog):
    good, bad = save_image(tmp_path, "a.png"), tmp_path / "bad.png"
    bad.write_text("no image")
    with caplog.at_level(logging.WARNING):
        crops = stream([reference(bad, 1), reference(good, 2), reference(bad, 3), reference(tmp_path / "gone.png", 4)])
    assert [(crop.number, crop.reference.annotation_id) for crop in crops] == [(3, 2)]
    assert "bad.png cannot be read" in caplog.text and "skipped: 2" in caplog.text and "gone.png" in caplog.text


def test_a_mask_of_another_size_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"annotation 7 .*RLE size is \[20, 10\] but a\.png is 20x10.*swapped"):
        stream([reference(save_image(tmp_path, "a.png"), 7, size_hw=(20, 10))])
