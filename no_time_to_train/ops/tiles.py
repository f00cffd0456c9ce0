"""Overlapping tiles of a large image: pure geometry."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OVERLAP_RATIO = 0.25
"""Share of a tile's side that it has in common with the next one: an object up to this size lies whole in some tile."""

Box = tuple[int, int, int, int]


def tile_boxes(image_size_hw: tuple[int, int], side_px: int) -> list[Box]:
    """Cut an image into square tiles that overlap by at least a quarter of their side.

    Tiles are spread evenly and end with the image; an image that fits into one has none.

    Args:
        image_size_hw: (height, width).
        side_px: of a tile; where the image is narrower, tiles are as narrow.

    Returns:
        (x1, y1, x2, y2) of each, row by row.

    Example:
        >>> tile_boxes((4, 10), 4)
        [(0, 0, 4, 4), (3, 0, 7, 4), (6, 0, 10, 4)]
        >>> tile_boxes((4, 4), 4)
        []
    """
    height, width = image_size_hw
    if max(height, width) <= side_px:
        return []
    rows, columns = _spans(height, side_px), _spans(width, side_px)
    return [(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    if length <= side:
        return [(0, length)]
    step = max(side - math.ceil(side * OVERLAP_RATIO), 1)
    count = math.ceil((length - side) / step) + 1
    starts = [(length - side) * number // (count - 1) for number in range(count)]
    return [(start, start + side) for start in starts]


def touches_inner_edge(boxes_xyxy: Tensor, tile_xyxy: Box, image_size_hw: tuple[int, int], margin_px: float) -> Tensor:
    """Find the boxes that reach an edge of their tile that is no edge of the image: what they hold is cut off there.

    Args:
        boxes_xyxy: (N, 4) float, in pixels of the image, on the CPU.
        tile_xyxy: the tile.
        image_size_hw: (height, width) of the image.
        margin_px: a box as near to an edge as this reaches it.

    Returns:
        (N,) bool.
    """
    height, width = image_size_hw
    edges = torch.tensor(tile_xyxy, dtype=boxes_xyxy.dtype)
    is_inner = edges != torch.tensor((0, 0, width, height), dtype=edges.dtype)
    return (((boxes_xyxy - edges).abs() <= margin_px) & is_inner).any(dim=1)
