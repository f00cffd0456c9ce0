"""IoU of label maps over a whole set of images."""

from __future__ import annotations

import numpy as np


class IouCounts:
    """Intersections and unions in pixels, summed over images.

    Attributes:
        intersections: (L,) int64, by label.
        unions: (L,) int64.
    """

    def __init__(self, num_labels: int) -> None:
        self.intersections = np.zeros(num_labels, np.int64)
        self.unions = np.zeros(num_labels, np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count one image.

        Args:
            predicted: labels 0..L-1, of any shape.
            truth: the same for the ground truth; pixels that are not to be counted are left out of both.
        """
        size = len(self.unions)
        common = np.bincount(truth[truth == predicted], minlength=size)
        self.intersections += common
        self.unions += np.bincount(truth.ravel(), minlength=size) + np.bincount(predicted.ravel(), minlength=size)
        self.unions -= common

    def ious(self) -> list[float | None]:
        """Compute the IoU of every label in per cent.

        None where neither side has a pixel.
        """
        pairs = zip(self.intersections.tolist(), self.unions.tolist(), strict=True)
        return [100 * common / union if union else None for common, union in pairs]
