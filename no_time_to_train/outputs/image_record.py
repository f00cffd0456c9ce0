"""What was found in one image, as a small file of its own: the unit in which a run is continued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from no_time_to_train.files.formats import write_text
from no_time_to_train.structures import Category, Detections


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One labeled image.

    Attributes:
        file_name: relative to the images folder, with forward slashes.
        num_bytes: size of the image file, by which a changed image is noticed.
        image_size_hw: (height, width).
        entries: of ``Detections.to_json``, best first.
    """

    file_name: str
    num_bytes: int
    image_size_hw: tuple[int, int]
    entries: tuple[dict[str, Any], ...]

    @classmethod
    def from_detections(cls, file_name: str, num_bytes: int, detections: Detections, min_score: float) -> Self:
        """Keep the detections that score at least ``min_score``."""
        kept = detections.scoring_at_least(min_score)
        return cls(file_name, num_bytes, kept.image_size_hw, tuple(kept.to_json()))

    def to_detections(self, categories: Sequence[Category], min_score: float) -> Detections:
        """Return the detections that score at least ``min_score``."""
        entries = [entry for entry in self.entries if entry["score"] >= min_score]
        return Detections.from_json(entries, self.image_size_hw, categories)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the record's file."""
        height, width = self.image_size_hw
        return {
            "file_name": self.file_name,
            "bytes": self.num_bytes,
            "height": height,
            "width": width,
            "detections": self.entries,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gives."""
        size_hw = (content["height"], content["width"])
        return cls(content["file_name"], content["bytes"], size_hw, tuple(content["detections"]))

    def write(self, path: Path) -> None:
        """Write the record's file."""
        write_text(path, json.dumps(self.to_json(), ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that :meth:`write` made."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
