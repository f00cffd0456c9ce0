import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.ops.tiles import tile_boxes, touches_inner_edge


def test_tiles_are_spread_evenly_and_end_with_the_image():
    assert tile_boxes((100, 250), 100) == [(0, 0, 100, 100), (75, 0, 175, 100), (150, 0, 250, 100)]
    assert tile_boxes((160, 100), 100) == [(0, 0, 100, 100), (0, 60, 100, 160)]


def test_an_image_that_fits_into_one_tile_has_none():
    assert tile_boxes((100, 100), 100) == [] and tile_boxes((5, 7), 64) == []


def test_narrow_images_have_narrow_tiles():
    assert tile_boxes((30, 175), 100) == [(0, 0, 100, 30), (75, 0, 175, 30)]


@given(st.integers(1, 900), st.integers(1, 900), st.integers(64, 300), st.data())
def test_every_object_up_to_a_quarter_tile_lies_whole_in_some_tile(height, width, side, data):
    tiles = tile_boxes((height, width), side)
    if not tiles:
        assert max(height, width) <= side
        return
    size = side // 4
    x = data.draw(st.integers(0, max(width - size, 0)))
    y = data.draw(st.integers(0, max(height - size, 0)))
    right, bottom = min(x + size, width), min(y + size, height)
    assert all(0 <= a < c <= width and 0 <= b < d <= height for a, b, c, d in tiles)
    assert any(a <= x and b <= y and right <= c and bottom <= d for a, b, c, d in tiles)


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        ((120, 20, 130, 30), False),  # in the middle
        ((100, 20, 130, 30), True),  # at the left edge, inside the image
        ((103, 20, 130, 30), True),  # nearly
        ((105, 20, 130, 30), False),
        ((120, 0, 130, 30), False),  # at the top of tile and image
        ((190, 20, 200, 30), True),  # at the right edge
        ((120, 90, 130, 100), True),  # at the bottom edge
    ],
)
def test_what_an_inner_edge_cuts_off(box, is_cut):
    boxes = torch.tensor([box], dtype=torch.float32)
    assert touches_inner_edge(boxes, (100, 0, 200, 100), (300, 300), 4.0).tolist() == [is_cut]
