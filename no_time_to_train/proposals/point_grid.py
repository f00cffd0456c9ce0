"""Candidate masks from a regular grid of single foreground points.

This is the paper's source of proposals.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.models.interfaces import MaskModel, PromptBatch
from no_time_to_train.ops.transfers import to_device
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, Need, ProposalSource
from no_time_to_train.proposals.settings import PointGridConfig

logger = logging.getLogger(__name__)


def point_grid_xy(image_size: int, points_per_side: int) -> Tensor:
    """Return (points_per_side**2, 2) float32 x, y in the model's pixels.

    They are pixels of the mask model's square input; x varies slowest.

    ``linspace(0, image_size - 1, points_per_side) + 0.5`` on each axis, as published.
    """
    axis = torch.linspace(0, image_size - 1, points_per_side) + 0.5
    return torch.cartesian_prod(axis, axis).reshape(-1, 2)


@dataclass
class PointGrid(PointGridConfig, ProposalSource):
    """A grid of prompts, one foreground point each.

    The best of three masks by predicted IoU is kept, where that is high enough.

    The settings of :class:`PointGridConfig` are the arguments.
    """

    @classmethod
    def from_config(cls, settings: PointGridConfig) -> PointGrid:
        """Return the source with these settings."""
        return cls(**vars(settings))

    @property
    def needs(self) -> frozenset[Need]:
        """Return what it looks at: the embedding.

        With a prefilter it looks at features and references too.
        """
        return frozenset({"embedding", "features", "references"} if self.prefilter == "semantic" else {"embedding"})

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Prompt the mask model with the points."""
        points_xy = to_device(point_grid_xy(mask_model.image_size, self.points_per_side), mask_model.device)
        if self.prefilter == "semantic" and prototypes is not None and len(prototypes):
            kept = self.promising_points(points_xy, mask_model.image_size, image.features, prototypes)
            logger.info("semantic prefilter: %d of %d grid points dropped", len(points_xy) - len(kept), len(points_xy))
            points_xy = points_xy[kept]
        best = mask_model.predict_best(
            image.embedding, PromptBatch.of_clicks(points_xy), min_predicted_iou=self.min_predicted_iou
        )
        return MaskProposals(best.logits, best.predicted_ious)

    def promising_points(self, points_xy: Tensor, image_size: int, features: Tensor, prototypes: Tensor) -> Tensor:
        """Return which points resemble a prototype.

        They are those above the lowest similarity, or the k most similar.

        This trades recall for time.

        Args:
            points_xy: (N, 2) pixels of the mask model's square.
            image_size: side of that square.
            features: (h, w, D) patch features.
            prototypes: (P, D).

        Returns:
            Ascending indices of the points.
        """
        num_rows, num_columns, _ = features.shape
        columns = (points_xy[:, 0] * num_columns / image_size).long().clamp(0, num_columns - 1)
        rows = (points_xy[:, 1] * num_rows / image_size).long().clamp(0, num_rows - 1)
        unit = torch.nn.functional.normalize(prototypes, dim=-1)
        similarity = (torch.nn.functional.normalize(features, dim=-1) @ unit.T).amax(-1)[rows, columns]
        if self.prefilter_top_k is not None:
            order = torch.argsort(similarity, descending=True, stable=True)
            return order[: self.prefilter_top_k].sort().values
        assert self.prefilter_min_similarity is not None, "one of the two limits is set"
        return torch.nonzero(similarity >= self.prefilter_min_similarity).flatten()
