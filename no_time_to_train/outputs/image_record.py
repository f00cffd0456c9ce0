"""What was found in one image, as a small file of its own: the unit in which a run is continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from no_time_to_train.files.formats import write_text
from no_time_to_train.structures import Category, Detections


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One labelled image.

    Attributes:
        file_name: relative to the images folder, with forward slashes.
        num_bytes: size of the image file, by which a changed image is noticed.
        image_size_hw: (height, width).
        entries: COCO results without ``image_id`` and with ``predicted_iou``, best first.
    """

    file_name: str
    num_bytes: int
    image_size_hw: tuple[int, int]
    entries: tuple[dict[str, Any], ...]

    @classmethod
    def from_detections(cls, file_name: str, num_bytes: int, detections: Detections, min_score: float) -> Self:
        """Keep the detections that score at least ``min_score``."""
        kept = detections[detections.scores >= min_score]
        entries = []
        for result, predicted_iou in zip(kept.to_coco_results(0), kept.predicted_ious.tolist(), strict=True):
            del result["image_id"]  # ids are given when all images are known
            entries.append({**result, "predicted_iou": predicted_iou})
        return cls(file_name, num_bytes, kept.image_size_hw, tuple(entries))

    def to_detections(self, categories: Sequence[Category], min_score: float) -> Detections:
        """The detections that score at least ``min_score``."""
        entries = [entry for entry in self.entries if entry["score"] >= min_score]
        if not entries:
            return Detections.empty(self.image_size_hw, tuple(categories))
        boxes = np.array([entry["bbox"] for entry in entries], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return Detections(
            rles=tuple(
                {"size": entry["segmentation"]["size"], "counts": entry["segmentation"]["counts"].encode("ascii")}
                for entry in entries
            ),
            boxes_xyxy=boxes,
            scores=np.array([entry["score"] for entry in entries], np.float32),
            category_ids=np.array([entry["category_id"] for entry in entries], np.int64),
            predicted_ious=np.array([entry["predicted_iou"] for entry in entries], np.float32),
            image_size_hw=self.image_size_hw,
            categories=tuple(categories),
        )

    def write(self, path: Path) -> None:
        height, width = self.image_size_hw
        content = {
            "file_name": self.file_name,
            "bytes": self.num_bytes,
            "height": height,
            "width": width,
            "detections": self.entries,
        }
        write_text(path, json.dumps(content, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        content = json.loads(path.read_text(encoding="utf-8"))
        size = (content["height"], content["width"])
        return cls(content["file_name"], content["bytes"], size, tuple(content["detections"]))
