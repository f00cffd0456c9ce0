"""Building blocks of all readers of annotations.

They are objects from shapes, image files by name, and counts of what is left out.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike

from no_time_to_train.data.images import IMAGE_SUFFIXES
from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import Rle, encode_mask, merge_rles, rle_area, rle_to_box_xyxy, segmentation_to_rle
from no_time_to_train.references.folders import LabeledObject

logger = logging.getLogger(__name__)

Found = tuple[list[str], list[LabeledObject]]
"""The labels in the format's own order, and the objects."""


def object_of_mask(image_path: Path, label: str, rle: Rle) -> LabeledObject:
    """Return an object of which the mask is known."""
    x1, y1, x2, y2 = rle_to_box_xyxy(rle).tolist()
    return LabeledObject(image_path, label, (x1, y1, x2, y2), rle)


def object_of_box(
    image_path: Path, label: str, box_xyxy: Sequence[float], size_hw: tuple[int, int]
) -> LabeledObject | None:
    """Return an object of which only the box is known.

    It is cut off at the image's border; None: nothing is left of it.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    box = (max(min(x1, x2), 0.0), max(min(y1, y2), 0.0), min(max(x1, x2), size_hw[1]), min(max(y1, y2), size_hw[0]))
    if not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        return None
    return LabeledObject(image_path, label, box)


def polygons_to_rle(polygons: Sequence[ArrayLike], size_hw: tuple[int, int]) -> Rle:
    """Fill polygons, each (K, 2) x, y pixels."""
    return segmentation_to_rle([np.asarray(polygon, float).ravel().tolist() for polygon in polygons], size_hw)


def rotated_rectangle(
    corner: tuple[float, float], width: float, height: float, degrees: float, pivot: tuple[float, float]
) -> np.ndarray:
    """Return the (4, 2) corners of a turned rectangle, in pixels.

    It is turned clockwise around ``pivot``.
    """
    x, y = corner
    points = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]) - pivot
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return points @ turn + pivot


def ellipse_to_rle(center: tuple[float, float], radii: tuple[float, float], size_hw: tuple[int, int]) -> Rle:
    """Fill an upright ellipse."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
    inside = ((x - center[0]) / max(radii[0], 1e-6)) ** 2 + ((y - center[1]) / max(radii[1], 1e-6)) ** 2 <= 1
    return encode_mask(inside)


class ObjectList:
    """The objects of a file or folder, and counts of unusable ones.

    Parts of one object, which share a group, become one mask.

    Args:
        source: what is read, for messages.
        upright: whether it is of images turned as their EXIF orientation says.
    """

    def __init__(self, source: Path, *, upright: bool = True) -> None:
        self._source = source
        self.upright = upright
        self._objects: list[LabeledObject] = []
        self._position_of: dict[Hashable, int] = {}
        self._left_out: Counter[str] = Counter()
        self._faults: dict[str, list[str]] = defaultdict(list)

    def add(self, item: LabeledObject | None, group: Hashable | None = None) -> None:
        """Add an object; None or an empty mask counts as left out.

        Masks of one group are joined.
        """
        if item is None or (item.mask is not None and not rle_area(item.mask)):
            self.leave_out("shapes without area inside the image")
            return
        key = None if group is None or item.mask is None else (item.image_path, item.label, group)
        if key is None or key not in self._position_of:
            if key is not None:
                self._position_of[key] = len(self._objects)
            self._objects.append(item)
            return
        position = self._position_of[key]
        earlier = self._objects[position].mask
        assert earlier is not None and item.mask is not None
        self._objects[position] = object_of_mask(item.image_path, item.label, merge_rles([earlier, item.mask]))

    def leave_out(self, what: str) -> None:
        """Count something that is no reference."""
        self._left_out[what] += 1

    def fault(self, problem: str, case: str) -> None:
        """Note something that is wrong; :meth:`finish` refuses the file for it."""
        self._faults[problem].append(case)

    def finish(self, format_name: str) -> list[LabeledObject]:
        """Return the objects, and say what was left out.

        Raises:
            InputError: something is wrong; one message names the first cases of each kind.
        """
        if self._faults:
            parts = [f"{len(cases)} {problem} ({_first_few(cases)})" for problem, cases in self._faults.items()]
            raise InputError(f"{self._source} was read as {format_name}, but has {'; '.join(parts)}.")
        if self._left_out:
            counts = ", ".join(f"{what} ({count})" for what, count in self._left_out.items())
            logger.warning("%s (%s): left out %s.", self._source, format_name, counts)
        return self._objects


class ImageFinder:
    """Finds image files by the names that annotation files give them.

    Args:
        roots: folders to look into, in order.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = list(dict.fromkeys(roots))

    def find(self, name: str) -> Path | None:
        """Find the file of a name.

        The name may be a path of another machine: its last parts count.
        """
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for root in self._roots:
                if (root / tail).is_file():
                    return root / tail
        return None

    def find_stem(self, stem: str) -> Path | None:
        """Return the image of a name without suffix."""
        for root in self._roots:
            for suffix in sorted(IMAGE_SUFFIXES):
                for candidate in (root / f"{stem}{suffix}", root / f"{stem}{suffix.upper()}"):
                    if candidate.is_file():
                        return candidate
        return None

    def describe(self) -> str:
        """Return where was looked, for messages."""
        return ", ".join(str(root) for root in self._roots)


def _first_few(cases: Sequence[str]) -> str:
    more = f"; and {len(cases) - 3} more" if len(cases) > 3 else ""
    return "; ".join(cases[:3]) + more
