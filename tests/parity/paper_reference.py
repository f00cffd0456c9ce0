"""The published method after the mask model, written out plainly: full-size masks and explicit loops, nothing clever.

Slow, and obviously the equations of "No time to train!" (arXiv 2507.02798) with the settings of its released code.
It uses nothing of the package, so that the package can be checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class PaperDetections:
    """Detections, best first; boxes end on the last pixel's index (one short), as the released code has them."""

    scores: np.ndarray  # (K,)
    category_indices: np.ndarray  # (K,)
    boxes_inclusive_xyxy: np.ndarray  # (K, 4)
    masks: np.ndarray  # (K, H, W) bool
    predicted_ious: np.ndarray  # (K,)


def paper_reference(
    logits: Tensor,
    predicted_ious: Tensor,
    features: Tensor,
    prototypes: Tensor,
    image_size_hw: tuple[int, int],
    *,
    nms_iou_threshold: float = 0.5,
    max_masks: int = 800,
    exponent: float = 0.5,
    max_detections: int = 100,
) -> PaperDetections:
    """Detections of one image from its proposals.

    Args:
        logits: (N, m, m) mask logits over the squashed image, those of low predicted IoU already dropped.
        predicted_ious: (N,).
        features: (h, w, D) of the target image.
        prototypes: (C, D) class means, not normalized.
        image_size_hw: (height, width).
    """
    mask_features, scores, labels = score_masks(logits, features, prototypes)
    kept = suppress([inclusive_box(mask > 0) for mask in logits.numpy()], predicted_ious, labels, nms_iou_threshold)
    kept = [i for i in kept[:max_masks] if scores[i] > 0]
    masks = [upsampled_mask(logits[i], image_size_hw) for i in kept]

    new_scores = []
    for rank, i in enumerate(kept):
        greatest = 0.0
        for rank_before, j in enumerate(kept[:rank]):
            area = masks[rank].sum()
            if labels[i] == labels[j] and area > 0:
                intersection_over_self = (masks[rank] & masks[rank_before]).sum() / area
                similarity = max(0.0, float(mask_features[i] @ mask_features[j]))
                greatest = max(greatest, intersection_over_self * min(similarity, 1.0))
        new_scores.append(scores[i] * (1 - greatest) ** exponent)

    best = sorted(range(len(kept)), key=lambda rank: -new_scores[rank])[:max_detections]
    return PaperDetections(
        scores=np.array([new_scores[rank] for rank in best], np.float64),
        category_indices=np.array([labels[kept[rank]] for rank in best], np.int64),
        boxes_inclusive_xyxy=np.array([inclusive_box(masks[rank]) for rank in best], np.float64).reshape(-1, 4),
        masks=np.array([masks[rank] for rank in best], bool).reshape(-1, *image_size_hw),
        predicted_ious=np.array([float(predicted_ious[kept[rank]]) for rank in best], np.float64),
    )


def score_masks(logits: Tensor, features: Tensor, prototypes: Tensor) -> tuple[list[Tensor], list[float], list[int]]:
    """Unit feature, score and label of every mask: equations 3 and 4 on upsampled features."""
    upsampled = interpolate(
        features.permute(2, 0, 1)[None], size=logits.shape[1:], mode="bilinear", align_corners=False
    )[0]
    mask_features, scores, labels = [], [], []
    for mask in logits > 0:
        mean = torch.zeros(features.shape[2])
        if mask.any():
            mean = upsampled[:, mask].mean(dim=1)
        feature = mean / max(float(mean.norm()), 1e-12)
        similarities = [max(0.0, float(feature @ (prototype / prototype.norm()))) for prototype in prototypes]
        mask_features.append(feature)
        scores.append(max(similarities))
        labels.append(similarities.index(max(similarities)))
    return mask_features, scores, labels


def suppress(
    boxes: list[tuple[float, ...]], predicted_ious: Tensor, labels: list[int], iou_threshold: float
) -> list[int]:
    """Class-aware non-maximum suppression by predicted IoU; kept indices, best first."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(predicted_ious[i])):
        if not any(labels[i] == labels[j] and box_iou(boxes[i], boxes[j]) > iou_threshold for j in kept):
            kept.append(i)
    return kept


def box_iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def upsampled_mask(logits: Tensor, image_size_hw: tuple[int, int]) -> np.ndarray:
    """(m, m) logits -> (H, W) bool."""
    full = interpolate(logits[None, None], size=image_size_hw, mode="bilinear", align_corners=False, antialias=True)
    return (full[0, 0] > 0).numpy()


def inclusive_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """[min_x, min_y, max_x, max_y] in pixel indices; zeros for an empty mask."""
    y, x = np.where(mask)
    if len(x) == 0:
        return 0.0, 0.0, 0.0, 0.0
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
