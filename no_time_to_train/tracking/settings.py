"""Settings of tracking through a video."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting


@dataclass
class TrackingConfig:
    """How detections become tracks (`nttt track`)."""

    key_frame_interval: int = setting(
        10,
        "The references are looked for every this many frames; after a third of that where an object was lost or "
        "something new seems to have appeared.",
        between=(1, 1_000_000),
    )
    min_score: float = setting(0.35, "Lowest score of a detection that is tracked.", between=(0, 1))
    min_iou: float = setting(
        0.3, "Lowest mask IoU of a detection and the followed object that it may confirm.", between=(0, 1)
    )
    similarity_weight: float = setting(
        0.3, "Weight of the cosine similarity of features beside the IoU, where several would do.", between=(0, 1)
    )
    min_similarity: float = setting(
        0.8,
        "Lowest cosine similarity of the features of a lost object and of a detection that may be it.",
        between=(-1, 1),
    )
    max_overlap: float = setting(
        0.6,
        "A detection is no new object where more than this share of the smaller mask is an object's in sight; two "
        "tracks whose masks have a higher IoU are one object.",
        between=(0, 1),
    )
    max_missing_frames: int = setting(
        30, "An object out of sight for more frames is found again by its features only.", between=(0, 1_000_000)
    )
    max_unconfirmed_key_frames: int = setting(
        3, "An object that this many key frames in a row did not detect is given up.", between=(1, 1_000_000)
    )
    max_unexplained_change: float = setting(
        0.02,
        "Share of the image that may change, outside of what is followed, until a key frame comes early.",
        between=(0, 1),
    )

    @property
    def min_key_frame_gap(self) -> int:
        """Return the fewest frames between two key frames."""
        return max(self.key_frame_interval // 3, 1)
