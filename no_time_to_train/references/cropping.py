"""The square crop around a reference instance that the encoder sees."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.ops.images import as_image_tensor


def crop_reference(
    image: np.ndarray,
    mask: np.ndarray,
    box_xyxy: tuple[float, float, float, float],
    *,
    context_ratio: float,
    image_size: int,
) -> tuple[Tensor, Tensor]:
    """Cut a square around one instance, resized to the encoder's input.

    It shows some context.

    Bicubic without antialias for the image and bilinear for the mask, as the published code does (arXiv 2507.02798).

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        box_xyxy: box of the instance in pixels.
        context_ratio: the crop's side is (1 + this) times the longer side of the box.
        image_size: S, side of the result in pixels.

    Returns:
        The image (3, S, S) float32, about 0..1 (bicubic overshoots a little), and the mask (S, S) float32 in 0..1.

    Raises:
        ValueError: image and mask differ in size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask must have the image's size {image.shape[:2]}, got {mask.shape}")
    x1, y1, x2, y2 = crop_corners_xyxy(box_xyxy, mask.shape, context_ratio)
    image_crop = as_image_tensor(image[y1:y2, x1:x2])[None]
    mask_crop = torch.from_numpy(np.ascontiguousarray(mask[y1:y2, x1:x2])).float()[None, None]
    size = (image_size, image_size)
    return (
        F.interpolate(image_crop, size, mode="bicubic", align_corners=False)[0],
        F.interpolate(mask_crop, size, mode="bilinear", align_corners=False)[0, 0],
    )


def crop_corners_xyxy(
    box_xyxy: tuple[float, float, float, float], image_size_hw: tuple[int, ...], context_ratio: float
) -> tuple[int, int, int, int]:
    """Return the whole-pixel corners of the crop.

    Box corners are truncated, the square is centered on them, truncated and clipped.

    At the image's border the crop is therefore not square and is stretched later. It has at least one pixel.
    """
    height, width = image_size_hw
    x1, y1, x2, y2 = (int(value) for value in box_xyxy)
    half_side = max(x2 - x1, y2 - y1) * (1 + context_ratio) / 2
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = _clip_span(int(center_x - half_side), int(center_x + half_side), width)
    top, bottom = _clip_span(int(center_y - half_side), int(center_y + half_side), height)
    return left, top, right, bottom


def _clip_span(start: int, stop: int, length: int) -> tuple[int, int]:
    start = min(max(start, 0), length - 1)
    return start, max(min(stop, length), start + 1)
