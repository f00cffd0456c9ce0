"""The objects of a video: each, all, and those of one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from no_time_to_train.ops.rle import Rle
from no_time_to_train.structures import Detections

if TYPE_CHECKING:
    from torch import Tensor

    from no_time_to_train.models.sam2.video_memory import ObjectMemory


@dataclass(frozen=True, eq=False)
class Track:
    """One object, as far as the video has been seen.

    Attributes:
        id: from 1, in order of appearance.
        category_scores: summed scores of its detections by category id.
        score: of the latest detection.
        predicted_iou: of the latest detection.
        feature_sum: (D,) sum of the unit features of its detections, on the CPU.
        rle: its mask in the latest frame, None where it is out of sight.
        memory: what SAM 2 remembers of it, None where it is not followed any more.
        num_missing_frames: frames since it was last seen.
        num_unconfirmed: key frames in a row that followed it but did not detect it; all but one of those allowed where
            it was out of sight.
    """

    id: int
    category_scores: dict[int, float]
    score: float
    predicted_iou: float
    feature_sum: Tensor
    rle: Rle | None = None
    memory: ObjectMemory | None = None
    num_missing_frames: int = 0
    num_unconfirmed: int = 0

    @property
    def category_id(self) -> int:
        """Return the category with the highest total score.

        Of equals it is the smaller id.
        """
        return min(self.category_scores, key=lambda category_id: (-self.category_scores[category_id], category_id))

    def given_up(self) -> Track:
        """Return the track, to be found again by its features only."""
        return replace(self, rle=None, memory=None)


@dataclass(frozen=True, eq=False)
class TrackerState:
    """A tracker's knowledge before a key frame.

    It is enough to go on from there in another process.

    Attributes:
        frame_index: of that key frame.
        tracks: every object so far, by ascending id without gaps.
        num_found_again: how often an object that was out of sight was recognized by its features.
    """

    frame_index: int = 0
    tracks: tuple[Track, ...] = ()
    num_found_again: int = 0


@dataclass(frozen=True, eq=False)
class TrackedDetections:
    """The visible objects of one frame.

    Attributes:
        detections: in ascending order of track ids. The score is the one of the object's latest detection.
        track_ids: (N,) int64, from 1; the same object has the same id in all frames.
        is_key_frame: whether the references were looked for in this frame.
    """

    detections: Detections
    track_ids: np.ndarray
    is_key_frame: bool
