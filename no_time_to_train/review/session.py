"""The images under review and what has been decided about them, on disk at every moment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any, Literal, Self

from no_time_to_train.data.image_selection import ImageNames, ImageSelection
from no_time_to_train.data.images import image_size_hw
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_json
from no_time_to_train.ops.rle import Rle, rle_area
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.result_folder import recorded_names
from no_time_to_train.outputs.review_record import (
    ImageReview,
    ReviewObject,
    Status,
    objects_under_review,
    reviewed_objects,
)
from no_time_to_train.outputs.reviewed_dataset import ReviewedImage, write_reviewed
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.review.labeled_run import LabeledRun, last_labeling, read_added_categories
from no_time_to_train.review.overview import ImageOverview, Overviews
from no_time_to_train.review.thresholds import ReviewThresholds
from no_time_to_train.structures import Category

REVIEW_FOLDER = "review"
_MAX_UNDO = 200
_MAX_NAME_LENGTH = 80

Decision = Literal["keep", "drop", "undecide"]
_STATUS_AFTER: dict[str, Status] = {"keep": "kept", "drop": "dropped", "undecide": "undecided"}


class ReviewSession:
    """A results folder, or images without results, under review.

    Every change is written at once (one small file per image under ``review/per_image``), so a killed program loses
    nothing. Safe to call from several threads.

    Args:
        folder: results folder; ``review/`` is made in it.
        images: folder of the images.
        file_names: of the images, relative to ``images``, in order.
        categories: of the run; may be empty.
        min_scores: the run's thresholds.
        upright: whether the run turned the images as their EXIF orientation says.
    """

    def __init__(
        self,
        folder: Path,
        images: Path,
        file_names: Sequence[str],
        categories: Sequence[Category],
        min_scores: MinScores,
        *,
        upright: bool = True,
    ) -> None:
        self.folder = folder
        self.images = images
        self.file_names = tuple(file_names)
        self.upright = upright
        self._review = folder / REVIEW_FOLDER
        self._references_file: Path | None = None
        self._lock = RLock()
        self._undo: list[ImageReview] = []
        self._overviews = Overviews()
        self._categories = list(categories)
        added = read_added_categories(self._review / "categories.json")
        known = {category.id for category in self._categories}
        self._categories += [category for category in added if category.id not in known]
        self.thresholds = ReviewThresholds(self._review / "min_scores.json", min_scores)
        self._records = last_labeling(folder, self._review) / "per_image"

    @classmethod
    def of_results(cls, folder: Path, images: Path | None = None) -> Self:
        """Open a folder that ``label_folder`` wrote.

        Args:
            folder: with ``run.json``, ``annotations.json`` and ``per_image/``.
            images: where the images lie now; None: where they lay when they were labeled.

        Raises:
            InputError, InputFileNotFoundError: see ``LabeledRun.read``.
        """
        run = LabeledRun.read(folder, images)
        return cls(folder, run.images, run.file_names, run.categories, run.min_scores, upright=run.upright)

    @classmethod
    def of_images(cls, images: ImageNames | ImageSelection, folder: Path) -> Self:
        """Open images that were not labeled, to draw references on them.

        ``references.json`` in ``folder`` is written anew with every change. Where single files or patterns are named,
        the images that were drawn on earlier stay.

        Args:
            images: a folder, or files, folders and patterns.
            folder: where the drawn references go.

        Raises:
            InputError: what was drawn into the folder earlier is of images that lie elsewhere.
        """
        selection = images if isinstance(images, ImageSelection) else ImageSelection.of(images)
        root = selection.root
        names = {path.relative_to(root).as_posix() for path in selection.find(own=folder).paths}
        drawn = recorded_names(folder / REVIEW_FOLDER)
        still_there = [name for name in drawn if (root / name).is_file()]
        if drawn and not still_there:
            raise InputError(f"{folder} holds what was drawn on other images: {drawn[0]} is not in {root}.")
        if not selection.is_folder:
            names.update(still_there)
        session = cls(folder, root, sorted(names), (), MinScores(0.5))
        session._references_file = folder / "references.json"
        return session

    @property
    def categories(self) -> tuple[Category, ...]:
        """Of the run and those added by hand."""
        return tuple(self._categories)

    def add_category(self, name: str) -> Category:
        """Add a category, or return the one that has the name.

        Raises:
            InputError: the name is empty, too long or reserved.
        """
        name = name.strip()
        if not name or len(name) > _MAX_NAME_LENGTH or name.startswith(("_", "!")) or not name.isprintable():
            raise InputError(
                f"a category name must have 1 to {_MAX_NAME_LENGTH} printable characters and not begin with _ or !, "
                f"got {name[:_MAX_NAME_LENGTH]!r}."
            )
        with self._lock:
            for category in self._categories:
                if category.name == name:
                    return category
            added = Category(max((category.id for category in self._categories), default=0) + 1, name)
            self._categories.append(added)
            entries = [{"id": category.id, "name": category.name} for category in self._categories]
            write_json(self._review / "categories.json", entries)
            return added

    def image_path(self, number: int) -> Path:
        """Return the file of an image; raises InputError where it does not lie in the images folder."""
        path = (self.images / self._name(number)).resolve()
        if not path.is_relative_to(self.images.resolve()):
            raise InputError(f"{self._name(number)} does not lie in {self.images}.")
        return path

    def overview(self) -> list[ImageOverview]:
        """Return one entry per image, in order."""
        return [self._overview_of(number, name) for number, name in enumerate(self.file_names)]

    def problems(self) -> list[str]:
        """Say what is wrong with the images of which a file is damaged; they are left out of everything else."""
        return [item.problem for item in self.overview() if item.problem]

    def _overview_of(self, number: int, name: str) -> ImageOverview:
        def make() -> ImageOverview:
            try:
                return ImageOverview.of(name, self.record(number), self.review(number))
            except InputError as error:
                return ImageOverview(name, "damaged", problem=str(error))

        return self._overviews.of(self._record_path(name), self._review_path(name), make)

    def image(self, number: int) -> dict[str, Any]:
        """Return size, state and objects of an image as plain values."""
        review = self.review(number)
        record = self.record(number)
        height, width = self._size_hw(number, record)
        return {
            "name": self._name(number),
            "height": height,
            "width": width,
            "done": review.is_done,
            "objects": [item.to_json() for item in objects_under_review(record, review)],
        }

    def record(self, number: int) -> ImageRecord | None:
        """Return what the run found in an image; None where it found nothing yet."""
        path = self._record_path(self._name(number))
        if not path.is_file():
            return None
        try:
            return ImageRecord.read(path)
        except ValueError as error:
            raise InputError(f"{path} cannot be used: {error}. Label that image again.") from error

    def review(self, number: int) -> ImageReview:
        """Return what was decided about an image."""
        path = self._review_path(self._name(number))
        return ImageReview.read(path) if path.is_file() else ImageReview(self._name(number))

    def decide(self, number: int, ids: Sequence[str], decision: Decision) -> None:
        """Keep or drop objects, or take the decision back."""
        status = _STATUS_AFTER.get(decision)
        if status is None:
            raise InputError(f"a decision must be keep, drop or undecide, got {decision!r}.")
        with self._lock:
            review = self.review(number)
            for item in self._objects(number, ids):
                if status == "undecided":
                    others = tuple(other for other in review.objects if other.id != item.id)
                    review = replace(review, objects=others)
                else:
                    review = review.with_object(replace(item, status=status))
            self._change(number, review)

    def relabel(self, number: int, ids: Sequence[str], category_id: int) -> None:
        """Give objects another category; they count as kept."""
        self._check_category(category_id)
        with self._lock:
            review = self.review(number)
            for item in self._objects(number, ids):
                review = review.with_object(replace(item, category_id=category_id, status="kept"))
            self._change(number, review)

    def add(self, number: int, category_id: int, mask: Rle) -> str:
        """Add an object that a person drew; returns its id."""
        self._check_category(category_id)
        self._check_mask(number, mask)
        with self._lock:
            item = ReviewObject.added(category_id, mask)
            self._change(number, self.review(number).with_object(item))
            return item.id

    def mend(self, number: int, object_id: str, mask: Rle) -> None:
        """Give an object a better mask; it counts as kept."""
        self._check_mask(number, mask)
        with self._lock:
            [item] = self._objects(number, [object_id])
            original = item.original_mask if item.original_mask is not None or item.score is None else item.mask
            mended = replace(item, mask=mask, original_mask=original, status="kept")
            self._change(number, self.review(number).with_object(mended))

    def finish(self, number: int) -> None:
        """Mark an image as done: what is undecided is kept from its threshold on, and dropped below."""
        with self._lock:
            review = self.review(number)
            for item in objects_under_review(self.record(number), review):
                if item.status == "undecided" and item.reaches(self.thresholds.now):
                    review = review.with_object(replace(item, status="kept"))
            self._change(number, replace(review, is_done=True))

    def reopen(self, number: int) -> None:
        """Take back that an image is done; its decisions stay."""
        with self._lock:
            self._change(number, replace(self.review(number), is_done=False))

    def undo(self) -> int | None:
        """Take the last change back; returns the number of its image, or None where there is nothing to undo."""
        with self._lock:
            if not self._undo:
                return None
            before = self._undo.pop()
            number = self.file_names.index(before.file_name)
            self._write(number, before)
            return number

    def numbers_done(self) -> list[int]:
        """Return the numbers of the images that were looked at as a whole."""
        return [number for number, item in enumerate(self.overview()) if item.status == "done"]

    def write_annotations(self, path: Path, min_scores: MinScores | None = None, *, only_kept: bool = False) -> int:
        """Write the reviewed state as a COCO data set; returns the number of annotations.

        Images of which a file is damaged are left out, see :meth:`problems`.

        Args:
            path: the file.
            min_scores: undecided detections from these scores on are annotations too; None: the thresholds of now.
            only_kept: leave out undecided detections, and images and categories without a kept object.
        """
        images = self._reviewed_images(min_scores or self.thresholds.now, only_kept=only_kept)
        if not only_kept:
            return write_reviewed(path, images, self.categories)
        kept = list(images)
        used = {item.category_id for image in kept for item in image.objects}
        return write_reviewed(path, kept, [category for category in self.categories if category.id in used])

    def _reviewed_images(self, min_scores: MinScores, *, only_kept: bool) -> Iterator[ReviewedImage]:
        # Every change to drawn references comes here: of the others of thousands of images no file is looked at.
        decided = set(recorded_names(self._review)) if only_kept else None
        for number, name in enumerate(self.file_names):
            if (decided is not None and name not in decided) or self._overview_of(number, name).problem:
                continue
            record = self.record(number)
            objects = reviewed_objects(record, self.review(number), min_scores)
            if only_kept:
                objects = [item for item in objects if item.status == "kept"]
            if objects or not only_kept:
                yield ReviewedImage(number + 1, name, self._size_hw(number, record), tuple(objects))

    def use_round(self, folder: Path) -> None:
        """Take the detections of a later labeling run from now on; decisions stay."""
        with self._lock:
            relative = os.path.relpath(folder.resolve(), self.folder.resolve())
            write_json(self._review / "round.json", {"folder": Path(relative).as_posix()})
            self._records = last_labeling(self.folder, self._review) / "per_image"

    def _size_hw(self, number: int, record: ImageRecord | None) -> tuple[int, int]:
        return record.image_size_hw if record else image_size_hw(self.image_path(number), upright=self.upright)

    def _change(self, number: int, review: ImageReview) -> None:
        self._undo.append(self.review(number))
        del self._undo[:-_MAX_UNDO]
        self._write(number, review)

    def _write(self, number: int, review: ImageReview) -> None:
        review.write(self._review_path(self._name(number)))
        if self._references_file is not None:
            self.write_annotations(self._references_file, only_kept=True)

    def _objects(self, number: int, ids: Sequence[str]) -> list[ReviewObject]:
        found = {item.id: item for item in objects_under_review(self.record(number), self.review(number))}
        missing = [name for name in ids if name not in found]
        if missing or not ids:
            raise InputError(f"{self._name(number)} has no object {missing[0] if missing else ''!r}. Load it again.")
        return [found[name] for name in ids]

    def _name(self, number: int) -> str:
        if not 0 <= number < len(self.file_names):
            raise InputError(f"there is no image {number}: there are {len(self.file_names)}, counted from 0.")
        return self.file_names[number]

    def _record_path(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _review_path(self, name: str) -> Path:
        return self._review / "per_image" / f"{name}.json"

    def _check_category(self, category_id: int) -> None:
        if category_id not in {category.id for category in self._categories}:
            raise InputError(f"there is no category {category_id}. Add it first.")

    def _check_mask(self, number: int, mask: Rle) -> None:
        size = list(self._size_hw(number, self.record(number)))
        if mask["size"] != size or not rle_area(mask):
            raise InputError(f"the mask must have the size {size} of the image and cover a pixel of it.")
