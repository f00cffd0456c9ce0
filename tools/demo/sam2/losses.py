"""Losses of the demo SAM 2.1: focal + dice on the best of three masks, predicted IoU and object score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_WEIGHT = 20.0
SCORE_WEIGHT = 0.2
SINGLE_WEIGHT = 0.5  # of the single-mask output beside the three ambiguous ones


def mask_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal + dice of every mask.

    The targets are shares of covered area, so the focal weight is |p - t|^2: minimal where p is the share itself,
    which keeps the outline between two cells after the logits are resized.

    Args:
        logits: (P, M, h, w).
        targets: (P, h, w) in [0, 1].

    Returns:
        (P, M).
    """
    targets = targets.unsqueeze(1).expand_as(logits)
    shares = logits.sigmoid()
    focal = (shares - targets).square() * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    overlap = 2 * (shares * targets).sum(dim=(2, 3))
    dice = 1 - (overlap + 1) / (shares.sum(dim=(2, 3)) + targets.sum(dim=(2, 3)) + 1)
    return FOCAL_WEIGHT * focal.mean(dim=(2, 3)) + dice


def mask_ious(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of the thresholded masks (P, M, h, w) with the thresholded targets (P, h, w): (P, M)."""
    predicted, wanted = logits > 0, targets.unsqueeze(1) > 0.5
    common = (predicted & wanted).sum(dim=(2, 3)).float()
    return common / (predicted | wanted).sum(dim=(2, 3)).clamp(min=1).float()


def prompt_losses(
    logits: Tensor,
    ious: Tensor,
    scores: Tensor,
    targets: Tensor,
    on_object: Tensor,
    share_all: float,
    iou_weight: float,
) -> tuple[Tensor, Tensor]:
    """The training loss and, for the log, the mean best-of-three IoU.

    Args:
        logits: (P, 4, h, w): the single mask, then the three ambiguous ones.
        ious: (P, 4) predicted.
        scores: (P,) object score logits.
        targets: (P, h, w).
        on_object: (P,) bool; without an object there is no mask loss, and every IoU is to be predicted as 0.
        share_all: weight of the mean over the three masks, against their best; keeps all three alive early on.
        iou_weight: of the squared error of the predicted IoU.
    """
    losses = mask_losses(logits[on_object], targets[on_object])
    multi = (1 - share_all) * losses[:, 1:].min(dim=1).values + share_all * losses[:, 1:].mean(dim=1)
    mask_loss = (multi + SINGLE_WEIGHT * losses[:, 0]).sum() / max(len(targets), 1)
    with torch.no_grad():
        true_ious = mask_ious(logits, targets) * on_object.unsqueeze(1)
    iou_loss = (ious - true_ious).square().mean()
    score_loss = F.binary_cross_entropy_with_logits(scores, on_object.float())
    best = true_ious[on_object][:, 1:].amax(dim=1)
    return mask_loss + iou_weight * iou_loss + SCORE_WEIGHT * score_loss, best.mean()
