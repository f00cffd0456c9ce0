"""Mean features under masks: equations 1 and 3 of "No time to train!" (arXiv 2507.02798)."""

from __future__ import annotations

import torch
from torch import Tensor

from no_time_to_train.ops.resize import interpolation_matrix

_MASK_PIXELS_PER_CHUNK = {"cpu": 1 << 22, "cuda": 1 << 26}  # 16 MB and 256 MB as float32


def pool_mask_features(masks: Tensor, features: Tensor) -> Tensor:
    """Mean of the feature map, upsampled bilinearly to the masks' grid, under each mask (equation 3).

    Nothing is upsampled. With U the interpolation matrices, ``sum_uv M (U_h F U_w^T)`` is
    ``sum_ij (U_h^T M U_w) F``: the masks are pulled back to the patches, and one product with F is left.

    Args:
        masks: (N, H, W) bool.
        features: (h, w, D) feature map covering the same image area.

    Returns:
        (N, D) float32, not normalised; zeros for an empty mask.
    """
    (height, width), (rows, columns) = masks.shape[1:], features.shape[:2]
    up_rows = interpolation_matrix(rows, height).to(features.device)
    up_columns = interpolation_matrix(columns, width).to(features.device)
    pixels = _MASK_PIXELS_PER_CHUNK.get(features.device.type, _MASK_PIXELS_PER_CHUNK["cpu"])
    chunks = masks.split(max(1, pixels // (height * width)))
    patch_weights = [up_rows.T @ (chunk.to(features.device, torch.float32) @ up_columns) for chunk in chunks]
    return pool_weighted_features(torch.cat(patch_weights), features)


def pool_weighted_features(weights: Tensor, features: Tensor) -> Tensor:
    """Weighted mean of a feature map (equation 1, for soft masks on the patch grid).

    Args:
        weights: (N, h, w), at least 0.
        features: (h, w, D).

    Returns:
        (N, D) float32, not normalised; zeros where all weights are 0.
    """
    flat_weights = weights.flatten(1).float()
    totals = flat_weights.sum(dim=1, keepdim=True)
    shares = flat_weights / totals.where(totals > 0, 1.0)
    return shares @ features.flatten(0, 1).float()
