"""Assignment and signs of change, on cases worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from no_time_to_train.ops.rle import Rle, encode_mask, mask_ious
from no_time_to_train.tracking.association import Scene, best_pairs, mask_overlaps, square_masks


def rectangle(left: int, top: int, right: int, bottom: int, size_hw: tuple[int, int] = (10, 20)) -> Rle:
    mask = np.zeros(size_hw, bool)
    mask[top:bottom, left:right] = True
    return encode_mask(mask)


LEFT, MIDDLE, SMALL, EMPTY = rectangle(0, 0, 4, 4), rectangle(2, 0, 6, 4), rectangle(0, 0, 2, 2), rectangle(0, 0, 0, 0)


def test_ious_and_overlaps() -> None:
    np.testing.assert_allclose(
        mask_ious([LEFT, EMPTY], [LEFT, MIDDLE, SMALL]), [[1, 8 / 24, 4 / 16], [0, 0, 0]], atol=1e-12
    )
    np.testing.assert_allclose(
        mask_overlaps([LEFT, EMPTY], [LEFT, MIDDLE, SMALL]), [[1, 0.5, 1], [0, 0, 0]], atol=1e-12
    )
    for measure in (mask_ious, mask_overlaps):
        assert measure([], [LEFT]).shape == (0, 1)
        assert measure([LEFT, LEFT], []).shape == (2, 0)


def test_assignment_maximises_the_total_of_admissible_pairs() -> None:
    scores = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert best_pairs(scores, np.ones((2, 2), bool)) == [(0, 1), (1, 0)]  # 1.65 against 1.0
    assert best_pairs(scores, np.array([[True, False], [True, True]])) == [(0, 0), (1, 1)]
    assert best_pairs(scores, np.zeros((2, 2), bool)) == []
    # Two poor pairs do not take a good one apart.
    assert best_pairs(np.array([[0.9, 0.3], [0.35, 0.0]]), np.array([[True, True], [True, False]])) == [(0, 0)]


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (0, 3), (3, 0)])
def test_assignment_equals_trying_all(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    scores, admissible = rng.random(shape), rng.random(shape) < 0.6
    pairs = best_pairs(scores, admissible)
    assert all(admissible[pair] for pair in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    gains = np.where(admissible, scores, 0)
    wide = gains if shape[0] <= shape[1] else gains.T
    best = max(
        sum(wide[row, column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(scores[pair] for pair in pairs) == pytest.approx(best)


def test_square_masks_are_squashed() -> None:
    squares = square_masks([rectangle(0, 0, 10, 10), rectangle(10, 5, 20, 10), EMPTY], 4)
    assert squares.dtype == torch.bool and squares.shape == (3, 4, 4)
    assert squares[0].int().tolist() == [[1, 1, 0, 0]] * 4
    # Rows 0-4 and 5-9 of 10 meet in the middle of the square.
    assert squares[1].int().tolist() == [[0, 0, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2
    assert not squares[2].any()
    mask = np.random.default_rng(0).random((40, 60)) < 0.5
    tensor = torch.from_numpy(mask)[None, None].float()
    expected = interpolate(tensor, size=(16, 16), mode="bilinear", align_corners=False, antialias=True)[0, 0] >= 0.5
    assert torch.equal(square_masks([encode_mask(mask)], 16)[0], expected)


def test_unexplained_change() -> None:
    gray = np.full((64, 128, 3), 90, np.uint8)
    changed = gray.copy()
    changed[0:16, 0:32] = 250  # 8 x 8 of the 32 x 32 cells
    nothing = np.zeros((0, 4))
    before, after = Scene.of(gray, nothing), Scene.of(changed, nothing)
    assert after.unexplained_change(before) == before.unexplained_change(after) == 64 / 1024
    assert before.unexplained_change(before) == 0
    followed = Scene.of(changed, np.array([[0.0, 0.0, 32.0, 8.0]]))  # explains the upper half of it
    assert followed.unexplained_change(before) == 32 / 1024
    was_followed = Scene.of(gray, np.array([[0.0, 0.0, 32.0, 16.0]]))
    assert after.unexplained_change(was_followed) == 0
    slightly_brighter = Scene.of(gray + np.uint8(20), nothing)
    assert slightly_brighter.unexplained_change(before) == 0
