"""The folder a labelling run writes, and the rules by which a later run continues it.

``per_image/`` is the truth: one whole file per labelled image. Everything else is made from it, so a run killed at any
moment is continued with the images that have no file yet, and ends with the very files an undisturbed run writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from no_time_to_train.files.formats import write_csv, write_jpeg
from no_time_to_train.outputs.coco_json import write_dataset, write_results
from no_time_to_train.outputs.drawing import draw_detections
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.summary import RunSummary
from no_time_to_train.outputs.web_page import write_web_page
from no_time_to_train.structures import Category, Detections, TargetImage

_JPEG_SUFFIXES = (".jpg", ".jpeg")


class ResultFolder:
    """One results folder: its paths, reading and writing.

    Args:
        path: the folder; made when first written to.
        categories: what the category ids mean.
        keep_min_score: lowest score that is kept at all.
        min_score: lowest score drawn, counted and put into ``annotations.json``.
    """

    def __init__(self, path: Path, categories: Sequence[Category], *, keep_min_score: float, min_score: float) -> None:
        self.path = path
        self.categories = tuple(category for category in categories if not category.is_background)
        self.keep_min_score = keep_min_score
        self.min_score = min_score

    def record_path(self, target: TargetImage) -> Path:
        """Return the file of an image's record.

        The suffix is part of its name: ``a.jpg`` and ``a.png`` are two images.
        """
        return self.path / "per_image" / f"{target.file_name}.json"

    def overlay_path(self, target: TargetImage) -> Path:
        """Return the file of an image's overlay."""
        suffix = "" if target.file_name.lower().endswith(_JPEG_SUFFIXES) else ".jpg"
        return self.path / "overlays" / (target.file_name + suffix)

    def is_labelled(self, target: TargetImage) -> bool:
        """Return whether an image has a record."""
        return self.record_path(target).is_file()

    def forget_changed(self, targets: Sequence[TargetImage]) -> None:
        """Drop the records of images whose file has another size now than when it was labelled."""
        for target in targets:
            path = self.record_path(target)
            if path.is_file() and ImageRecord.read(path).num_bytes != target.path.stat().st_size:
                path.unlink()

    def write_detections(self, target: TargetImage, image: np.ndarray, detections: Detections) -> None:
        """Write an image's overlay and record.

        The overlay comes first: an image counts as labeled once its record is there.
        """
        num_bytes = target.path.stat().st_size
        record = ImageRecord.from_detections(target.file_name, num_bytes, detections, self.keep_min_score)
        self._write_overlay(target, image, detections.scoring_at_least(max(self.min_score, self.keep_min_score)))
        record.write(self.record_path(target))

    def redraw_overlay(self, target: TargetImage, image: np.ndarray) -> None:
        """Draw the overlay of a labelled image again."""
        record = ImageRecord.read(self.record_path(target))
        self._write_overlay(target, image, record.to_detections(self.categories, self.min_score))

    def write_summaries(self, targets: Sequence[TargetImage], problems: Sequence[tuple[str, str]]) -> RunSummary:
        """Write everything that is made from the records, in the order of the images.

        Args:
            targets: the images of the run; those without a record are left out.
            problems: (file name, what is wrong) of the images that could not be read.
        """
        records = _Records(self, targets)
        write_results(self.path / "predictions.json", records)
        write_dataset(self.path / "annotations.json", records, self.categories, self.min_score)
        write_csv(self.path / "errors.csv", ("image", "problem"), problems)
        summary = RunSummary.of((record for _, record in records), self.categories, self.min_score)
        write_csv(self.path / "summary.csv", summary.header, summary.rows())
        overlays = {target.file_name: self.overlay_path(target).relative_to(self.path).as_posix() for target in targets}
        write_web_page(self.path / "index.html", summary, overlays)
        return summary

    def _write_overlay(self, target: TargetImage, image: np.ndarray, confident: Detections) -> None:
        write_jpeg(self.overlay_path(target), draw_detections(image, confident))


@dataclass(frozen=True)
class _Records:
    """The records of the labelled images with their ids, read from disk on every pass: none stay in memory."""

    folder: ResultFolder
    targets: Sequence[TargetImage]

    def __iter__(self) -> Iterator[tuple[int | str, ImageRecord]]:
        for target in self.targets:
            path = self.folder.record_path(target)
            if path.is_file():
                yield target.id, ImageRecord.read(path)
