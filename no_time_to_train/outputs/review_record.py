"""What a person decided about one image, as a small file of its own.

``review/per_image/<image>.json`` beside the run's ``per_image/`` holds the decisions, so that labeling again never
touches them and a killed server loses none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pycocotools import mask as coco_mask

from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_text
from no_time_to_train.files.json_files import is_number, is_whole_number
from no_time_to_train.ops.rle import Rle, are_compressed_counts_valid, rle_area, rle_to_box_xyxy
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.references.min_scores import MinScores

Status = Literal["undecided", "kept", "dropped"]
_SAME_OBJECT_IOU = 0.5
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class ReviewObject:
    """One object of an image under review.

    Attributes:
        id: stable name of the object within its image.
        category_id: the category it has now.
        status: ``undecided``, ``kept`` or ``dropped``.
        mask: run-length encoded mask of the image's size.
        score: of the detection, or None for an object that a person added.
        original_category_id: the category the run gave it, or None for an added object.
        original_mask: the mask the run gave it where a person mended it, else None.
    """

    id: str
    category_id: int
    status: Status
    mask: Rle
    score: float | None = None
    original_category_id: int | None = None
    original_mask: Rle | None = None

    @classmethod
    def detected(cls, category_id: int, mask: Rle, score: float) -> Self:
        """Return a detection that nobody has looked at yet."""
        return cls(object_id(category_id, mask), category_id, "undecided", mask, score, category_id)

    @classmethod
    def added(cls, category_id: int, mask: Rle) -> Self:
        """Return an object that a person drew."""
        return cls(object_id(category_id, mask, "added"), category_id, "kept", mask)

    @property
    def source_mask(self) -> Rle:
        """The mask the run gave it."""
        return self.mask if self.original_mask is None else self.original_mask

    def reaches(self, min_scores: MinScores) -> bool:
        """Return whether a detection scores enough for its category."""
        return (self.score or 0.0) >= min_scores.of(self.category_id)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {
            "id": self.id,
            "category_id": self.category_id,
            "status": self.status,
            "segmentation": _mask_to_json(self.mask),
            "score": self.score,
            "original_category_id": self.original_category_id,
            "original_segmentation": None if self.original_mask is None else _mask_to_json(self.original_mask),
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        score = entry["score"]
        if entry["status"] not in get_args(Status) or not is_whole_number(entry["category_id"]):
            raise ValueError(f"no status or category: {entry['status']!r}, {entry['category_id']!r}")
        if score is not None and not is_number(score):
            raise ValueError(f"no score: {score!r}")
        original = entry["original_segmentation"]
        return cls(
            id=entry["id"],
            category_id=entry["category_id"],
            status=entry["status"],
            mask=_checked_mask(entry["segmentation"]),
            score=score,
            original_category_id=entry["original_category_id"],
            original_mask=None if original is None else _checked_mask(original),
        )


@dataclass(frozen=True)
class ImageReview:
    """The decisions about one image.

    Attributes:
        file_name: relative to the images folder, with forward slashes.
        objects: the kept and the dropped objects.
        is_done: the image was looked at as a whole; undecided detections then count for nothing.
    """

    file_name: str
    objects: tuple[ReviewObject, ...] = ()
    is_done: bool = False

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        content = {
            "format_version": _FORMAT_VERSION,
            "file_name": self.file_name,
            "done": self.is_done,
            "objects": [item.to_json() for item in self.objects],
        }
        write_text(path, json.dumps(content, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: the file is damaged or of a newer version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format_version"] != _FORMAT_VERSION:
                raise InputError(f"{path} has review format {content['format_version']}; this program reads 1.")
            objects = tuple(ReviewObject.from_json(entry) for entry in content["objects"])
            return cls(content["file_name"], objects, bool(content["done"]))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path} is a damaged review file ({type(error).__name__}: {error}). Move it away to review that "
                "image anew; the others keep their decisions."
            ) from error

    def with_object(self, item: ReviewObject) -> Self:
        """Return the review with one object put in place of the one of the same id, or added."""
        others = tuple(other for other in self.objects if other.id != item.id)
        return replace(self, objects=(*others, item))


def object_id(category_id: int, mask: Rle, origin: str = "detected") -> str:
    """Return ten hex digits that name an object by what it is."""
    return hashlib.sha256(f"{origin} {category_id} ".encode() + mask["counts"]).hexdigest()[:10]


def objects_under_review(record: ImageRecord | None, review: ImageReview) -> list[ReviewObject]:
    """Return the decided objects and the detections that are still to be decided.

    A detection is hidden where the decision has been taken already: it is the very one that was decided, or covers a
    kept object, or covers a dropped object of its category (mask IoU of 0.5 and more). So decisions hold when the
    images are labeled again. What was dropped hides no other detection of the same labeling: of two that overlap, the
    wrong one goes and the right one stays.
    """
    if record is None or review.is_done:
        return list(review.objects)
    detected = [
        ReviewObject.detected(entry["category_id"], _mask_from_json(entry["segmentation"]), float(entry["score"]))
        for entry in record.entries
    ]
    known = {item.id for item in review.objects}
    undecided = [item for item in detected if item.id not in known]
    of_now = {item.id for item in detected}
    hiding = [item for item in review.objects if item.status == "kept" or item.id not in of_now]
    return [*review.objects, *_not_covered(undecided, hiding)]


def reviewed_objects(record: ImageRecord | None, review: ImageReview, min_scores: MinScores) -> list[ReviewObject]:
    """Return the objects that go out: kept ones, and undecided ones that score enough."""
    return [
        item
        for item in objects_under_review(record, review)
        if item.status == "kept" or (item.status == "undecided" and item.reaches(min_scores))
    ]


def coco_annotation(item: ReviewObject, annotation_id: int, image_id: int | str) -> dict[str, Any]:
    """Return a COCO annotation of an object."""
    x1, y1, x2, y2 = rle_to_box_xyxy(item.mask).tolist()
    annotation: dict[str, Any] = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": item.category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": rle_area(item.mask),
        "iscrowd": 0,
        "segmentation": _mask_to_json(item.mask),
    }
    return annotation if item.score is None else {**annotation, "score": item.score}


def _not_covered(undecided: Sequence[ReviewObject], decided: Iterable[ReviewObject]) -> list[ReviewObject]:
    decided = list(decided)
    if not undecided or not decided:
        return list(undecided)
    ious = coco_mask.iou([item.mask for item in undecided], [item.source_mask for item in decided], [0] * len(decided))
    kept_ious = coco_mask.iou([item.mask for item in undecided], [item.mask for item in decided], [0] * len(decided))
    return [
        item
        for item, row, kept_row in zip(undecided, ious, kept_ious, strict=True)
        if not any(
            max(iou, kept_iou) >= _SAME_OBJECT_IOU
            and (other.status == "kept" or other.original_category_id == item.category_id)
            for iou, kept_iou, other in zip(row, kept_row, decided, strict=True)
        )
    ]


def _mask_to_json(mask: Rle) -> dict[str, Any]:
    return {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}


def _checked_mask(entry: dict[str, Any]) -> Rle:
    """Read a mask; raise ValueError where its runs do not add up to its size."""
    mask = _mask_from_json(entry)
    height, width = mask["size"]
    if not are_compressed_counts_valid([mask["counts"]], [height * width]).all():
        raise ValueError("a mask whose runs do not add up to its size")
    return mask


def _mask_from_json(entry: dict[str, Any]) -> Rle:
    height, width = entry["size"]
    return {"size": [int(height), int(width)], "counts": entry["counts"].encode("ascii")}
