"""Labels and scores of masks: similarity of their features to what is remembered of the references.

Cosine similarity to prototypes follows equations 3 and 4 of "No time to train!" (arXiv 2507.02798); voting of the
nearest reference instances is an alternative to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from no_time_to_train.errors import missing_package

if TYPE_CHECKING:
    import faiss


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Feature vectors that stand for categories: one each (class means) or several (cluster centers).

    Attributes:
        vectors: (P, D) float; brought to unit length, float32.
        category_indices: (P,) int64 in 0..num_categories-1. A category without a vector is never a label.
        num_categories: C.
        num_candidates: categories that have a vector.
    """

    vectors: Tensor
    category_indices: Tensor
    num_categories: int
    num_candidates: int = field(init=False)

    def __post_init__(self) -> None:
        _check_labeled_vectors(self.vectors, self.category_indices, self.num_categories)
        object.__setattr__(self, "vectors", normalize(self.vectors.float(), dim=1))
        object.__setattr__(self, "num_candidates", len(self.category_indices.unique()))

    def to(self, device: torch.device | str) -> Prototypes:
        """Move the prototypes to another device."""
        return Prototypes(self.vectors.to(device), self.category_indices.to(device), self.num_categories)


class InstanceIndex:
    """The features of all reference instances, searchable by cosine similarity (FAISS, on the CPU).

    Attributes:
        category_indices: (M,) int64, category of each instance.
        num_categories: C.
    """

    def __init__(self, vectors: Tensor, category_indices: Tensor, num_categories: int) -> None:
        """Build the index.

        Args:
            vectors: (M, D) float; brought to unit length.
            category_indices: (M,) int64 in 0..num_categories-1.
            num_categories: C.
        """
        try:
            import faiss
        except ImportError as error:
            raise missing_package(error) from error
        _check_labeled_vectors(vectors, category_indices, num_categories)
        self.category_indices = category_indices.cpu()
        self.num_categories = num_categories
        self._index: faiss.IndexFlatIP = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(normalize(vectors.float(), dim=1).cpu().numpy())

    def __len__(self) -> int:
        return self._index.ntotal

    def nearest(self, unit_vectors: Tensor, num_neighbors: int) -> tuple[Tensor, Tensor]:
        """Find the k (at most M) instances nearest to each of (N, D) vectors.

        Returns:
            Their cosine similarities and category indices, (N, k) each.
        """
        k = min(num_neighbors, len(self))
        if not k or not len(unit_vectors):
            shape, device = (len(unit_vectors), 0), unit_vectors.device
            return torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.int64, device=device)
        similarities, instances = self._index.search(unit_vectors.float().cpu().numpy(), k)
        categories = self.category_indices[torch.from_numpy(instances)]
        return torch.from_numpy(similarities).to(unit_vectors.device), categories.to(unit_vectors.device)


@dataclass(frozen=True, eq=False)
class Matches:
    """Labeled masks. A mask comes up once for each of its labels; masks stay in order, best label first.

    Attributes:
        scores: (M,) float32 in 0..1.
        category_indices: (M,) int64.
        mask_indices: (M,) int64, which mask each is.
        normalized_features: (N, D) float32, the masks' features at unit length (zero where they were zero).
    """

    scores: Tensor
    category_indices: Tensor
    mask_indices: Tensor
    normalized_features: Tensor


def match(mask_features: Tensor, prototypes: Prototypes, labels_per_mask: int = 1) -> Matches:
    """Score every mask by its best category.

    A score is ``max(0, cosine)`` with the nearest of the category's vectors.

    Args:
        mask_features: (N, D), not normalized. A zero vector scores 0.
        prototypes: on the features' device. Without any vector there are no matches.
        labels_per_mask: the best this many categories each give a match; at most those that have a vector. Equal
            categories go in index order.
    """
    features = normalize(mask_features.float(), dim=1)
    similarities = (features @ prototypes.vectors.T).clamp(0, 1)
    best = features.new_full((len(features), prototypes.num_categories), -torch.inf)
    best.scatter_reduce_(1, prototypes.category_indices.expand_as(similarities), similarities, "amax")
    return _best_categories(best, features, min(labels_per_mask, prototypes.num_candidates))


def match_nearest_instances(
    mask_features: Tensor, index: InstanceIndex, num_neighbors: int, labels_per_mask: int = 1
) -> Matches:
    """Score every mask by a vote of its nearest reference instances.

    The ``num_neighbors`` nearest instances vote for their category with ``max(0, cosine)``. A category's score is the
    sum of its votes over the number it could have had: ``min(num_neighbors, its instances)``. So it is in 0..1, the
    cosine of the nearest instance for one neighbor, and a category of few references is not at a disadvantage.

    Args:
        mask_features: (N, D), not normalized. A zero vector scores 0.
        index: the reference instances. Without any there are no matches.
        num_neighbors: at least 1.
        labels_per_mask: as in ``match``. Categories without a vote score 0.
    """
    features = normalize(mask_features.float(), dim=1)
    similarities, voters = index.nearest(features, num_neighbors)
    votes = features.new_zeros(len(features), index.num_categories)
    votes.scatter_add_(1, voters, similarities.clamp(0, 1))
    counts = torch.bincount(index.category_indices, minlength=index.num_categories)
    num_instances = counts.to(features.device)
    # 0 / 0 where a category has no instance: it must not win even over scores of 0.
    scores = (votes / num_instances.clamp(max=num_neighbors)).nan_to_num(nan=-torch.inf)
    return _best_categories(scores, features, min(labels_per_mask, int((counts > 0).sum())))


def _best_categories(scores: Tensor, features: Tensor, num_labels: int) -> Matches:
    """Return the best labels of (N, C) scores, in which categories that cannot win are -inf."""
    num_masks = len(features)
    if num_labels == 1:  # the usual case: no need to sort
        best, categories = scores.max(dim=1, keepdim=True)
    else:
        best, categories = scores.sort(dim=1, descending=True, stable=True)
    return Matches(
        scores=best[:, :num_labels].flatten(),
        category_indices=categories[:, :num_labels].flatten(),
        mask_indices=torch.arange(num_masks, device=features.device).repeat_interleave(num_labels),
        normalized_features=features,
    )


def _check_labeled_vectors(vectors: Tensor, category_indices: Tensor, num_categories: int) -> None:
    if vectors.ndim != 2 or category_indices.shape != vectors.shape[:1]:
        raise ValueError(
            "vectors must be (P, D) and category_indices (P,), got "
            f"{tuple(vectors.shape)} and {tuple(category_indices.shape)}"
        )
    if len(category_indices) and not 0 <= category_indices.min() <= category_indices.max() < num_categories:
        raise ValueError(
            f"category indices must be in 0..{num_categories - 1}, got {int(category_indices.min())} to "
            f"{int(category_indices.max())}"
        )
