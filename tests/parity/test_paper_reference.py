"""The fast pure functions, composed in the pipeline's order, against the plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.config import MergingConfig
from no_time_to_train.matching import Prototypes, match
from no_time_to_train.merging import decay_scores
from no_time_to_train.ops.boxes import boxes_from_masks
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.nms import class_aware_nms
from no_time_to_train.ops.pooling import pool_mask_features
from no_time_to_train.ops.rle import Rle, encode_mask, rle_to_box_xyxy
from tests.parity.paper_reference import paper_reference

IMAGE_SIZES_HW = [(64, 64), (96, 128), (150, 77), (40, 50), (30, 100), (101, 33)]  # the mask grid is 64 x 64


def smooth_fields(count: int, size: int, coarse: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(count, 1, coarse, coarse, generator=generator)
    return interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[:, 0]


def random_proposals(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blobs of all sizes, many inside or across another one, and an empty mask; predicted IoUs in no order."""
    y, x, radius = torch.rand(3, count, 1, 1, generator=generator) * torch.tensor([64, 64, 16]).view(3, 1, 1, 1)
    grid = torch.arange(64) + 0.5
    distance = ((grid[:, None] - y) ** 2 + (grid - x) ** 2).sqrt()
    logits = (radius + 4 - distance) / 3 + smooth_fields(count, 64, 12, generator)
    logits[0] = -1.0
    return logits, 0.4 + 0.6 * torch.rand(count, generator=generator)


def random_scene(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, predicted IoUs, features (9, 9, 6) and prototypes (3, 6)."""
    generator = torch.Generator().manual_seed(seed)
    logits, predicted_ious = random_proposals(40, generator)
    features = 0.5 + smooth_fields(6, 9, 5, generator).permute(1, 2, 0)
    prototypes = 3 * features.flatten(0, 1)[torch.randperm(81, generator=generator)[:3]]
    return logits, predicted_ious, features, prototypes


def composed(
    logits: Tensor,
    predicted_ious: Tensor,
    features: Tensor,
    prototypes: Tensor,
    image_size_hw: tuple[int, int],
    config: MergingConfig,
) -> tuple[np.ndarray, np.ndarray, list[Rle]]:
    """Scores, category indices and masks of the package's functions, best first."""
    masks = logits > 0
    matches = match(
        pool_mask_features(masks, features), Prototypes(prototypes, torch.arange(len(prototypes)), len(prototypes))
    )
    scores, labels = matches.scores, matches.category_indices
    boxes = boxes_from_masks(masks, half_open=False)
    kept = class_aware_nms(boxes, predicted_ious, labels, config.nms_iou_threshold)[: config.max_masks]
    kept = kept[scores[kept] > 0]
    rles = encode_mask_logits(logits[kept], image_size_hw)
    decayed = decay_scores(scores[kept], labels[kept], rles, matches.normalized_features[kept], config)
    best = decayed.sort(descending=True, stable=True).indices[: config.max_detections]
    return decayed[best].numpy(), labels[kept][best].numpy(), [rles[i] for i in best]


@pytest.mark.parametrize("image_size_hw", IMAGE_SIZES_HW)
@pytest.mark.parametrize("seed", range(3))
def test_fast_functions_give_the_plain_results(image_size_hw: tuple[int, int], seed: int) -> None:
    scene = random_scene(seed)
    expected = paper_reference(*scene, image_size_hw, max_masks=22, max_detections=12)
    config = MergingConfig(nms_iou_threshold=0.5, max_masks=22, max_detections=12)
    scores, category_indices, rles = composed(*scene, image_size_hw, config)

    assert len(np.unique(expected.category_indices)) > 1
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(category_indices, expected.category_indices)
    assert rles == [encode_mask(mask) for mask in expected.masks]
    for rle, box in zip(rles, expected.boxes_inclusive_xyxy, strict=True):
        assert (rle_to_box_xyxy(rle) - [0, 0, 1, 1]).tolist() == box.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_scenes_exercise_every_stage(seed: int) -> None:
    """The comparison above means something: masks are suppressed, cut off, and lose score to better ones."""
    scene = random_scene(seed)
    every = composed(*scene, (64, 64), MergingConfig(nms_iou_threshold=1.0, name="none"))
    unmerged = composed(*scene, (64, 64), MergingConfig(nms_iou_threshold=0.5, name="none"))
    merged = composed(*scene, (64, 64), MergingConfig(nms_iou_threshold=0.5))
    assert len(every[0]) > len(unmerged[0]) > 12
    assert unmerged[0].sum() - merged[0].sum() > 0.5
