"""How well the references of a category agree with one another.

And how far they are from other categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Every reference scored by prototypes that it is not part of.

    It is scored as if it were a mask to be labeled.

    Attributes:
        own: (M,) ``max(0, cosine)`` with the mean of the category's other references; NaN where there is no other.
        best_other: (M,) the same with the nearest of the other categories' prototypes; NaN where there is none.
        best_other_indices: (M,) int64 index of that category; -1 where there is none.
    """

    own: Tensor
    best_other: Tensor
    best_other_indices: Tensor

    @property
    def margins(self) -> Tensor:
        """Return (M,) how much nearer each is to its own category.

        Below 0 it would get the wrong label.
        """
        return self.own - self.best_other


def leave_one_out(prototypes: Tensor, category_indices: Tensor, num_categories: int) -> LeaveOneOut:
    """Score references by the class prototypes of the others.

    These are equations 2-4 of arXiv 2507.02798.

    Args:
        prototypes: (M, D) instance prototypes, not normalized.
        category_indices: (M,) int64 in 0..num_categories-1.
        num_categories: C. Categories without references are nobody's neighbor.
    """
    vectors = prototypes.double()
    counts = torch.bincount(category_indices, minlength=num_categories).to(vectors.dtype)
    sums = vectors.new_zeros(num_categories, vectors.shape[1]).index_add_(0, category_indices, vectors)
    own_means = (sums[category_indices] - vectors) / (counts[category_indices] - 1).clamp(min=1)[:, None]
    unit_vectors = normalize(vectors, dim=1)
    own = (unit_vectors * normalize(own_means, dim=1)).sum(dim=1).clamp(0, 1)
    own[counts[category_indices] < 2] = torch.nan
    class_means = normalize(sums / counts.clamp(min=1)[:, None], dim=1)
    others = (unit_vectors @ class_means.T).clamp(0, 1)
    others[:, counts == 0] = -torch.inf
    others[torch.arange(len(vectors)), category_indices] = -torch.inf
    best_other, best_other_indices = others.max(dim=1)
    is_alone = best_other.isinf()
    return LeaveOneOut(
        own=own.float(),
        best_other=best_other.masked_fill(is_alone, torch.nan).float(),
        best_other_indices=best_other_indices.masked_fill(is_alone, -1),
    )
