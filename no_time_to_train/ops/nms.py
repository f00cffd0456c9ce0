"""Suppression of boxes that repeat a better one of the same class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from no_time_to_train.errors import EnvironmentProblemError


def torchvision_nms() -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return torchvision's ``nms``.

    Raises:
        EnvironmentProblemError: torchvision was built for another torch, or is missing.
    """
    try:
        from torchvision.ops import nms
    except (ImportError, RuntimeError) as error:  # RuntimeError: "operator torchvision::nms does not exist"
        raise EnvironmentProblemError(
            f"torchvision does not work with this torch ({error}). `nttt doctor` says how to install a pair that fits."
        ) from error
    return nms


nms = torchvision_nms()
"""Greedy non-maximum suppression of boxes (N, 4) by score (N,): the kept indices, best first."""


def class_aware_nms(boxes_xyxy: Tensor, ranking: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Drop boxes that overlap a better one of their class.

    From the best ranking down, a box is kept unless its IoU with a kept box of its class is above the threshold. Equal
    rankings are visited in input order. A box without area suppresses nothing and is never suppressed.

    Args:
        boxes_xyxy: (N, 4).
        ranking: (N,) float, higher is better.
        labels: (N,) int class of each box, at least 0.
        iou_threshold: 0..1.

    Returns:
        (K,) int64 kept indices, best ranking first.
    """
    if not len(boxes_xyxy):
        return torch.zeros(0, dtype=torch.int64, device=boxes_xyxy.device)
    # Classes are moved apart so far that no two of them overlap; in float64, where the shift costs no precision.
    boxes = boxes_xyxy.double()
    offsets = labels.double() * (boxes.max() - boxes.min() + 1)
    return nms(boxes + offsets[:, None], ranking.double(), iou_threshold)
