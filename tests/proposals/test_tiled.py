import numpy as np
import torch

from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.proposals.tiled import join_tiles, place_in_image

GRID = 8
TILE = (16, 0, 32, 16)
"""16 x 16 pixels, of two pixels a cell, in an image of 16 x 48 (height x width)."""
SIZE_HW = (16, 48)


def candidates(boxes: list[tuple[int, int, int, int]], as_rles: bool = False) -> PooledProposals:
    """Candidate masks that fill boxes on the grid of a tile."""
    logits = torch.full((len(boxes), GRID, GRID), -10.0)
    for mask, (x1, y1, x2, y2) in zip(logits, boxes, strict=True):
        mask[y1:y2, x1:x2] = 10
    masks = logits
    if as_rles:
        masks = tuple(encode_mask(np.kron(mask.numpy() > 0, np.ones((2, 2), bool))) for mask in logits)
    values = torch.arange(len(boxes), dtype=torch.float32)
    return PooledProposals(
        predicted_ious=values,
        stabilities=values,
        grid_boxes_xyxy=torch.tensor(boxes, dtype=torch.float32),
        features=values[:, None],
        consistencies=values,
        masks=masks,
        image_size_hw=(16, 16),
    )


def test_masks_of_a_tile_stand_at_their_place_in_the_image():
    for as_rles in (False, True):
        placed = place_in_image(candidates([(3, 2, 5, 4)], as_rles), TILE, SIZE_HW, GRID)
        mask = decode_rle(placed.rles()[0])
        expected = np.zeros(SIZE_HW, bool)
        expected[4:8, 22:26] = True
        np.testing.assert_array_equal(mask, expected)
        # On the grid of the whole image a cell is 6 pixels wide and 2 high.
        np.testing.assert_allclose(placed.grid_boxes_xyxy[0], [22 / 6, 4 / 2, 26 / 6, 8 / 2])
        assert placed.image_size_hw == SIZE_HW


def test_what_is_cut_off_by_an_inner_edge_is_left_out():
    boxes = [(0, 2, 3, 4), (3, 0, 5, 2), (5, 2, 8, 4), (3, 6, 5, 8)]  # left, top, right, bottom of the tile
    placed = place_in_image(candidates(boxes), TILE, SIZE_HW, GRID)
    assert placed.predicted_ious.tolist() == [1, 3]  # top and bottom of the tile are the image's own


def test_an_object_on_a_border_is_taken_from_the_tile_that_shows_it_whole():
    """It is cut at the right edge of the first tile, and lies whole in the second."""
    first = place_in_image(candidates([(5, 2, 8, 4)]), (0, 0, 16, 16), SIZE_HW, GRID)
    second = place_in_image(candidates([(1 + 1, 2, 5, 4)]), (8, 0, 24, 16), SIZE_HW, GRID)
    whole = candidates([(0, 0, 8, 8)])
    whole = PooledProposals(**{**vars(whole), "image_size_hw": SIZE_HW})
    joined = join_tiles(whole, [first, second])
    assert len(joined) == 2 and len(first) == 0
    large, small = (decode_rle(rle) for rle in joined.rles())
    assert large.all()  # larger than a tile: from the whole image
    assert small[4:8, 12:18].all() and small.sum() == 24
