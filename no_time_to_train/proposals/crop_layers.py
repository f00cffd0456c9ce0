"""Overlapping crops of an image in layers, and their points.

This is the geometry of SAM's automatic generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_EDGE_MARGIN_PX = 20.0
"""A mask whose box comes this near to a crop's edge is taken to be cut off by it."""


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes:
        layer: 0 is the whole image, layer i has 2^i x 2^i crops.
        box_xyxy: whole pixels, half open.
    """

    layer: int
    box_xyxy: tuple[int, int, int, int]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Return (height, width) of the crop."""
        left, top, right, bottom = self.box_xyxy
        return bottom - top, right - left

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Cut this part out of an (H, W, ...) image: a view."""
        left, top, right, bottom = self.box_xyxy
        return pixels[top:bottom, left:right]


def image_crops(image_size_hw: tuple[int, int], num_layers: int, overlap_ratio: float) -> list[Crop]:
    """Return the whole image, then the crops of layers 1..num_layers.

    Crops come column by column.

    Args:
        image_size_hw: (height, width).
        num_layers: layers of crops besides the whole image.
        overlap_ratio: overlap of the crops of layer 1 as a share of the image's shorter side; half as much in every
            further layer.
    """
    height, width = image_size_hw
    crops = [Crop(0, (0, 0, width, height))]
    for layer in range(1, num_layers + 1):
        crops_per_side = 2**layer
        overlap = int(overlap_ratio * min(height, width) * 2 / crops_per_side)
        columns, rows = (_spans(length, crops_per_side, overlap) for length in (width, height))
        crops += [Crop(layer, (left, top, right, bottom)) for left, right in columns for top, bottom in rows]
    return crops


def _spans(length: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """Equal overlapping spans of an axis; the last ones are cut off at its end, or left out where nothing remains."""
    span = math.ceil((overlap * (count - 1) + length) / count)
    starts = [(span - overlap) * i for i in range(count)]
    return [(start, min(start + span, length)) for start in starts if start < length]


def crop_points_xy(crop_size_hw: tuple[int, int], points_per_side: int) -> Tensor:
    """Return (points_per_side**2, 2) float32 x, y in pixels of the crop.

    They are the centers of equal cells; x varies fastest.
    """
    height, width = crop_size_hw
    half_cell = 1 / (2 * points_per_side)
    axis = np.linspace(half_cell, 1 - half_cell, points_per_side)
    x, y = np.meshgrid(axis * width, axis * height)
    return torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32))


def is_cut_off(boxes_xyxy: np.ndarray, crop: Crop, image_size_hw: tuple[int, int]) -> np.ndarray:
    """Return which masks reach a crop's edge inside the image.

    Edges of the image itself do not count.

    Args:
        boxes_xyxy: (N, 4) half-open boxes in pixels of the image.
        crop: where the masks were found.
        image_size_hw: (height, width) of the image.

    Returns:
        (N,) bool.
    """
    height, width = image_size_hw
    ends_on_last_pixel = boxes_xyxy - (0, 0, 1, 1)
    near_crop, near_image = (
        np.abs(ends_on_last_pixel - edges) <= _EDGE_MARGIN_PX for edges in (crop.box_xyxy, (0, 0, width, height))
    )
    return np.any(near_crop & ~near_image, axis=1)
