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
        prototypes: (M, D) instance prototypes, not normalised.
        category_indices: (M,) int64 in 0..num_categories-1.
        num_categories: C. Categories without references are nobody's neighbour.
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


def suggest_min_score(scores: LeaveOneOut) -> float | None:
    """Suggest the score that makes the fewest mistakes.

    It tells a reference's own category from others.

    A mistake is a reference whose own score is below it, or whose best score with another category is not. Of equally
    good places the widest gap between two scores is taken, and the middle of it: with no mistake at all that is
    halfway between the lowest own score and the highest of another category.

    Returns:
        A score in 0..1; None where a category has no two references, or where there is only one category.
    """
    own, other = scores.own[~scores.own.isnan()], scores.best_other[~scores.best_other.isnan()]
    if not len(own) or not len(other):
        return None
    levels = torch.cat([own, other]).unique()
    if len(levels) == 1:
        return float(levels[0])
    places, gaps = (levels[:-1] + levels[1:]) / 2, levels.diff()
    mistakes = (own[None] < places[:, None]).sum(dim=1) + (other[None] >= places[:, None]).sum(dim=1)
    fewest = mistakes == mistakes.min()
    return float(places[fewest][gaps[fewest].argmax()])
