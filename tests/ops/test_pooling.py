from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from no_time_to_train.ops import pooling
from no_time_to_train.ops.pooling import pool_mask_features, pool_weighted_features


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
    monkeypatch.setitem(pooling._MASK_PIXELS_PER_CHUNK, "cpu", 2 * 64)
    torch.testing.assert_close(pool_mask_features(masks, features), whole)


def test_soft_weights() -> None:
    features = torch.tensor([[[1.0], [5.0]]])  # 1 x 2 patches, one channel
    weights = torch.tensor([[[1.0, 0.0]], [[0.25, 0.75]], [[0.1, 0.1]], [[0.0, 0.0]]])
    torch.testing.assert_close(pool_weighted_features(weights, features), torch.tensor([[1.0], [4.0], [3.0], [0.0]]))


def test_half_precision_features_are_pooled_in_float32() -> None:
    pooled = pool_mask_features(torch.ones(1, 8, 8, dtype=torch.bool), torch.ones(3, 3, 4, dtype=torch.bfloat16))
    torch.testing.assert_close(pooled, torch.ones(1, 4))
