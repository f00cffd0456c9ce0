"""The list of images under review."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from no_time_to_train.errors import counted
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.review_record import ImageReview
from no_time_to_train.outputs.summary import ImageSummary

Status = Literal["done", "begun", "new", "damaged"]


@dataclass(frozen=True)
class ImageOverview:
    """One line of the list of images.

    Attributes:
        file_name: relative to the images folder.
        status: ``done``, ``begun`` or ``new``; ``damaged`` where a file of the image cannot be used.
        summary: of its detections; None where the run found nothing yet.
        num_decided: objects that were kept or dropped by hand.
        problem: which file is damaged and what to do; empty where none is.
    """

    file_name: str
    status: Status
    summary: ImageSummary | None = None
    num_decided: int = 0
    problem: str = ""

    @classmethod
    def of(cls, file_name: str, record: ImageRecord | None, review: ImageReview) -> Self:
        """Sum up what was found in an image, and what was decided about it."""
        summary = ImageSummary.of(record) if record else None
        status: Status = "done" if review.is_done else "begun" if review.objects else "new"
        return cls(file_name, status, summary, len(review.objects))

    @property
    def found(self) -> tuple[tuple[int, float], ...]:
        """Return (category id, score) of its detections, best first."""
        return () if self.summary is None else tuple(self.summary.found)

    @cached_property
    def json_text(self) -> str:
        """The line as JSON, written once; ids and scores with three digits in one flat list."""
        content = {
            "name": self.file_name,
            "status": self.status,
            "found": [value for category_id, score in self.found for value in (category_id, round(score, 3))],
            "decided": self.num_decided,
            **({"problem": self.problem} if self.problem else {}),
        }
        return json.dumps(content, separators=(",", ":"))


def describe_problems(problems: Sequence[str]) -> str:
    """Say how many images are left out as a file of theirs is damaged; nothing where there are none."""
    if not problems:
        return ""
    return f" {counted(len(problems), 'image')} left out, of which a file is damaged. First: {problems[0]}"


Stamp = tuple[int, int] | None
"""Time and size of a file; None where there is none."""


class Overviews:
    """Lines of the list of images, made again only where a file has changed.

    Thousands of records take seconds to read, and the page asks for all lines whenever it is opened.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[Stamp, Stamp, ImageOverview]] = {}

    def of(self, record: Path, review: Path, make: Callable[[], ImageOverview]) -> ImageOverview:
        """Return the line of an image.

        Args:
            record: file of what was found in it.
            review: file of what was decided about it.
            make: makes the line from both.
        """
        now = (_stamp(record), _stamp(review))
        kept = self._kept.get(record)
        if kept is None or kept[:2] != now:
            kept = self._kept[record] = (*now, make())
        return kept[2]


def _stamp(path: Path) -> Stamp:
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_size
