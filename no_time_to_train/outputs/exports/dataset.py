"""What an export is made of: images with labeled masks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from no_time_to_train.ops.polygons import join_polygons, rle_to_polygons
from no_time_to_train.ops.rle import Rle, decode_rle, rle_area, rle_to_box_xyxy
from no_time_to_train.structures import Category, Detections

_SPLIT_SALT = "split"


@dataclass(frozen=True, eq=False)
class ExportObject:
    """One object: its mask in the image's size, what it is, and how sure that is (None: drawn by hand)."""

    rle: Rle
    category: Category
    score: float | None = None

    @cached_property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Return the tight half-open box."""
        x1, y1, x2, y2 = rle_to_box_xyxy(self.rle).tolist()
        return x1, y1, x2, y2

    @property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """Return the box as COCO has it."""
        x1, y1, x2, y2 = self.box_xyxy
        return x1, y1, x2 - x1, y2 - y1

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return rle_area(self.rle)

    @property
    def polygons(self) -> list[np.ndarray]:
        """Return (K, 2) x, y of every part, holes bridged."""
        return rle_to_polygons(self.rle)

    @property
    def polygon(self) -> np.ndarray:
        """Return (K, 2) x, y of one polygon, parts tied to each other."""
        return join_polygons(self.polygons)

    @property
    def mask(self) -> np.ndarray:
        """Return the mask (H, W) bool."""
        return decode_rle(self.rle)


def objects_of(detections: Detections) -> tuple[ExportObject, ...]:
    """Return detections as objects to export, best first."""
    categories = {category.id: category for category in detections.categories}
    columns = zip(detections.rles, detections.category_ids.tolist(), detections.scores.tolist(), strict=True)
    return tuple(ExportObject(rle, categories[category_id], score) for rle, category_id, score in columns)


@dataclass(frozen=True, eq=False)
class ExportImage:
    """One image with its objects; ``file_name`` is relative to the images folder, with forward slashes."""

    id: int | str
    path: Path
    file_name: str
    size_hw: tuple[int, int]
    objects: tuple[ExportObject, ...]


@dataclass(frozen=True, eq=False)
class ExportDataset:
    """Everything that is exported, images without objects among it."""

    images: tuple[ExportImage, ...]
    categories: tuple[Category, ...]

    @property
    def num_objects(self) -> int:
        """Return how many objects all images have."""
        return sum(len(image.objects) for image in self.images)

    def counts(self) -> dict[str, int]:
        """Count the objects of every category, by name."""
        found = Counter(item.category.name for image in self.images for item in image.objects)
        return {category.name: found[category.name] for category in self.categories}


def stems(file_names: Sequence[str], *, flat: bool = False) -> dict[str, str]:
    """Return a name without suffix for each file, no two alike.

    Args:
        file_names: relative, with forward slashes.
        flat: write sub-folders into the name (``trip/a.jpg`` -> ``trip__a``), for formats without sub-folders.

    Example:
        >>> stems(["a.jpg", "a.png", "b.jpg"])
        {'a.jpg': 'a_jpg', 'a.png': 'a_png', 'b.jpg': 'b'}
    """
    plain = [PurePosixPath(name).with_suffix("").as_posix() for name in file_names]
    counts = Counter(stem.casefold() for stem in plain)
    full = [
        f"{stem}_{PurePosixPath(name).suffix[1:]}" if counts[stem.casefold()] > 1 else stem
        for name, stem in zip(file_names, plain, strict=True)
    ]
    if flat:
        full = [stem.replace("/", "__") for stem in full]
    return dict(zip(file_names, distinct(full), strict=True))


def distinct(names: Sequence[str]) -> list[str]:
    """Give numbers to repeated names, also those that differ in upper and lower case only.

    Example:
        >>> distinct(["boat", "Boat", "bird"])
        ['boat', 'Boat_2', 'bird']
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique


def split(images: Iterable[ExportImage], val_share: float) -> tuple[list[ExportImage], list[ExportImage]]:
    """Divide images into training and validation ones, the same way on every call and machine.

    Args:
        images: in any order.
        val_share: part of them for validation, 0..1; at least one image where there are two and the part is not 0.
    """
    ordered = sorted(images, key=lambda image: image.file_name)
    by_hash = sorted(ordered, key=lambda image: hashlib.sha256((_SPLIT_SALT + image.file_name).encode()).digest())
    num_val = round(len(ordered) * val_share)
    if val_share > 0 and len(ordered) > 1:
        num_val = min(max(num_val, 1), len(ordered) - 1)
    chosen = {image.file_name for image in by_hash[:num_val]}
    return (
        [image for image in ordered if image.file_name not in chosen],
        [image for image in ordered if image.file_name in chosen],
    )
