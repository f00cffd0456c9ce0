"""Mean features under masks: equations 1 and 3 of "No time to train!" (arXiv 2507.02798); how alike they are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from no_time_to_train.ops.resize import interpolation_matrix

_MASK_PIXELS_PER_CHUNK, _MASK_PIXELS_PER_CHUNK_ON_GPU = 1 << 22, 1 << 26  # 16 MB and 256 MB as float32


def pool_mask_features(masks: Tensor, features: Tensor) -> Tensor:
    """Average the upsampled feature map under each mask (equation 3).

    Nothing is upsampled. With U the interpolation matrices, ``sum_uv M (U_h F U_w^T)`` is
    ``sum_ij (U_h^T M U_w) F``: the masks are pulled back to the patches, and one product with F is left.

    Args:
        masks: (N, H, W) bool.
        features: (h, w, D) feature map covering the same image area.

    Returns:
        (N, D) float32, not normalized; zeros for an empty mask.
    """
    return pool_weighted_features(pull_back_masks(masks, features), features)


def pull_back_masks(masks: Tensor, features: Tensor) -> Tensor:
    """Return each patch's weight in sums over the upsampled feature map.

    Args:
        masks: (N, H, W) bool.
        features: (h, w, D) feature map covering the same image area; only its size and device matter.

    Returns:
        (N, h, w) float32, at least 0; the sum over the patches is the mask's number of pixels.
    """
    (height, width), (rows, columns) = masks.shape[1:], features.shape[:2]
    up_rows = interpolation_matrix(rows, height, device=features.device)
    up_columns = interpolation_matrix(columns, width, device=features.device)
    pixels = _MASK_PIXELS_PER_CHUNK if features.is_cpu else _MASK_PIXELS_PER_CHUNK_ON_GPU
    chunks = masks.split(max(1, pixels // (height * width)))
    # Rows first: the long side of that product is the masks' width, not the few patches.
    down_rows = up_rows.T.contiguous()
    return torch.cat([down_rows @ chunk.to(features.device, torch.float32) @ up_columns for chunk in chunks])


def pool_weighted_features(weights: Tensor, features: Tensor) -> Tensor:
    """Average a feature map with weights (equation 1, for soft masks).

    Args:
        weights: (N, h, w), at least 0.
        features: (h, w, D).

    Returns:
        (N, D) float32, not normalized; zeros where all weights are 0.
    """
    flat_weights = weights.flatten(1).float()
    totals = flat_weights.sum(dim=1, keepdim=True)
    shares = flat_weights / totals.where(totals > 0, 1.0)
    return shares @ features.flatten(0, 1).float()


def mask_consistency(weights: Tensor, features: Tensor, means: Tensor) -> Tensor:
    """Return the mean cosine of each mask's patches to their mean feature.

    The mean of cosines to one vector is the cosine-like product ``<mean of the unit features, unit mean feature>``: one
    more pooled product, and no tensor of masks x patches x D.

    Args:
        weights: (N, h, w), at least 0: of the patches in each mask (``pull_back_masks``).
        features: (h, w, D).
        means: (N, D) ``pool_weighted_features(weights, features)``.

    Returns:
        (N,) float32 up to 1, where all features point the same way; 0 where all weights are 0.
    """
    mean_directions = pool_weighted_features(weights, normalize(features.float(), dim=-1))
    return (mean_directions * normalize(means, dim=-1)).sum(dim=-1)
