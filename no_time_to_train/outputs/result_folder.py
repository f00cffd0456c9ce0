"""The folder of single images' results, and the rules by which a later run continues it.

``per_image/`` is the truth: one whole file per labeled image. Everything else is made from it, so a run killed at any
moment is continued with the images that have no file yet, and ends with the very files an undisturbed run writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from no_time_to_train.data.images import IMAGE_SUFFIXES
from no_time_to_train.errors import counted
from no_time_to_train.files.formats import write_csv, write_jpeg
from no_time_to_train.outputs.coco_json import write_results_and_dataset
from no_time_to_train.outputs.drawing import draw_detections
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.outputs.web_page import write_web_page
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, Detections, TargetImage

logger = logging.getLogger(__name__)

_JPEG_SUFFIXES = (".jpg", ".jpeg")


class ResultFolder:
    """One results folder: its paths, reading and writing.

    Args:
        path: the folder; made when first written to.
        categories: what the category ids mean.
        keep_min_score: lowest score that is kept at all.
        min_scores: lowest scores drawn, counted and put into ``annotations.json``.
        results_name: of the COCO results list.
        draw: an image with its detections -> the overlay.
        has_table: whether there is a ``summary.csv`` of objects by category.
    """

    def __init__(
        self,
        path: Path,
        categories: Sequence[Category],
        *,
        keep_min_score: float,
        min_scores: MinScores,
        results_name: str = "predictions.json",
        draw: Callable[[np.ndarray, Detections], np.ndarray] = draw_detections,
        has_table: bool = True,
    ) -> None:
        self.path = path
        self.categories = tuple(category for category in categories if not category.is_background)
        self.keep_min_score = keep_min_score
        self.min_scores = min_scores
        self.results_path = path / results_name
        self._draw = draw
        self._has_table = has_table

    def record_path(self, target: TargetImage) -> Path:
        """Return the record's file: the whole name, suffix included, as ``a.jpg`` and ``a.png`` are two images."""
        return self.path / "per_image" / f"{target.file_name}.json"

    def overlay_path(self, target: TargetImage) -> Path:
        """Return the overlay's file."""
        return self.path / "overlays" / overlay_name(target.file_name)

    def is_labeled(self, target: TargetImage) -> bool:
        """Return whether the image has a record."""
        return self.record_path(target).is_file()

    def forget_unusable(self, targets: Sequence[TargetImage]) -> dict[str, ImageSummary]:
        """Remove damaged records, and those of images that were other ones when they were labeled.

        Returns:
            What the other records hold, by file name.
        """
        found = {}
        num_changed = 0
        for target in targets:
            path = self.record_path(target)
            if not path.is_file():
                continue
            try:
                record = ImageRecord.read(path)
            except ValueError as error:
                logger.warning("%s is damaged (%s). Its image is labeled again.", path, error)
                path.unlink()
                continue
            if _is_up_to_date(record, path, target.path):
                found[target.file_name] = ImageSummary.of(record)
            else:
                path.unlink()
                num_changed += 1
        if num_changed:
            logger.warning("%s changed since labeled: labeled again.", counted(num_changed, "image"))
        return found

    def forget_overlays(self, done: Iterable[ImageSummary], before: MinScores, now: MinScores) -> None:
        """Remove the overlays that show something else with other lowest scores.

        A category shows its best objects: the same ones where they are as many.
        """
        for image in done:
            if image.counts(before) != image.counts(now):
                (self.path / "overlays" / overlay_name(image.file_name)).unlink(missing_ok=True)

    def write_detections(self, target: TargetImage, image: np.ndarray, detections: Detections) -> None:
        """Write what was found in an image. Overlay first: it counts as labeled once its record is there."""
        self._write_overlay(target, image, detections.scoring_at_least(self.keep_min_score))
        ImageRecord.of_image(target, detections, self.keep_min_score).write(self.record_path(target))

    def redraw_overlay(self, target: TargetImage, image: np.ndarray) -> None:
        """Draw the overlay of a labeled image again."""
        record = ImageRecord.read(self.record_path(target))
        self._write_overlay(target, image, record.to_detections(self.categories, self.min_scores))

    def write_summaries(self, targets: Sequence[TargetImage], problems: Sequence[tuple[str, str]]) -> RunSummary:
        """Write everything that is made from the records, in the order of the images.

        Args:
            targets: the images of the run; those without a record are left out.
            problems: (file name, what is wrong) of the images that could not be read.
        """
        records = _Records(self, targets)
        summary = write_results_and_dataset(
            self.results_path, self.path / "annotations.json", records, self.categories, self.min_scores
        )
        write_csv(self.path / "errors.csv", ("image", "problem"), problems)
        if self._has_table:
            write_csv(self.path / "summary.csv", summary.header, summary.rows())
        write_web_page(self.path / "index.html", summary, lambda name: f"overlays/{overlay_name(name)}")
        return summary

    def _write_overlay(self, target: TargetImage, image: np.ndarray, detections: Detections) -> None:
        write_jpeg(self.overlay_path(target), self._draw(image, self.min_scores.passed(detections)))


def recorded_names(folder: Path) -> list[str]:
    """Return the file names of the images that have a record in a results folder, sorted."""
    records = folder / "per_image"
    return sorted(path.relative_to(records).as_posix().removesuffix(".json") for path in records.rglob("*.json"))


def overlay_name(file_name: str) -> str:
    """Return the name of an image's overlay below ``overlays``, which no two images share.

    That of ``a.png`` is ``a.png.jpg``, that of an image called ``a.png.jpg`` is ``a.png.jpg.jpg``.
    """
    name = Path(file_name)
    keeps_name = name.suffix.lower() in _JPEG_SUFFIXES and Path(name.stem).suffix.lower() not in IMAGE_SUFFIXES
    return file_name + ("" if keeps_name else ".jpg")


def _is_up_to_date(record: ImageRecord, record_path: Path, image: Path) -> bool:
    """Return whether the image is still the one of the record; its bytes are compared only where it looks younger."""
    written, read = record_path.stat(), image.stat()
    if read.st_size != record.num_bytes:
        return False
    if max(read.st_mtime_ns, read.st_ctime_ns) < written.st_mtime_ns:
        return True
    if not record.is_of(image):
        return False
    os.utime(record_path)  # copied, not changed: no need to compare it the next time
    return True


@dataclass(frozen=True)
class _Records:
    """The records of the labeled images with their ids, read from disk on every pass: none stay in memory."""

    folder: ResultFolder
    targets: Sequence[TargetImage]

    def __iter__(self) -> Iterator[tuple[int | str, ImageRecord]]:
        for target in self.targets:
            path = self.folder.record_path(target)
            if path.is_file():
                yield target.id, ImageRecord.read(path)
