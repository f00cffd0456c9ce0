"""Candidate masks of tiles put together with those of the whole image.

Small objects are found in the tiles, at full resolution; what is larger than the overlap of two tiles may be cut off in
both, and comes from the whole image. Masks that a tile's edge cuts off are left out: their object lies whole in another
tile or is seen in the whole image. All others go through matching, NMS and merging together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.rle import Rle, decode_rle, encode_mask_crop
from no_time_to_train.ops.tiles import Box, tile_boxes, touches_inner_edge
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.proposals.pooled import PooledProposals


def with_tiles(
    whole: PooledProposals,
    pixels: np.ndarray,
    side_px: int,
    mask_size: int,
    propose: Callable[[np.ndarray], PooledProposals],
) -> PooledProposals:
    """Add the candidate masks of an image's tiles; one tile at a time is in memory.

    Args:
        whole: candidate masks of the whole image.
        pixels: (H, W, 3) uint8, the image.
        side_px: of a tile.
        mask_size: side m of the mask grid.
        propose: the candidate masks of a tile, as if it were an image.
    """
    boxes = tile_boxes(whole.image_size_hw, side_px)
    tiles = []
    for left, top, right, bottom in boxes:
        of_tile = propose(np.ascontiguousarray(pixels[top:bottom, left:right]))
        tiles.append(place_in_image(of_tile, (left, top, right, bottom), whole.image_size_hw, mask_size))
    return join_tiles(whole, tiles) if tiles else whole


def place_in_image(
    pooled: PooledProposals, tile_xyxy: Box, image_size_hw: tuple[int, int], mask_size: int
) -> PooledProposals:
    """Turn the candidate masks of a tile into masks of the image, without those that an inner edge cuts off.

    Args:
        pooled: of the tile, as if it were an image.
        tile_xyxy: where the tile lies.
        image_size_hw: (height, width) of the image.
        mask_size: side m of the mask grid, which the boxes are on.
    """
    left, top, right, bottom = tile_xyxy
    height, width = image_size_hw
    [grid_boxes_xyxy] = to_host(pooled.grid_boxes_xyxy)
    cell = torch.tensor([right - left, bottom - top] * 2) / mask_size
    boxes = grid_boxes_xyxy * cell + torch.tensor([left, top] * 2)
    # The grid is coarse: one cell is where its mask may end.
    is_cut = touches_inner_edge(boxes, tile_xyxy, image_size_hw, margin_px=float(cell.max()))
    uncut = torch.nonzero(~is_cut).flatten()
    image_cell = torch.tensor([width, height] * 2) / mask_size
    kept, boxes = (to_device(of_masks, pooled.features.device) for of_masks in (uncut, boxes[uncut] / image_cell))
    return PooledProposals(
        predicted_ious=pooled.predicted_ious[kept],
        stabilities=pooled.stabilities[kept],
        grid_boxes_xyxy=boxes,
        features=pooled.features[kept],
        consistencies=pooled.consistencies[kept],
        masks=tuple(_masks_in_image(pooled, uncut, tile_xyxy, image_size_hw)),
        image_size_hw=image_size_hw,
    )


def join_tiles(whole: PooledProposals, tiles: Sequence[PooledProposals]) -> PooledProposals:
    """Put the candidate masks of the whole image before those of its tiles."""
    parts = [replace(whole, masks=tuple(whole.rles())), *tiles]
    return PooledProposals(
        predicted_ious=torch.cat([part.predicted_ious for part in parts]),
        stabilities=torch.cat([part.stabilities for part in parts]),
        grid_boxes_xyxy=torch.cat([part.grid_boxes_xyxy for part in parts]),
        features=torch.cat([part.features for part in parts]),
        consistencies=torch.cat([part.consistencies for part in parts]),
        masks=tuple(rle for part in parts for rle in part.masks),
        image_size_hw=whole.image_size_hw,
    )


def _masks_in_image(pooled: PooledProposals, kept: Tensor, tile_xyxy: Box, image_size_hw: tuple[int, int]) -> list[Rle]:
    if isinstance(pooled.masks, Tensor):
        masks = pooled.masks[to_device(kept, pooled.masks.device)]
        return encode_mask_logits(masks, image_size_hw, crop_xyxy=tile_xyxy)
    left, top = tile_xyxy[:2]
    return [encode_mask_crop(decode_rle(pooled.masks[i]), top, left, image_size_hw) for i in kept.tolist()]
