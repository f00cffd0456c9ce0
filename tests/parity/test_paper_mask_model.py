"""The mask model of ``preset=paper`` against the published way of calling ``sam2``'s own modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from no_time_to_train.build import compose_config, load_models
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD
from no_time_to_train.models.interfaces import PromptBatch
from no_time_to_train.models.sam2.model import Sam2MaskModel

MIN_PREDICTED_IOU = 0.2


@pytest.fixture(scope="module")
def mask_model() -> Sam2MaskModel:
    config = compose_config(["preset=paper", "encoder=dinov2_demo", "mask_model=sam2_demo", "device=cpu"])
    mask_model = load_models(config)[1]
    assert isinstance(mask_model, Sam2MaskModel)
    return mask_model


@pytest.fixture(scope="module")
def square(mask_model: Sam2MaskModel) -> Tensor:
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(4))
    side = mask_model.image_size
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def published_image_features(mask_model: Sam2MaskModel, square: Tensor) -> list[Tensor]:
    """What the backbone gives, coarsest last: nothing is added to it."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mask_model.module.forward_image((square - mean) / std)["backbone_fpn"]


def published_best_masks(mask_model: Sam2MaskModel, features: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """Per point the best of three masks by predicted IoU, where that is above the minimum: logits, predicted IoUs."""
    module = mask_model.module
    sparse, dense = module.sam_prompt_encoder(
        points=(points[:, None], torch.ones(len(points), 1, dtype=torch.int32)), boxes=None, masks=None
    )
    logits, predicted_ious, _, _ = module.sam_mask_decoder(
        image_embeddings=features[-1],
        image_pe=module.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=features[:-1],
    )
    best = predicted_ious.argmax(dim=1)
    rows = torch.nonzero(predicted_ious.amax(dim=1) > MIN_PREDICTED_IOU)[:, 0]
    return logits[rows, best[rows]], predicted_ious[rows, best[rows]]


@torch.inference_mode()
def test_image_embedding_is_the_backbones(mask_model: Sam2MaskModel, square: Tensor) -> None:
    *high_res, embedding = published_image_features(mask_model, square)
    [ours] = mask_model.encode_images(square)
    torch.testing.assert_close(ours.embedding, embedding, rtol=0, atol=0)
    for mine, theirs in zip(ours.high_res_features, high_res, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert mask_model.module.no_mem_embed.abs().max() > 0  # leaving it out makes a difference


@torch.inference_mode()
def test_best_masks_are_the_published_ones(mask_model: Sam2MaskModel, square: Tensor) -> None:
    axis = torch.linspace(0, mask_model.image_size - 1, 6) + 0.5
    points = torch.cartesian_prod(axis, axis)
    logits, predicted_ious = published_best_masks(mask_model, published_image_features(mask_model, square), points)
    [embedding] = mask_model.encode_images(square)
    ours = mask_model.predict_best(embedding, PromptBatch.of_clicks(points), min_predicted_iou=MIN_PREDICTED_IOU)
    assert len(ours.logits) == len(logits) > 3
    torch.testing.assert_close(ours.predicted_ious, predicted_ious, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.logits, logits, atol=1e-3, rtol=0)
