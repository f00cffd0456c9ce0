from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.ops import masks as masks_module
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.rle import decode_rle, encode_mask

# No image one pixel wide: torch 2.15's antialiased interpolate is wrong there (rows come out equal).
SIZES_HW = [(48, 64), (37, 51), (16, 16), (20, 9), (9, 20), (17, 15), (5, 7), (1, 1), (1, 40), (64, 2), (200, 300)]


def blobs_and_extremes(m: int, seed: int) -> Tensor:
    """Smooth blobs, pure noise, single pixels in the corners, all, nothing."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(4, 1, 4, 4, generator=generator)
    blobs = interpolate(coarse, size=(m, m), mode="bicubic")[:, 0] - torch.tensor([0, 0.3, 0.6, 1.0])[:, None, None]
    corners = torch.full((2, m, m), -1.0)
    corners[0, 0, 0] = corners[1, -1, -1] = 1.3
    noise = torch.randn(2, m, m, generator=generator)
    return torch.cat([blobs, noise, corners, torch.ones(1, m, m), -torch.ones(1, m, m)])


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("m", [1, 2, 16])
@pytest.mark.parametrize("masks_at_once", [1, 100])
def test_equals_interpolating_the_full_image(
    m: int, size_hw: tuple[int, int], masks_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(masks_module._VALUES_PER_CHUNK, "cpu", masks_at_once * m * size_hw[1])
    logits = blobs_and_extremes(m, seed=m)
    full = interpolate(logits[:, None], size=size_hw, mode="bilinear", align_corners=False, antialias=True)[:, 0]
    away_from_zero = (full.abs() > 1e-6).numpy()
    for rle, expected, decided in zip(
        encode_mask_logits(logits, size_hw), (full > 0).numpy(), away_from_zero, strict=True
    ):
        mask = decode_rle(rle)
        assert rle == encode_mask(mask)  # the one canonical encoding
        assert np.array_equal(mask & decided, expected & decided)


def test_known_mask() -> None:
    logits = torch.tensor([[[3.0, -1.0], [3.0, -1.0]]])
    # Doubled, a row is 3, 2, 0, -1: the 0 is outside.
    assert decode_rle(encode_mask_logits(logits, (2, 4))[0]).tolist() == [[True, True, False, False]] * 2


def test_no_mask() -> None:
    assert encode_mask_logits(torch.zeros(0, 8, 8), (10, 10)) == []


def test_half_precision_logits() -> None:
    logits = torch.tensor([[[1.0, -1.0], [-1.0, -1.0]]], dtype=torch.bfloat16)
    assert encode_mask_logits(logits, (9, 9)) == encode_mask_logits(logits.float(), (9, 9))
