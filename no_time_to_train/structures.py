"""Data that flows between the stages: frozen, validated once, sliceable.

Conventions (everywhere in the package): images are RGB ``uint8`` of shape (H, W, 3); sizes are (height, width);
boxes are float ``xyxy`` pixels, half open (a one-pixel mask at (0, 0) has the box 0, 0, 1, 1); masks are bool.
``category_id`` is the data set's own number, ``category_index`` is 0..C-1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.ops.rle import Rle, decode_rle

if TYPE_CHECKING:
    import supervision

BACKGROUND_CATEGORY_NAME = "_background"
"""A category of this name is matched like any other and never output: "none of these"."""


@dataclass(frozen=True)
class Category:
    """One category of a data set: its own id and its name."""

    id: int
    name: str

    @property
    def is_background(self) -> bool:
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
    """

    image_path: Path
    image_id: int | str
    annotation_id: int | str
    category: Category
    box_xyxy: tuple[float, float, float, float]
    mask: Rle | None = None


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """The references of a run: categories in index order, and any number of instances for each."""

    categories: tuple[Category, ...]
    instances: tuple[ReferenceInstance, ...]

    def __post_init__(self) -> None:
        _check_unique_categories(self.categories)

    def __len__(self) -> int:
        return len(self.instances)

    def counts(self) -> dict[str, int]:
        """Number of instances of every category, by name."""
        counts = {category.name: 0 for category in self.categories}
        for instance in self.instances:
            counts[instance.category.name] += 1
        return counts


@dataclass(frozen=True)
class TargetImage:
    """An image to label: where it is, its name relative to the images folder, its id in the COCO files."""

    path: Path
    file_name: str
    id: int | str


@dataclass(frozen=True, eq=False)
class MaskProposals:
    """Candidate masks of one image on the mask model's low-resolution grid.

    Attributes:
        logits: (N, m, m) mask logits over the whole (squashed) image; a pixel belongs to the mask where > 0.
        predicted_ious: (N,) the mask model's own estimate of each mask's IoU, about 0..1.
        rles: the masks in the image's own size, where the source knows them finer than the grid does (crops of the
            image); None: they are the logits made larger.
    """

    logits: Tensor
    predicted_ious: Tensor
    rles: tuple[Rle, ...] | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or self.predicted_ious.shape != self.logits.shape[:1]:
            raise ValueError(
                "logits must be (N, m, m) and predicted_ious (N,), got "
                f"{tuple(self.logits.shape)} and {tuple(self.predicted_ious.shape)}"
            )
        if self.rles is not None and len(self.rles) != len(self):
            raise ValueError(f"there must be one RLE for each of the {len(self)} masks, got {len(self.rles)}")

    def __len__(self) -> int:
        return self.logits.shape[0]

    def __getitem__(self, index: Tensor | slice) -> MaskProposals:
        rles = self.rles
        if rles is not None:
            rles = tuple(rles[i] for i in torch.arange(len(self))[index if isinstance(index, slice) else index.cpu()])
        return MaskProposals(self.logits[index], self.predicted_ious[index], rles)


@dataclass(frozen=True, eq=False)
class Detections:
    """Labelled instance masks of one image, best first.

    Attributes:
        rles: N run-length encoded masks of the image's size (memory does not grow with the photo).
        boxes_xyxy: (N, 4) float32 pixels.
        scores: (N,) float32 in 0..1.
        category_ids: (N,) int64, the data set's ids.
        predicted_ious: (N,) float32, the mask model's own estimate of mask quality.
        image_size_hw: (height, width) of the image.
        categories: what the ids mean.

    Example:
        >>> confident = detections[detections.scores >= 0.5]
        >>> confident.masks.shape, confident.category_names
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
                raise ValueError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")

    @classmethod
    def empty(cls, image_size_hw: tuple[int, int], categories: tuple[Category, ...] = ()) -> Detections:
        """No detection in an image of this size."""
        return cls(
            rles=(),
            boxes_xyxy=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            category_ids=np.zeros(0, np.int64),
            predicted_ious=np.zeros(0, np.float32),
            image_size_hw=image_size_hw,
            categories=categories,
        )

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
        """(N, H, W) bool. Decoded on every call: N x H x W bytes, keep the slice small on large photos."""
        masks = np.zeros((len(self), *self.image_size_hw), bool)
        for row, rle in zip(masks, self.rles, strict=True):
            row[:] = decode_rle(rle)
        return masks

    @property
    def category_names(self) -> list[str]:
        """Name of every detection's category."""
        names = {category.id: category.name for category in self.categories}
        return [names.get(int(i), str(int(i))) for i in self.category_ids]

    def to_coco_results(self, image_id: int | str) -> list[dict[str, Any]]:
        """COCO results entries (``bbox`` is xywh, RLE counts are text), as ``pycocotools``' ``loadRes`` takes them."""
        entries = []
        for rle, box, score, category_id in zip(
            self.rles, self.boxes_xyxy.tolist(), self.scores.tolist(), self.category_ids.tolist(), strict=True
        ):
            entries.append(
                {
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "score": score,
                    "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
                }
            )
        return entries

    def to_supervision(self) -> supervision.Detections:
        """The same as a ``supervision.Detections`` (needs ``pip install supervision``)."""
        import supervision

        if not len(self):
            return supervision.Detections.empty()
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            mask=self.masks,
            confidence=self.scores.copy(),
            class_id=self.category_ids.astype(int),
            data={"class_name": np.asarray(self.category_names)},
        )


def _check_unique_categories(categories: Sequence[Category]) -> None:
    for attribute in ("id", "name"):
        values = [getattr(category, attribute) for category in categories]
        repeated = sorted({value for value in values if values.count(value) > 1}, key=str)
        if repeated:
            raise ValueError(f"category {attribute}s must be unique, repeated: {', '.join(map(str, repeated))}")


def as_image_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1).float() / 255
