"""Which detection is which object: one to one, the best detection first."""

from __future__ import annotations

import numpy as np


def match_one_to_one(ious: np.ndarray, min_iou: float = 0.5) -> np.ndarray:
    """Match each detection to the free object that it fits best.

    The matches of the first k detections do not depend on the others, so one matching serves every threshold.

    Args:
        ious: (N, G) of detections, best first, with objects; a pair of two categories gets 0.
        min_iou: lowest IoU of a match, above 0.

    Returns:
        (N,) int64 position of each detection's object; -1 where it has none.

    Example:
        >>> match_one_to_one(np.array([[0.6, 0.9], [0.7, 0.8], [0.4, 0.0]])).tolist()
        [1, 0, -1]
    """
    matches = np.full(len(ious), -1, np.int64)
    if not ious.size:
        return matches
    free = np.ones(ious.shape[1], bool)
    for row in np.flatnonzero(ious.max(axis=1) >= min_iou):
        fits = np.where(free, ious[row], -1.0)
        best = int(fits.argmax())
        if fits[best] >= min_iou:
            matches[row] = best
            free[best] = False
    return matches
