"""Masks for references of which only the box is known."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch

from no_time_to_train.data.images import resize_for_model
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import MaskModel
from no_time_to_train.models.prompting import PromptableImage, segment_prompts
from no_time_to_train.ops.images import as_image_tensor
from no_time_to_train.ops.rle import decode_rle

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


@torch.inference_mode()
def masks_from_boxes(
    mask_model: MaskModel,
    image: np.ndarray,
    boxes_xyxy: Sequence[Box],
    *,
    min_box_coverage: float,
    image_name: str = "the image",
) -> list[np.ndarray]:
    """Prompt the mask model with boxes for one mask each.

    It is the single-mask output, thresholded at 0. The image is encoded once.

    Args:
        mask_model: frozen promptable mask model.
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: N boxes in pixels of the image; what lies outside the image is cut off.
        min_box_coverage: share of the box, 0..1. A mask that covers less of it, or nothing, has missed the object: the
            box itself is the mask then, and a warning says so.
        image_name: for the warning.

    Returns:
        N masks (H, W) bool.

    Raises:
        InputError: a box has no area inside the image.
    """
    if not boxes_xyxy:
        return []
    height, width = image.shape[:2]
    boxes = [_clip(box, width, height) for box in boxes_xyxy]
    square = as_image_tensor(resize_for_model(image, mask_model.image_size), mask_model.device)
    [embedding] = mask_model.encode_images(square[None])
    encoded = PromptableImage(embedding, (height, width))
    masks = segment_prompts(mask_model, encoded, boxes_xyxy=boxes, multimask=False)
    return [
        _mask_or_box(decode_rle(rle), box, min_box_coverage, image_name)
        for (rle,), box in zip(masks.rles, boxes, strict=True)
    ]


def _clip(box_xyxy: Box, width: int, height: int) -> Box:
    x1, y1, x2, y2 = box_xyxy
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if not (clipped[0] < clipped[2] and clipped[1] < clipped[3]):
        raise InputError(f"the box {tuple(box_xyxy)} (x1, y1, x2, y2) has no area inside its {width}x{height} image.")
    return clipped


def _mask_or_box(mask: np.ndarray, box_xyxy: Box, min_coverage: float, image_name: str) -> np.ndarray:
    rectangle = _pixels_touched(box_xyxy)
    covered = mask[rectangle].mean()
    if covered > 0 and covered >= min_coverage:
        return mask
    logger.warning(
        "The mask model found nothing in box %s of %s: its mask covers %.1f%% of the box (at least %.1f%% needed). "
        "The box itself is used as mask; draw one for a better reference.",
        tuple(round(value, 1) for value in box_xyxy),
        image_name,
        100 * covered,
        100 * min_coverage,
    )
    filled = np.zeros_like(mask)
    filled[rectangle] = True
    return filled


def _pixels_touched(box_xyxy: Box) -> tuple[slice, slice]:
    """Rows and columns that the box touches; at least one of each."""
    x1, y1, x2, y2 = box_xyxy
    return slice(math.floor(y1), math.ceil(y2)), slice(math.floor(x1), math.ceil(x2))
