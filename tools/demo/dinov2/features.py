"""Compute mask features, and the loss on their cosines to prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.demo.dinov2.data import Batch

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RIGHT_IOU, _WRONG_IOU = 0.85, 0.6


def patch_features(model: nn.Module, images: Tensor) -> Tensor:
    """Patch tokens of images (B, 3, 224, 224) in [0, 1], after the final layer norm: (B, 256, D)."""
    normalized = (images - torch.tensor(IMAGE_MEAN).view(3, 1, 1)) / torch.tensor(IMAGE_STD).view(3, 1, 1)
    return model(pixel_values=normalized).last_hidden_state[:, 1:]


def masked_means(tokens: Tensor, masks: Tensor) -> Tensor:
    """Means of tokens (N, 256, D) weighted by masks (N, 16, 16): (N, D)."""
    weights = masks.flatten(1)
    return (weights[:, None] @ tokens)[:, 0] / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)


class CosineLoss(nn.Module):
    """Which category, and whether the mask is an object at all, both from the cosine to the categories' prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def forward(self, cosines: Tensor, categories: Tensor, ious: Tensor) -> Tensor:
        """cosines (M, K), categories (M,), ious (M,) as in `Batch`."""
        right, wrong = ious > _RIGHT_IOU, ious < _WRONG_IOU
        weights = torch.where(ious[right] == 1, 1.0, 0.5)
        logits = self.scale * cosines + self.bias
        own = F.one_hot(categories[right], cosines.shape[1]).bool()
        which = (weights * F.cross_entropy(16 * cosines[right], categories[right], reduction="none")).mean()
        accepted = (weights * F.softplus(-logits[right][own])).mean()
        other_category = F.softplus(logits[right][~own]).mean()
        # A wrong mask matters by the category it scores highest for.
        bad_mask = F.softplus(logits[wrong].amax(dim=1)).mean()
        return which + accepted + other_category + bad_mask


def batch_loss(model: nn.Module, loss: CosineLoss, batch: Batch) -> Tensor:
    """The loss of one step, a scalar."""
    tokens = patch_features(model, batch.images)
    num_crops = len(batch.crop_masks)
    prototypes = masked_means(tokens[:num_crops], batch.crop_masks)
    queries = masked_means(tokens[num_crops:][batch.scene_of_mask], batch.masks)
    cosines = F.normalize(queries, dim=1) @ F.normalize(prototypes, dim=1).T
    return loss(cosines, batch.categories, batch.ious)
