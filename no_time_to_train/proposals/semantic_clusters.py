"""Candidate masks from what belongs together by meaning.

The boxes of clusters of patch features are prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import MaskModel, PromptBatch
from no_time_to_train.ops.boxes import boxes_from_masks, clip_boxes
from no_time_to_train.ops.clustering import (
    best_num_clusters,
    connected_parts,
    kmeans_centers,
    nearest_centers,
    principal_components,
)
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, Need, ProposalSource
from no_time_to_train.proposals.settings import SemanticClustersConfig

AUTOMATIC_NUM_CLUSTERS = range(2, 17)
"""The numbers of clusters that are tried where none is given."""

_MAX_BORDER_SHARE = 0.5
"""A part with more than this share of the image's border patches is background."""


@dataclass
class SemanticClusters(SemanticClustersConfig, ProposalSource):
    """Boxes around clusters of patch features, as prompts.

    A box is around each connected part of a K-means cluster. The best of three masks of each is kept.

    The features are made unit length, reduced by PCA and clustered once for every number of clusters: few clusters find
    whole objects, many find parts and objects like their surroundings. Two zebras are one cluster and, where they do
    not touch, two parts with a box each.

    The settings of :class:`SemanticClustersConfig` are the arguments.
    """

    @classmethod
    def from_config(cls, settings: SemanticClustersConfig) -> SemanticClusters:
        """Return the source with these settings."""
        return cls(**vars(settings))

    @property
    def needs(self) -> frozenset[Need]:
        """Return what it looks at: features and embedding."""
        return frozenset({"features", "embedding"})

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Prompt the mask model with the boxes; ``prototypes`` are ignored.

        Raises:
            InputError: more clusters are wanted than there are patches.
        """
        boxes_xyxy = self.boxes_xyxy(image.features, mask_model.image_size)
        # The best of three rather than the single output: a box of patches often holds less or more than the object;
        # masks that are not kept are never upscaled. (On the demo benchmark both cover the objects equally well.)
        best = mask_model.predict_best(
            image.embedding, PromptBatch(boxes_xyxy=boxes_xyxy), min_predicted_iou=self.min_predicted_iou
        )
        return MaskProposals(best.logits, best.predicted_ious)

    def boxes_xyxy(self, features: Tensor, image_size: int) -> Tensor:
        """Return the boxes that become prompts.

        Args:
            features: (h, w, D) patch features of the whole image.
            image_size: side of the mask model's square in pixels.

        Returns:
            (N, 4) float32 on the CPU, pixels of the mask model's square; each is there once.

        Raises:
            InputError: see ``propose``.
        """
        rows, columns, _ = features.shape
        parts = [
            box for labels in self.label_maps(features) for box in self._part_boxes(connected_parts(labels)).unbind()
        ]
        if not parts:
            return torch.zeros(0, 4)
        patches = torch.stack(parts).unique(dim=0)
        padding = self.box_padding_patches
        padded = clip_boxes(patches + patches.new_tensor([-padding, -padding, padding, padding]), (rows, columns))
        return padded * image_size / padded.new_tensor([columns, rows, columns, rows])

    def label_maps(self, features: Tensor) -> list[Tensor]:
        """Cluster ``features`` (h, w, D) once for every number of clusters.

        Each result is an (h, w) int64 map of cluster numbers, on the CPU.

        Raises:
            InputError: see ``propose``.
        """
        rows, columns, _ = features.shape
        num_patches = rows * columns
        if max(self.n_clusters, default=0) > num_patches:
            raise InputError(
                f"proposals.semantic_clusters.n_clusters has {max(self.n_clusters)}, but there are only {num_patches} "
                f"patches ({rows} x {columns}) to be clustered. Ask for fewer clusters or a larger encoder.image_size."
            )
        # Directions alone: a few patches of DINO have features many times as long, which K-means would set apart.
        directions = normalize(features.detach().cpu().flatten(0, 1).float(), dim=-1)
        points = principal_components(directions, self.n_pca_components).project(directions)
        candidates = [k for k in AUTOMATIC_NUM_CLUSTERS if k <= num_patches] or [1]
        numbers = self.n_clusters or (best_num_clusters(points, candidates, self.seed),)
        return [
            nearest_centers(points, kmeans_centers(points, k, self.seed)).view(rows, columns) for k in sorted(numbers)
        ]

    def _part_boxes(self, parts: Tensor) -> Tensor:
        """(K, 4) float boxes, in patches, of the connected parts (h, w) that are neither tiny nor background."""
        sizes = parts.flatten().bincount()
        masks = parts == torch.nonzero(sizes >= self.min_cluster_patches)[..., None]
        border = torch.ones_like(parts, dtype=torch.bool)
        border[1:-1, 1:-1] = False
        border_share = (masks & border).flatten(1).sum(dim=1) / border.sum()
        return boxes_from_masks(masks[border_share <= _MAX_BORDER_SHARE])
