"""Boxes: tight boxes of masks, conversions, clipping and scaling. Half-open ``xyxy`` pixels unless a name says else."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Boxes = TypeVar("Boxes", np.ndarray, Tensor)


def boxes_from_masks(masks: Tensor, *, half_open: bool = True) -> Tensor:
    """Return the tight boxes of masks.

    Args:
        masks: (N, h, w) bool.
        half_open: the box ends after the last pixel. False: it ends on the last pixel's index, as in the published
            code, so that width and height are one pixel short.

    Returns:
        (N, 4) float32 xyxy in pixels of the masks; zeros for an empty mask.
    """
    x_first, x_last = _first_and_last(masks.any(dim=1))
    y_first, y_last = _first_and_last(masks.any(dim=2))
    end = int(half_open)
    boxes = torch.stack([x_first, y_first, x_last + end, y_last + end], dim=1).float()
    return boxes * masks.flatten(1).any(dim=1, keepdim=True)


def xyxy_to_xywh(boxes_xyxy: Boxes) -> Boxes:
    """Convert (..., 4) corners to top-left corner, width and height, as a new array or tensor."""
    converted = _copy(boxes_xyxy)
    converted[..., 2:] -= converted[..., :2]
    return converted


def xywh_to_xyxy(boxes_xywh: Boxes) -> Boxes:
    """Convert (..., 4) top-left corner, width and height to corners, as a new array or tensor."""
    converted = _copy(boxes_xywh)
    converted[..., 2:] += converted[..., :2]
    return converted


def clip_boxes(boxes_xyxy: Boxes, image_size_hw: tuple[int, int]) -> Boxes:
    """Clip (..., 4) boxes to an image of (height, width), as a new array or tensor."""
    height, width = image_size_hw
    clipped = _copy(boxes_xyxy)
    clipped[..., 0::2] = clipped[..., 0::2].clip(0, width)
    clipped[..., 1::2] = clipped[..., 1::2].clip(0, height)
    return clipped


def scale_boxes(boxes_xyxy: Boxes, from_size_hw: tuple[int, int], to_size_hw: tuple[int, int]) -> Boxes:
    """Scale (..., 4) float boxes from one (height, width) of an image to another."""
    scaled = _copy(boxes_xyxy)
    scaled[..., 0::2] *= to_size_hw[1] / from_size_hw[1]
    scaled[..., 1::2] *= to_size_hw[0] / from_size_hw[0]
    return scaled


def _first_and_last(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the first and the last True of every row of (N, size); argmax gives the first of equal values."""
    values = occupied.to(torch.uint8)
    return values.argmax(dim=1), occupied.shape[1] - 1 - values.flip(1).argmax(dim=1)


def _copy(boxes: Boxes) -> Boxes:
    return boxes.clone() if isinstance(boxes, Tensor) else boxes.copy()
