"""What was found in one image, as a small file of its own: the unit in which a run is continued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

from no_time_to_train.files.formats import write_text
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.ops.rle import are_compressed_counts_valid
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, Detections, TargetImage


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One labeled image.

    Attributes:
        file_name: relative to the images folder, with forward slashes.
        num_bytes: size of the image file, by which a changed image is noticed.
        sha256: of the image file, by which a changed image of the same size is noticed; None in records of earlier
            versions.
        image_size_hw: (height, width).
        entries: of ``Detections.to_json``, best first.
    """

    file_name: str
    num_bytes: int
    image_size_hw: tuple[int, int]
    entries: tuple[dict[str, Any], ...]
    sha256: str | None = None

    @classmethod
    def from_detections(
        cls, file_name: str, num_bytes: int, detections: Detections, min_score: float, sha256: str | None = None
    ) -> Self:
        """Keep the detections that score at least ``min_score``."""
        kept = detections.scoring_at_least(min_score)
        return cls(file_name, num_bytes, kept.image_size_hw, tuple(kept.to_json()), sha256)

    @classmethod
    def of_image(cls, target: TargetImage, detections: Detections, min_score: float) -> Self:
        """Record the detections of an image file that score at least ``min_score``."""
        num_bytes = target.path.stat().st_size
        return cls.from_detections(target.file_name, num_bytes, detections, min_score, sha256_of_file(target.path))

    def is_of(self, path: Path) -> bool:
        """Return whether the image file has the contents that the record was made from."""
        return path.stat().st_size == self.num_bytes and self.sha256 in (None, sha256_of_file(path))

    def to_detections(self, categories: Sequence[Category], min_scores: MinScores) -> Detections:
        """Return the detections that score enough."""
        entries = [entry for entry in self.entries if entry["score"] >= min_scores.of(entry["category_id"])]
        return Detections.from_json(entries, self.image_size_hw, categories)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the record's file."""
        height, width = self.image_size_hw
        return {
            "file_name": self.file_name,
            "bytes": self.num_bytes,
            **({} if self.sha256 is None else {"sha256": self.sha256}),
            "height": height,
            "width": width,
            "detections": self.entries,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gives.

        Raises:
            ValueError: it is something else.
        """
        try:
            size_hw = (int(content["height"]), int(content["width"]))
            entries = tuple(content["detections"])
            check_entries(entries, size_hw)
            return cls(content["file_name"], content["bytes"], size_hw, entries, content.get("sha256"))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"it is not the record of an image ({type(error).__name__}: {error})") from error

    def write(self, path: Path) -> None:
        """Write the record's file."""
        write_text(path, json.dumps(self.to_json(), ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that :meth:`write` made.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


_NUMBERS = {int, float}
"""What JSON gives for a number; true and false are none."""


def check_entries(entries: Sequence[Mapping[str, Any]], image_size_hw: tuple[int, int]) -> None:
    """Raise TypeError, ValueError or KeyError where entries are none of ``Detections.to_json`` of such an image."""
    for entry in entries:
        x, y, width, height = entry["bbox"]
        numbers = (x, y, width, height, entry["score"], entry["predicted_iou"], entry["category_id"])
        if not _NUMBERS.issuperset(map(type, numbers)) or not all(map(isfinite, numbers)):
            raise TypeError(f"no numbers: {numbers}")
        if type(entry["category_id"]) is not int or entry["category_id"].bit_length() > 63:
            raise TypeError(f"no category id: {entry['category_id']}")
        if tuple(entry["segmentation"]["size"]) != image_size_hw:
            raise ValueError(f"a mask of another size than the image: {entry['segmentation']['size']}")
    num_pixels = image_size_hw[0] * image_size_hw[1]
    counts = [entry["segmentation"]["counts"] for entry in entries]
    if not all(isinstance(text, str) for text in counts):
        raise TypeError("no run-length encoded mask")
    if not are_compressed_counts_valid(counts, [num_pixels] * len(counts)).all():
        raise ValueError("a mask whose runs do not add up to its size")
