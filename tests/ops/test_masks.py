from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.ops import masks as masks_module
from no_time_to_train.ops.masks import encode_mask_logits, grid_logits, stability_scores
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
    monkeypatch.setattr(masks_module, "_VALUES_PER_CHUNK", masks_at_once * m * size_hw[1])
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


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("m", [2, 16])
def test_without_antialias_as_sam_upsamples(m: int, size_hw: tuple[int, int]) -> None:
    logits = blobs_and_extremes(m, seed=m)
    full = interpolate(logits[:, None], size=size_hw, mode="bilinear", align_corners=False)[:, 0]
    decided = (full.abs() > 1e-6).numpy()
    masks = np.stack([decode_rle(rle) for rle in encode_mask_logits(logits, size_hw, antialias=False)])
    assert np.array_equal(masks & decided, (full > 0).numpy() & decided)


@pytest.mark.parametrize(
    "crop_xyxy", [(0, 0, 40, 30), (3, 5, 40, 30), (0, 2, 7, 30), (11, 0, 12, 29), (20, 20, 29, 21)]
)
def test_logits_over_a_crop_give_masks_of_the_image(crop_xyxy: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = crop_xyxy
    logits = blobs_and_extremes(8, seed=1)
    rles = encode_mask_logits(logits, (30, 40), crop_xyxy=crop_xyxy)
    for rle, inside in zip(rles, encode_mask_logits(logits, (bottom - top, right - left)), strict=True):
        expected = np.zeros((30, 40), bool)
        expected[top:bottom, left:right] = decode_rle(inside)
        assert rle == encode_mask(expected)


@pytest.mark.parametrize("size_hw", [(48, 64), (37, 51), (20, 9), (9, 20), (5, 7)])
@pytest.mark.parametrize("offset", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("masks_at_once", [1, 100])
def test_stability_is_that_of_the_upsampled_logits(
    size_hw: tuple[int, int], offset: float, masks_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.utils.amg import calculate_stability_score

    monkeypatch.setattr(masks_module, "_VALUES_PER_CHUNK", masks_at_once * 16 * size_hw[1])
    logits = blobs_and_extremes(16, seed=3) + 1e-4  # no plateau lies on a threshold
    full = interpolate(logits[:, None], size=size_hw, mode="bilinear", align_corners=False)
    expected = calculate_stability_score(full, 0.0, offset)[:, 0]
    scores = stability_scores(logits, size_hw, offset, antialias=False)
    torch.testing.assert_close(scores, expected, atol=0, rtol=0, equal_nan=True)
    assert scores.dtype == torch.float32


def test_known_stability() -> None:
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -2.0]]])
    assert stability_scores(logits, (2, 2), 1.0).tolist() == [pytest.approx(1 / 3)]
    assert stability_scores(-torch.ones(1, 2, 2), (2, 2), 0.5).isnan().all()
    assert stability_scores(torch.zeros(0, 2, 2), (2, 2), 0.5).shape == (0,)


def test_grid_logits_are_covered_shares_less_a_half() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0:3, 0:4] = True  # a cell of the 2 x 2 grid is 3 x 4 pixels
    mask[3, 0:8] = True
    expected = torch.tensor([[[0.5, -0.5], [-1 / 6, -1 / 6]]])
    torch.testing.assert_close(grid_logits([encode_mask(mask)], 2), expected)


def test_grid_cells_that_share_pixels() -> None:
    mask = np.ones((3, 1), bool)
    mask[2] = False
    # Two cells of 1.5 pixels each: the second one is covered by half of the middle pixel.
    torch.testing.assert_close(grid_logits([encode_mask(mask)], 2), torch.tensor([[[0.5, 0.5], [-1 / 6, -1 / 6]]]))


@pytest.mark.parametrize(("height", "width", "m"), [(16, 24, 8), (30, 10, 5), (12, 12, 12)])
def test_grid_logits_equal_average_pooling_where_cells_hold_whole_pixels(height: int, width: int, m: int) -> None:
    masks = np.random.default_rng(0).random((4, height, width)) < 0.6
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(masks).float(), m)
    torch.testing.assert_close(grid_logits([encode_mask(mask) for mask in masks], m), pooled - 0.5)


def test_a_small_mask_keeps_its_strongest_cell_on_the_grid() -> None:
    mask = np.zeros((40, 40), bool)
    mask[9, 5:12] = True  # five pixels in one cell, two in the next one
    empty = np.zeros((40, 40), bool)
    logits = grid_logits([encode_mask(mask), encode_mask(empty)], 4)
    assert (logits[0] > 0).nonzero().tolist() == [[0, 0]]
    assert (logits[1] == -0.5).all()
