"""How overlapping masks of one class are settled: lower scores for masks that better-ranked ones already cover.

Every method looks at the intersection over self, ``IoS(m, n) = |m and n| / |m|`` (equation 5 of "No time to train!",
arXiv 2507.02798), of a mask m with the masks n of its class that are ranked before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.config import MergingConfig
from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import Rle, intersection_over_self, mask_ious


@dataclass(frozen=True, eq=False)
class SettledMasks:
    """The masks of an image left after NMS and merging, best first.

    Attributes:
        rles: of the image's size.
        scores: (K,) float.
        category_indices: (K,) int64.
        mask_indices: (K,) int64, which candidate mask each is.
    """

    rles: Sequence[Rle]
    scores: Tensor
    category_indices: Tensor
    mask_indices: Tensor


def decay_scores(
    scores: Tensor, labels: Tensor, rles: Sequence[Rle], normalized_features: Tensor, config: MergingConfig
) -> Tensor:
    """Decay the scores of one image's masks by their overlaps.

    All inputs are in rank order, the best predicted IoU first.

    The rank decides who may lower whom; it is not the order of the scores. What a mask loses depends on
    ``config.name``, with IoS over the masks n of its class ranked before it:

    - ``none``: nothing.
    - ``hard``: everything, if some ``IoS(m, n) >= ios_threshold``.
    - ``soft``: the factor ``(1 - max_n IoS(m, n)) ** exponent``.
    - ``semantic_soft`` (equation 6): ``(1 - max_n IoS(m, n) max(0, f_m . f_n)) ** exponent``.
    - ``graph_diffusion``: ``(1 - pi_m) ** exponent``, with ``max_n IoS(m, n)`` diffused over the graph of overlaps.

    Args:
        scores: (N,) in 0..1.
        labels: (N,) int.
        rles: N masks of one size.
        normalized_features: (N, D) at unit length (or zero).
        config: the method and its numbers.

    Returns:
        (N,) float32, never above ``scores``; 0 for a dropped mask.
    """
    if config.name == "none":
        return scores.float().clone()
    if config.name not in _SHARE_LEFT:
        raise InputError(f"merging.name={config.name} is not a choice. Use one of: none, {', '.join(_SHARE_LEFT)}.")
    share_left = torch.ones_like(scores, dtype=torch.float32)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        if len(members) == 1:  # there is nobody to lose to
            continue
        shares = intersection_over_self([rles[i] for i in members.tolist()])
        # Masks ranked before, on the left, lower others. (Here torch would wake all its threads for a few numbers.)
        ios = torch.from_numpy(np.tril(shares, k=-1)).to(scores.device, torch.float32)
        share_left[members] = _SHARE_LEFT[config.name](ios, normalized_features[members], config)
    return scores * share_left


def best_across_categories(scores: Tensor, labels: Tensor, rles: Sequence[Rle], iou_threshold: float) -> Tensor:
    """Find the masks that no better one of another category repeats: one object keeps one label.

    Greedy, the best score first; equal scores go in their order. A mask that is itself dropped drops no other.

    Args:
        scores: (N,) final scores. Masks that score 0 take no part.
        labels: (N,) int.
        rles: N masks of one size.
        iou_threshold: masks of two categories with at least this IoU show the same object.

    Returns:
        (N,) bool, False for the dropped masks.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[scores[order] > 0]
    ranked_labels = labels[order].cpu().numpy()
    is_other = ranked_labels[:, None] != ranked_labels
    ranked = [rles[i] for i in order.tolist()]
    repeats = is_other & (mask_ious(ranked, ranked) >= iou_threshold)
    ranked_is_kept = np.ones(len(order), bool)
    for position in range(len(order)):
        ranked_is_kept[position] = not (repeats[position] & ranked_is_kept)[:position].any()
    is_kept = torch.ones_like(scores, dtype=torch.bool)
    is_kept[order] = torch.from_numpy(ranked_is_kept).to(scores.device)
    return is_kept


def _hard(ios: Tensor, _features: Tensor, config: MergingConfig) -> Tensor:
    ranked_before = torch.ones_like(ios, dtype=torch.bool).tril(diagonal=-1)
    dropped = ((ios >= config.hard.ios_threshold) & ranked_before).any(dim=1)
    return (~dropped).float()


def _soft(ios: Tensor, _features: Tensor, config: MergingConfig) -> Tensor:
    return (1 - ios.amax(dim=1)) ** config.exponent


def _semantic_soft(ios: Tensor, features: Tensor, config: MergingConfig) -> Tensor:
    similarity = (features @ features.T).clamp(0, 1)  # rounding takes the cosine of equal features above 1
    return _soft(ios * similarity, features, config)


def _graph_diffusion(ios: Tensor, _features: Tensor, config: MergingConfig) -> Tensor:
    """Diffusion of the greatest overlaps, after the training-free detector FSOD-VFM.

    ``pi <- alpha P pi + (1 - alpha) v`` from ``pi = v``, with v the greatest overlap of each mask and P the overlaps,
    every row divided by its sum (``normalize_rows``) or taken as they are, which is what the published code does. These
    may add up to a pi above 1: all is lost then.
    """
    settings = config.graph_diffusion
    greatest = ios.amax(dim=1)
    row_sums = ios.sum(dim=1, keepdim=True)
    transition = ios / row_sums.where(row_sums > 0, 1.0) if settings.normalize_rows else ios
    pi = greatest
    for _ in range(settings.steps):
        previous = pi
        pi = settings.alpha * (transition @ previous) + (1 - settings.alpha) * greatest
        if (pi - previous).abs().max() < settings.tolerance:
            break
    return (1 - pi.clamp(0, 1)) ** config.exponent


_SHARE_LEFT: dict[str, Callable[[Tensor, Tensor, MergingConfig], Tensor]] = {
    "hard": _hard,
    "soft": _soft,
    "semantic_soft": _semantic_soft,
    "graph_diffusion": _graph_diffusion,
}
"""Per method: IoS (M, M) of one class, zero but below its diagonal; features (M, D); settings -> share (M,) kept."""
