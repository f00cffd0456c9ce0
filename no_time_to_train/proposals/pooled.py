"""Candidate masks with the mean feature under each.

That is all that matching and merging need of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.ops.boxes import boxes_from_masks
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.pooling import mask_consistency, pool_weighted_features, pull_back_masks
from no_time_to_train.ops.rle import Rle
from no_time_to_train.ops.transfers import to_device
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals


@dataclass(frozen=True, eq=False)
class PooledProposals:
    """N candidate masks of one image.

    They do not depend on the references, so that they can be kept and used again.

    Attributes:
        predicted_ious: (N,) the mask model's own estimate of each mask's quality.
        grid_boxes_xyxy: (N, 4) float half-open boxes of the masks on the mask grid.
        stabilities: (N,) float32 in 0..1, how little each mask changes with its threshold (SAM's stability score).
        features: (N, D) float32 mean patch features, not normalized (equation 3 of arXiv 2507.02798).
        consistencies: (N,) float32 in 0..1, mean cosine of the features under each mask to their mean.
        masks: (N, m, m) logits on the mask grid, or N run-length encoded masks of the image's size.
        image_size_hw: (height, width) of the image.
    """

    predicted_ious: Tensor
    stabilities: Tensor
    grid_boxes_xyxy: Tensor
    features: Tensor
    consistencies: Tensor
    masks: Tensor | Sequence[Rle]
    image_size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        values = (self.predicted_ious, self.stabilities, self.grid_boxes_xyxy, self.features, self.consistencies)
        counts = {len(of_masks) for of_masks in (*values, self.masks)}
        if len(counts) != 1:
            raise ValueError(f"every field needs one entry per mask, got lengths {sorted(counts)}")

    def __len__(self) -> int:
        return len(self.predicted_ious)

    def rles(self, indices: Tensor | None = None) -> list[Rle]:
        """Encode the masks with these indices (None: all).

        They are of the image's size, run-length encoded.
        """
        if isinstance(self.masks, Tensor):
            masks = self.masks if indices is None else self.masks[to_device(indices, self.masks.device)]
            return encode_mask_logits(masks, self.image_size_hw)
        return list(self.masks) if indices is None else [self.masks[i] for i in indices.tolist()]


def pool_proposals(
    proposals: MaskProposals, image: EncodedImage, consistency: str = "none", min_consistency: float = 0.4
) -> PooledProposals:
    """Average the patch features under every candidate mask.

    The result has each mask's box on the grid, too.

    Args:
        proposals: of this image.
        image: as both networks see it.
        consistency: what becomes of masks whose patch features disagree, as a mask over two different things has:
            ``drop`` leaves them out, ``none`` keeps them.
        min_consistency: ``drop`` leaves out masks with a lower mean cosine to their own mean feature.
    """
    masks = proposals.logits > 0
    weights = pull_back_masks(masks, image.features)
    features = pool_weighted_features(weights, image.features)
    consistencies = mask_consistency(weights, image.features, features)
    if consistency == "drop":
        kept = torch.nonzero(consistencies >= min_consistency).flatten()
        proposals, masks = proposals[kept], masks[kept]
        features, consistencies = features[kept], consistencies[kept]
    return PooledProposals(
        predicted_ious=proposals.predicted_ious,
        stabilities=proposals.known_stabilities(),
        grid_boxes_xyxy=boxes_from_masks(masks),
        features=features,
        consistencies=consistencies.clamp(0, 1),
        masks=proposals.logits if proposals.rles is None else proposals.rles,
        image_size_hw=image.image_size_hw,
    )
