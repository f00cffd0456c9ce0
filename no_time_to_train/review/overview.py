"""The list of images under review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.review_record import ImageReview

Status = Literal["done", "begun", "new"]


@dataclass(frozen=True)
class ImageOverview:
    """One line of the list of images.

    Attributes:
        file_name: relative to the images folder.
        status: ``done``, ``begun`` or ``new``.
        scores: of its detections, best first.
        num_decided: objects that were kept or dropped by hand.
    """

    file_name: str
    status: Status
    scores: tuple[float, ...]
    num_decided: int

    @classmethod
    def of(cls, file_name: str, record: ImageRecord | None, review: ImageReview) -> Self:
        """Sum up what was found in an image, and what was decided about it."""
        scores = tuple(float(entry["score"]) for entry in record.entries) if record else ()
        status: Status = "done" if review.is_done else "begun" if review.objects else "new"
        return cls(file_name, status, scores, len(review.objects))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; scores with three digits."""
        return {
            "name": self.file_name,
            "status": self.status,
            "scores": [round(score, 3) for score in self.scores],
            "decided": self.num_decided,
        }
