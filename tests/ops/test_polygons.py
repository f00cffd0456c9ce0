from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label

from no_time_to_train.ops.polygons import join_polygons, mask_to_polygons, rle_to_polygons
from no_time_to_train.ops.rle import decode_rle, encode_mask, segmentation_to_rle

RING = np.pad(np.pad(np.zeros((3, 4), bool), 1, constant_values=True), 1)


def fill(polygons, shape):
    """As pycocotools fills them: what has its center inside."""
    return decode_rle(segmentation_to_rle([polygon.ravel().tolist() for polygon in polygons], shape))


def is_simple(polygon) -> bool:
    """Whether no two edges of a polygon with horizontal and vertical edges meet, but neighbors at their corner."""
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    meet = (low[:, None] <= high[None]).all(2) & (low[None] <= high[:, None]).all(2)
    return meet.sum() == 3 * len(polygon)


masks = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.booleans())


def test_a_rectangle_lies_a_quarter_pixel_inside():
    [polygon] = mask_to_polygons(np.pad(np.ones((2, 3), bool), 1))
    assert polygon.tolist() == [[1.25, 1.25], [3.75, 1.25], [3.75, 2.75], [1.25, 2.75]]


def test_a_ring_is_one_polygon_with_its_hole():
    [polygon] = mask_to_polygons(RING)
    assert len(polygon) == 4 + 4 + 4  # outline, hole, slit
    assert is_simple(polygon)
    assert np.array_equal(fill([polygon], RING.shape), RING)


def test_an_island_in_a_hole_is_a_part_of_its_own():
    mask = np.pad(RING, 1)
    mask[4, 4] = True
    mask = np.pad(np.pad(mask, 1, constant_values=True), 1)
    polygons = mask_to_polygons(mask)
    assert len(polygons) == 3
    assert np.array_equal(fill(polygons, mask.shape), mask)


def test_pixels_that_touch_by_a_corner_are_two_parts():
    assert len(mask_to_polygons(np.eye(2, dtype=bool))) == 2
    assert len(mask_to_polygons(np.eye(2, dtype=bool)[::-1])) == 2


def test_an_empty_mask_has_no_polygon():
    assert mask_to_polygons(np.zeros((4, 5), bool)) == []
    assert rle_to_polygons(encode_mask(np.zeros((4, 5), bool))) == []


@settings(max_examples=400, deadline=None)
@given(masks)
def test_filling_the_polygons_gives_the_mask_back(mask):
    polygons = mask_to_polygons(mask)
    assert len(polygons) == label(mask, connectivity=1).max()
    assert all(is_simple(polygon) for polygon in polygons)
    assert np.array_equal(fill(polygons, mask.shape), mask)


@settings(max_examples=100, deadline=None)
@given(masks.filter(np.any))
def test_joined_parts_cover_the_same_pixel_centers(mask):
    polygon = join_polygons(mask_to_polygons(mask))
    assert (fill([polygon], mask.shape) != mask).sum() <= 1  # a line between parts may run through a center


def test_polygons_of_an_rle_lie_in_the_whole_image():
    mask = np.zeros((30, 40), bool)
    mask[20:25, 30:38] = True
    assert np.array_equal(fill(rle_to_polygons(encode_mask(mask)), mask.shape), mask)
    assert fill(rle_to_polygons(encode_mask(mask)), (30, 40)).sum() == 40


@pytest.mark.parametrize("seed", range(3))
def test_blobs_with_many_holes(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((120, 150)) < 0.7
    assert np.array_equal(fill(mask_to_polygons(mask), mask.shape), mask)
