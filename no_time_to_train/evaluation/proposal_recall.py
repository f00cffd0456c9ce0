"""How well candidate masks cover the objects of an image.

Whatever the objects are: it is class-agnostic.

Average recall is COCO's (``pycocotools`` with ``useCats=0`` is the reference); the candidates are ranked by predicted
IoU. The other figures say why it is what it is: whether any mask fits, and into how many masks objects fall apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.ops.rle import Rle

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_COUNTS = (10, 100, 1000)
"""Average recall is reported at these numbers of proposals per image."""


@dataclass(frozen=True, eq=False)
class ImageCoverage:
    """The objects (G) of one image and how candidate masks cover them.

    Attributes:
        match_ranks: (T, G) rank, from 0, of the mask that is matched to each object at each of ``IOU_THRESHOLDS``;
            infinite where there is none. The best k masks alone would be matched in the same way, so that the recall of
            k is the share of ranks below k.
        best_ious: (G,) IoU of the mask that fits best.
        num_inside: (G,) masks with more than half of their area in the object.
        num_proposals: masks of the image.
    """

    match_ranks: np.ndarray
    best_ious: np.ndarray
    num_inside: np.ndarray
    num_proposals: int


def cover_objects(proposals: Sequence[Rle], predicted_ious: np.ndarray, objects: Sequence[Rle]) -> ImageCoverage:
    """Compare the candidate masks of an image with its objects.

    Args:
        proposals: N masks of the image's size.
        predicted_ious: (N,) what they are ranked by, best first; equal ones stay in their order.
        objects: G ground-truth masks. Leave crowds out: they change no recall.
    """
    if not proposals or not objects:
        nothing = np.zeros(len(objects))
        ranks = np.full((len(IOU_THRESHOLDS), len(objects)), np.inf)
        return ImageCoverage(ranks, nothing, nothing.astype(int), len(proposals))
    order = np.argsort(-np.asarray(predicted_ious), kind="stable")
    ranked = [proposals[i] for i in order]
    ious = coco_mask.iou(ranked, list(objects), [0] * len(objects))
    # IoU with a "crowd" divides by the proposal's own area.
    shares_inside = coco_mask.iou(ranked, list(objects), [1] * len(objects))
    return ImageCoverage(
        match_ranks=_match_ranks(ious),
        best_ious=ious.max(axis=0),
        num_inside=(shares_inside > 0.5).sum(axis=0),
        num_proposals=len(proposals),
    )


def _match_ranks(ious: np.ndarray) -> np.ndarray:
    """COCOeval's matching for every threshold: from the best mask down, each takes the free object it fits best.

    Args:
        ious: (N, G), best-ranked mask first.

    Returns:
        (T, G), see ``ImageCoverage``.
    """
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    ranks = np.full((len(thresholds), ious.shape[1]), np.inf)
    last = ious.shape[1] - 1
    for rank in np.flatnonzero(ious.max(axis=1) >= thresholds[0]):
        free = np.where(np.isinf(ranks) & (ious[rank] >= thresholds), ious[rank], -1.0)
        chosen = last - free[:, ::-1].argmax(axis=1)  # of equal ones the last, as COCOeval does
        matched = np.flatnonzero(free.max(axis=1) >= 0)
        ranks[matched, chosen[matched]] = rank
    return ranks


@dataclass(frozen=True)
class ProposalMetrics:
    """Metrics of a source of proposals over all images.

    Recalls and IoU are in per cent, None where there is no object.

    Attributes:
        average_recall: COCO's, by number of proposals per image: objects matched one to one, mean over IoU
            0.50:0.05:0.95.
        recall_50, recall_75: objects that some mask fits with at least this IoU: no later stage can find more.
        mean_best_iou: mean over objects of the IoU of the mask that fits best.
        masks_per_object: masks that lie in an object with more than half of their area, per object. 1 would be
            ideal; the more, the more parts, wholes and repetitions compete for one object.
        proposals_per_image: mean.
    """

    average_recall: dict[int, float | None]
    recall_50: float | None
    recall_75: float | None
    mean_best_iou: float | None
    masks_per_object: float | None
    proposals_per_image: float


def summarize_coverage(images: Sequence[ImageCoverage]) -> ProposalMetrics:
    """Summarize all images, every object counting the same.

    Args:
        images: at least one.
    """
    best_ious = np.concatenate([image.best_ious for image in images])
    inside = np.concatenate([image.num_inside for image in images])
    average_recall = dict(zip(RECALL_COUNTS, average_recalls(images, RECALL_COUNTS), strict=True))
    return ProposalMetrics(
        average_recall=average_recall,
        recall_50=_per_cent(best_ious >= 0.5),
        recall_75=_per_cent(best_ious >= 0.75),
        mean_best_iou=_per_cent(best_ious),
        masks_per_object=float(inside.mean()) if len(inside) else None,
        proposals_per_image=float(np.mean([image.num_proposals for image in images])),
    )


def average_recalls(images: Sequence[ImageCoverage], counts: Sequence[int]) -> list[float | None]:
    """Average the recall in per cent, by number of best masks.

    The best this many masks of every image count. None where there is no object.
    """
    ranks = np.concatenate([image.match_ranks for image in images], axis=1)
    return [_per_cent(ranks < count) for count in counts]


def _per_cent(values: np.ndarray) -> float | None:
    return float(values.mean() * 100) if values.size else None
