"""Suppression of boxes that repeat a better one of the same class."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from no_time_to_train.errors import EnvironmentProblemError


def torchvision_nms() -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return torchvision's ``nms``.

    Only the library that holds it is loaded: ``import torchvision`` brings its models, and torch's compiler where
    nothing else has brought it yet.

    Raises:
        EnvironmentProblemError: torchvision was built for another torch, or is missing.
    """
    try:
        _load_operators()
        operator: Callable[[Tensor, Tensor, float], Tensor] = torch.ops.torchvision.nms.default
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise EnvironmentProblemError(
            f"torchvision does not work with this torch ({error}). `nttt doctor` says how to install a pair that fits."
        ) from error
    return operator


def _load_operators() -> None:
    """Load torchvision's operators without its models; all of it where the library is named otherwise."""
    if hasattr(torch.ops.torchvision, "nms"):
        return
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise ImportError("it is not installed")
    libraries = [path for path in Path(package.origin).parent.glob("_C*") if path.suffix in (".so", ".pyd")]
    if len(libraries) == 1 and sys.platform != "win32":  # Windows needs the folders that torchvision adds
        torch.ops.load_library(libraries[0])
    if not hasattr(torch.ops.torchvision, "nms"):
        importlib.import_module("torchvision.ops")


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
