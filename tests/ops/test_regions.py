from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from no_time_to_train.ops.regions import remove_small_regions
from no_time_to_train.ops.rle import decode_rle, encode_mask


def drawn(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


def plainly(mask: np.ndarray, min_area: int) -> np.ndarray:
    """The same by labeling pixels."""
    holes = label(~mask, connectivity=2)
    sizes = np.bincount(holes.ravel())
    filled = mask | ((holes > 0) & (sizes < min_area)[holes])
    islands = label(filled, connectivity=2)
    sizes = np.bincount(islands.ravel())
    kept = sizes >= min_area
    kept[0] = False
    if not kept.any() and len(sizes) > 1:
        kept[1 + sizes[1:].argmax()] = True
    return kept[islands]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_equals_labeling_pixels(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 40, 2)
    mask = generator.random((height, width)) < share
    min_area = int(generator.integers(1, 30))
    result = decode_rle(remove_small_regions(encode_mask(mask), min_area))
    expected = plainly(mask, min_area)
    if label(expected, connectivity=2).max() == 1 and expected.sum() < min_area:
        assert result.sum() == expected.sum()  # the largest of small islands: which of equal ones is a matter of order
    else:
        assert np.array_equal(result, expected)


def test_holes_are_filled_and_islands_dropped() -> None:
    mask = drawn("#####...", "##.##..#", "###.#...", "#####...")
    result = remove_small_regions(encode_mask(mask), 3)  # the two holes touch by a corner, and are one of two pixels
    assert np.array_equal(decode_rle(result), drawn("#####...", "#####...", "#####...", "#####..."))


def test_nothing_small_changes_nothing() -> None:
    rle = encode_mask(drawn("##..", "##.."))
    assert remove_small_regions(rle, 4) is rle
    assert remove_small_regions(rle, 0) is rle


def test_the_largest_of_small_islands_stays() -> None:
    mask = drawn("#......", "....##.", ".......")
    assert np.array_equal(
        decode_rle(remove_small_regions(encode_mask(mask), 10)), drawn(".......", "....##.", ".......")
    )


@pytest.mark.parametrize("value", [False, True])
def test_masks_of_one_value(value: bool) -> None:
    rle = encode_mask(np.full((5, 7), value))
    assert remove_small_regions(rle, 10) is rle


@pytest.mark.parametrize("turned", [False, True])
def test_a_long_snake_is_one_region(turned: bool) -> None:
    snake = np.zeros((41, 9), bool)
    snake[::4] = True  # bars of 9 pixels
    for number, top in enumerate(range(0, 40, 4)):
        snake[top : top + 4, 8 * (number % 2)] = True
    rle = encode_mask(snake.T if turned else snake)
    assert remove_small_regions(rle, 20) is rle
