"""Which detection is which object, and whether the scene has changed.

Assignment goes by mask overlap and features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from no_time_to_train.ops.rle import Rle, decode_rle, mask_ious, rle_area

_SCENE_CELLS = 32
_CHANGED_COLOR = 0.12
"""Mean difference of the color channels, 0..1, from which on a cell of a scene looks different."""


def mask_overlaps(first: Sequence[Rle], second: Sequence[Rle]) -> np.ndarray:
    """Return the (N, M) float64 intersections over the smaller mask.

    The masks are of one size; where one is empty, it is 0.
    """
    ious = mask_ious(first, second)
    areas = np.array([rle_area(rle) for rle in first], float)[:, None], np.array([rle_area(rle) for rle in second])
    smaller = np.minimum(*areas)
    intersections = ious * (areas[0] + areas[1]) / (1 + ious)
    return np.divide(intersections, smaller, out=np.zeros_like(ious), where=smaller > 0)


def best_pairs(scores: np.ndarray, admissible: np.ndarray) -> list[tuple[int, int]]:
    """Find the one-to-one assignment with the highest total score (Hungarian method).

    Args:
        scores: (N, M) float.
        admissible: (N, M) bool; no other pair is made.

    Returns:
        (row, column) of every pair, rows ascending.
    """
    rows, columns = linear_sum_assignment(np.where(admissible, scores, 0), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if admissible[row, column]]


def square_masks(rles: Sequence[Rle], side: int) -> Tensor:
    """Squash masks to (N, side, side) bool.

    SAM 2's video predictor squashes its prompts so.
    """
    squares = torch.zeros(len(rles), side, side, dtype=torch.bool)
    for square, rle in zip(squares, rles, strict=True):
        mask = torch.from_numpy(np.ascontiguousarray(decode_rle(rle)))[None, None].float()
        square[:] = (
            torch.nn.functional.interpolate(
                mask, size=(side, side), mode="bilinear", align_corners=False, antialias=True
            )[0, 0]
            >= 0.5
        )
    return squares


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame in a few coarse cells.

    Attributes:
        colors: (32, 32, 3) float32 mean colors in 0..1.
        is_known: (32, 32) bool, cells that a followed object's box touches.
    """

    colors: np.ndarray
    is_known: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, boxes_xyxy: np.ndarray) -> Scene:
        """Describe an (H, W, 3) uint8 image and the boxes followed.

        Boxes are (N, 4).
        """
        height, width = image.shape[:2]
        cells = Image.fromarray(image).resize((_SCENE_CELLS, _SCENE_CELLS), Image.Resampling.BOX)
        is_known = np.zeros((_SCENE_CELLS, _SCENE_CELLS), bool)
        scaled = boxes_xyxy * (_SCENE_CELLS / np.array([width, height, width, height]))
        for (left, top), (right, bottom) in zip(
            np.floor(scaled[:, :2]).astype(int), np.ceil(scaled[:, 2:]).astype(int), strict=True
        ):
            is_known[top:bottom, left:right] = True
        return cls(np.asarray(cells, np.float32) / 255, is_known)

    def unexplained_change(self, earlier: Scene) -> float:
        """Return the share of cells, 0..1, that changed without anything followed there."""
        changed = np.abs(self.colors - earlier.colors).mean(axis=2) > _CHANGED_COLOR
        return float((changed & ~self.is_known & ~earlier.is_known).mean())
