from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from no_time_to_train.ops import pooling
from no_time_to_train.ops.pooling import (
    mask_consistency,
    pool_mask_features,
    pool_weighted_features,
    pull_back_masks,
)


@pytest.mark.parametrize(("grid_hw", "mask_hw"), [((3, 5), (16, 16)), ((7, 7), (32, 24)), ((9, 9), (4, 4))])
def test_pooling_equals_upsampling_and_averaging(grid_hw: tuple[int, int], mask_hw: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(*grid_hw, 6, generator=generator)
    masks = torch.rand(5, *mask_hw, generator=generator) < torch.tensor([0.05, 0.3, 0.5, 0.9, 1.0])[:, None, None]
    upsampled = interpolate(features.permute(2, 0, 1)[None], size=mask_hw, mode="bilinear")[0].permute(1, 2, 0)
    expected = torch.stack([upsampled[mask].mean(dim=0) for mask in masks])
    torch.testing.assert_close(pool_mask_features(masks, features), expected, atol=1e-6, rtol=1e-5)


def test_empty_mask_and_no_mask() -> None:
    features = torch.randn(3, 3, 4)
    assert torch.equal(pool_mask_features(torch.zeros(1, 8, 8, dtype=torch.bool), features), torch.zeros(1, 4))
    assert pool_mask_features(torch.zeros(0, 8, 8, dtype=torch.bool), features).shape == (0, 4)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    masks, features = torch.rand(7, 8, 8, generator=generator) < 0.5, torch.randn(3, 3, 4, generator=generator)
    whole = pool_mask_features(masks, features)
    monkeypatch.setattr(pooling, "_MASK_PIXELS_PER_CHUNK", 2 * 64)
    torch.testing.assert_close(pool_mask_features(masks, features), whole)


def test_soft_weights() -> None:
    features = torch.tensor([[[1.0], [5.0]]])  # 1 x 2 patches, one channel
    weights = torch.tensor([[[1.0, 0.0]], [[0.25, 0.75]], [[0.1, 0.1]], [[0.0, 0.0]]])
    torch.testing.assert_close(pool_weighted_features(weights, features), torch.tensor([[1.0], [4.0], [3.0], [0.0]]))


def test_half_precision_features_are_pooled_in_float32() -> None:
    pooled = pool_mask_features(torch.ones(1, 8, 8, dtype=torch.bool), torch.ones(3, 3, 4, dtype=torch.bfloat16))
    torch.testing.assert_close(pooled, torch.ones(1, 4))


def test_pulled_back_masks_count_every_pixel_once() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand(3, 16, 12, generator=generator) < 0.4
    weights = pull_back_masks(masks, torch.zeros(4, 5, 2))
    assert weights.shape == (3, 4, 5) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=(1, 2)), masks.sum(dim=(1, 2)).float())


def test_consistency_is_the_mean_cosine_to_the_own_mean() -> None:
    generator = torch.Generator().manual_seed(4)
    features, weights = torch.randn(4, 5, 6, generator=generator), torch.rand(3, 4, 5, generator=generator)
    means = pool_weighted_features(weights, features)
    expected = []
    for weight, mean in zip(weights, means, strict=True):
        cosines = torch.cosine_similarity(features, mean, dim=-1)
        expected.append((weight * cosines).sum() / weight.sum())
    torch.testing.assert_close(mask_consistency(weights, features, means), torch.stack(expected))


def test_consistency_of_known_masks() -> None:
    # Two patches of one direction and different lengths, one at right angles, one opposite.
    features = torch.tensor([[[2.0, 0.0], [4.0, 0.0]], [[0.0, 3.0], [-3.0, 0.0]]])
    weights = torch.tensor(
        [
            [[1.0, 1.0], [0.0, 0.0]],  # alike
            [[0.5, 0.0], [0.0, 0.0]],  # a single patch
            [[0.0, 1.0], [0.0, 1.0]],  # the mean keeps the longer one's direction: 1 and -1
            [[0.0, 0.0], [0.0, 0.0]],  # no patch
            [[0.0, 0.0], [1.0, 1.0]],  # at right angles and equally long: 45 degrees each
        ]
    )
    found = mask_consistency(weights, features, pool_weighted_features(weights, features))
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.0, 0.0, 0.5**0.5]))
