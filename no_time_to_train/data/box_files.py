"""Boxes of an object detector from a file, labels ignored.

The file is a COCO results list, or a COCO data set.
"""

from __future__ import annotations

import logging
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.data.image_roots import normalize_file_name
from no_time_to_train.data.images import describe_size_mismatch
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.json_files import is_id, is_number, read_json
from no_time_to_train.ops.boxes import xywh_to_xyxy
from no_time_to_train.structures import TargetImage

logger = logging.getLogger(__name__)

_NUM_SHOWN = 3


@dataclass(frozen=True, eq=False)
class BoxFile:
    """The boxes of a file, by image.

    Attributes:
        path: for messages.
        is_by_name: images are known by their file names, relative to the images folder; else by their ids.
        rows: by file name or id, (N, 5) float64: the box as xyxy pixels of the image, and its score.
        sizes_hw: the images' sizes by file name, where the file gives them.
    """

    path: Path
    is_by_name: bool
    rows: dict[int | str, np.ndarray]
    sizes_hw: dict[str, tuple[int, int]] = field(default_factory=dict)

    def boxes(self, target: TargetImage, image_size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes of an image as the file has them.

        (N, 4) boxes, neither clipped nor sorted, and (N,) scores. N is 0 for an unknown image.

        Args:
            target: which image.
            image_size_hw: its real size, which the file's must agree with.

        Raises:
            InputError: the file says that the image has another size: its boxes are in other pixels.
        """
        key = self._key(target)
        mismatch = describe_size_mismatch(
            self.sizes_hw.get(str(key), image_size_hw), f"{self.path}: the size", image_size_hw, target.file_name
        )
        if mismatch:
            raise InputError(mismatch)
        rows = self.rows.get(key, np.zeros((0, 5)))
        return rows[:, :4], rows[:, 4]

    def check_targets(self, targets: Sequence[TargetImage]) -> None:
        """Warn of images that the file does not have.

        Raises InputError where it has none of them.
        """
        missing = [target for target in targets if self._key(target) not in self.rows]
        if targets and len(missing) == len(targets):
            known = f"only for {_first_few(self.rows)}" if self.rows else "for no image at all"
            raise InputError(
                f"{self.path} has boxes for none of the {len(targets)} images ({self._describe(targets)}), "
                f"{known}. {self._advice}"
            )
        if missing:
            logger.warning(
                "%s has no boxes for %d of %d images (%s): nothing is found in them.",
                self.path,
                len(missing),
                len(targets),
                self._describe(missing),
            )

    def _key(self, target: TargetImage) -> int | str:
        """Return the key of an image.

        It is its whole name, else its last part as far as that is unique in the file.
        """
        if not self.is_by_name:
            return target.id
        if target.file_name in self.rows:
            return target.file_name
        return self._names_by_last_part.get(posixpath.basename(target.file_name), target.file_name)

    @cached_property
    def _names_by_last_part(self) -> dict[str, str]:
        counts = Counter(posixpath.basename(str(name)) for name in self.rows)
        return {last: str(name) for name in self.rows if counts[last := posixpath.basename(str(name))] == 1}

    def _describe(self, targets: Sequence[TargetImage]) -> str:
        return _first_few(target.file_name if self.is_by_name else target.id for target in targets)

    @property
    def _advice(self) -> str:
        if self.is_by_name:
            return "A file_name must be the image's path below the images folder."
        return (
            "Ids must be equal in value and type, and nttt label numbers the images 1, 2, ... in the order of their "
            "names. To go by names, give every result a file_name, or write a COCO data set with images and "
            "annotations."
        )


def read_box_file(path: Path) -> BoxFile:
    """Read boxes.

    Args:
        path: JSON file. Either a COCO results list: each entry has ``bbox`` (xywh pixels), ``score`` and ``image_id``,
            or ``file_name`` in place of the id. Or a COCO data set: ``images`` with ``file_name``, ``annotations``
            with ``bbox``, and a ``score`` or else 1; crowds are left out. Categories are not needed.

    Raises:
        InputFileNotFoundError: no such file.
        InputError: not JSON, neither form, or damaged entries; the message names the first of them.
    """
    path = Path(path)
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such file of boxes (proposals.boxes.boxes_file).")
    content = read_json(path)
    if _is_list_of_objects(content):
        return _from_results(path, content)
    if isinstance(content, dict) and all(_is_list_of_objects(content.get(key)) for key in ("images", "annotations")):
        return _from_data_set(path, content["images"], content["annotations"])
    raise InputError(
        f"{path} must be a COCO results list (objects with image_id or file_name, bbox and score), or a COCO data set "
        f"with lists images and annotations; it is a JSON {type(content).__name__} of another form."
    )


def _from_results(path: Path, results: list[dict[str, Any]]) -> BoxFile:
    is_by_name = any("file_name" in result for result in results)
    key = "file_name" if is_by_name else "image_id"
    _refuse(path, [i for i, result in enumerate(results) if not is_id(result.get(key))], f"have no {key}")
    keys = [_name(path, result) if is_by_name else result["image_id"] for result in results]
    return BoxFile(path, is_by_name, _grouped(keys, _rows(path, results)))


def _from_data_set(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> BoxFile:
    nameless = [i for i, image in enumerate(images) if not is_id(image.get("file_name"))]
    _refuse(path, nameless, "have no file_name", what="images")
    without_id = [i for i, image in enumerate(images) if not is_id(image.get("id"))]
    _refuse(path, without_id, "have no id, a whole number or text", what="images")
    names = {image["id"]: _name(path, image) for image in images}
    sizes_hw = {
        names[image["id"]]: (int(image["height"]), int(image["width"]))
        for image in images
        if is_number(image.get("height")) and is_number(image.get("width"))
    }
    boxes = [{"score": 1.0, **annotation} for annotation in annotations if not annotation.get("iscrowd")]
    unknown = [i for i, box in enumerate(boxes) if not is_id(box.get("image_id")) or box["image_id"] not in names]
    _refuse(path, unknown, "have an image_id that is not among the images")
    rows = _grouped([names[box["image_id"]] for box in boxes], _rows(path, boxes))
    nothing = np.zeros((0, 5))
    return BoxFile(path, True, {name: rows.get(name, nothing) for name in names.values()}, sizes_hw)


def _rows(path: Path, entries: list[dict[str, Any]]) -> np.ndarray:
    """Return (N, 5) xyxy and score of every entry."""
    bad_boxes = [i for i, entry in enumerate(entries) if not _is_box(entry.get("bbox"))]
    _refuse(path, bad_boxes, "have no bbox of four finite numbers [x, y, width, height]")
    bad_scores = [i for i, entry in enumerate(entries) if not is_number(entry.get("score"))]
    _refuse(path, bad_scores, "have no score, a finite number")
    rows = np.array([[*entry["bbox"], entry["score"]] for entry in entries], np.float64).reshape(-1, 5)
    rows[:, :4] = xywh_to_xyxy(rows[:, :4])
    return rows


def _grouped(keys: Sequence[int | str], rows: np.ndarray) -> dict[int | str, np.ndarray]:
    positions: dict[int | str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        positions[key].append(position)
    return {key: rows[own] for key, own in positions.items()}


def _name(path: Path, entry: dict[str, Any]) -> str:
    try:
        return normalize_file_name(str(entry["file_name"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def _refuse(path: Path, positions: Sequence[int], problem: str, what: str = "boxes") -> None:
    if positions:
        raise InputError(
            f"{path}: {len(positions)} {what} {problem} (positions {_first_few(positions)} of the list, from 0)."
        )


def _first_few(values: Iterable[int | str]) -> str:
    listed = [repr(value) for value in values]
    return ", ".join(listed[:_NUM_SHOWN]) + (" ..." if len(listed) > _NUM_SHOWN else "")
