"""What a labeled mask's score and its rank are made of.

Similarity says how well a mask's feature fits its category. It says little about the mask itself: a part of an object
and a mask that spills over the edge look much like the whole. What the mask model knows tells these apart: its own
estimate of a mask's quality (predicted IoU), and how little the mask changes with its threshold (stability). So scores
and ranks are products of powers of these; an exponent of 0 leaves a factor out. The paper (arXiv 2507.02798) has the
similarity alone as the score and the predicted IoU alone as the rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.config import ScoringConfig


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of M labeled masks.

    Attributes:
        similarities: (M,) in 0..1, of each mask to its category, as matching gives them.
        predicted_ious: (M,) the mask model's own estimate of each mask's quality.
        stabilities: (M,) in 0..1, how little each mask changes with its threshold.
        consistencies: (M,) in 0..1, how much the features under each mask agree.
    """

    similarities: Tensor
    predicted_ious: Tensor
    stabilities: Tensor
    consistencies: Tensor


def mask_scores(evidence: Evidence, config: ScoringConfig) -> Tensor:
    """Return the (M,) scores in 0..1 that detections are sorted and cut by.

    Example:
        >>> evidence = Evidence(torch.tensor([0.8]), torch.tensor([0.5]), torch.ones(1), torch.ones(1))
        >>> mask_scores(evidence, ScoringConfig(predicted_iou_exponent=2.0)).tolist()
        [0.20000000298023224]
    """
    scores = product_of_powers(
        (
            (evidence.similarities, config.similarity_exponent),
            (evidence.predicted_ious, config.predicted_iou_exponent),
            (evidence.stabilities, config.stability_exponent),
            (evidence.consistencies, config.consistency_exponent),
        )
    )
    return scores.clamp(0, 1)


def mask_ranking(evidence: Evidence, config: ScoringConfig) -> Tensor:
    """Return the (M,) ranking, higher is better: who suppresses whom in NMS, and whose score merging lowers."""
    return product_of_powers(
        (
            (evidence.similarities, config.rank_similarity_exponent),
            (evidence.predicted_ious, config.rank_predicted_iou_exponent),
            (evidence.stabilities, config.rank_stability_exponent),
            (evidence.consistencies, config.rank_consistency_exponent),
        )
    )


def product_of_powers(factors: Iterable[tuple[Tensor, float]]) -> Tensor:
    """Multiply powers of some (M,) values, at least one of them.

    A single value with exponent 1 comes back as it is, to the bit. Values below 0 count as 0 under any other exponent.
    """
    factors = tuple(factors)
    powers = [value if exponent == 1 else value.clamp(min=0) ** exponent for value, exponent in factors if exponent]
    if not powers:
        return torch.ones_like(factors[0][0])
    product = powers[0]
    for power in powers[1:]:
        product = product * power
    return product
