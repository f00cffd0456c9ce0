"""Data that flows between the stages: frozen, validated once, sliceable.

Conventions (everywhere in the package): images are RGB ``uint8`` of shape (H, W, 3); sizes are (height, width);
boxes are float ``xyxy`` pixels, half open (a one-pixel mask at (0, 0) has the box 0, 0, 1, 1); masks are bool.
``category_id`` is the data set's own number, ``category_index`` is 0..C-1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from no_time_to_train.errors import InputError, counted, missing_package
from no_time_to_train.ops.rle import Rle, decode_rle, rles_to_boxes_xyxy

if TYPE_CHECKING:
    import supervision

_NAMES_SHOWN = 5

BACKGROUND_CATEGORY_NAME = "_background"
"""A category of this name is matched like any other and never output: "none of these"."""


@dataclass(frozen=True)
class Category:
    """Name one category of a data set: its own id and its name.

    Example:
        >>> ntt.Category(1, "boat").is_background
        False
    """

    id: int
    name: str

    @property
    def is_background(self) -> bool:
        """Return whether it is the category that is never output."""
        return self.name == BACKGROUND_CATEGORY_NAME


@dataclass(frozen=True, eq=False)
class ReferenceInstance:
    """One annotated object of a reference image.

    Attributes:
        image_path: the image file.
        image_id: id of the image in the annotation file.
        annotation_id: id of the annotation (for messages).
        category: what the object is.
        box_xyxy: half-open box in pixels of the image.
        mask: run-length encoded mask of the image's size, or None where only the box is known (the mask model then
            makes one, see ``box_to_mask``).
        upright: whether box and mask are of the image with its EXIF orientation applied, or of the stored pixels.

    Example:
        >>> [first, *_] = ntt.load_references("references.json").instances
        >>> first.category.name, first.mask is None
        ('striped_star', False)
    """

    image_path: Path
    image_id: int | str
    annotation_id: int | str
    category: Category
    box_xyxy: tuple[float, float, float, float]
    mask: Rle | None = None
    upright: bool = True


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """The references of a run: categories in index order, any number of instances each.

    Example:
        >>> references = ntt.load_references("references.json")
        >>> references.counts()
        {'striped_star': 2, 'dotted_mushroom': 2}
        >>> references
        ReferenceSet(4 references of 2 categories: striped_star 2, dotted_mushroom 2)
    """

    categories: tuple[Category, ...]
    instances: tuple[ReferenceInstance, ...]

    def __post_init__(self) -> None:
        _check_unique_categories(self.categories)

    def __repr__(self) -> str:
        """Return the counts in one line: masks as bytes help nobody."""
        return f"ReferenceSet({describe_references(self.counts())})"

    def __len__(self) -> int:
        return len(self.instances)

    def counts(self) -> dict[str, int]:
        """Return the number of instances of every category, by name."""
        counts = {category.name: 0 for category in self.categories}
        for instance in self.instances:
            counts[instance.category.name] += 1
        return counts


@dataclass(frozen=True)
class TargetImage:
    """An image to label.

    Attributes:
        path: of the file.
        file_name: in the images folder.
        id: in COCO files.
        size_hw: (height, width) that its annotations are of, None where nothing says it.
        upright: whether its EXIF orientation is applied when it is read.
    """

    path: Path
    file_name: str
    id: int | str
    size_hw: tuple[int, int] | None = None
    upright: bool = True


@dataclass(frozen=True, eq=False)
class Detections:
    """Labeled instance masks of one image, best first.

    Attributes:
        rles: N run-length encoded masks of the image's size (memory does not grow with the image).
        boxes_xyxy: (N, 4) float32 pixels.
        scores: (N,) float32 in 0..1.
        category_ids: (N,) int64, the data set's ids.
        predicted_ious: (N,) float32, the mask model's own estimate of mask quality.
        image_size_hw: (height, width) of the image.
        categories: what the ids mean.

    Example:
        >>> from no_time_to_train.ops.rle import encode_mask
        >>> mask = np.zeros((4, 6), bool)
        >>> mask[1:3, 2:5] = True
        >>> boat = ntt.Category(1, "boat")
        >>> detections = ntt.Detections.from_rles([encode_mask(mask)], [0.9], [1], [0.8], (4, 6), [boat])
        >>> confident = detections[detections.scores >= 0.5]
        >>> confident.masks.shape, confident.category_names, confident.boxes_xyxy.tolist()
        ((1, 4, 6), ['boat'], [[2.0, 1.0, 5.0, 3.0]])
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray
    predicted_ious: np.ndarray
    image_size_hw: tuple[int, int]
    categories: tuple[Category, ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.rles)
        expected = {"boxes_xyxy": (count, 4), "scores": (count,), "category_ids": (count,), "predicted_ious": (count,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")

    @classmethod
    def empty(cls, image_size_hw: tuple[int, int], categories: tuple[Category, ...] = ()) -> Detections:
        """Return no detections of an image of this size."""
        return cls.from_rles((), (), (), (), image_size_hw, categories)

    @classmethod
    def from_rles(
        cls,
        rles: Sequence[Rle],
        scores: Sequence[float] | np.ndarray,
        category_ids: Sequence[int] | np.ndarray,
        predicted_ious: Sequence[float] | np.ndarray,
        image_size_hw: tuple[int, int],
        categories: Sequence[Category] = (),
        *,
        box_convention: str = "half_open",
    ) -> Detections:
        """Build detections whose boxes are their masks' own.

        Args:
            rles: N masks of the image's size, best first.
            scores: N, in 0..1.
            category_ids: N, the data set's ids.
            predicted_ious: N, the mask model's own estimate of mask quality.
            image_size_hw: (height, width) of the image.
            categories: what the ids mean.
            box_convention: ``half_open``: a box ends after its last pixel; ``inclusive``: on it, so that it is one
                pixel smaller, as the published code writes it.
        """
        boxes = rles_to_boxes_xyxy(rles)
        if box_convention == "inclusive":
            boxes[:, 2:] -= 1
        return cls(
            rles=tuple(rles),
            boxes_xyxy=boxes,
            scores=np.asarray(scores, np.float32),
            category_ids=np.asarray(category_ids, np.int64),
            predicted_ious=np.asarray(predicted_ious, np.float32),
            image_size_hw=image_size_hw,
            categories=tuple(categories),
        )

    @classmethod
    def from_json(
        cls, entries: Sequence[Mapping[str, Any]], image_size_hw: tuple[int, int], categories: Sequence[Category] = ()
    ) -> Detections:
        """Read what :meth:`to_json` gives.

        Args:
            entries: one dict for each detection.
            image_size_hw: (height, width) of the image.
            categories: what the ids mean.
        """
        boxes = np.array([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return cls(
            rles=tuple(
                {"size": entry["segmentation"]["size"], "counts": entry["segmentation"]["counts"].encode("ascii")}
                for entry in entries
            ),
            boxes_xyxy=boxes,
            scores=np.array([entry["score"] for entry in entries], np.float32),
            category_ids=np.array([entry["category_id"] for entry in entries], np.int64),
            predicted_ious=np.array([entry["predicted_iou"] for entry in entries], np.float32),
            image_size_hw=image_size_hw,
            categories=tuple(categories),
        )

    def __repr__(self) -> str:
        """Return counts and sizes in one line: masks as bytes help nobody."""
        height, width = self.image_size_hw
        scores = f", scores {self.scores.min():.2f} to {self.scores.max():.2f}" if len(self) else ""
        found = f": {_shown(Counter(self.category_names))}{scores}" if len(self) else ""
        return f"Detections({counted(len(self), 'object')} in an image of {width}x{height}{found})"

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Detections:
        """Select by position, slice, list of positions or boolean array of length N."""
        positions = np.atleast_1d(np.arange(len(self))[index])
        return replace(
            self,
            rles=tuple(self.rles[i] for i in positions),
            boxes_xyxy=self.boxes_xyxy[positions],
            scores=self.scores[positions],
            category_ids=self.category_ids[positions],
            predicted_ious=self.predicted_ious[positions],
        )

    def __iter__(self) -> Iterator[Detections]:
        return (self[i] for i in range(len(self)))

    @property
    def masks(self) -> np.ndarray:
        """Return (N, H, W) bool masks.

        They are decoded on every call: N x H x W bytes, so keep the slice small on large images.
        """
        masks = np.zeros((len(self), *self.image_size_hw), bool)
        for row, rle in zip(masks, self.rles, strict=True):
            row[:] = decode_rle(rle)
        return masks

    @property
    def category_names(self) -> list[str]:
        """Return the name of every detection's category."""
        names = {category.id: category.name for category in self.categories}
        return [names.get(int(i), str(int(i))) for i in self.category_ids]

    def scoring_at_least(self, min_score: float) -> Detections:
        """Select by score, with the very comparison that a reader of the result files makes.

        The files hold the float32 scores as decimal numbers, so they are compared in double precision.
        """
        return self[self.scores.astype(np.float64) >= min_score]

    def to_json(self) -> list[dict[str, Any]]:
        """Return one dict for each detection, ready for ``json.dumps``.

        ``category_id``, ``bbox`` (x, y, width, height), ``score`` and ``segmentation`` (an RLE whose counts are text)
        are those of COCO results; ``predicted_iou`` is ours. :meth:`from_json` reads them.
        """
        columns = (self.category_ids, self.boxes_xyxy, self.scores, self.predicted_ious)
        return [
            {
                "category_id": category_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
                "predicted_iou": predicted_iou,
            }
            for rle, category_id, (x1, y1, x2, y2), score, predicted_iou in zip(
                self.rles, *(column.tolist() for column in columns), strict=True
            )
        ]

    def to_coco_results(self, image_id: int | str) -> list[dict[str, Any]]:
        """Return COCO results entries, as ``pycocotools``' ``loadRes`` takes them."""
        return [coco_result(entry, image_id) for entry in self.to_json()]

    def to_supervision(self) -> supervision.Detections:
        """Return a ``supervision.Detections``; needs the package supervision."""
        try:
            import supervision
        except ImportError as error:
            raise missing_package(error) from error
        if not len(self):
            return supervision.Detections.empty()
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            mask=self.masks,
            confidence=self.scores.copy(),
            class_id=self.category_ids.astype(int),
            data={"class_name": np.asarray(self.category_names)},
        )


def coco_result(entry: Mapping[str, Any], image_id: int | str) -> dict[str, Any]:
    """Return one entry of :meth:`Detections.to_json` as an entry of a COCO results list."""
    return {"image_id": image_id, **{key: entry[key] for key in ("category_id", "bbox", "score", "segmentation")}}


def _check_unique_categories(categories: Sequence[Category]) -> None:
    for attribute in ("id", "name"):
        counts = Counter(getattr(category, attribute) for category in categories)
        repeated = sorted((value for value, count in counts.items() if count > 1), key=str)
        if repeated:
            raise ValueError(f"category {attribute}s must be unique, repeated: {', '.join(map(str, repeated))}")


def describe_references(counts: Mapping[str, int]) -> str:
    """Return how many references there are of which categories."""
    total = f"{counted(sum(counts.values()), 'reference')} of {counted(len(counts), 'category')}"
    return f"{total}: {_shown(Counter(counts))}" if counts else total


def _shown(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common(_NAMES_SHOWN))
    return f"{shown} and {len(counts) - _NAMES_SHOWN} more" if len(counts) > _NAMES_SHOWN else shown
